package io.authsvc.client;

/** What a verifier says of a token. Where it cannot know it says nothing and throws {@link CannotKnow}. */
public sealed interface Verdict {
    /** The token is good, for what was required. */
    record Active(Claims claims) implements Verdict {}

    /**
     * The token is not accepted. The fine reason is for logs and metrics of internal services; end users see one answer for
     * all of them.
     *
     * @param reason the first reason that holds
     * @param endReason how the session ended, where a revocation killed the token and it is known
     */
    record Inactive(Reason reason, EndReason endReason) implements Verdict {
        private static final Inactive[] PLAIN = plain();

        private static Inactive[] plain() {
            Reason[] reasons = Reason.values();
            Inactive[] made = new Inactive[reasons.length];
            for (int i = 0; i < made.length; i++) {
                made[i] = new Inactive(reasons[i], EndReason.UNSPECIFIED);
            }
            return made;
        }

        static Inactive of(Reason reason) {
            return PLAIN[reason.ordinal()];
        }
    }

    /** Tells whether the token is good, for what was required. */
    default boolean isActive() {
        return this instanceof Active;
    }
}
