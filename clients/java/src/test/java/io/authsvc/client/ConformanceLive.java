package io.authsvc.client;

import java.io.BufferedReader;
import java.io.IOException;
import java.io.InputStream;
import java.io.InputStreamReader;
import java.io.OutputStream;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.time.Instant;
import java.time.temporal.ChronoUnit;
import java.util.Locale;
import java.util.Map;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.Executors;
import java.util.concurrent.ScheduledExecutorService;
import java.util.concurrent.TimeUnit;

/**
 * The Java program of the live conformance part: judges tokens with a real verifier and speaks lines with the harness, as
 * clients/conformance/README.md says ("The live part").
 */
public final class ConformanceLive {
    // Tokens are judged this often while they are watched; the harness asks for every 5 ms at least.
    private static final long WATCH_MICROS = 1000;
    private static final Duration START = Duration.ofSeconds(60);

    private final Verifier verifier;
    private final PrintStream out;
    private final Map<String, String> watched = new ConcurrentHashMap<>();

    private ConformanceLive(Verifier verifier, PrintStream out) {
        this.verifier = verifier;
        this.out = out;
    }

    public static void main(String[] args) throws IOException {
        Map<String, String> given = Map.of(args[0], args[1], args[2], args[3]);
        run(given.get("--target"), given.get("--audience"), System.in, System.out);
    }

    static void run(String target, String audience, InputStream in, OutputStream out) throws IOException {
        ScheduledExecutorService watcher = Executors.newSingleThreadScheduledExecutor();
        try (Verifier verifier = Verifier.builder(target).audience(audience).plaintext().start()) {
            var program = new ConformanceLive(verifier, new PrintStream(out, true, StandardCharsets.UTF_8));
            verifier.awaitReady(START);
            program.say("ready");
            watcher.scheduleWithFixedDelay(program::watch, 0, WATCH_MICROS, TimeUnit.MICROSECONDS);
            var lines = new BufferedReader(new InputStreamReader(in, StandardCharsets.UTF_8));
            for (String line = lines.readLine(); line != null && !line.equals("quit"); line = lines.readLine()) {
                program.obey(line);
            }
        } finally {
            watcher.shutdownNow();
        }
    }

    private synchronized void say(String line) {
        out.print(line + "\n");
        out.flush();
    }

    private void obey(String line) {
        String[] words = line.split(" ", 3);
        switch (words[0]) {
            case "verify" -> say(words.length == 2 ? judge(words[1], true) : judge("", true));
            case "watch" -> {
                String verdict = words.length == 3 ? judge(words[2], true) : "error watch what?";
                boolean active = verdict.equals("active");
                say(active ? "watching " + words[1] : verdict);
                if (active) {
                    watched.put(words[1], words[2]);
                }
            }
            case "age" -> say("age " + verifier.age().map(Duration::toMillis).orElse(-1L));
            case "stats" -> say(
                    "stats {\"revocations\":" + verifier.revocations() + ",\"tokens\":" + verifier.tokens() + "}");
            default -> say("error " + words[0] + " is no command");
        }
    }

    private String judge(String token, boolean waits) {
        try {
            Verdict verdict = waits ? verifier.verify(token) : verifier.check(token);
            return verdict instanceof Verdict.Inactive inactive ? "inactive " + inactive.reason() : "active";
        } catch (CannotKnow e) {
            return "unavailable";
        }
    }

    /** Says when a token is refused for the first time. */
    private void watch() {
        watched.forEach((number, token) -> {
            String verdict = judge(token, false);
            if (verdict.startsWith("inactive ")) {
                long micros = ChronoUnit.MICROS.between(Instant.EPOCH, Instant.now());
                watched.remove(number);
                say(String.format(
                        Locale.ROOT, "refused %s %s %.3f", number, verdict.substring("inactive ".length()), micros / 1e3));
            }
        });
    }
}
