package io.authsvc.client;

import io.authsvc.authapi.v1.GetJwksResponse;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ThreadLocalRandom;
import java.util.function.Consumer;
import java.util.function.Supplier;

/** Holds the keys: the last known good set, read again ahead of its age. Reads are single flight. */
final class Keyring {
    /** How long a read may take; whoever makes the calls bounds them so. */
    static final long READ_LIMIT = 10_000_000_000L;

    private static final long SECOND = 1_000_000_000L;
    // An unknown key id is reason for a read at most this often, counted from the beginning of the last one of any kind.
    private static final long READ_GAP = 10 * SECOND;
    // After failed reads: the first pause and the longest.
    private static final long RETRY_FIRST = SECOND;
    private static final long RETRY_LAST = 30 * SECOND;
    private static final long LONGEST_AGE = 24 * 3600 * SECOND;

    /** A key set, and when its read began. */
    record Held(KeySet set, long began) {}

    /** What is known of a kid: a key, or that there is none ({@code known} without a key), or nothing. */
    record Found(PublicKey key, boolean known) {}

    private final VerifierClock clock;
    private final Supplier<CompletableFuture<GetJwksResponse>> fetch;
    private final Consumer<Boolean> told;

    /** What every check reads; null before the first good answer. */
    private volatile Held held;

    private CompletableFuture<Void> flight;
    private long began;
    private boolean everRead;
    private int failures;
    private long due;

    Keyring(VerifierClock clock, Supplier<CompletableFuture<GetJwksResponse>> fetch, Consumer<Boolean> told) {
        this.clock = clock;
        this.fetch = fetch;
        this.told = told;
        this.due = clock.elapsedNanos();
    }

    Held held() {
        return held;
    }

    /** Begins a read unless one is under way, and returns the one under way; it is completed whatever comes of it. */
    CompletableFuture<Void> refresh() {
        CompletableFuture<Void> mine;
        long start;
        synchronized (this) {
            if (flight != null) {
                return flight;
            }
            mine = begin();
            start = began;
        }
        fly(mine, start);
        return mine;
    }

    private CompletableFuture<Void> begin() {
        flight = new CompletableFuture<>();
        began = clock.elapsedNanos();
        everRead = true;
        return flight;
    }

    /** Calls outside of the lock: the answer may come at once, on this thread. */
    private void fly(CompletableFuture<Void> mine, long start) {
        fetch.get().whenComplete((answer, failure) -> {
            KeySet set = failure == null ? KeySet.of(answer) : null;
            synchronized (this) {
                landed(set, start);
            }
            mine.complete(null);
            told.accept(set != null);
        });
    }

    private void landed(KeySet set, long start) {
        long now = clock.elapsedNanos();
        double share = ThreadLocalRandom.current().nextDouble();
        if (set != null) {
            failures = 0;
            held = new Held(set.after(held == null ? null : held.set), start);
            // Ahead of its age, and not everybody at once.
            double ahead = set.maxAgeNanos() * (0.7 + 0.2 * share);
            due = now + (long) Math.min(Math.max(ahead, SECOND), LONGEST_AGE);
        } else {
            long pause = Math.min(RETRY_FIRST << Math.min(failures++, 5), RETRY_LAST);
            due = now + (long) (pause * (0.5 + 0.5 * share));
        }
        flight = null;
    }

    /** Returns when the next read ahead is due, on the elapsed clock. */
    synchronized long nextDue() {
        return flight != null ? clock.elapsedNanos() + READ_LIMIT : due;
    }

    /**
     * Returns what is known of the key of a token that arrived at a time on the elapsed clock. That there is none is knowledge
     * only if the last successful read began at or after the arrival.
     */
    Found find(String kid, long arrived) {
        Held now = held;
        if (now == null) {
            return new Found(null, false);
        }
        PublicKey key = now.set.keys().get(kid);
        return new Found(key, key != null || now.began - arrived >= 0);
    }

    /** Returns the read that an unknown key id waits for: begun now if one is due, or under way; else null. */
    CompletableFuture<Void> lookAgain() {
        CompletableFuture<Void> mine;
        long start;
        synchronized (this) {
            if (flight != null) {
                return flight;
            }
            if (everRead && clock.elapsedNanos() - began < READ_GAP) {
                return null;
            }
            mine = begin();
            start = began;
        }
        fly(mine, start);
        return mine;
    }

    /** Tells whether an answer of GetJwks said that a key was withdrawn. */
    boolean isWithdrawn(String kid) {
        Held now = held;
        return now != null && now.set.withdrawn().contains(kid);
    }
}
