package io.authsvc.client;

/**
 * A verifier cannot know: neither a yes nor a no. Answer UNAVAILABLE or 503 with Retry-After, never 401.
 *
 * <p>Without a stack trace: it says where the verifier stands, not the program, and an outage throws many of them.
 */
public final class CannotKnow extends RuntimeException {
    private static final long serialVersionUID = 1;

    /** Why a verifier cannot know. */
    public enum Why {
        /** The token's key is not known, and no read of the keys that began after the token arrived has succeeded. */
        UNKNOWN_KEY,
        /** No complete snapshot of the revocations has come yet. */
        NO_SNAPSHOT,
        /** The revocation log was not confirmed within the hard bound. */
        STALE,
        /** A newer server revoked something that this version does not know. */
        UNKNOWN_FACT,
        /** A required position, or a start, was not reached in time. */
        NOT_REACHED,
        /** The verifier is closed. */
        CLOSED,
        /** The caller's thread was interrupted, or its call ended, before there was an answer. */
        CANCELLED
    }

    private static final CannotKnow[] PLAIN = plain();

    private final Why why;

    /** Makes one; {@code cause}, what went wrong underneath, may be null. */
    public CannotKnow(Why why, Throwable cause) {
        super("cannot know: " + why, cause, false, false);
        this.why = why;
    }

    private static CannotKnow[] plain() {
        Why[] all = Why.values();
        CannotKnow[] made = new CannotKnow[all.length];
        for (int i = 0; i < made.length; i++) {
            made[i] = new CannotKnow(all[i], null);
        }
        return made;
    }

    static CannotKnow because(Why why) {
        return PLAIN[why.ordinal()];
    }

    /** Returns why. */
    public Why why() {
        return why;
    }
}
