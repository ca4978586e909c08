package io.authsvc.client;

import com.google.protobuf.ByteString;
import java.util.HashMap;
import java.util.HashSet;
import java.util.Map;
import java.util.Set;

/**
 * What is known of revocations at one moment: immutable, read by every check without a lock. Applying a fact twice is harmless,
 * and nothing once dead comes back.
 *
 * @param hasUnknown something was revoked that this version does not know; only a new snapshot without it mends that
 * @param complete a whole snapshot has come; before that only withdrawals and dead things count, and nothing is alive
 * @param position through which it is complete
 */
record RevocationView(
        FactLayers sessions,
        FactLayers users,
        Map<String, AppFact> apps,
        Set<String> withdrawn,
        boolean hasUnknown,
        boolean complete,
        long position) {

    /** What kills tokens of an app: those whose position is below. */
    record AppFact(long position, byte reason) {
        AppFact orFurther(AppFact other) {
            return Long.compareUnsigned(other.position, position) > 0 ? other : this;
        }
    }

    static RevocationView empty() {
        return new RevocationView(
                FactLayers.of(FactSet.empty(false), false), FactLayers.of(FactSet.empty(true), true),
                Map.of(), Set.of(), false, false, 0);
    }

    /** Returns the view that a whole snapshot makes after an older one: withdrawals stay, they are for ever. */
    static RevocationView of(FactBatch snapshot, RevocationView older) {
        Set<String> withdrawn = new HashSet<>(older.withdrawn);
        withdrawn.addAll(snapshot.withdrawn);
        return new RevocationView(
                FactLayers.of(FactSet.of(snapshot.sessions), false), FactLayers.of(FactSet.of(snapshot.users), true),
                Map.copyOf(snapshot.apps), Set.copyOf(withdrawn), snapshot.hasUnknown, true, older.position);
    }

    /** Returns this view with more facts; {@code now} is in seconds since 1970. */
    RevocationView with(FactBatch changes, long now) {
        Map<String, AppFact> moreApps = apps;
        if (!changes.apps.isEmpty()) {
            moreApps = new HashMap<>(apps);
            for (Map.Entry<String, AppFact> entry : changes.apps.entrySet()) {
                moreApps.merge(entry.getKey(), entry.getValue(), AppFact::orFurther);
            }
        }
        Set<String> moreWithdrawn = withdrawn;
        if (!changes.withdrawn.isEmpty()) {
            moreWithdrawn = new HashSet<>(withdrawn);
            moreWithdrawn.addAll(changes.withdrawn);
        }
        return new RevocationView(
                changes.sessions.size == 0 ? sessions : sessions.with(changes.sessions, now),
                changes.users.size == 0 ? users : users.with(changes.users, now),
                moreApps, moreWithdrawn, hasUnknown || changes.hasUnknown, complete, position);
    }

    RevocationView at(long through) {
        return new RevocationView(sessions, users, apps, withdrawn, hasUnknown, complete, through);
    }

    int size() {
        return sessions.size() + users.size() + apps.size() + withdrawn.size();
    }

    /** Returns what killed a token, the nearest cause first, or null. */
    Verdict.Inactive deathOf(VerifiedToken token) {
        if (token.session != null && sessions.size() > 0) {
            EndReason reason = sessions.session(token.session.high(), token.session.low());
            if (reason != null) {
                return new Verdict.Inactive(Reason.SESSION_REVOKED, reason);
            }
        }
        long position = token.claims.position();
        if (users.size() > 0) {
            EndReason reason = users.above(token.user.high(), token.user.low(), position);
            if (reason == null) {
                reason = users.above(token.userInApp.high(), token.userInApp.low(), position);
            }
            if (reason != null) {
                return new Verdict.Inactive(Reason.USER_REVOKED, reason);
            }
        }
        if (!apps.isEmpty()) {
            AppFact app = apps.get(token.claims.appId());
            if (app != null && Long.compareUnsigned(position, app.position) < 0) {
                return new Verdict.Inactive(Reason.APP_REVOKED, EndReason.ofNumber(app.reason));
            }
        }
        return null;
    }

    /** Returns a position on the wire: 8 bytes big-endian. */
    static long position(ByteString raw) {
        return raw.asReadOnlyByteBuffer().getLong();
    }
}
