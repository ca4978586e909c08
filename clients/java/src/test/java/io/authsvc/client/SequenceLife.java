package io.authsvc.client;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNotNull;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.google.protobuf.ByteString;
import io.authsvc.authapi.v1.GetJwksResponse;
import io.authsvc.authapi.v1.WatchRevocationsResponse;
import io.authsvc.client.testing.ManualClock;
import io.grpc.Status;
import java.time.Duration;
import java.time.Instant;
import java.util.Base64;
import java.util.List;
import java.util.Map;
import java.util.concurrent.CompletableFuture;

/** Drives a verifier's state by hand through a sequence, as the loop of a Verifier does. */
final class SequenceLife {
    private static final Duration HOP = Duration.ofMillis(100);

    private interface Step {
        void play(Object value, Map<String, Object> step);
    }

    private final Vectors vectors;
    private final ManualClock clock;
    private final long start;
    private final Keyring keys;
    private final Follower follower;
    private final Judge judge;
    private final Map<String, Step> kinds = Map.ofEntries(
            Map.entry("message", this::message),
            Map.entry("stream", this::end),
            Map.entry("expect_open", this::expectOpen),
            Map.entry("keys", (value, step) -> keysNow(value)),
            Map.entry("expect_key_reads", (value, step) -> expectKeyReads(value)),
            Map.entry("remote", (value, step) -> setRemote(value)),
            Map.entry("verify", this::verify),
            Map.entry("expect_age_ms", (value, step) -> expectAge(value)),
            Map.entry("expect_fresh", (value, step) -> expectFresh(value)),
            Map.entry("expect_position", (value, step) -> expectPosition(value)),
            Map.entry("reached", this::reached),
            Map.entry("wall_jump_ms", (value, step) -> jump(value)),
            Map.entry("suspended", this::suspend));

    private Object keysName;
    private int reads;
    private Judge.Answer remote; // null: unavailable
    private int asked;
    private int opens;
    private ByteString resumed;

    SequenceLife(Vectors vectors, Map<String, Object> given) {
        this.vectors = vectors;
        clock = new ManualClock(Instant.ofEpochMilli(Vectors.number(given.get("now_ms"))));
        start = clock.elapsedNanos();
        keysName = given.get("keys");
        keys = new Keyring(clock, this::readKeys, ok -> { });
        follower = new Follower(start);
        judge = new Judge(
                clock, keys, follower, new TokenCache(1 << 20), List.of("orders"),
                Vectors.number(given.get("hard_bound_ms")) * 1_000_000, Vectors.policy(given.get("when_stale")),
                this::ask);
        due();
    }

    private CompletableFuture<GetJwksResponse> readKeys() {
        reads++;
        return keysName.equals("fails")
                ? CompletableFuture.failedFuture(new IllegalStateException("scripted"))
                : CompletableFuture.completedFuture(vectors.keySet(keysName));
    }

    private CompletableFuture<Judge.Answer> ask(String token, String audience) {
        asked++;
        return remote == null
                ? CompletableFuture.failedFuture(new IllegalStateException("scripted"))
                : CompletableFuture.completedFuture(remote);
    }

    /** Does what is due now: one round of the loop. */
    private void due() {
        long now = clock.elapsedNanos();
        if (now >= keys.nextDue()) {
            keys.refresh();
        }
        follower.tick(now);
        if (follower.wantsStream(now)) {
            follower.opened(now);
            opens++;
            resumed = follower.cursor();
        }
    }

    private void goTo(long at) {
        while (clock.elapsedNanos() < at) {
            clock.advance(Duration.ofNanos(Math.min(HOP.toNanos(), at - clock.elapsedNanos())));
            due();
        }
    }

    /** Plays one step; which are its kinds is in clients/conformance/README.md. */
    void step(Map<String, Object> step) {
        if (!step.containsKey("suspended")) {
            goTo(at(step));
        }
        int played = 0;
        for (Map.Entry<String, Step> kind : kinds.entrySet()) {
            if (step.containsKey(kind.getKey())) {
                kind.getValue().play(step.get(kind.getKey()), step);
                played++;
            }
        }
        assertEquals(1, played, "a step has one kind, which this runner knows");
    }

    private long at(Map<String, Object> step) {
        return start + Vectors.number(step.get("at_ms")) * 1_000_000;
    }

