package io.authsvc.client;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNull;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import io.authsvc.authapi.v1.LoginRequest;
import io.authsvc.authapi.v1.LoginResponse;
import io.authsvc.authapi.v1.RevokeRequest;
import io.authsvc.authapi.v1.RevokeResponse;
import io.authsvc.authapi.v1.UserTarget;
import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.io.PipedInputStream;
import java.io.PipedOutputStream;
import java.io.PrintStream;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Map;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.TimeUnit;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** Against a real authsvc with its sandbox, on free ports, where the repository's .venv has one. */
class LiveTest {
    private static final String APP = "wx00000000000000d1"; // the sandbox's first

    @TempDir
    Path folder;

    private Process process;

    private Map<String, Object> serve() throws Exception {
        Path command = Path.of("..", "..", ".venv", "bin", "authsvc").toAbsolutePath().normalize();
        if (!Files.isExecutable(command)) {
            String text = "SKIPPED, NOT PASSED: no authsvc in the repository's .venv (make install);"
                    + " the Java client was not tested against a live server";
            System.err.println(text);
            assumeTrue(false, text);
        }
        Path ready = folder.resolve("ready.json");
        Path log = folder.resolve("log.txt");
        process = new ProcessBuilder(
                        command.toString(), "dev", "--quiet", "--data-dir", folder.resolve("data").toString(),
                        "--ready-file", ready.toString(), "--grpc-port", "0", "--http-port", "0", "--sandbox-port", "0",
                        "--ops-port", "0", "--drain-wait", "0")
                .directory(folder.toFile())
                .redirectErrorStream(true)
                .redirectOutput(log.toFile())
                .start();
        long end = System.nanoTime() + Site.PATIENCE.toNanos();
        while (true) {
            if (Files.exists(ready)) {
                try {
                    return Json.object(Files.readAllBytes(ready));
                } catch (Json.Malformed e) {
                    // half written
                }
            }
            assertTrue(process.isAlive() && System.nanoTime() < end, () -> "authsvc did not start: " + read(log));
            Thread.sleep(50);
        }
    }

    private static String read(Path file) {
        try {
            return Files.readString(file);
        } catch (java.io.IOException e) {
            return e.toString();
        }
    }

    @AfterEach
    void stop() throws Exception {
        if (process != null) {
            process.destroy();
            if (!process.waitFor(Site.PATIENCE.toSeconds(), TimeUnit.SECONDS)) {
                process.destroyForcibly().waitFor();
            }
        }
    }

    private static LoginResponse login(AuthClient client, String sandbox) throws Exception {
        String url = sandbox.startsWith("http") ? sandbox : "http://" + sandbox;
        HttpRequest request = HttpRequest.newBuilder(URI.create(url + "/sandbox/v1/codes"))
                .header("Content-Type", "application/json")
                .POST(HttpRequest.BodyPublishers.ofString("{\"app_id\":\"" + APP + "\",\"user\":\"alice\"}"))
                .build();
        byte[] reply = HttpClient.newHttpClient().send(request, HttpResponse.BodyHandlers.ofByteArray()).body();
        String code = (String) Json.object(reply).get("code");
        return client.auth().login(LoginRequest.newBuilder().setAppId(APP).setMiniProgramCode(code).build());
    }

    /**
     * A login's token is good here, with its claims, and a revocation ends it, by session and by user, within what
     * awaitPosition promises; the live program says so in its lines.
     */
    @Test
    void loginAndRevoke() throws Exception {
        Map<String, Object> addresses = serve();
        String target = ((String) addresses.get("grpc")).replaceFirst("^http://", "");
        PipedOutputStream commands = new PipedOutputStream();
        PipedInputStream lines = new PipedInputStream();
        PipedInputStream in = new PipedInputStream(commands);
        PipedOutputStream out = new PipedOutputStream(lines);
        CompletableFuture<Void> program = CompletableFuture.runAsync(() -> {
            try {
                ConformanceLive.run(target, APP, in, out);
                out.close();
            } catch (java.io.IOException e) {
                throw new java.io.UncheckedIOException(e);
            }
        });
        PrintStream say = new PrintStream(commands, true, StandardCharsets.UTF_8);
        BufferedReader said = new BufferedReader(new InputStreamReader(lines, StandardCharsets.UTF_8));
        try (AuthClient client = AuthClient.builder(target).build();
                Verifier verifier = Verifier.builder(target).audience(APP).start()) {
            verifier.awaitReady(Site.PATIENCE);
            assertEquals("ready", said.readLine());
            for (Reason reason : new Reason[] {Reason.SESSION_REVOKED, Reason.USER_REVOKED}) {
                LoginResponse session = login(client, (String) addresses.get("sandbox"));
                String token = session.getTokens().getAccessToken();
                Claims claims = ((Verdict.Active) verifier.verify(token)).claims();
                assertEquals(session.getUserId(), claims.userId());
                assertEquals(session.getOpenid(), claims.openid().orElseThrow());
                say.print("watch " + reason + " " + token + "\n");
                say.flush();
                assertEquals("watching " + reason, said.readLine());
                RevokeRequest.Builder revoke = RevokeRequest.newBuilder();
                if (reason == Reason.SESSION_REVOKED) {
                    revoke.setSessionId(session.getSessionId());
                } else {
                    revoke.setUser(UserTarget.newBuilder().setUserId(session.getUserId()));
                }
                RevokeResponse revoked = client.auth().revoke(revoke.build());
                verifier.awaitPosition(revoked.getPosition(), Site.PATIENCE);
                assertEquals(reason, ((Verdict.Inactive) verifier.check(token)).reason());
                assertTrue(said.readLine().startsWith("refused " + reason + " " + reason + " "));
            }
            for (String line : new String[] {"verify junk", "age", "stats", "dance", "quit"}) {
                say.print(line + "\n");
            }
            say.flush();
            assertEquals("inactive MALFORMED", said.readLine());
            assertTrue(said.readLine().matches("age \\d+"));
            assertTrue(said.readLine().startsWith("stats {"));
            assertTrue(said.readLine().startsWith("error "));
            program.get(Site.PATIENCE.toSeconds(), TimeUnit.SECONDS);
            assertNull(said.readLine());
        }
    }
}
