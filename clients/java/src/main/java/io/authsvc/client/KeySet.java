package io.authsvc.client;

import com.google.protobuf.Duration;
import io.authsvc.authapi.v1.GetJwksResponse;
import java.nio.charset.StandardCharsets;
import java.util.HashMap;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;

/**
 * One answer of GetJwks.
 *
 * @param keys by kid, without the withdrawn ones
 * @param headers the server's spelling of their tokens' headers
 * @param maxLifetimeNanos the longest that a token may live
 * @param maxAgeNanos how long the answer may be kept
 */
record KeySet(
        Map<String, PublicKey> keys,
        Map<String, AccessToken.Header> headers,
        Set<String> withdrawn,
        String issuer,
        long maxLifetimeNanos,
        long maxAgeNanos) {

    /** Returns the set of an answer, or null if it cannot be read. */
    static KeySet of(GetJwksResponse answer) {
        Map<String, Object> document;
        try {
            document = Json.object(answer.getJwksJson().getBytes(StandardCharsets.UTF_8));
        } catch (Json.Malformed e) {
            return null;
        }
        if (!(document.get("keys") instanceof List<?> listed)) {
            return null;
        }
        Set<String> withdrawn = Set.copyOf(answer.getWithdrawnKeyIdsList());
        Map<String, PublicKey> keys = new HashMap<>();
        Map<String, AccessToken.Header> headers = new HashMap<>();
        for (Object item : listed) {
            PublicKey key = item instanceof Map<?, ?> jwk ? PublicKey.of(jwk) : null;
            if (key == null || withdrawn.contains(key.header().kid())) {
                continue;
            }
            keys.put(key.header().kid(), key);
            // Another spelling is parsed; a kid with a quote in it would not mean itself here.
            String segment = key.header().segment();
            if (key.header().equals(AccessToken.header(Base64Url.decode(segment)))) {
                headers.put(segment, key.header());
            }
        }
        return new KeySet(
                keys, headers, withdrawn, answer.getIssuer(),
                nanos(answer.getMaxTokenLifetime()), nanos(answer.getMaxAge()));
    }

    /** Returns this set after an older one: a withdrawal is for ever, whatever a later answer says. */
    KeySet after(KeySet older) {
        if (older == null || withdrawn.containsAll(older.withdrawn)) {
            return this;
        }
        Set<String> all = new HashSet<>(older.withdrawn);
        all.addAll(withdrawn);
        Map<String, PublicKey> left = new HashMap<>(keys);
        left.keySet().removeAll(all);
        return new KeySet(left, headers, Set.copyOf(all), issuer, maxLifetimeNanos, maxAgeNanos);
    }

    /** Returns a duration; what does not fit into 292 years is the most that does. */
    static long nanos(Duration duration) {
        try {
            return Math.addExact(Math.multiplyExact(duration.getSeconds(), 1_000_000_000L), duration.getNanos());
        } catch (ArithmeticException e) {
            return duration.getSeconds() < 0 ? Long.MIN_VALUE : Long.MAX_VALUE;
        }
    }
}
