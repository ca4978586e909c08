package io.authsvc.client;

import java.util.Arrays;

/**
 * An immutable sorted set of what died, by 128-bit id: 21 bytes for a session, 29 for a user.
 *
 * <p>Sorted by id, so that a lookup is a search in a few cache lines, and the garbage collector has nothing to look into.
 */
final class FactSet {
    private static final int PREFIX_BITS = 16;
    private static final int INDEXED_FROM = 4096;
    private static final int INSERTION_LIMIT = 64;

    private final FactList facts;
    // starts[p] is where ids with the upper bits p begin; null where a plain search is as good.
    private final int[] starts;

    /** Takes a list over that is sorted and names no id twice. */
    private FactSet(FactList sorted) {
        sorted.trim();
        facts = sorted;
        starts = sorted.size < INDEXED_FROM ? null : starts(sorted);
    }

    static FactSet empty(boolean withPositions) {
        return new FactSet(new FactList(withPositions, 0));
    }

    /** Sorts facts and joins those about one id: of a session the first in the list stands. */
    static FactSet of(FactList list) {
        FactList sorted = sorted(list);
        FactList joined = new FactList(list.withPositions, list.size);
        for (int i = 0; i < sorted.size; i++) {
            joined.join(sorted, i);
        }
        return new FactSet(joined);
    }

    /** Returns both sets in one, the older first, without what nobody needs at a time (seconds since 1970). */
    static FactSet merge(FactSet older, FactSet newer, long now) {
        FactList left = older.facts;
        FactList right = newer.facts;
        FactList merged = new FactList(left.withPositions, left.size + right.size);
        int i = 0;
        int j = 0;
        while (i < left.size || j < right.size) {
            boolean fromLeft = j == right.size || (i < left.size && left.compare(i, right, j) <= 0);
            FactList from = fromLeft ? left : right;
            int at = fromLeft ? i++ : j++;
            if (from.until[at] == FactList.FOREVER || Integer.toUnsignedLong(from.until[at]) > now) {
                merged.join(from, at);
            }
        }
        return new FactSet(merged);
    }

    int size() {
        return facts.size;
    }

    /** Returns where an id stands, or -1. */
    int find(long high, long low) {
        int from = 0;
        int to = facts.size;
        if (starts != null) {
            int prefix = (int) (high >>> (64 - PREFIX_BITS));
            from = starts[prefix];
            to = starts[prefix + 1];
        }
        while (from < to) {
            int middle = (from + to) >>> 1;
            int order = Long.compareUnsigned(facts.high[middle], high);
            if (order == 0) {
                order = Long.compareUnsigned(facts.low[middle], low);
            }
            if (order == 0) {
                return middle;
            } else if (order < 0) {
                from = middle + 1;
            } else {
                to = middle;
            }
        }
        return -1;
    }

    byte reason(int at) {
        return facts.reasons[at];
    }

    long position(int at) {
        return facts.positions[at];
    }

    private static int prefix(FactList list, int at) {
        return (int) (list.high[at] >>> (64 - PREFIX_BITS));
    }

    private static int[] starts(FactList list) {
        int[] starts = new int[(1 << PREFIX_BITS) + 1];
        for (int i = 0; i < list.size; i++) {
            starts[prefix(list, i) + 1]++;
        }
        for (int i = 1; i < starts.length; i++) {
            starts[i] += starts[i - 1];
        }
        return starts;
    }

    /** Returns a stable sort: entries go into buckets by their upper bits, random ids few into each. */
    private static FactList sorted(FactList list) {
        if (list.size < INDEXED_FROM) {
            return sortedRange(list, 0, list.size, new FactList(list.withPositions, list.size));
        }
        int[] starts = starts(list);
        int[] next = starts.clone();
        FactList spread = new FactList(list.withPositions, list.size);
        spread.size = list.size;
        for (int i = 0; i < list.size; i++) {
            int to = next[prefix(list, i)]++;
            spread.high[to] = list.high[i];
            spread.low[to] = list.low[i];
            if (list.withPositions) {
                spread.positions[to] = list.positions[i];
            }
            spread.until[to] = list.until[i];
            spread.reasons[to] = list.reasons[i];
        }
        FactList sorted = new FactList(list.withPositions, list.size);
        for (int bucket = 0; bucket + 1 < starts.length; bucket++) {
            sortedRange(spread, starts[bucket], starts[bucket + 1], sorted);
        }
        return sorted;
    }

    /** Appends a range to a list in its order. */
    private static FactList sortedRange(FactList from, int first, int end, FactList to) {
        if (end - first <= INSERTION_LIMIT) {
            int[] order = new int[end - first];
            for (int i = 0; i < order.length; i++) {
                int at = i;
                while (at > 0 && from.compare(order[at - 1], from, first + i) > 0) {
                    order[at] = order[at - 1];
                    at--;
                }
                order[at] = first + i;
            }
            for (int at : order) {
                to.addFrom(from, at);
            }
            return to;
        }
        // Ids that are not random; slower, and right.
        Integer[] order = new Integer[end - first];
        Arrays.setAll(order, i -> first + i);
        Arrays.sort(order, (a, b) -> from.compare(a, from, b));
        for (int at : order) {
            to.addFrom(from, at);
        }
        return to;
    }
}
