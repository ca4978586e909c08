package io.authsvc.client;

import static io.authsvc.client.Messages.active;
import static io.authsvc.client.Messages.userRevoked;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.authsvc.client.testing.TokenIssuer;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;

/** What a verifier does when it may not decide by itself, and how it treats its keys. */
class PolicyTest {
    // Just not a sleep.
    private static final Duration LONG_STEP = Duration.ofMillis(900);

    /** When authsvc is away for longer than the hard bound, each policy does what it says; the dead stay dead under all. */
    @ParameterizedTest
    @EnumSource(WhenStale.class)
    void stale(WhenStale policy) {
        try (Site site = new Site(options -> options.whenStale(policy))) {
            site.ready(userRevoked("dead", 9));
            site.server.verify = request -> active(Duration.ZERO);
            String token = site.issuer.mint();
            String dead = site.issuer.mint(claims -> claims.user("dead"));
            assertEquals("active", site.verdict(token));
            site.clock.advance(Duration.ofSeconds(30).plusMillis(1));
            assertEquals(policy == WhenStale.UNAVAILABLE ? "cannot know: STALE" : "active", site.verdict(token));
            assertEquals("USER_REVOKED", site.verdict(dead));
            if (policy == WhenStale.ACCEPT) {
                assertTrue(site.verifier.check(token).isActive());
            } else {
                assertThrows(CannotKnow.class, () -> site.verifier.check(token));
            }
            assertEquals(policy == WhenStale.ASK ? 1 : 0, site.server.count("VerifyToken"));
        }
    }

    /** A server that is itself beyond the bound, and no younger, decides nothing, and is not asked again for a second. */
    @Test
    void serverThatKnowsNoBetter() {
        try (Site site = new Site()) {
            site.ready();
            site.server.verify = request -> active(Duration.ofHours(1));
            String token = site.issuer.mint();
            site.clock.advance(Duration.ofMinutes(1));
            assertEquals("cannot know: STALE", site.verdict(token));
            assertEquals("cannot know: STALE", site.verdict(token));
            assertEquals(1, site.server.count("VerifyToken"));
            site.server.verify = request -> active(Duration.ZERO);
            site.clock.advance(Duration.ofSeconds(1));
            assertEquals("active", site.verdict(token));
        }
    }

    /** A verifier that never had keys lets the server decide, and judges scopes by the claims that the server vouches for. */
    @Test
    void noKeysYet() {
        try (Site site = new Site()) {
            site.server.keys = null;
            site.server.verify = request -> active(Duration.ZERO);
            try (Verifier other = Verifier.builder(site.server.target()).audience("orders").clock(site.clock).start()) {
                String token = site.issuer.mint(claims -> claims.scopes("read"));
                assertEquals("active", Site.verdict(other, token, Requirements.scopes("read")));
                assertEquals("MISSING_SCOPE", Site.verdict(other, token, Requirements.scopes("write")));
                assertEquals("WRONG_AUDIENCE", Site.verdict(other, token, Requirements.audience("elsewhere")));
            }
        }
    }

    /** Ten thousand tokens of unknown keys cost one read of the keys in 10 s, and no good token suffers. */
    @Test
    void unknownKeysAreCheap() throws Exception {
        try (Site site = new Site()) {
            site.ready();
            String good = site.issuer.mint();
            for (int step = 0; step < 20; step++) { // ten seconds on, a read is due for the asking
                site.clock.advance(Duration.ofMillis(500));
            }
            List<String> strangers = new ArrayList<>();
            for (int i = 0; i < 50; i++) {
                strangers.add(new TokenIssuer(site.clock::now).mint());
            }
            int before = site.server.count("GetJwks");
            ExecutorService workers = Executors.newFixedThreadPool(10);
            List<Future<?>> work = new ArrayList<>();
            for (int worker = 0; worker < 10; worker++) {
                int first = worker;
                work.add(workers.submit(() -> {
                    for (int i = 0; i < 1000; i++) {
                        String said = site.verdict(strangers.get((first + i) % strangers.size()));
                        assertTrue(said.endsWith("UNKNOWN_KEY"), said);
                    }
                }));
            }
            for (Future<?> done : work) {
                done.get();
            }
            workers.shutdown();
            assertTrue(site.verifier.check(good).isActive());
            assertEquals(before + 1, site.server.count("GetJwks"));
        }
    }

    /** The last known good keys serve on while reads fail. */
    @Test
    void keysOutliveTheirServer() {
        try (Site site = new Site(options -> options.whenStale(WhenStale.ACCEPT))) {
            site.ready();
            site.server.keys = null;
            int before = site.server.count("GetJwks");
            for (int step = 0; step < 60; step++) {
                site.atOnce(() -> site.pass(Duration.ofSeconds(10)));
            }
            site.within(LONG_STEP, () -> site.server.count("GetJwks") > before);
            assertEquals("active", site.verdict(site.issuer.mint()));
        }
    }

    /** A key that a later answer no longer withdraws stays withdrawn. */
    @Test
    void withdrawalIsForEver() {
        try (Site site = new Site()) {
            site.ready();
            String token = site.issuer.mint();
            assertEquals("active", site.verdict(token));
            var good = site.server.keys;
            site.server.keys = good.toBuilder().addWithdrawnKeyIds(site.issuer.keyId()).build();
            site.within(LONG_STEP, () -> site.verdict(token).equals("KEY_WITHDRAWN"));
            site.server.keys = good;
            int before = site.server.count("GetJwks");
            site.within(LONG_STEP, () -> site.server.count("GetJwks") > before);
            assertEquals("KEY_WITHDRAWN", site.verdict(token));
        }
    }

    /** A closed verifier cannot know, and closing twice is harmless. */
    @Test
    void closed() {
        try (Site site = new Site()) {
            site.ready();
            site.verifier.close();
            assertEquals("cannot know: CLOSED", site.verdict(site.issuer.mint()));
            assertThrows(CannotKnow.class, () -> site.verifier.awaitReady(Duration.ofMinutes(1)));
        }
    }

    /** There is no verifier without an audience, nor with a bound outside of what the contract allows. */
    @Test
    void nonsenseIsRefused() {
        Verifier.Builder builder = Verifier.builder("localhost:1");
        assertThrows(IllegalStateException.class, builder::start);
        assertThrows(IllegalArgumentException.class, () -> builder.audience(""));
        assertThrows(IllegalArgumentException.class, () -> builder.hardBound(Duration.ZERO));
        assertThrows(IllegalArgumentException.class, () -> builder.hardBound(Duration.ofSeconds(301)));
        assertThrows(IllegalArgumentException.class, () -> builder.cacheBytes(-1));
    }
}
