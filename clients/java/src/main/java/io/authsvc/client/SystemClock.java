package io.authsvc.client;

import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.concurrent.ScheduledThreadPoolExecutor;
import java.util.concurrent.TimeUnit;
import java.util.function.LongSupplier;

/**
 * The real clock: nanoTime and whatever it slept through.
 *
 * <p>Reading {@code /proc/uptime} costs microseconds. As long as wall clock and nanoTime went on side by side since the last
 * reading, the machine has not slept since, and that costs nothing. A step of the wall clock only causes one more reading.
 */
final class SystemClock implements VerifierClock {
    static final SystemClock INSTANCE = new SystemClock(
            System::nanoTime, () -> System.currentTimeMillis() * 1_000_000, SystemClock::readUptime);

    /** What an uptime is where there is none to read. */
    static final long NO_UPTIME = -1;

    // So much sleep goes unnoticed between two readings of the uptime, and no more.
    private static final long WALL_SLACK = 15_000_000;
    // A slow adjustment of the wall clock could hide a sleep of the same length for no longer than this.
    private static final long TRUST = 1_000_000_000;
    // The kernel says hundredths of a second.
    private static final long UPTIME_STEP = 20_000_000;
    // Where there is no uptime: steps of the wall clock below this are not sleep.
    private static final long WALL_SLEEP = 1_000_000_000;
    private static final Path UPTIME = Path.of("/proc/uptime");

    private record Reading(long monotonic, long wall, long slept) {}

    private final LongSupplier nanoTime;
    private final LongSupplier wallNanos;
    private final LongSupplier uptime;
    private final long started;
    private final long uptimeAhead;
    private volatile Reading last;

    SystemClock(LongSupplier nanoTime, LongSupplier wallNanos, LongSupplier uptime) {
        this.nanoTime = nanoTime;
        this.wallNanos = wallNanos;
        this.uptime = uptime;
        this.started = nanoTime.getAsLong();
        long monotonic = nanoTime.getAsLong() - started;
        long booted = uptime.getAsLong();
        uptimeAhead = booted == NO_UPTIME ? NO_UPTIME : booted - monotonic;
        last = new Reading(monotonic, wallNanos.getAsLong(), 0);
    }

    private static long readUptime() {
        try {
            String text = Files.readString(UPTIME, StandardCharsets.US_ASCII);
            return (long) (Double.parseDouble(text.substring(0, text.indexOf(' '))) * 1e9);
        } catch (IOException | RuntimeException e) {
            return NO_UPTIME; // another system, or a sandbox without /proc
        }
    }

    @Override
    public long wallMillis() {
        return wallNanos.getAsLong() / 1_000_000;
    }

    @Override
    public long elapsedNanos() {
        long monotonic = nanoTime.getAsLong() - started;
        long wall = wallNanos.getAsLong();
        Reading before = last;
        long passed = monotonic - before.monotonic;
        long drift = wall - before.wall - passed;
        if (passed < TRUST && drift < WALL_SLACK && drift > -WALL_SLACK) {
            return monotonic + before.slept;
        }
        return look();
    }

    private synchronized long look() {
        Reading before = last;
        long booted = uptime.getAsLong();
        // Read after the uptime: a pause between the two hides sleep for a moment and never makes any up.
        long monotonic = nanoTime.getAsLong() - started;
        long wall = wallNanos.getAsLong();
        long slept = before.slept;
        if (uptimeAhead != NO_UPTIME && booted != NO_UPTIME) {
            long ahead = booted - uptimeAhead - monotonic;
            slept = ahead > slept + UPTIME_STEP ? ahead : slept;
        } else {
            long drift = wall - before.wall - (monotonic - before.monotonic);
            slept += drift > WALL_SLEEP ? drift : 0;
        }
        last = new Reading(monotonic, wall, slept);
        return monotonic + slept;
    }

    @Override
    public Runnable after(Duration delay, Runnable task) {
        var timer = Timers.POOL.schedule(task, delay.toNanos(), TimeUnit.NANOSECONDS);
        return () -> timer.cancel(false);
    }

    /** One thread for all timers of the process, made with the first. */
    private static final class Timers {
        static final ScheduledThreadPoolExecutor POOL = new ScheduledThreadPoolExecutor(1, task -> {
            Thread thread = new Thread(task, "authsvc-timer");
            thread.setDaemon(true);
            return thread;
        });

        static {
            POOL.setRemoveOnCancelPolicy(true);
        }
    }
}
