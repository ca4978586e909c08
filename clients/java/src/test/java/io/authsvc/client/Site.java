package io.authsvc.client;

import static org.junit.jupiter.api.Assertions.assertTrue;

import io.authsvc.authapi.v1.Revocation;
import io.authsvc.client.testing.ManualClock;
import io.authsvc.client.testing.TokenIssuer;
import java.time.Duration;
import java.time.Instant;
import java.util.function.BooleanSupplier;
import java.util.function.UnaryOperator;

/** A verifier on a clock that is moved by hand, and the server it watches. */
final class Site implements AutoCloseable {
    /** Bounds every wait of a test; none of them is expected to last. */
    static final Duration PATIENCE = Duration.ofSeconds(60);

    final ManualClock clock = new ManualClock(Instant.parse("2026-07-01T00:00:00Z"));
    final TokenIssuer issuer = new TokenIssuer(clock::now);
    final Verifier verifier;
    ScriptedServer server = new ScriptedServer(issuer);

    Site(UnaryOperator<Verifier.Builder> options) {
        verifier = options.apply(Verifier.builder(server.target()).audience("orders").clock(clock)).start();
    }

    Site() {
        this(options -> options);
    }

    @Override
    public void close() {
        verifier.close();
        server.close();
    }

    /** Returns the first word on a token: active, a reason, or why nobody knows. */
    static String verdict(TokenVerifier verifier, String token, Requirements required) {
        try {
            Verdict verdict = verifier.verify(token, required);
            return verdict instanceof Verdict.Inactive inactive ? inactive.reason().name() : "active";
        } catch (CannotKnow e) {
            return "cannot know: " + e.why();
        }
    }

    String verdict(String token) {
        return verdict(verifier, token, Requirements.NONE);
    }

    /** Waits, without any time passing on the verifier's clock. */
    void atOnce(BooleanSupplier condition) {
        long end = System.nanoTime() + PATIENCE.toNanos();
        while (!condition.getAsBoolean()) {
            assertTrue(System.nanoTime() < end, "it never came");
            try {
                Thread.sleep(1);
            } catch (InterruptedException e) {
                throw new AssertionError(e);
            }
        }
    }

    /**
     * Lets a short time pass, unless the verifier has not yet done what was due: on a busy machine it would take that for a
     * sleep.
     */
    boolean pass(Duration step) {
        boolean atRest = clock.waiting() >= 1;
        if (atRest) {
            clock.advance(step);
        }
        return atRest;
    }

    /** Lets time pass in short steps until a condition holds. */
    void within(BooleanSupplier condition) {
        within(Duration.ofMillis(20), condition);
    }

    void within(Duration step, BooleanSupplier condition) {
        atOnce(() -> {
            boolean holds = condition.getAsBoolean();
            if (!holds) {
                pass(step);
            }
            return holds;
        });
    }

    /** Lets time pass until the verifier opens a stream. */
    ScriptedServer.Stream next() {
        within(() -> !server.streams.isEmpty());
        return server.streams.remove();
    }

    /** Completes the first snapshot and returns its stream. */
    ScriptedServer.Stream ready(Revocation... facts) {
        ScriptedServer.Stream stream = next();
        stream.say(Messages.complete(Messages.snapshot(true, facts), "c1", 1));
        verifier.awaitReady(PATIENCE);
        return stream;
    }
}
