package io.authsvc.client;

/** What middleware needs: a {@link Verifier}, or the fake of {@link io.authsvc.client.testing}. */
public interface TokenVerifier {
    /**
     * Judges a token.
     *
     * @throws CannotKnow if it can be called neither good nor bad
     */
    Verdict verify(String token, Requirements required);

    /**
     * Judges a token for the verifier's own audience.
     *
     * @throws CannotKnow if it can be called neither good nor bad
     */
    default Verdict verify(String token) {
        return verify(token, Requirements.NONE);
    }
}
