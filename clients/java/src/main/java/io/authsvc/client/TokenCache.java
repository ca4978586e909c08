package io.authsvc.client;

import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.util.ArrayDeque;
import java.util.Deque;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.ConcurrentMap;

/**
 * Remembers verified tokens under SHA-256 of their whole text (never of a signature, jti or kid: a forged payload with a stolen
 * signature would hit), bounded by memory. Who was not asked for goes first.
 */
final class TokenCache {
    /** SHA-256 of a token's text. */
    record Key(long first, long second, long third, long fourth) {
        static Key of(String token) {
            // What is not in this charset becomes '?', which no token in here has.
            ByteBuffer digest = ByteBuffer.wrap(Sha256.of(token.getBytes(StandardCharsets.ISO_8859_1)));
            return new Key(digest.getLong(), digest.getLong(), digest.getLong(), digest.getLong());
        }

        @Override
        public int hashCode() {
            return (int) first;
        }
    }

    // Where everything is asked for all the time, a search for something that is not would not end.
    private static final int CHANCES = 64;

    private final long limit;
    private final ConcurrentMap<Key, VerifiedToken> held = new ConcurrentHashMap<>();
    // Writers only: what is held, the oldest first.
    private final Deque<Key> queue = new ArrayDeque<>();
    private long cost;

    TokenCache(long limit) {
        this.limit = limit;
    }

    VerifiedToken get(Key key) {
        VerifiedToken token = held.get(key);
        if (token != null && !token.used) {
            token.used = true;
        }
        return token;
    }

    /** Remembers a token; {@code now} is in seconds since 1970. */
    synchronized void put(Key key, VerifiedToken token, long now) {
        if (token.cost > limit || held.containsKey(key)) {
            return;
        }
        while (cost + token.cost > limit) {
            evict(now);
        }
        held.put(key, token);
        queue.addLast(key);
        cost += token.cost;
    }

    /** Drops the oldest that is over or was not asked for; a few of the others get a second chance. */
    private void evict(long now) {
        for (int chances = CHANCES; ; chances--) {
            Key key = queue.removeFirst();
            VerifiedToken token = held.get(key);
            if (chances > 0 && token.used && !token.isOver(now)) {
                token.used = false;
                queue.addLast(key);
                continue;
            }
            held.remove(key);
            cost -= token.cost;
            return;
        }
    }

    /** Forgets what is over; {@code now} is in seconds since 1970. */
    synchronized void sweep(long now) {
        queue.removeIf(key -> {
            VerifiedToken token = held.get(key);
            boolean over = token.isOver(now);
            if (over) {
                held.remove(key);
                cost -= token.cost;
            }
            return over;
        });
    }

    int size() {
        return held.size();
    }
}
