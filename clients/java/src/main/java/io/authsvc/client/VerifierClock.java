package io.authsvc.client;

import java.time.Duration;

/** Where a verifier gets the time from. Tests give their own: {@link io.authsvc.client.testing.ManualClock}. */
public interface VerifierClock {
    /** Returns the wall clock in milliseconds since 1970, which judges a token's instants. */
    long wallMillis();

    /**
     * Returns nanoseconds since some moment, a reading that never falls and counts the time a machine was suspended. It
     * judges freshness.
     */
    long elapsedNanos();

    /**
     * Runs a task once a time has passed, at once if it is not above zero. The task must not block.
     *
     * @return what gives the task up
     */
    Runnable after(Duration delay, Runnable task);

    /**
     * Returns the real clock.
     *
     * <p>{@link System#nanoTime} stands still on Linux while the machine is suspended. So on Linux the time that {@code
     * /proc/uptime} (CLOCK_BOOTTIME) went on by itself is added, within a second of use. Elsewhere a step of the wall clock
     * ahead of nanoTime counts as sleep: knowledge then looks older than it is, never younger.
     */
    static VerifierClock system() {
        return SystemClock.INSTANCE;
    }
}
