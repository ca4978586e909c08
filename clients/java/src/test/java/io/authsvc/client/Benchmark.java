package io.authsvc.client;

import com.google.protobuf.ByteString;
import io.authsvc.authapi.v1.PackedSessions;
import io.authsvc.authapi.v1.SnapshotPart;
import io.authsvc.authapi.v1.WatchRevocationsResponse;
import io.authsvc.client.testing.TokenIssuer;
import java.lang.management.ManagementFactory;
import java.util.List;
import java.util.Locale;
import java.util.Random;
import java.util.concurrent.CompletableFuture;
import java.util.function.IntConsumer;

/**
 * What a check costs, in this process alone. Run: {@code mvn -q -B test-compile exec:java
 * -Dexec.mainClass=io.authsvc.client.Benchmark -Dexec.classpathScope=test}.
 *
 * <p>Times are of this thread's processor, so that other work on the machine does not count; each line is the best of several.
 */
public final class Benchmark {
    private static final int ROUNDS = 7;
    private static final int SLOW = 500;
    private static final int FACTS = 1_000_000;
    private static final int PART = 50_000;

    private final VerifierClock clock = VerifierClock.system();
    private final TokenIssuer issuer = new TokenIssuer();
    private final Keyring keys = new Keyring(
            clock, () -> CompletableFuture.completedFuture(TokenIssuer.keySet(issuer)), ok -> { });
    private Follower follower = new Follower(clock.elapsedNanos());

    public static void main(String[] args) {
        new Benchmark().run();
    }

    private void run() {
        keys.refresh().join();
        System.out.printf("Java %s, %s%n", Runtime.version(), System.getProperty("os.arch"));
        follower.opened(clock.elapsedNanos());
        var empty = WatchRevocationsResponse.newBuilder().setSnapshotPart(SnapshotPart.newBuilder().setLast(true)).build();
        follower.message(clock.elapsedNanos(), 0, Messages.complete(empty, "c", 1));
        String token = issuer.mint(claims -> claims.scopes("read", "write").roles("clerk").openid("o".repeat(28)));
        System.out.printf("a token of %d bytes%n", token.length());
        Judge judge = judge(64L << 20);
        line("warm check, one token", 1_000_000, i -> must(judge.check(token, Requirements.NONE, false)));
        line("  of that, the cache's key (SHA-256)", 1_000_000, i -> must(TokenCache.Key.of(token)));
        memory();
        String[] tokens = new String[10_000];
        for (int i = 0; i < tokens.length; i++) {
            tokens[i] = issuer.mint(claims -> claims.scopes("read", "write").roles("clerk").openid("o".repeat(28)));
        }
        Requirements read = Requirements.scopes("read");
        Judge many = judge(64L << 20);
        line("warm check, 10,000 tokens in turn, a scope, 1,000,000 revocations", 1_000_000,
                i -> must(many.check(tokens[i % tokens.length], read, false)));
        Judge forgetful = judge(0);
        line("first-seen token", SLOW, i -> must(forgetful.check(tokens[i % tokens.length], read, false)));
        var headers = keys.held().set().headers();
        AccessToken[] parsed = new AccessToken[SLOW];
        for (int i = 0; i < parsed.length; i++) {
            parsed[i] = AccessToken.parse(tokens[i], headers);
        }
        PublicKey key = keys.held().set().keys().get(issuer.keyId());
        line("  of that, the bare signature check", SLOW, i -> {
            AccessToken one = parsed[i];
            must(key.verifies(one.signed(), one.signature()) ? one : null);
        });
        line("  of that, reading it and what is remembered of it", 100_000, i -> {
            AccessToken one = AccessToken.parse(tokens[i % tokens.length], headers);
            must(new VerifiedToken(one.claims(), one.header().kid(), 600));
        });
    }

    private Judge judge(long cacheBytes) {
        return new Judge(
                clock, keys, follower, new TokenCache(cacheBytes), List.of("orders"), Long.MAX_VALUE, WhenStale.UNAVAILABLE,
                (text, audience) -> CompletableFuture.failedFuture(new IllegalStateException()));
    }

    /** Takes a snapshot of a million sessions and says what it holds. */
    private void memory() {
        byte[] raw = new byte[PART * FactId.BYTES];
        Random chance = new Random(1);
        long before = held();
        Follower full = new Follower(clock.elapsedNanos());
        full.opened(clock.elapsedNanos());
        long took = 0;
        for (int at = 0; at < FACTS; at += PART) {
            chance.nextBytes(raw);
            var part = SnapshotPart.newBuilder()
                    .addSessions(PackedSessions.newBuilder().setIds(ByteString.copyFrom(raw)))
                    .setLast(at + PART == FACTS);
            var message = WatchRevocationsResponse.newBuilder().setSnapshotPart(part).build();
            long began = System.nanoTime();
            full.message(clock.elapsedNanos(), 0, part.getLast() ? Messages.complete(message, "c", 1) : message);
            took += System.nanoTime() - began;
            full.worked(clock.elapsedNanos());
        }
        follower = full;
        System.out.printf(
                Locale.ROOT, "%-70s %8.1f MiB held, taken in %.2f s%n", full.known().view().size() + " session revocations",
                (held() - before) / 1048576.0, took / 1e9);
    }

    private static long held() {
        for (int i = 0; i < 4; i++) {
            System.gc();
        }
        return Runtime.getRuntime().totalMemory() - Runtime.getRuntime().freeMemory();
    }

    private static void must(Object result) {
        if (result == null || result instanceof Verdict.Inactive) {
            throw new AssertionError(String.valueOf(result));
        }
    }

    private static void line(String name, int times, IntConsumer work) {
        long best = Long.MAX_VALUE;
        long bestWall = Long.MAX_VALUE;
        var threads = ManagementFactory.getThreadMXBean();
        for (int round = 0; round < ROUNDS; round++) {
            long wall = System.nanoTime();
            long cpu = threads.getCurrentThreadCpuTime();
            for (int i = 0; i < times; i++) {
                work.accept(i);
            }
            best = Math.min(best, threads.getCurrentThreadCpuTime() - cpu);
            bestWall = Math.min(bestWall, System.nanoTime() - wall);
        }
        double each = (double) best / times;
        System.out.printf(
                Locale.ROOT, "%-70s %10.0f ns CPU, %6.2f M/s (%.0f ns wall)%n",
                name, each, 1e3 / each, (double) bestWall / times);
    }
}
