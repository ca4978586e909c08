package io.authsvc.client;

import io.grpc.Context;
import java.util.List;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.TimeoutException;

/** Judges tokens by keys, revocations and the cache, in the contract's order. It starts nothing. */
final class Judge {
    /** A verdict of the server's; {@code refusal} is null where the token is active. */
    record Answer(Verdict.Inactive refusal, long ageNanos) {}

    /** Lets the server judge a token against an audience; fails where the server cannot be asked. */
    interface Asker {
        CompletableFuture<Answer> ask(String token, String audience);
    }

    // Beyond every bound of a call underneath: what is waited for always ends first.
    private static final long WAIT_LIMIT = TimeUnit.SECONDS.toNanos(60);

    private final VerifierClock clock;
    private final Keyring keys;
    private final Follower follower;
    private final TokenCache cache;
    private final List<String> audiences;
    private final long hardBound;
    private final WhenStale policy;
    private final Asker asker;

    Judge(
            VerifierClock clock, Keyring keys, Follower follower, TokenCache cache,
            List<String> audiences, long hardBound, WhenStale policy, Asker asker) {
        this.clock = clock;
        this.keys = keys;
        this.follower = follower;
        this.cache = cache;
        this.audiences = audiences;
        this.hardBound = hardBound;
        this.policy = policy;
        this.asker = asker;
    }

    /**
     * Judges a token.
     *
     * @param waits it may read keys and ask the server; otherwise it answers from memory at once
     */
    Verdict check(String token, Requirements required, boolean waits) {
        if (token.length() > AccessToken.MAX_LENGTH) {
            return Verdict.Inactive.of(Reason.MALFORMED);
        }
        TokenCache.Key key = TokenCache.Key.of(token);
        VerifiedToken believed = cache.get(key);
        if (believed != null) {
            return decide(token, believed, required, waits);
        }
        long arrived = clock.elapsedNanos();
        Keyring.Held held = keys.held();
        AccessToken parsed = AccessToken.parse(token, held == null ? java.util.Map.of() : held.set().headers());
        if (parsed == null) {
            return Verdict.Inactive.of(Reason.MALFORMED);
        }
        Reason refused;
        try {
            refused = believe(parsed, arrived, waits);
        } catch (CannotKnow e) {
            boolean asks = waits && policy == WhenStale.ASK && keys.held() == null && e.why() == CannotKnow.Why.UNKNOWN_KEY;
            if (!asks) {
                throw e;
            }
            return askBlindly(token, parsed.claims(), required);
        }
        if (refused != null) {
            return Verdict.Inactive.of(refused);
        }
        VerifiedToken fresh = new VerifiedToken(parsed.claims(), parsed.header().kid(), token.length());
        long seconds = seconds();
        if (!fresh.isOver(seconds)) {
            cache.put(key, fresh, seconds);
        }
        return decide(token, fresh, required, waits);
    }

    private long seconds() {
        return Math.floorDiv(clock.wallMillis(), 1000L);
    }

    /** Judges what never changes about a token; null: nothing stands against it. */
    private Reason believe(AccessToken parsed, long arrived, boolean waits) {
        String kid = parsed.header().kid();
        if (!parsed.header().typ().equals(AccessToken.TYPE)) {
            return Reason.WRONG_TYPE;
        }
        if (isWithdrawn(kid)) {
            return Reason.KEY_WITHDRAWN;
        }
        Keyring.Found found = keys.find(kid, arrived);
        if (!found.known()) {
            CompletableFuture<Void> read = keys.lookAgain();
            if (read != null && waits) {
                await(read, CannotKnow.Why.UNKNOWN_KEY);
            }
            found = keys.find(kid, arrived);
        }
        PublicKey key = found.key();
        if (key == null) {
            if (isWithdrawn(kid)) { // the read may just have told
                return Reason.KEY_WITHDRAWN;
            } else if (found.known()) {
                return Reason.UNKNOWN_KEY;
            }
            throw CannotKnow.because(CannotKnow.Why.UNKNOWN_KEY);
        }
        if (!parsed.header().alg().equals(key.header().alg()) || !key.verifies(parsed.signed(), parsed.signature())) {
            return Reason.BAD_SIGNATURE;
        }
        KeySet set = keys.held().set();
        if (!parsed.claims().issuer().equals(set.issuer())) {
            return Reason.WRONG_ISSUER;
        }
        long lifetime = parsed.claims().expiresAt().getEpochSecond() - parsed.claims().issuedAt().getEpochSecond();
        // Whole seconds: more than the limit is at least one more than its whole part.
        return lifetime > Math.floorDiv(set.maxLifetimeNanos(), 1_000_000_000L) ? Reason.LIFETIME_TOO_LONG : null;
    }

    private boolean isWithdrawn(String kid) {
        return follower.known().view().withdrawn().contains(kid) || keys.isWithdrawn(kid);
    }

