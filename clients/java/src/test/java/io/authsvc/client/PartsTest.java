package io.authsvc.client;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertNotNull;
import static org.junit.jupiter.api.Assertions.assertNull;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.authsvc.client.testing.TokenIssuer;
import java.time.Instant;
import java.util.HashMap;
import java.util.Map;
import java.util.Random;
import org.junit.jupiter.api.Test;

/** The verifier's parts against slower or simpler ones. */
class PartsTest {
    private static final Random CHANCE = new Random(20_260_701);

    /** A text is decoded if and only if encoding gives it back. */
    @Test
    void base64HasOneSpelling() {
        String alphabet = "ABab01-_+/=\n. é";
        int good = 0;
        for (int round = 0; round < 20_000; round++) {
            StringBuilder text = new StringBuilder();
            for (int i = CHANCE.nextInt(7); i > 0; i--) {
                text.append(alphabet.charAt(CHANCE.nextInt(round % 2 == 0 ? 8 : alphabet.length())));
            }
            byte[] decoded = Base64Url.decode(text.toString());
            byte[] lenient;
            try {
                lenient = java.util.Base64.getUrlDecoder().decode(text.toString());
            } catch (IllegalArgumentException e) {
                lenient = null;
            }
            boolean canonical = lenient != null && Base64Url.encode(lenient).contentEquals(text);
            assertEquals(canonical, decoded != null, text::toString);
            if (canonical) {
                assertArrayEquals(lenient, decoded);
                good++;
            }
        }
        assertTrue(good > 1000);
    }

    /** The layers of facts say what a plain map says, whatever the order and size of what comes, and forget only the useless. */
    @Test
    void layersAgreeWithAMap() {
        for (int size : new int[] {0, 1, 100, 5000, 40_000}) {
            for (boolean clustered : new boolean[] {false, true}) {
                compareWithMap(size, clustered);
            }
        }
    }

    private void compareWithMap(int size, boolean clustered) {
        Map<FactId, long[]> expected = new HashMap<>();
        FactList first = new FactList(true, 0);
        fill(first, expected, size, clustered);
        FactLayers layers = FactLayers.of(FactSet.of(first), true);
        for (int batch = 0; batch < 40; batch++) {
            FactList more = new FactList(true, 0);
            fill(more, expected, batch * 20, clustered);
            layers = layers.with(more, 1000);
        }
        for (Map.Entry<FactId, long[]> entry : expected.entrySet()) {
            FactId id = entry.getKey();
            long reach = entry.getValue()[0];
            assertNull(layers.above(id.high(), id.low(), reach));
            if (reach != 0) {
                assertEquals((int) entry.getValue()[1], layers.above(id.high(), id.low(), reach - 1).ordinal());
            }
        }
        for (int i = 0; i < 1000; i++) {
            FactId stranger = new FactId(CHANCE.nextLong(), 0);
            assertEquals(expected.containsKey(stranger), layers.above(stranger.high(), stranger.low(), 0) != null);
        }
    }

    private static void fill(FactList list, Map<FactId, long[]> expected, int size, boolean clustered) {
        for (int i = 0; i < size; i++) {
            // In clusters, many share the upper bits, and some come again.
            FactId id = clustered
                    ? new FactId(CHANCE.nextInt(3) - 1, CHANCE.nextInt(5000))
                    : new FactId(CHANCE.nextLong(), CHANCE.nextLong());
            long position = CHANCE.nextLong();
            byte reason = (byte) CHANCE.nextInt(11);
            list.add(id.high(), id.low(), position, FactList.FOREVER, reason);
            expected.merge(id, new long[] {position, reason},
                    (held, more) -> Long.compareUnsigned(more[0], held[0]) > 0 ? more : held);
        }
    }

    /** A fact is kept until its end and then forgotten when others are merged; the first reason of a session stands. */
    @Test
    void factsEnd() {
        FactList list = new FactList(false, 0);
        list.add(1, 1, 0, 500, (byte) EndReason.LOGOUT.ordinal());
        list.add(1, 2, 0, FactList.FOREVER, (byte) EndReason.ADMIN.ordinal());
        list.add(1, 2, 0, 1, (byte) EndReason.LOGOUT.ordinal());
        FactLayers layers = FactLayers.of(FactSet.empty(false), false).with(list, 400);
        assertEquals(EndReason.LOGOUT, layers.session(1, 1));
        layers = layers.with(new FactList(false, 0), 500);
        assertNull(layers.session(1, 1));
        assertEquals(EndReason.ADMIN, layers.session(1, 2));
        assertNull(layers.session(2, 1));
    }

