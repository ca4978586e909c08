package io.authsvc.client;

import io.authsvc.authapi.v1.AuthServiceGrpc;
import io.authsvc.authapi.v1.KeyServiceGrpc;
import io.authsvc.authapi.v1.RevocationServiceGrpc;
import io.authsvc.authapi.v1.SessionServiceGrpc;
import io.authsvc.authapi.v1.UserServiceGrpc;
import io.authsvc.authapi.v1.VerifyTokenRequest;
import io.authsvc.authapi.v1.VerifyTokenResponse;
import io.authsvc.authapi.v1.WeChatServiceGrpc;
import io.grpc.Channel;
import io.grpc.Status;
import java.util.Objects;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ExecutionException;

/**
 * Calls the RPCs of the contract with the shipped service config: round robin over healthy addresses, retries for what may be
 * repeated, none for Login. Make one and share it; its methods may be called at the same time.
 *
 * <p>To check many tokens, a {@link Verifier} is far cheaper.
 */
public final class AuthClient implements AutoCloseable {
    private final Connection connection;
    private final Coalescer coalescer;

    private AuthClient(Builder builder) {
        connection = builder.connect();
        coalescer = new Coalescer(AuthServiceGrpc.newFutureStub(connection.channel()), builder.hooks);
    }

    /** Begins a client of a gRPC target, {@code dns:///authsvc:50051} for one. */
    public static Builder builder(String target) {
        return new Builder(Objects.requireNonNull(target), null);
    }

    /** Begins a client over a channel of the caller's, who closes it; give it {@link #serviceConfig}. */
    public static Builder builder(Channel channel) {
        return new Builder(null, Objects.requireNonNull(channel));
    }

    /** Returns the gRPC service config of every client of the contract, as JSON. */
    public static String serviceConfig() {
        return Connection.serviceConfig();
    }

    /** Returns the channel, for stubs of other kinds. */
    public Channel channel() {
        return connection.channel();
    }

    /** Returns the stub of Login, RefreshToken, Revoke and the plain VerifyToken. */
    public AuthServiceGrpc.AuthServiceBlockingStub auth() {
        return AuthServiceGrpc.newBlockingStub(channel());
    }

    /** Returns the stub of the sessions. */
    public SessionServiceGrpc.SessionServiceBlockingStub sessions() {
        return SessionServiceGrpc.newBlockingStub(channel());
    }

    /** Returns the stub of the users. */
    public UserServiceGrpc.UserServiceBlockingStub users() {
        return UserServiceGrpc.newBlockingStub(channel());
    }

    /** Returns the stub of what WeChat knows of a user. */
    public WeChatServiceGrpc.WeChatServiceBlockingStub weChat() {
        return WeChatServiceGrpc.newBlockingStub(channel());
    }

    /** Returns the stub of the public keys. */
    public KeyServiceGrpc.KeyServiceBlockingStub keys() {
        return KeyServiceGrpc.newBlockingStub(channel());
    }

    /** Returns the stub of the revocation log. */
    public RevocationServiceGrpc.RevocationServiceBlockingStub revocations() {
        return RevocationServiceGrpc.newBlockingStub(channel());
    }

    /**
     * Asks the server about a token, together with others that are asked about at the same time. The answer fails with a gRPC
     * status ({@link Status#fromThrowable}); it comes on a thread that must not be blocked.
     */
    public CompletableFuture<VerifyTokenResponse> verifyTokenAsync(VerifyTokenRequest request) {
        return coalescer.ask(request).copy(); // whoever cancels his own takes nothing from the others
    }

    /**
     * Asks the server about a token, together with others that are asked about at the same time.
     *
     * @throws io.grpc.StatusRuntimeException as the stub's verifyToken does
     */
    public VerifyTokenResponse verifyToken(VerifyTokenRequest request) {
        try {
            return coalescer.ask(request).get();
        } catch (InterruptedException e) {
            Thread.currentThread().interrupt();
            throw Status.CANCELLED.withDescription("interrupted").withCause(e).asRuntimeException();
        } catch (ExecutionException e) {
            throw Status.fromThrowable(e.getCause()).asRuntimeException(Status.trailersFromThrowable(e.getCause()));
        }
    }

    /** Ends calls under way and closes a connection that was made here. Idempotent. */
    @Override
    public void close() {
        connection.close();
    }

    /** Options of a client. */
    public static final class Builder extends ConnectionOptions<Builder> {
        private Builder(String target, Channel channel) {
            super(target, channel);
        }

        @Override
        Builder self() {
            return this;
        }

        /** Makes the client; it connects with its first call. */
        public AuthClient build() {
            return new AuthClient(this);
        }
    }
}
