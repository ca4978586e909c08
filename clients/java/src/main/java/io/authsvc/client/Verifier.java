package io.authsvc.client;

import com.google.protobuf.ByteString;
import io.authsvc.authapi.v1.AuthServiceGrpc;
import io.authsvc.authapi.v1.GetJwksRequest;
import io.authsvc.authapi.v1.GetJwksResponse;
import io.authsvc.authapi.v1.KeyServiceGrpc;
import io.authsvc.authapi.v1.RevocationServiceGrpc;
import io.authsvc.authapi.v1.VerifyTokenRequest;
import io.authsvc.authapi.v1.VerifyTokenResponse;
import io.grpc.Channel;
import io.grpc.Status;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Objects;
import java.util.Optional;
import java.util.OptionalLong;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicLong;
import java.util.function.BooleanSupplier;

/**
 * Judges access tokens in this process: keys and revocations come to it. Make one and share it; its methods may be called at the
 * same time.
 *
 * <p>Until keys and a snapshot have come, it does what {@link WhenStale} says; {@link #awaitReady} waits for them.
 */
public final class Verifier implements TokenVerifier, AutoCloseable {
    // The pause after a server's answer that was no better than what is known here.
    private static final long USELESS_PAUSE = TimeUnit.SECONDS.toNanos(1);

    private final VerifierClock clock;
    private final Hooks hooks;
    private final Connection connection;
    private final Coalescer coalescer;
    private final Keyring keys;
    private final Follower follower;
    private final TokenCache cache;
    private final Judge judge;
    private final VerifierLoop loop;
    private final Thread thread;
    // The server was asked and knew no better: not again before this, on the elapsed clock.
    private final AtomicLong notBefore;
    private final Object changed = new Object();
    private volatile boolean closed;

    private Verifier(Builder options) {
        clock = options.clock;
        hooks = options.hooks;
        connection = options.connect();
        Channel channel = connection.channel();
        coalescer = new Coalescer(AuthServiceGrpc.newFutureStub(channel), hooks);
        var keyStub = KeyServiceGrpc.newFutureStub(channel).withWaitForReady();
        keys = new Keyring(clock, () -> readKeys(keyStub), this::keysRead);
        long now = clock.elapsedNanos();
        notBefore = new AtomicLong(now);
        follower = new Follower(now);
        cache = new TokenCache(options.cacheBytes);
        judge = new Judge(
                clock, keys, follower, cache, List.copyOf(options.audiences), options.hardBound.toNanos(),
                options.whenStale, this::ask);
        loop = new VerifierLoop(
                clock, RevocationServiceGrpc.newStub(channel).withWaitForReady(), follower, keys, cache, hooks,
                this::signal);
        thread = new Thread(loop, "authsvc-verifier");
        thread.setDaemon(true);
    }

    private static CompletableFuture<GetJwksResponse> readKeys(KeyServiceGrpc.KeyServiceFutureStub stub) {
        return Coalescer.call(() -> stub.withDeadlineAfter(Keyring.READ_LIMIT, TimeUnit.NANOSECONDS)
                .getJwks(GetJwksRequest.getDefaultInstance()));
    }

    /** Begins a verifier that learns from a gRPC target, {@code dns:///authsvc:50051} for one. */
    public static Builder builder(String target) {
        return new Builder(Objects.requireNonNull(target), null);
    }

    /** Begins a verifier over a channel of the caller's, who closes it; give it {@link AuthClient#serviceConfig}. */
    public static Builder builder(Channel channel) {
        return new Builder(null, Objects.requireNonNull(channel));
    }

    /**
     * Judges a token. One seen before costs about a microsecond; one of an unknown key may wait for a read of the keys (10 s at
     * most), and when the verifier is stale its policy may ask the server (some 5 s at most, and no longer than the gRPC call
     * that this thread works on).
     *
     * @throws CannotKnow if it can be called neither good nor bad
     */
    @Override
    public Verdict verify(String token, Requirements required) {
        return judged(token, required, true);
    }

