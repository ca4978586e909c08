package io.authsvc.client.testing;

import io.authsvc.client.VerifierClock;
import java.time.Duration;
import java.time.Instant;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;

/** A clock that stands until it is moved. */
public final class ManualClock implements VerifierClock {
    private long wallNanos;
    private long elapsed = Duration.ofHours(1).toNanos();
    // By a key of its own: one task may be set twice.
    private final Map<Object, Timer> timers = new HashMap<>();

    private record Timer(long due, Runnable task) {}

    /** Makes a clock that shows a time. */
    public ManualClock(Instant wall) {
        wallNanos = wall.getEpochSecond() * 1_000_000_000L + wall.getNano();
    }

    @Override
    public synchronized long wallMillis() {
        return Math.floorDiv(wallNanos, 1_000_000L);
    }

    /** Returns the wall clock. */
    public Instant now() {
        return Instant.ofEpochMilli(wallMillis());
    }

    @Override
    public synchronized long elapsedNanos() {
        return elapsed;
    }

    @Override
    public Runnable after(Duration delay, Runnable task) {
        Object key = new Object();
        synchronized (this) {
            if (delay.toNanos() > 0) {
                timers.put(key, new Timer(elapsed + delay.toNanos(), task));
                return () -> giveUp(key);
            }
        }
        task.run();
        return () -> { };
    }

    private synchronized void giveUp(Object key) {
        timers.remove(key);
    }

    /**
     * Returns how many timers are set. A verifier at rest has one: a test that moves the clock in steps should wait for it before
     * each, or a busy machine looks to the verifier like one that slept.
     */
    public synchronized int waiting() {
        return timers.size();
    }

    /** Moves the wall clock alone, as an operator or NTP does. */
    public synchronized void stepWall(Duration by) {
        wallNanos += by.toNanos();
    }

    /**
     * Moves both clocks and runs, on this thread, what waited for a time that has passed. A verifier takes one long step for a
     * machine that slept, and opens its stream anew; several short ones are time that passes.
     */
    public void advance(Duration by) {
        List<Runnable> due = new ArrayList<>();
        synchronized (this) {
            wallNanos += by.toNanos();
            elapsed += by.toNanos();
            timers.values().removeIf(timer -> {
                boolean passed = timer.due <= elapsed;
                if (passed) {
                    due.add(timer.task);
                }
                return passed;
            });
        }
        due.forEach(Runnable::run);
    }
}
