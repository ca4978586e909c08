package io.authsvc.client;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.authsvc.authapi.v1.GetJwksResponse;
import io.authsvc.authapi.v1.WatchRevocationsResponse;
import io.authsvc.client.testing.ManualClock;
import java.time.Duration;
import java.time.Instant;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.concurrent.CompletableFuture;
import java.util.function.Supplier;
import java.util.stream.Stream;
import org.junit.jupiter.api.DynamicTest;
import org.junit.jupiter.api.TestFactory;

class TokenVectorsTest {
    /** Every token of the shared vectors gets the verdict that the server's own code gives, and again from the cache. */
    @TestFactory
    Stream<DynamicTest> tokens() {
        Vectors vectors = Vectors.read("tokens.json");
        return vectors.cases().map(given -> DynamicTest.dynamicTest((String) given.get("id"), () -> judge(vectors, given)));
    }

    private void judge(Vectors vectors, Map<String, Object> given) {
        assertTrue(Set.of("same", "fails").contains(given.get("key_fetch")), "a key_fetch that this runner knows");
        GetJwksResponse set = vectors.keySet(given.get("keys"));
        ManualClock clock = new ManualClock(Instant.ofEpochMilli(Vectors.number(given.get("now_ms")) - 60_000));
        boolean[] fails = {false};
        Supplier<CompletableFuture<GetJwksResponse>> fetch = () -> fails[0]
                ? CompletableFuture.failedFuture(new IllegalStateException("scripted"))
                : CompletableFuture.completedFuture(set);
        Keyring keys = new Keyring(clock, fetch, ok -> { });
        Follower follower = new Follower(clock.elapsedNanos());
        String audience = (String) Vectors.object(given.get("require")).get("audience");
        Judge judge = new Judge(
                clock, keys, follower, new TokenCache(1 << 20), List.of(audience),
                Vectors.number(given.get("hard_bound_ms")) * 1_000_000, Vectors.policy(given.get("when_stale")),
                (token, asked) -> CompletableFuture.failedFuture(new IllegalStateException("nobody is to ask")));
        keys.refresh().join();
        clock.advance(Duration.ofMinutes(1));
        fails[0] = given.get("key_fetch").equals("fails");
        if (given.get("view") != null) {
            follower.tick(clock.elapsedNanos());
            follower.opened(clock.elapsedNanos());
            var message = Vectors.message(
                    Vectors.object(given.get("view")).get("message"), WatchRevocationsResponse.parser());
            assertTrue(follower.message(clock.elapsedNanos(), clock.now().getEpochSecond(), message));
        }
        String token = (String) given.get("token");
        Requirements required = Vectors.requirements(given.get("require"));
        Object expected = given.get("expect");
        assertEquals(expected, Vectors.verdict(() -> judge.check(token, required, true)));
        if (!Map.of("inactive", "UNKNOWN_KEY").equals(expected)) {
            assertEquals(expected, Vectors.verdict(() -> judge.check(token, required, true)), "from the cache");
        }
    }
}
