package io.authsvc.client;

import com.google.protobuf.ByteString;
import io.authsvc.authapi.v1.WatchRevocationsResponse;
import io.grpc.Status;
import java.util.concurrent.ThreadLocalRandom;

/**
 * Turns the messages of WatchRevocations into a view. It does no I/O and starts nothing: whoever drives it tells it the time,
 * what came and what ended, and asks it when to open a stream and with which cursor. Its methods belong to one thread; {@link
 * #known} is for all. Times are nanoseconds of the elapsed clock.
 */
final class Follower {
    private static final long MILLI = 1_000_000L;
    // A server says something at least once a second.
    private static final long SILENCE_LIMIT = 3000 * MILLI;
    // A first snapshot may take longer to come; each silent attempt doubles the patience, so often.
    private static final int PATIENCE_DOUBLINGS = 3;
    // The loop looks at the clock this often. If it could not for longer than the gap, the machine slept, or this process did:
    // what then lies in a socket may have lain there as long, and its age means nothing.
    private static final long TICK_EVERY = 250 * MILLI;
    private static final long TICK_GAP = 1000 * MILLI;
    // Back-off of the stream.
    private static final long REOPEN_FIRST = 100 * MILLI;
    private static final long REOPEN_LAST = 5000 * MILLI;

    /**
     * What a verifier decides by at one moment.
     *
     * @param confirmed when the log was last confirmed; means nothing before the view is complete
     */
    record Known(RevocationView view, long confirmed) {}

    private volatile Known known = new Known(RevocationView.empty(), 0);

    private ByteString cursor;
    private FactBatch parts; // of a snapshot that is not complete
    private boolean open;
    private long heard; // when the stream was opened, or last brought something
    private boolean hasNews; // it brought something besides GoAway
    private long looked; // the last tick
    private long reopen; // when the next stream is to be opened
    private int failures;
    private int silentRuns;

    Follower(long now) {
        looked = now;
        reopen = now;
    }

    Known known() {
        return known;
    }

    /** Returns the cursor to resume from; null asks for a snapshot. */
    ByteString cursor() {
        return cursor;
    }

    boolean isOpen() {
        return open;
    }

    /** Tells whether a stream is to be opened now. */
    boolean wantsStream(long now) {
        return !open && now - reopen >= 0;
    }

    /** Returns for how many nanoseconds nothing is to be done. */
    long next(long now) {
        return open ? TICK_EVERY : Math.min(Math.max(reopen - now, 0), TICK_EVERY);
    }

    /** Says that the stream that was wanted is on its way. */
    void opened(long now) {
        open = true;
        heard = now;
        hasNews = false;
        looked = now;
        parts = null;
    }

    private long patience() {
        if (hasNews || cursor != null) {
            return SILENCE_LIMIT;
        }
        return SILENCE_LIMIT << Math.min(silentRuns, PATIENCE_DOUBLINGS);
    }

    /** Looks for a gap in time alone. False: give up the open stream, whatever it still brings. */
    boolean wake(long now) {
        boolean slept = now - looked > TICK_GAP;
        looked = now;
        if (open && slept) {
            leave(now);
            return false;
        }
        return true;
    }

    /** Looks at the clock. False: give up the open stream, whatever it still brings. */
    boolean tick(long now) {
        if (!wake(now)) {
            return false;
        }
        if (open && now - heard > patience()) {
            silentRuns += hasNews ? 0 : 1;
            leave(now);
            backOff(now);
            return false;
        }
        return true;
    }

    /** Says that the time until now was spent on a message. */
    void worked(long now) {
        looked = now;
    }

    /**
     * Takes what the open stream brought.
     *
     * @param received when it came
     * @param wallSeconds for forgetting what nobody needs any more
     * @return false: give up this stream
     */
    boolean message(long received, long wallSeconds, WatchRevocationsResponse message) {
        if (received - looked > TICK_GAP || received - heard > patience()) {
            leave(received);
            return false;
        }
        heard = received;
        Known held = known;
        RevocationView next = held.view;
        boolean isSnapshot = false;
        boolean leaves = false;
        switch (message.getBodyCase()) {
            case SNAPSHOT_PART -> {
                parts = parts == null ? new FactBatch() : parts;
                parts.addAll(message.getSnapshotPart().getRevocationsList());
                parts.addPacked(message.getSnapshotPart().getSessionsList());
                if (message.getSnapshotPart().getLast() && message.hasCompleteThrough()) {
                    next = RevocationView.of(parts, held.view);
                    parts = null;
                    isSnapshot = true;
                }
            }
            case CHANGES -> {
                FactBatch changes = new FactBatch();
                changes.addAll(message.getChanges().getRevocationsList());
                next = held.view.with(changes, wallSeconds);
            }
            case GO_AWAY -> leaves = true;
            default -> { } // a heartbeat, or a body of a newer server
        }
        if (!leaves) {
            hasNews = true;
            failures = 0;
            silentRuns = 0;
        }
        known = confirmed(received, message, held, next, isSnapshot);
        if (leaves) {
            leaveAtOnce(received);
        }
        return !leaves;
    }

    /** Returns what a message brought, with how far and how well it is known. */
    private Known confirmed(
            long received, WatchRevocationsResponse message, Known held, RevocationView next, boolean isSnapshot) {
        // In the middle of a snapshot nothing is known of it.
        if (!message.hasCompleteThrough() || !next.complete() || parts != null) {
            return new Known(next, held.confirmed);
        }
        cursor = message.getCompleteThrough().getValue();
        RevocationView through = next;
        if (message.getPositionThrough().size() == 8) {
            through = next.at(RevocationView.position(message.getPositionThrough()));
        }
        long confirmed = held.confirmed;
        if (message.hasAge()) {
            long at = received - Math.max(KeySet.nanos(message.getAge()), 0);
            // A message that was slow never makes older what another has made younger; a snapshot stands by itself.
            confirmed = isSnapshot || !held.view.complete() || at - confirmed > 0 ? at : confirmed;
        }
        return new Known(through, confirmed);
    }

    /** Takes the end of the open stream. */
    void ended(long now, Status.Code code) {
        boolean hadCursor = cursor != null;
        if (code == Status.Code.OK) {
            leaveAtOnce(now);
            return;
        }
        boolean useless = code == Status.Code.OUT_OF_RANGE || (code == Status.Code.INVALID_ARGUMENT && hadCursor);
        if (useless) {
            // Too old, of another incarnation, or not readable any more: start without. What is known stays known until the
            // snapshot is whole.
            cursor = null;
        }
        leave(now);
        if (code != Status.Code.OUT_OF_RANGE || !hadCursor) {
            backOff(now);
        }
    }

    /** Gives up the stream and wants the next one now. */
    private void leave(long now) {
        open = false;
        parts = null;
        reopen = now;
    }

    /** Is {@link #leave} for a server that ends in peace; one that does nothing else is not asked in a loop. */
    private void leaveAtOnce(long now) {
        leave(now);
        if (!hasNews) {
            backOff(now);
        }
    }

    private void backOff(long now) {
        long pause = Math.min(REOPEN_FIRST << Math.min(failures, 10), REOPEN_LAST);
        failures++;
        reopen = now + (long) (pause * (0.5 + 0.5 * ThreadLocalRandom.current().nextDouble()));
    }
}