    private boolean deliver(Object message) {
        return follower.message(
                clock.elapsedNanos(), clock.now().getEpochSecond(),
                Vectors.message(message, WatchRevocationsResponse.parser()));
    }

    private void message(Object message, Map<String, Object> step) {
        for (int hops = 0; step.containsKey("when_open") && !follower.isOpen(); hops++) {
            assertTrue(hops < 80, "a stream is opened within 8 s");
            goTo(clock.elapsedNanos() + HOP.toNanos());
        }
        assertTrue(follower.isOpen(), "a stream is open");
        boolean goesOn = deliver(message);
        if (step.containsKey("then")) {
            assertEquals("ok", step.get("then"));
            if (goesOn) {
                follower.ended(clock.elapsedNanos(), Status.Code.OK);
            }
        }
        due();
    }

    private void end(Object name, Map<String, Object> step) {
        Status.Code code = Map.of(
                "cut", Status.Code.UNAVAILABLE,
                "ok", Status.Code.OK,
                "out_of_range", Status.Code.OUT_OF_RANGE,
                "too_slow", Status.Code.RESOURCE_EXHAUSTED).get(name);
        assertNotNull(code, "an end that this runner knows");
        follower.ended(clock.elapsedNanos(), code);
        due();
    }

    private void expectOpen(Object expected, Map<String, Object> step) {
        assertTrue(opens > 0, "a stream was opened");
        String cursor = resumed == null ? null : Base64.getEncoder().encodeToString(resumed.toByteArray());
        assertEquals(Vectors.object(expected).get("resume_from"), cursor);
        opens = 0;
    }

    private void keysNow(Object name) {
        keysName = name;
    }

    private void expectKeyReads(Object expected) {
        assertEquals(Vectors.number(expected), reads);
    }

    private void setRemote(Object said) {
        if (said instanceof String text) {
            assertEquals("unavailable", text);
            remote = null;
            return;
        }
        Map<String, Object> verdict = Vectors.object(Vectors.object(said).get("verdict"));
        Verdict.Inactive refusal = null;
        if (!verdict.containsKey("active")) {
            String end = (String) verdict.getOrDefault("session_end_reason", "UNSPECIFIED");
            refusal = new Verdict.Inactive(Reason.valueOf((String) verdict.get("inactive")), EndReason.valueOf(end));
        }
        remote = new Judge.Answer(refusal, Vectors.number(Vectors.object(said).get("age_ms")) * 1_000_000);
    }

    private void verify(Object name, Map<String, Object> step) {
        Map<String, Object> token = Vectors.object(Vectors.object(vectors.file.get("tokens")).get(name));
        Requirements required = Vectors.requirements(token.get("require"));
        int before = asked;
        Object said = Vectors.verdict(() -> judge.check((String) token.get("token"), required, true));
        assertEquals(step.get("expect"), said);
        assertEquals(step.get("asked"), asked > before, "whether the server was asked");
    }

    private void expectAge(Object expected) {
        Follower.Known known = follower.known();
        assertEquals(expected != null, known.view().complete(), "whether there is an age");
        if (expected != null) {
            long age = (clock.elapsedNanos() - known.confirmed()) / 1_000_000;
            assertTrue(Math.abs(age - Vectors.number(expected)) <= 1, () -> "the age is " + age);
        }
    }

    private void expectFresh(Object expected) {
        assertEquals(expected, judge.doubt() == null);
    }

    private void expectPosition(Object expected) {
        RevocationView view = follower.known().view();
        assertEquals(expected, view.complete() ? String.format("%016x", view.position()) : null);
    }

    private void reached(Object position, Map<String, Object> step) {
        assertEquals(step.get("expect"), judge.reached(Long.parseUnsignedLong((String) position, 16)));
    }

    private void jump(Object milliseconds) {
        clock.stepWall(Duration.ofMillis(Vectors.number(milliseconds)));
    }

    private void suspend(Object suspended, Map<String, Object> step) {
        clock.advance(Duration.ofNanos(at(step) - clock.elapsedNanos()));
        for (Object buffered : Vectors.list(step.get("buffered"))) {
            if (follower.isOpen()) { // else the one before has made the verifier give the stream up
                deliver(buffered);
            }
        }
        due();
    }
}
