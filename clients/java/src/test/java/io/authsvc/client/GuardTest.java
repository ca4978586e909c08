package io.authsvc.client;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNull;
import static org.junit.jupiter.api.Assertions.assertThrows;

import com.google.rpc.ErrorInfo;
import com.google.rpc.RetryInfo;
import io.authsvc.authapi.v1.GetJwksRequest;
import io.authsvc.authapi.v1.GetJwksResponse;
import io.authsvc.authapi.v1.KeyServiceGrpc;
import io.authsvc.client.testing.FakeVerifier;
import io.authsvc.client.testing.TokenIssuer;
import io.grpc.Grpc;
import io.grpc.InsecureChannelCredentials;
import io.grpc.ManagedChannel;
import io.grpc.Metadata;
import io.grpc.Server;
import io.grpc.Status;
import io.grpc.StatusRuntimeException;
import io.grpc.netty.shaded.io.grpc.netty.NettyServerBuilder;
import io.grpc.protobuf.StatusProto;
import io.grpc.stub.MetadataUtils;
import io.grpc.stub.StreamObserver;
import java.net.InetSocketAddress;
import java.util.List;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;

/** The interceptor, on a real server. */
class GuardTest {
    private static final String METHOD = "/" + KeyServiceGrpc.getGetJwksMethod().getFullMethodName();
    private static final Metadata.Key<String> AUTHORIZATION =
            Metadata.Key.of("authorization", Metadata.ASCII_STRING_MARSHALLER);

    private final TokenIssuer issuer = new TokenIssuer();
    private final FakeVerifier verifier = new FakeVerifier("orders")
            .accept("good", issuer.claims().user("u1").scopes("read").build())
            .refuse("old", Reason.EXPIRED);
    private Server server;
    private ManagedChannel channel;

    /** Answers with the user that the context has. */
    private static final class WhoAmI extends KeyServiceGrpc.KeyServiceImplBase {
        @Override
        public void getJwks(GetJwksRequest request, StreamObserver<GetJwksResponse> observer) {
            Claims claims = AuthInterceptor.claims();
            String user = claims == null ? "nobody" : claims.userId();
            observer.onNext(GetJwksResponse.newBuilder().setIssuer(user).build());
            observer.onCompleted();
        }
    }

    private void serve(AuthInterceptor interceptor) throws Exception {
        server = NettyServerBuilder.forAddress(new InetSocketAddress("127.0.0.1", 0))
                .intercept(interceptor).addService(new WhoAmI()).build().start();
        channel = Grpc.newChannelBuilder("127.0.0.1:" + server.getPort(), InsecureChannelCredentials.create()).build();
    }

    @AfterEach
    void stop() {
        channel.shutdownNow();
        server.shutdownNow();
    }

    private String call(String... headers) {
        Metadata metadata = new Metadata();
        for (String header : headers) {
            metadata.put(AUTHORIZATION, header);
        }
        return KeyServiceGrpc.newBlockingStub(channel)
                .withInterceptors(MetadataUtils.newAttachHeadersInterceptor(metadata))
                .getJwks(GetJwksRequest.getDefaultInstance())
                .getIssuer();
    }

    private void assertRefused(Status.Code code, String reason, String... headers) throws Exception {
        StatusRuntimeException refusal = assertThrows(StatusRuntimeException.class, () -> call(headers));
        assertEquals(code, refusal.getStatus().getCode());
        com.google.rpc.Status status = StatusProto.fromThrowable(refusal);
        ErrorInfo info = status.getDetails(0).unpack(ErrorInfo.class);
        assertEquals(reason + "@authsvc", info.getReason() + "@" + info.getDomain());
        if (code == Status.Code.UNAVAILABLE) {
            assertEquals(1, status.getDetails(1).unpack(RetryInfo.class).getRetryDelay().getSeconds());
        }
    }

    /** A good token reaches the method with its claims; what is missing or bad does not, and its fine reason stays inside. */
    @Test
    void goodAndBadTokens() throws Exception {
        serve(new AuthInterceptor(verifier));
        assertEquals("u1", call("Bearer good"));
        assertEquals("u1", call("bearer  good"));
        assertRefused(Status.Code.UNAUTHENTICATED, "TOKEN_INVALID");
        assertRefused(Status.Code.UNAUTHENTICATED, "TOKEN_INVALID", "Bearer old");
        assertRefused(Status.Code.UNAUTHENTICATED, "TOKEN_INVALID", "Basic good");
        assertRefused(Status.Code.UNAUTHENTICATED, "TOKEN_INVALID", "Bearer good", "Bearer good");
        verifier.cannotKnow(CannotKnow.Why.STALE);
        assertRefused(Status.Code.UNAVAILABLE, "NOT_FRESH", "Bearer good");
    }

    /** Of the rules that match, the longest counts: a method may ask for more than its service, or for nothing. */
    @Test
    void rules() throws Exception {
        serve(new AuthInterceptor(verifier).on("*", Requirements.scopes("read")).on(METHOD, Requirements.scopes("write")));
        assertRefused(Status.Code.PERMISSION_DENIED, "TOKEN_INSUFFICIENT", "Bearer good");
        stop();
        serve(new AuthInterceptor(verifier).on(METHOD, Requirements.NONE).on("*", Requirements.scopes("write")));
        assertEquals("u1", call("Bearer good"));
        stop();
        serve(new AuthInterceptor(verifier).open("/authapi.v1.KeyService/*"));
        assertEquals("nobody", call());
        assertNull(AuthInterceptor.claims());
    }

    /** What a good token must not be for, its audience or role, is refused as insufficient. */
    @Test
    void insufficientTokens() throws Exception {
        for (Requirements required : List.of(Requirements.audience("elsewhere"), Requirements.roles("clerk"))) {
            serve(new AuthInterceptor(verifier).on(METHOD, required));
            assertRefused(Status.Code.PERMISSION_DENIED, "TOKEN_INSUFFICIENT", "Bearer good");
            stop();
        }
    }
}