    /**
     * Judges a token from memory alone: it never waits. A read of the keys is begun where one is due.
     *
     * @throws CannotKnow also where {@link #verify} could still find out
     */
    public Verdict check(String token, Requirements required) {
        return judged(token, required, false);
    }

    /** Is {@link #check(String, Requirements)} for the verifier's own audience. */
    public Verdict check(String token) {
        return judged(token, Requirements.NONE, false);
    }

    private Verdict judged(String token, Requirements required, boolean waits) {
        try {
            if (closed) {
                throw CannotKnow.because(CannotKnow.Why.CLOSED);
            }
            Verdict verdict = judge.check(token, required, waits);
            hooks.verdict(verdict);
            return verdict;
        } catch (CannotKnow e) {
            hooks.cannotKnow(e.why());
            throw e;
        }
    }

    /** Returns how long ago the revocation log was last confirmed; nothing before the first complete snapshot. */
    public Optional<Duration> age() {
        Follower.Known known = follower.known();
        return known.view().complete()
                ? Optional.of(Duration.ofNanos(clock.elapsedNanos() - known.confirmed()))
                : Optional.empty();
    }

    /** Tells whether the verifier may decide by itself. */
    public boolean isFresh() {
        return judge.doubt() == null;
    }

    /**
     * Returns the log position through which every revocation is known, an unsigned number; nothing before the first complete
     * snapshot.
     */
    public OptionalLong position() {
        RevocationView view = follower.known().view();
        return view.complete() ? OptionalLong.of(view.position()) : OptionalLong.empty();
    }

    /** Returns how many revocations are held. */
    public int revocations() {
        return follower.known().view().size();
    }

    /** Returns how many verified tokens are remembered. */
    public int tokens() {
        return cache.size();
    }

    /**
     * Returns once there are keys and a complete, fresh snapshot.
     *
     * @throws CannotKnow if that took longer than the timeout, which counts real time
     */
    public void awaitReady(Duration timeout) {
        until(() -> keys.held() != null && isFresh(), timeout, CannotKnow.Why.NOT_REACHED);
    }

    /**
     * Returns once every revocation up to a position is known here, as RevokeResponse.position has it: after a Revoke it makes
     * sure that this verifier refuses what was revoked.
     *
     * @throws CannotKnow if that took longer than the timeout, which counts real time
     */
    public void awaitPosition(ByteString position, Duration timeout) {
        if (position.size() != 8) {
            throw new IllegalArgumentException("a position has 8 bytes");
        }
        long wanted = RevocationView.position(position);
        until(() -> judge.reached(wanted), timeout, CannotKnow.Why.NOT_REACHED);
    }

    private void until(BooleanSupplier condition, Duration timeout, CannotKnow.Why late) {
        long end = System.nanoTime() + timeout.toNanos();
        synchronized (changed) {
            while (closed || !condition.getAsBoolean()) {
                long left = end - System.nanoTime();
                if (closed || left <= 0) {
                    throw CannotKnow.because(closed ? CannotKnow.Why.CLOSED : late);
                }
                try {
                    TimeUnit.NANOSECONDS.timedWait(changed, left);
                } catch (InterruptedException e) {
                    Thread.currentThread().interrupt();
                    throw CannotKnow.because(CannotKnow.Why.CANCELLED);
                }
            }
        }
    }

    private void signal() {
        synchronized (changed) {
            changed.notifyAll();
        }
    }

    private void keysRead(boolean ok) {
        hooks.keysRead(ok);
        signal();
    }

    /** Is the policy ASK. */
    private CompletableFuture<Judge.Answer> ask(String token, String audience) {
        long began = clock.elapsedNanos();
        if (began - notBefore.get() < 0) {
            return CompletableFuture.failedFuture(
                    Status.UNAVAILABLE.withDescription("the server knew no better a moment ago").asException());
        }
        var request = VerifyTokenRequest.newBuilder().setAccessToken(token).setAudience(audience).build();
        return coalescer.ask(request).thenApply(response -> {
            long now = clock.elapsedNanos();
            Judge.Answer said = answer(response, now - began);
            if (!judge.adds(said.ageNanos())) {
                notBefore.set(now + USELESS_PAUSE);
            }
            return said;
        });
    }

