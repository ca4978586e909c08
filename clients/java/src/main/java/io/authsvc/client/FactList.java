package io.authsvc.client;

import java.util.Arrays;

/**
 * A growing list of what died, by 128-bit id, in flat arrays: a million entries are five objects.
 *
 * <p>Fields of one index belong together: {@code high} and {@code low} are the id, {@code until} is in seconds since 1970 as an
 * unsigned number, {@link #FOREVER} where there is no end.
 */
final class FactList {
    static final int FOREVER = -1;

    final boolean withPositions;
    int size;
    long[] high;
    long[] low;
    long[] positions; // null for sessions, where every position is killed
    int[] until;
    byte[] reasons;

    FactList(boolean withPositions, int capacity) {
        this.withPositions = withPositions;
        high = new long[capacity];
        low = new long[capacity];
        positions = withPositions ? new long[capacity] : null;
        until = new int[capacity];
        reasons = new byte[capacity];
    }

    void add(long idHigh, long idLow, long position, int usefulUntil, byte reason) {
        if (size == high.length) {
            resize(Math.max(16, size + (size >> 1)));
        }
        high[size] = idHigh;
        low[size] = idLow;
        if (withPositions) {
            positions[size] = position;
        }
        until[size] = usefulUntil;
        reasons[size] = reason;
        size++;
    }

    void addFrom(FactList other, int at) {
        long position = withPositions ? other.positions[at] : 0;
        add(other.high[at], other.low[at], position, other.until[at], other.reasons[at]);
    }

    /** Adds an entry whose id is not below the last one; one about the same id is joined with it. */
    void join(FactList other, int at) {
        int last = size - 1;
        if (last < 0 || high[last] != other.high[at] || low[last] != other.low[at]) {
            addFrom(other, at);
            return;
        }
        if (Integer.compareUnsigned(other.until[at], until[last]) > 0) {
            until[last] = other.until[at];
        }
        // Of a session the first reason stands; of a user the fact that reaches furthest.
        if (withPositions && Long.compareUnsigned(other.positions[at], positions[last]) > 0) {
            positions[last] = other.positions[at];
            reasons[last] = other.reasons[at];
        }
    }

    void trim() {
        resize(size);
    }

    private void resize(int capacity) {
        if (capacity == high.length) {
            return;
        }
        high = Arrays.copyOf(high, capacity);
        low = Arrays.copyOf(low, capacity);
        positions = withPositions ? Arrays.copyOf(positions, capacity) : null;
        until = Arrays.copyOf(until, capacity);
        reasons = Arrays.copyOf(reasons, capacity);
    }

    int compare(int at, FactList other, int otherAt) {
        int upper = Long.compareUnsigned(high[at], other.high[otherAt]);
        return upper != 0 ? upper : Long.compareUnsigned(low[at], other.low[otherAt]);
    }
}