    /** Judges what may change from one use of a token to the next. */
    private Verdict decide(String text, VerifiedToken token, Requirements required, boolean waits) {
        if (isWithdrawn(token.kid)) {
            return Verdict.Inactive.of(Reason.KEY_WITHDRAWN);
        }
        // Whole seconds are enough: the claims are whole, and so is the leeway.
        long seconds = seconds();
        long latest = seconds + AccessToken.LEEWAY_SECONDS;
        if (token.notBefore > latest || token.issued > latest) {
            return Verdict.Inactive.of(Reason.NOT_YET_VALID);
        }
        if (token.isOver(seconds)) {
            return Verdict.Inactive.of(Reason.EXPIRED);
        }
        Follower.Known known = follower.known();
        Verdict.Inactive death = known.view().deathOf(token);
        if (death != null) {
            return death;
        }
        // From here on the verdict rests on nothing having been revoked meanwhile.
        CannotKnow.Why doubt = doubt(known);
        if (doubt != null && policy != WhenStale.ACCEPT) {
            if (!waits || policy == WhenStale.UNAVAILABLE) {
                throw CannotKnow.because(doubt);
            }
            Verdict.Inactive refusal = askServer(text, token.claims, required, doubt);
            if (refusal != null) {
                return refusal;
            }
        }
        Reason unmet = required.unmetBy(token.claims, audiences);
        return unmet == null ? token.active : Verdict.Inactive.of(unmet);
    }

    /** Returns why the verifier may not decide by itself; null if it may. */
    CannotKnow.Why doubt() {
        return doubt(follower.known());
    }

    private CannotKnow.Why doubt(Follower.Known known) {
        if (!known.view().complete()) {
            return CannotKnow.Why.NO_SNAPSHOT;
        } else if (clock.elapsedNanos() - known.confirmed() > hardBound) {
            return CannotKnow.Why.STALE;
        }
        return known.view().hasUnknown() ? CannotKnow.Why.UNKNOWN_FACT : null;
    }

    /** Tells whether an answer of an age is worth more than what is known here: within the bound, or at least younger. */
    boolean adds(long ageNanos) {
        Follower.Known known = follower.known();
        long own = known.view().complete() ? clock.elapsedNanos() - known.confirmed() : Long.MAX_VALUE;
        return ageNanos <= hardBound || ageNanos < own;
    }

    boolean reached(long position) {
        RevocationView view = follower.known().view();
        return view.complete() && Long.compareUnsigned(view.position(), position) >= 0;
    }

    /** Returns the server's refusal, or null where it says, by better knowledge than there is here, that a token is active. */
    private Verdict.Inactive askServer(String text, Claims claims, Requirements required, CannotKnow.Why doubt) {
        Answer said = await(asker.ask(text, audienceToAsk(claims, required)), doubt);
        if (!adds(said.ageNanos)) {
            throw CannotKnow.because(doubt);
        }
        return said.refusal;
    }

    /** Is for a verifier that never had any keys: what the server calls active is authentic, so its claims are. */
    private Verdict askBlindly(String text, Claims claims, Requirements required) {
        Verdict.Inactive refusal = askServer(text, claims, required, CannotKnow.Why.UNKNOWN_KEY);
        Reason unmet = refusal == null ? required.unmetBy(claims, audiences) : null;
        if (refusal != null) {
            return refusal;
        }
        return unmet == null ? new Verdict.Active(claims) : Verdict.Inactive.of(unmet);
    }

    /**
     * Returns an audience of the demand, one that the token has if there is one: the verdict on scopes and roles is made here,
     * the server is asked for what only it knows.
     */
    private String audienceToAsk(Claims claims, Requirements required) {
        List<String> wanted = required.audiences().isEmpty() ? audiences : required.audiences();
        for (String audience : wanted) {
            if (claims.audiences().contains(audience)) {
                return audience;
            }
        }
        return wanted.get(0);
    }

    /** Waits for what is bounded by itself, for no longer than the gRPC call that this thread works on may last. */
    private static <T> T await(CompletableFuture<T> future, CannotKnow.Why why) {
        var deadline = Context.current().getDeadline();
        long limit = deadline == null ? WAIT_LIMIT : Math.min(WAIT_LIMIT, deadline.timeRemaining(TimeUnit.NANOSECONDS));
        try {
            return future.get(Math.max(limit, 0), TimeUnit.NANOSECONDS);
        } catch (InterruptedException e) {
            Thread.currentThread().interrupt();
            throw CannotKnow.because(CannotKnow.Why.CANCELLED);
        } catch (TimeoutException e) {
            throw CannotKnow.because(CannotKnow.Why.CANCELLED);
        } catch (ExecutionException e) {
            throw new CannotKnow(why, e.getCause());
        }
    }
}
