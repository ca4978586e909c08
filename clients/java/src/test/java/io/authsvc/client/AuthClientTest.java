package io.authsvc.client;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.google.protobuf.ByteString;
import io.authsvc.authapi.v1.Active;
import io.authsvc.authapi.v1.Cursor;
import io.authsvc.authapi.v1.LoginRequest;
import io.authsvc.authapi.v1.RefreshTokenRequest;
import io.authsvc.authapi.v1.VerifyTokenRequest;
import io.authsvc.authapi.v1.VerifyTokenResponse;
import io.grpc.Status;
import io.grpc.StatusRuntimeException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CountDownLatch;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;

class AuthClientTest {
    private final ScriptedServer server = new ScriptedServer();
    private final AuthClient client = AuthClient.builder(server.target()).build();

    @AfterEach
    void stop() {
        client.close();
        server.close();
    }

    /** A login code reaches the server at most once; what may be repeated is. */
    @Test
    void loginIsNeverRepeated() {
        var refused = assertThrows(
                StatusRuntimeException.class,
                () -> client.auth().login(LoginRequest.newBuilder().setMiniProgramCode("c").build()));
        assertEquals(Status.Code.UNAVAILABLE, refused.getStatus().getCode());
        assertEquals(1, server.count("Login"));
        assertEquals(
                "third time", client.auth().refreshToken(RefreshTokenRequest.getDefaultInstance()).getUserId());
        assertEquals(3, server.count("RefreshToken"));
    }

    private static VerifyTokenRequest about(String token) {
        return VerifyTokenRequest.newBuilder().setAccessToken(token).build();
    }

    private static VerifyTokenResponse echo(VerifyTokenRequest request) {
        return VerifyTokenResponse.newBuilder()
                .setActive(Active.newBuilder().setUserId(request.getAccessToken()))
                .build();
    }

    /** Questions asked while calls are under way go together, equal ones once; everybody gets his own answer. */
    @Test
    void questionsGoTogether() throws Exception {
        CountDownLatch gate = new CountDownLatch(1);
        server.verify = request -> {
            try {
                gate.await();
            } catch (InterruptedException e) {
                throw new AssertionError(e);
            }
            return echo(request);
        };
        List<CompletableFuture<VerifyTokenResponse>> answers = new ArrayList<>();
        for (int i = 0; i < 200; i++) {
            answers.add(client.verifyTokenAsync(about("t" + i / 2)));
        }
        assertFalse(answers.get(0).isDone());
        gate.countDown();
        for (int i = 0; i < 200; i++) {
            assertEquals("t" + i / 2, answers.get(i).get().getActive().getUserId());
        }
        // The first two went alone, and they were equal.
        assertEquals(2, server.count("VerifyToken"));
        assertEquals(List.of(99), server.batches);
        assertEquals("t7", client.verifyToken(about("t7")).getActive().getUserId());
    }

    /** A bad question fails nobody else's. */
    @Test
    void badQuestionStandsAlone() throws Exception {
        CountDownLatch gate = new CountDownLatch(1);
        server.verify = request -> {
            try {
                gate.await();
            } catch (InterruptedException e) {
                throw new AssertionError(e);
            }
            if (request.getAccessToken().equals("bad")) {
                throw Status.INVALID_ARGUMENT.asRuntimeException();
            }
            return echo(request);
        };
        List<CompletableFuture<VerifyTokenResponse>> answers = new ArrayList<>();
        for (String token : List.of("a", "b", "c", "bad", "d")) {
            answers.add(client.verifyTokenAsync(about(token)));
        }
        gate.countDown();
        assertEquals("c", answers.get(2).get().getActive().getUserId());
        assertEquals("d", answers.get(4).get().getActive().getUserId());
        var bad = assertThrows(java.util.concurrent.ExecutionException.class, () -> answers.get(3).get());
        assertEquals(Status.Code.INVALID_ARGUMENT, Status.fromThrowable(bad).getCode());
    }

    /** A question with a cursor, which may make the server wait, holds nobody up. */
    @Test
    void cursorsGoAlone() {
        server.verify = AuthClientTest::echo;
        var request = about("t").toBuilder()
                .setAtLeast(Cursor.newBuilder().setValue(ByteString.copyFromUtf8("c"))).build();
        for (int i = 0; i < 3; i++) {
            assertEquals("t", client.verifyToken(request).getActive().getUserId());
        }
        assertEquals(3, server.count("VerifyToken"));
        server.verify = null;
        var failed = assertThrows(StatusRuntimeException.class, () -> client.verifyToken(about("t")));
        assertEquals(Status.Code.FAILED_PRECONDITION, failed.getStatus().getCode());
    }

    /** The service config that is shipped is the one of all clients. */
    @Test
    void serviceConfigIsCurrent() throws Exception {
        assertEquals(Files.readString(Path.of("..", "service_config.json")), AuthClient.serviceConfig());
        assertTrue(Connection.parse(AuthClient.serviceConfig()).containsKey("methodConfig"));
    }

    /** Plaintext by default goes only where nothing leaves the machine. */
    @Test
    void localTargets() {
        for (String local : List.of(
                "localhost:1", "127.0.0.1:1", "127.8.9.255:1", "[::1]:1", "dns:///localhost:1", "dns:localhost:1",
                "unix:/run/a.sock", "localhost")) {
            assertTrue(Connection.isLocal(local), local);
        }
        for (String far : List.of(
                "authsvc:1", "dns:///authsvc:1", "127.0.0.1.example:1", "localhost.example:1", "10.0.0.1:1",
                "dns:///[2001:db8::1]:1", "dns://8.8.8.8/authsvc:1", "127.0.0.256:1", "xds:///localhost-ish")) {
            assertFalse(Connection.isLocal(far), far);
        }
    }
}
