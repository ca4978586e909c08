package io.authsvc.client;

import com.google.protobuf.ByteString;
import com.google.protobuf.Duration;
import io.authsvc.authapi.v1.Active;
import io.authsvc.authapi.v1.Changes;
import io.authsvc.authapi.v1.Cursor;
import io.authsvc.authapi.v1.GoAway;
import io.authsvc.authapi.v1.Heartbeat;
import io.authsvc.authapi.v1.Revocation;
import io.authsvc.authapi.v1.SessionEndReason;
import io.authsvc.authapi.v1.SnapshotPart;
import io.authsvc.authapi.v1.VerifyTokenResponse;
import io.authsvc.authapi.v1.WatchRevocationsResponse;
import java.nio.ByteBuffer;
import java.util.List;

/** Messages that a server says. */
final class Messages {
    private Messages() {}

    static ByteString position(long position) {
        return ByteString.copyFrom(ByteBuffer.allocate(8).putLong(0, position));
    }

    /** Fills in how far a message completes what the reader knows. */
    static WatchRevocationsResponse complete(WatchRevocationsResponse message, String cursor, long position) {
        return message.toBuilder()
                .setCompleteThrough(Cursor.newBuilder().setValue(ByteString.copyFromUtf8(cursor)))
                .setPositionThrough(position(position))
                .setAge(Duration.getDefaultInstance())
                .build();
    }

    static WatchRevocationsResponse snapshot(boolean last, Revocation... facts) {
        return WatchRevocationsResponse.newBuilder()
                .setSnapshotPart(SnapshotPart.newBuilder().addAllRevocations(List.of(facts)).setLast(last))
                .build();
    }

    static WatchRevocationsResponse changes(Revocation... facts) {
        return WatchRevocationsResponse.newBuilder()
                .setChanges(Changes.newBuilder().addAllRevocations(List.of(facts)))
                .build();
    }

    static WatchRevocationsResponse goAway() {
        return WatchRevocationsResponse.newBuilder().setGoAway(GoAway.getDefaultInstance()).build();
    }

    static WatchRevocationsResponse heartbeat() {
        return WatchRevocationsResponse.newBuilder().setHeartbeat(Heartbeat.getDefaultInstance()).build();
    }

    static Revocation userRevoked(String user, long position) {
        return Revocation.newBuilder()
                .setUserId(user)
                .setPosition(position(position))
                .setReason(SessionEndReason.SESSION_END_REASON_ADMIN)
                .build();
    }

    static VerifyTokenResponse active(java.time.Duration age) {
        return VerifyTokenResponse.newBuilder()
                .setActive(Active.getDefaultInstance())
                .setAge(Duration.newBuilder().setSeconds(age.getSeconds()))
                .build();
    }
}
