package io.authsvc.client;

import com.google.protobuf.ByteString;
import com.google.protobuf.Timestamp;
import io.authsvc.authapi.v1.PackedSessions;
import io.authsvc.authapi.v1.Revocation;
import java.nio.ByteBuffer;
import java.util.HashMap;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;

/** Gathers facts of one message, or of one snapshot's parts, before they become a view. */
final class FactBatch {
    private static final int POSITION_BYTES = 8;

    final FactList sessions = new FactList(false, 0);
    final FactList users = new FactList(true, 0);
    final Map<String, RevocationView.AppFact> apps = new HashMap<>();
    final Set<String> withdrawn = new HashSet<>();
    boolean hasUnknown;

    void addAll(List<Revocation> revocations) {
        for (Revocation revocation : revocations) {
            add(revocation);
        }
    }

    private void add(Revocation revocation) {
        byte reason = reason(revocation.getReasonValue());
        int until = until(revocation.hasUsefulUntil(), revocation.getUsefulUntil());
        boolean placed = revocation.getPosition().size() == POSITION_BYTES;
        long position = placed ? RevocationView.position(revocation.getPosition()) : 0;
        switch (revocation.getTargetCase()) {
            case KEY_ID -> withdrawn.add(revocation.getKeyId());
            case SESSION_ID -> {
                hasUnknown |= revocation.getSessionId().size() != FactId.BYTES;
                if (revocation.getSessionId().size() == FactId.BYTES) {
                    FactId id = FactId.of(revocation.getSessionId().toByteArray());
                    sessions.add(id.high(), id.low(), 0, until, reason);
                }
            }
            case USER_ID -> {
                hasUnknown |= !placed;
                if (placed) {
                    FactId id = FactId.ofUser(revocation.getUserId(), revocation.getAppFilter());
                    users.add(id.high(), id.low(), position, until, reason);
                }
            }
            case APP_ID -> {
                hasUnknown |= !placed;
                if (placed) {
                    apps.merge(revocation.getAppId(), new RevocationView.AppFact(position, reason),
                            RevocationView.AppFact::orFurther);
                }
            }
            default -> hasUnknown = true;
        }
    }

    void addPacked(List<PackedSessions> groups) {
        for (PackedSessions group : groups) {
            ByteString ids = group.getIds();
            if (ids.size() % FactId.BYTES != 0) {
                hasUnknown = true;
                continue;
            }
            byte reason = reason(group.getReasonValue());
            int until = until(group.hasUsefulUntil(), group.getUsefulUntil());
            ByteBuffer raw = ids.asReadOnlyByteBuffer();
            while (raw.hasRemaining()) {
                sessions.add(raw.getLong(), raw.getLong(), 0, until, reason);
            }
        }
    }

    /** A reason of a newer server is kept as one that nobody knows. */
    private static byte reason(int number) {
        return (byte) EndReason.ofNumber(number).ordinal();
    }

    /** Rounds up: a fact is never forgotten before its time. */
    private static int until(boolean hasEnd, Timestamp end) {
        if (!hasEnd) {
            return FactList.FOREVER;
        }
        long seconds = end.getSeconds() + (end.getNanos() > 0 ? 1 : 0);
        return (int) Math.min(Math.max(seconds, 0), 0xFFFFFFFEL);
    }
}
