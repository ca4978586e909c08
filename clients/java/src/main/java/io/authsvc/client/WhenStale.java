package io.authsvc.client;

/**
 * What a verifier does when it may not decide by itself: it is older than its hard bound, has no complete snapshot yet, or a
 * newer server revoked something it does not know.
 */
public enum WhenStale {
    /** Let the server's VerifyToken decide; where that cannot be had, {@link CannotKnow}. The default. */
    ASK,
    /** {@link CannotKnow}. */
    UNAVAILABLE,
    /**
     * Fail open: accept tokens that nothing known stands against, however old that knowledge is. A revoked token stays good
     * for as long as the verifier is cut off.
     */
    ACCEPT
}
