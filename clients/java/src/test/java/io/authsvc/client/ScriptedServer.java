package io.authsvc.client;

import io.authsvc.authapi.v1.AuthServiceGrpc;
import io.authsvc.authapi.v1.BatchVerifyTokensRequest;
import io.authsvc.authapi.v1.BatchVerifyTokensResponse;
import io.authsvc.authapi.v1.GetJwksRequest;
import io.authsvc.authapi.v1.GetJwksResponse;
import io.authsvc.authapi.v1.KeyServiceGrpc;
import io.authsvc.authapi.v1.LoginRequest;
import io.authsvc.authapi.v1.LoginResponse;
import io.authsvc.authapi.v1.RefreshTokenRequest;
import io.authsvc.authapi.v1.RefreshTokenResponse;
import io.authsvc.authapi.v1.RevocationServiceGrpc;
import io.authsvc.authapi.v1.VerifyTokenRequest;
import io.authsvc.authapi.v1.VerifyTokenResponse;
import io.authsvc.authapi.v1.WatchRevocationsRequest;
import io.authsvc.authapi.v1.WatchRevocationsResponse;
import io.authsvc.client.testing.TokenIssuer;
import io.grpc.Server;
import io.grpc.Status;
import io.grpc.netty.shaded.io.grpc.netty.NettyServerBuilder;
import io.grpc.protobuf.services.HealthStatusManager;
import io.grpc.stub.ServerCallStreamObserver;
import io.grpc.stub.StreamObserver;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.net.InetSocketAddress;
import java.util.List;
import java.util.Map;
import java.util.concurrent.BlockingQueue;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.CopyOnWriteArrayList;
import java.util.concurrent.LinkedBlockingQueue;
import java.util.function.Function;

/** A real gRPC server on a real socket, whose answers a test gives one by one. */
final class ScriptedServer implements AutoCloseable {
    final BlockingQueue<Stream> streams = new LinkedBlockingQueue<>();
    final List<Integer> batches = new CopyOnWriteArrayList<>();
    volatile GetJwksResponse keys; // null: FAILED_PRECONDITION
    volatile Function<VerifyTokenRequest, VerifyTokenResponse> verify; // null: FAILED_PRECONDITION
    private final Map<String, Integer> calls = new ConcurrentHashMap<>();
    private final Server server;

    ScriptedServer(TokenIssuer... issuers) {
        this(0, issuers);
    }

    ScriptedServer(int port, TokenIssuer... issuers) {
        keys = TokenIssuer.keySet(issuers);
        HealthStatusManager health = new HealthStatusManager();
        health.setStatus(
                AuthServiceGrpc.SERVICE_NAME, io.grpc.health.v1.HealthCheckResponse.ServingStatus.SERVING);
        try {
            server = NettyServerBuilder.forAddress(new InetSocketAddress("127.0.0.1", port))
                    .addService(health.getHealthService())
                    .addService(new Auth())
                    .addService(new Keys())
                    .addService(new Revocations())
                    .build()
                    .start();
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        }
    }

    int port() {
        return server.getPort();
    }

    String target() {
        return "127.0.0.1:" + port();
    }

    int count(String method) {
        return calls.getOrDefault(method, 0);
    }

    private int counted(String method) {
        return calls.merge(method, 1, Integer::sum);
    }

    /** Is the end of a process: every connection breaks. */
    @Override
    public void close() {
        server.shutdownNow();
        try {
            server.awaitTermination();
        } catch (InterruptedException e) {
            throw new AssertionError(e);
        }
    }

    private static RuntimeException scripted(Status status) {
        return status.withDescription("scripted").asRuntimeException();
    }

    private VerifyTokenResponse answer(VerifyTokenRequest request) {
        if (verify == null) {
            throw scripted(Status.FAILED_PRECONDITION); // not one that the service config repeats
        }
        return verify.apply(request);
    }

    private static <T> void reply(StreamObserver<T> observer, java.util.function.Supplier<T> answer) {
        try {
            observer.onNext(answer.get());
            observer.onCompleted();
        } catch (RuntimeException e) {
            observer.onError(e);
        }
    }

    private final class Auth extends AuthServiceGrpc.AuthServiceImplBase {
        @Override
        public void verifyToken(VerifyTokenRequest request, StreamObserver<VerifyTokenResponse> observer) {
            counted("VerifyToken");
            reply(observer, () -> answer(request));
        }

        @Override
        public void batchVerifyTokens(
                BatchVerifyTokensRequest request, StreamObserver<BatchVerifyTokensResponse> observer) {
            counted("BatchVerifyTokens");
            batches.add(request.getRequestsCount());
            reply(observer, () -> BatchVerifyTokensResponse.newBuilder()
                    .addAllResponses(request.getRequestsList().stream().map(one -> answer(one)).toList())
                    .build());
        }

        @Override
        public void login(LoginRequest request, StreamObserver<LoginResponse> observer) {
            counted("Login");
            observer.onError(scripted(Status.UNAVAILABLE));
        }

        @Override
        public void refreshToken(RefreshTokenRequest request, StreamObserver<RefreshTokenResponse> observer) {
            boolean third = counted("RefreshToken") >= 3;
            reply(observer, () -> {
                if (!third) {
                    throw scripted(Status.UNAVAILABLE);
                }
                return RefreshTokenResponse.newBuilder().setUserId("third time").build();
            });
        }
    }

    private final class Keys extends KeyServiceGrpc.KeyServiceImplBase {
        @Override
        public void getJwks(GetJwksRequest request, StreamObserver<GetJwksResponse> observer) {
            counted("GetJwks");
            reply(observer, () -> {
                if (keys == null) {
                    throw scripted(Status.FAILED_PRECONDITION);
                }
                return keys;
            });
        }
    }

    private final class Revocations extends RevocationServiceGrpc.RevocationServiceImplBase {
        @Override
        public void watchRevocations(
                WatchRevocationsRequest request, StreamObserver<WatchRevocationsResponse> observer) {
            Stream stream = new Stream(request, (ServerCallStreamObserver<WatchRevocationsResponse>) observer);
            stream.out.setOnCancelHandler(() -> stream.gone = true);
            streams.add(stream);
        }
    }

    /** One WatchRevocations, driven by the test. */
    static final class Stream {
        final WatchRevocationsRequest request;
        volatile boolean gone; // the client gave it up
        private final ServerCallStreamObserver<WatchRevocationsResponse> out;

        Stream(WatchRevocationsRequest request, ServerCallStreamObserver<WatchRevocationsResponse> out) {
            this.request = request;
            this.out = out;
        }

        String cursor() {
            return request.getResumeFrom().getValue().toStringUtf8();
        }

        void say(WatchRevocationsResponse message) {
            out.onNext(message);
        }

        void finish(Status status) {
            if (status.isOk()) {
                out.onCompleted();
            } else {
                out.onError(scripted(status));
            }
        }
    }
}
