package io.authsvc.client;

/** An immutable set of facts in three sorted layers, so that a new fact costs a copy of the small ones only. */
record FactLayers(FactSet base, FactSet middle, FactSet recent, boolean withPositions) {
    private static final int RECENT_LIMIT = 256;
    private static final int MIDDLE_LIMIT = 16_384;

    static FactLayers of(FactSet base, boolean withPositions) {
        return new FactLayers(base, FactSet.empty(withPositions), FactSet.empty(withPositions), withPositions);
    }

    int size() {
        return base.size() + middle.size() + recent.size();
    }

    /** Returns the set with more facts in it; {@code now} is in seconds since 1970. */
    FactLayers with(FactList list, long now) {
        FactSet none = FactSet.empty(withPositions);
        FactSet newRecent = FactSet.merge(recent, FactSet.of(list), now);
        FactSet newMiddle = middle;
        FactSet newBase = base;
        if (newRecent.size() > RECENT_LIMIT) {
            newMiddle = FactSet.merge(middle, newRecent, now);
            newRecent = none;
        }
        if (newMiddle.size() > Math.max(MIDDLE_LIMIT, base.size() / 16)) {
            newBase = FactSet.merge(base, newMiddle, now);
            newMiddle = none;
        }
        return new FactLayers(newBase, newMiddle, newRecent, withPositions);
    }

    /** Returns what a session died of, the oldest fact's reason; null while it lives. */
    EndReason session(long high, long low) {
        EndReason reason = session(base, high, low);
        if (reason == null) {
            reason = session(middle, high, low);
        }
        return reason == null ? session(recent, high, low) : reason;
    }

    private static EndReason session(FactSet layer, long high, long low) {
        int at = layer.size() == 0 ? -1 : layer.find(high, low);
        return at < 0 ? null : EndReason.ofNumber(layer.reason(at));
    }

    /** Returns the reason of the furthest reaching fact about an id, if it reaches above a position; else null. */
    EndReason above(long high, long low, long position) {
        long furthest = position;
        EndReason reason = null;
        for (int i = 0; i < 3; i++) {
            FactSet layer = i == 0 ? base : i == 1 ? middle : recent;
            int at = layer.size() == 0 ? -1 : layer.find(high, low);
            if (at >= 0 && Long.compareUnsigned(layer.position(at), furthest) > 0) {
                furthest = layer.position(at);
                reason = EndReason.ofNumber(layer.reason(at));
            }
        }
        return reason;
    }
}