    /** Reads a verdict whose call took a while; one that does not say its age is older than every bound. */
    private static Judge.Answer answer(VerifyTokenResponse response, long took) {
        long age = response.hasAge() ? Math.max(KeySet.nanos(response.getAge()), 0) : Long.MAX_VALUE;
        age = age > Long.MAX_VALUE - took ? Long.MAX_VALUE : age + took;
        switch (response.getOutcomeCase()) {
            case ACTIVE:
                return new Judge.Answer(null, age);
            case INACTIVE:
                var inactive = response.getInactive();
                return new Judge.Answer(
                        new Verdict.Inactive(
                                Reason.ofNumber(inactive.getReasonValue()),
                                EndReason.ofNumber(inactive.getSessionEndReasonValue())),
                        age);
            default:
                throw Status.UNAVAILABLE.withDescription("an answer without an outcome is no verdict").asRuntimeException();
        }
    }

    /** Ends the stream, the reads and a connection that was made here. Idempotent. */
    @Override
    public void close() {
        closed = true;
        loop.close();
        try {
            thread.join(TimeUnit.SECONDS.toMillis(5));
        } catch (InterruptedException e) {
            Thread.currentThread().interrupt();
        }
        connection.close();
        signal();
    }

    /** Options of a verifier. */
    public static final class Builder extends ConnectionOptions<Builder> {
        private static final Duration SHORTEST_BOUND = Duration.ofSeconds(1);
        private static final Duration LONGEST_BOUND = Duration.ofSeconds(300);

        private final List<String> audiences = new ArrayList<>();
        private Duration hardBound = Duration.ofSeconds(30);
        private WhenStale whenStale = WhenStale.ASK;
        private long cacheBytes = 64L << 20;
        private VerifierClock clock = VerifierClock.system();

        private Builder(String target, Channel channel) {
            super(target, channel);
        }

        @Override
        Builder self() {
            return this;
        }

        /** Names this service as the apps' audiences do; a token must be for one of the names. Required. */
        public Builder audience(String... anyOf) {
            for (String audience : anyOf) {
                if (audience.isEmpty()) {
                    throw new IllegalArgumentException("an audience is not empty");
                }
                audiences.add(audience);
            }
            return this;
        }

        /** Sets how old the knowledge of revocations may be that decides by itself: 1 s to 300 s, 30 s by default. */
        public Builder hardBound(Duration bound) {
            if (bound.compareTo(SHORTEST_BOUND) < 0 || bound.compareTo(LONGEST_BOUND) > 0) {
                throw new IllegalArgumentException("a hard bound is within 1 s and 300 s, not " + bound);
            }
            hardBound = bound;
            return this;
        }

        /** Sets what happens where the verifier may not decide by itself. ASK by default. */
        public Builder whenStale(WhenStale policy) {
            whenStale = Objects.requireNonNull(policy);
            return this;
        }

        /** Bounds the memory of the cache of verified tokens, 64 MiB by default: some 40,000 tokens. */
        public Builder cacheBytes(long limit) {
            if (limit < 0) {
                throw new IllegalArgumentException("a cache has no less than 0 bytes");
            }
            cacheBytes = limit;
            return this;
        }

        /** Gives the verifier its time. */
        public Builder clock(VerifierClock given) {
            clock = Objects.requireNonNull(given);
            return this;
        }

        /**
         * Makes the verifier and lets it start, which takes neither the server nor time.
         *
         * @throws IllegalStateException without an audience: no verifier works without one
         */
        public Verifier start() {
            if (audiences.isEmpty()) {
                throw new IllegalStateException("no verifier works without an audience");
            }
            Verifier verifier = new Verifier(this);
            verifier.thread.start();
            return verifier;
        }
    }
}