    /** The cache stays within its bytes, keeps what is asked for, and sweeps what is over. */
    @Test
    void cacheIsBounded() {
        TokenIssuer issuer = new TokenIssuer(() -> Instant.ofEpochSecond(1000));
        VerifiedToken[] tokens = new VerifiedToken[50];
        TokenCache.Key[] keys = new TokenCache.Key[tokens.length];
        for (int i = 0; i < tokens.length; i++) {
            tokens[i] = new VerifiedToken(issuer.claims().build(), issuer.keyId(), 500);
            keys[i] = TokenCache.Key.of("token " + i);
        }
        TokenCache cache = new TokenCache(10L * tokens[0].cost);
        for (int i = 0; i < tokens.length; i++) {
            cache.put(keys[i], tokens[i], 1000);
            assertNotNull(cache.get(keys[0]), "asked for all the time");
            assertTrue(cache.size() <= 10);
        }
        assertNull(cache.get(keys[1]));
        cache.sweep(1000);
        assertEquals(10, cache.size());
        cache.sweep(tokens[0].expires + AccessToken.LEEWAY_SECONDS);
        assertEquals(0, cache.size());
        cache.put(keys[1], tokens[1], 1000);
        assertEquals(1, cache.size());
    }

    /** While the machine sleeps nanoTime stands, and the clock goes on by what the uptime says; steps of the wall alone do not. */
    @Test
    void clockCountsSleep() {
        long second = 1_000_000_000L;
        long[] now = {50 * second, 1_000_000 * second, 7000 * second}; // nanoTime, wall, uptime
        SystemClock clock = new SystemClock(() -> now[0], () -> now[1], () -> now[2]);
        long start = clock.elapsedNanos();
        now[0] += second / 2;
        now[1] += second / 2;
        now[2] += second / 2;
        assertEquals(second / 2, clock.elapsedNanos() - start);
        now[1] += 3600 * second; // a step of the wall clock
        assertEquals(second / 2, clock.elapsedNanos() - start);
        now[1] += 60 * second; // a minute's sleep
        now[2] += 60 * second;
        assertEquals(60 * second + second / 2, clock.elapsedNanos() - start);
        now[1] -= 7200 * second;
        assertEquals(60 * second + second / 2, clock.elapsedNanos() - start);
    }

    /** Without an uptime to read, a step of the wall clock ahead counts as sleep, one back as nothing. */
    @Test
    void clockWithoutUptime() {
        long second = 1_000_000_000L;
        long[] now = {0, 1_000_000 * second};
        SystemClock clock = new SystemClock(() -> now[0], () -> now[1], () -> SystemClock.NO_UPTIME);
        long start = clock.elapsedNanos();
        now[1] += 60 * second;
        assertEquals(60 * second, clock.elapsedNanos() - start);
        now[1] -= 600 * second;
        now[0] += second;
        assertEquals(61 * second, clock.elapsedNanos() - start);
    }

    /** The real clock goes on, and never back. */
    @Test
    void realClockGoesOn() throws Exception {
        VerifierClock clock = VerifierClock.system();
        long before = clock.elapsedNanos();
        for (int i = 0; i < 100_000; i++) {
            long now = clock.elapsedNanos();
            assertFalse(now < before);
            before = now;
        }
        var rang = new java.util.concurrent.CountDownLatch(1);
        clock.after(java.time.Duration.ofNanos(1), rang::countDown);
        assertTrue(rang.await(60, java.util.concurrent.TimeUnit.SECONDS));
    }

    /** What a claim says never shows an openid in a log line by itself. */
    @Test
    void claimsHideTheOpenid() {
        Claims claims = new TokenIssuer().claims().openid("o-secret").build();
        assertFalse(claims.toString().contains("o-secret"));
        assertFalse(new Verdict.Active(claims).toString().contains("o-secret"));
    }
}
