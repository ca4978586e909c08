package io.authsvc.client;

import io.authsvc.authapi.v1.RevocationServiceGrpc.RevocationServiceStub;
import io.grpc.Status;
import java.time.Duration;
import java.util.concurrent.BlockingQueue;
import java.util.concurrent.LinkedBlockingQueue;

/** The one thread of a verifier: follows the log, reads keys ahead of their age, forgets what is over. */
final class VerifierLoop implements Runnable {
    private static final long SWEEP_EVERY = Duration.ofMinutes(1).toNanos();
    private static final RevocationStream.Event WAKE = new RevocationStream.Event(null, null, null, 0);

    private final VerifierClock clock;
    private final RevocationServiceStub stub;
    private final Follower follower;
    private final Keyring keys;
    private final TokenCache cache;
    private final Hooks hooks;
    private final Runnable changed;
    private final BlockingQueue<RevocationStream.Event> events = new LinkedBlockingQueue<>();
    private volatile boolean closed;
    private RevocationStream stream;

    VerifierLoop(
            VerifierClock clock, RevocationServiceStub stub, Follower follower, Keyring keys, TokenCache cache,
            Hooks hooks, Runnable changed) {
        this.clock = clock;
        this.stub = stub;
        this.follower = follower;
        this.keys = keys;
        this.cache = cache;
        this.hooks = hooks;
        this.changed = changed;
    }

    void close() {
        closed = true;
        events.add(WAKE);
    }

    @Override
    public void run() {
        long sweep = clock.elapsedNanos() + SWEEP_EVERY;
        try {
            while (!closed) {
                long now = clock.elapsedNanos();
                if (!follower.tick(now)) {
                    drop(Status.Code.DEADLINE_EXCEEDED);
                }
                if (follower.wantsStream(now)) {
                    open(now);
                }
                if (now - keys.nextDue() >= 0) {
                    keys.refresh();
                }
                if (now - sweep >= 0) {
                    cache.sweep(Math.floorDiv(clock.wallMillis(), 1000L));
                    sweep = now + SWEEP_EVERY;
                }
                long pause = Math.min(follower.next(now), Math.max(Math.min(keys.nextDue(), sweep) - now, 0));
                Runnable stop = clock.after(Duration.ofNanos(pause), () -> events.add(WAKE));
                RevocationStream.Event event = events.take();
                stop.run();
                // Before what came: it may have lain in a socket while the machine slept.
                if (!follower.wake(clock.elapsedNanos())) {
                    drop(Status.Code.DEADLINE_EXCEEDED);
                }
                take(event);
            }
        } catch (InterruptedException e) {
            Thread.currentThread().interrupt();
        } finally {
            closed = true;
            if (stream != null) {
                stream.cancel();
            }
            changed.run();
        }
    }

    private void open(long now) {
        boolean resumed = follower.cursor() != null;
        stream = RevocationStream.open(stub, follower.cursor(), clock, events::add);
        follower.opened(now);
        hooks.streamOpened(resumed);
    }

    private void take(RevocationStream.Event event) {
        if (event == WAKE || event.from() != stream) {
            return; // the time, or the last words of a stream that was given up
        }
        if (event.message() == null) {
            follower.ended(event.at(), event.end());
            drop(event.end());
            return;
        }
        boolean goesOn = follower.message(event.at(), Math.floorDiv(clock.wallMillis(), 1000L), event.message());
        if (event.message().hasSnapshotPart()) {
            follower.worked(clock.elapsedNanos()); // a large snapshot takes its time, and that is no sleep
        }
        if (goesOn) {
            stream.taken();
        } else {
            drop(event.message().hasGoAway() ? Status.Code.OK : Status.Code.DEADLINE_EXCEEDED);
        }
        changed.run();
    }

    private void drop(Status.Code why) {
        if (stream != null) {
            stream.cancel();
            stream = null;
            hooks.streamEnded(why);
        }
    }
}
