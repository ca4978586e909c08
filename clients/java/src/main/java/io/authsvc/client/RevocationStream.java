package io.authsvc.client;

import com.google.protobuf.ByteString;
import io.authsvc.authapi.v1.Cursor;
import io.authsvc.authapi.v1.RevocationServiceGrpc.RevocationServiceStub;
import io.authsvc.authapi.v1.WatchRevocationsRequest;
import io.authsvc.authapi.v1.WatchRevocationsResponse;
import io.grpc.Context;
import io.grpc.Status;
import io.grpc.stub.ClientCallStreamObserver;
import io.grpc.stub.ClientResponseObserver;
import java.util.function.Consumer;

/** An open WatchRevocations: hands on what comes, with the time of its receipt. */
final class RevocationStream implements ClientResponseObserver<WatchRevocationsRequest, WatchRevocationsResponse> {
    // Room, so that a message is read, and its time of receipt with it, while another is being taken in.
    private static final int ROOM = 32;

    /** What a stream brought, and when; without a message it is its end. */
    record Event(RevocationStream from, WatchRevocationsResponse message, Status.Code end, long at) {}

    private final VerifierClock clock;
    private final Consumer<Event> events;
    private volatile ClientCallStreamObserver<WatchRevocationsRequest> call;

    private RevocationStream(VerifierClock clock, Consumer<Event> events) {
        this.clock = clock;
        this.events = events;
    }

    /** Opens a stream; a null cursor asks for a snapshot. */
    static RevocationStream open(
            RevocationServiceStub stub, ByteString cursor, VerifierClock clock, Consumer<Event> events) {
        RevocationStream stream = new RevocationStream(clock, events);
        WatchRevocationsRequest.Builder request = WatchRevocationsRequest.newBuilder();
        if (cursor != null) {
            request.setResumeFrom(Cursor.newBuilder().setValue(cursor));
        }
        Context.ROOT.run(() -> stub.watchRevocations(request.build(), stream));
        return stream;
    }

    @Override
    public void beforeStart(ClientCallStreamObserver<WatchRevocationsRequest> started) {
        call = started;
        started.disableAutoRequestWithInitial(ROOM);
    }

    /** Makes room for another message: one was taken in. */
    void taken() {
        call.request(1);
    }

    void cancel() {
        call.cancel("given up", null);
    }

    @Override
    public void onNext(WatchRevocationsResponse message) {
        events.accept(new Event(this, message, null, clock.elapsedNanos()));
    }

    @Override
    public void onError(Throwable failure) {
        events.accept(new Event(this, null, Status.fromThrowable(failure).getCode(), clock.elapsedNanos()));
    }

    @Override
    public void onCompleted() {
        events.accept(new Event(this, null, Status.Code.OK, clock.elapsedNanos()));
    }
}
