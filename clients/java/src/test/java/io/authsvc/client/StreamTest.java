package io.authsvc.client;

import static io.authsvc.client.Messages.changes;
import static io.authsvc.client.Messages.complete;
import static io.authsvc.client.Messages.goAway;
import static io.authsvc.client.Messages.heartbeat;
import static io.authsvc.client.Messages.snapshot;
import static io.authsvc.client.Messages.userRevoked;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.grpc.Status;
import java.time.Duration;
import java.util.List;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CopyOnWriteArrayList;
import org.junit.jupiter.api.Test;

/** What a verifier does with its stream, against a real server. */
class StreamTest {
    /** A revocation on the stream refuses tokens judged before, and awaitPosition tells when it has come. */
    @Test
    void revocationArrives() throws Exception {
        try (Site site = new Site()) {
            var stream = site.ready();
            String token = site.issuer.mint(claims -> claims.user("u1").position(1));
            assertEquals("active", site.verdict(token));
            var waiting = CompletableFuture.runAsync(
                    () -> site.verifier.awaitPosition(Messages.position(7), Site.PATIENCE));
            stream.say(complete(changes(userRevoked("u1", 7)), "c7", 7));
            waiting.get();
            assertEquals("USER_REVOKED", site.verdict(token));
            assertEquals("active", site.verdict(site.issuer.mint(claims -> claims.user("u1").position(7))));
            assertEquals(7, site.verifier.position().orElseThrow());
            var late = assertThrows(
                    CannotKnow.class, () -> site.verifier.awaitPosition(Messages.position(8), Duration.ofMillis(1)));
            assertEquals(CannotKnow.Why.NOT_REACHED, late.why());
        }
    }

    /** Before the first snapshot is whole the verifier cannot know, whatever its parts say. */
    @Test
    void nothingIsKnownBeforeTheSnapshot() {
        try (Site site = new Site(options -> options.whenStale(WhenStale.UNAVAILABLE))) {
            String token = site.issuer.mint();
            var stream = site.next();
            stream.say(snapshot(false, userRevoked("u1", 7)));
            site.within(() -> site.verdict(token).equals("cannot know: NO_SNAPSHOT"));
            assertTrue(site.verifier.age().isEmpty());
            assertTrue(site.verifier.position().isEmpty());
            stream.say(complete(snapshot(true), "c1", 1));
            site.within(() -> site.verdict(token).equals("active"));
        }
    }

    /** A cut stream is opened again with the last cursor, and what was known decides in the meantime. */
    @Test
    void cutStreamResumes() {
        try (Site site = new Site()) {
            var stream = site.ready();
            String token = site.issuer.mint(claims -> claims.user("u1"));
            assertEquals("active", site.verdict(token));
            stream.finish(Status.INTERNAL);
            stream = site.next();
            assertEquals("c1", stream.cursor());
            assertEquals("active", site.verdict(token));
            stream.say(complete(changes(userRevoked("u1", 9)), "c9", 9));
            site.within(() -> site.verdict(token).equals("USER_REVOKED"));
        }
    }

    /** A server that says GoAway is left at once, without back-off, with the cursor of its last word. */
    @Test
    void goAwayIsFollowedAtOnce() {
        List<Status.Code> ends = new CopyOnWriteArrayList<>();
        Hooks hooks = new Hooks() {
            @Override
            public void streamEnded(Status.Code code) {
                ends.add(code);
            }
        };
        try (Site site = new Site(options -> options.hooks(hooks))) {
            var stream = site.ready();
            stream.say(complete(goAway(), "c2", 2));
            site.atOnce(() -> !site.server.streams.isEmpty());
            assertEquals("c2", site.server.streams.remove().cursor());
            assertEquals(List.of(Status.Code.OK), ends);
        }
    }

    /** A watcher that was too slow resumes where it was. */
    @Test
    void tooSlowWatcherResumes() {
        try (Site site = new Site()) {
            site.ready().finish(Status.RESOURCE_EXHAUSTED);
            assertEquals("c1", site.next().cursor());
        }
    }

    /** A cursor that is too old leads to a snapshot, which replaces what was known once it is whole, and not before. */
    @Test
    void expiredCursorStartsOver() {
        try (Site site = new Site()) {
            String old = site.issuer.mint(claims -> claims.user("old"));
            String young = site.issuer.mint(claims -> claims.user("young"));
            site.ready(userRevoked("old", 1)).finish(Status.OUT_OF_RANGE);
            var stream = site.next();
            assertFalse(stream.request.hasResumeFrom());
            stream.say(snapshot(false, userRevoked("young", 3)));
            assertEquals("USER_REVOKED", site.verdict(old));
            assertEquals("active", site.verdict(young));
            stream.say(complete(snapshot(true), "n1", 3));
            site.within(() -> site.verdict(young).equals("USER_REVOKED"));
            assertEquals("active", site.verdict(old));
        }
    }

    /** A stream that says nothing for 3 s is given up; a heartbeat keeps one alive. */
    @Test
    void silentStreamIsReopened() {
        try (Site site = new Site()) {
            var stream = site.ready();
            for (int beat = 0; beat < 5; beat++) {
                for (int step = 0; step < 20; step++) {
                    site.atOnce(() -> site.pass(Duration.ofMillis(100)));
                }
                stream.say(complete(heartbeat(), "c1", 1));
                site.atOnce(() -> site.verifier.age().orElseThrow().isZero());
            }
            assertTrue(site.server.streams.isEmpty());
            site.next();
            site.atOnce(() -> stream.gone);
        }
    }

    /** A verifier whose machine slept for longer than its bound cannot know, and goes on from its cursor on a new stream. */
    @Test
    void sleepingMachineReconnects() {
        try (Site site = new Site(options -> options.whenStale(WhenStale.UNAVAILABLE))) {
            var slept = site.ready();
            String token = site.issuer.mint();
            assertEquals("active", site.verdict(token));
            site.atOnce(() -> site.clock.waiting() >= 1);
            site.clock.advance(Duration.ofMinutes(1));
            slept.say(complete(heartbeat(), "c1", 1)); // as if it had lain in the socket
            assertEquals("cannot know: STALE", site.verdict(token));
            var stream = site.next();
            assertEquals("c1", stream.cursor());
            assertEquals("cannot know: STALE", site.verdict(token));
            stream.say(complete(heartbeat(), "c1", 1));
            site.within(() -> site.verdict(token).equals("active"));
        }
    }

    /** A server that stops for good is replaced by another at the same address, where the verifier goes on from its cursor. */
    @Test
    void movedServerIsFound() {
        try (Site site = new Site()) {
            site.ready();
            String token = site.issuer.mint(claims -> claims.user("u1"));
            assertEquals("active", site.verdict(token));
            int port = site.server.port();
            site.server.close();
            site.server = new ScriptedServer(port, site.issuer);
            var stream = site.next();
            assertEquals("c1", stream.cursor());
            stream.say(complete(changes(userRevoked("u1", 9)), "c9", 9));
            site.within(() -> site.verdict(token).equals("USER_REVOKED"));
        }
    }

    /** A fact of a kind that this version does not know ends local decisions. */
    @Test
    void unknownFactEndsDecisions() {
        try (Site site = new Site(options -> options.whenStale(WhenStale.UNAVAILABLE))) {
            var stream = site.ready();
            String token = site.issuer.mint();
            assertEquals("active", site.verdict(token));
            stream.say(complete(changes(io.authsvc.authapi.v1.Revocation.getDefaultInstance()), "c2", 2));
            site.within(() -> site.verdict(token).equals("cannot know: UNKNOWN_FACT"));
        }
    }
}
