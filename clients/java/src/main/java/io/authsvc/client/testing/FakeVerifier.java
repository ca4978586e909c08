package io.authsvc.client.testing;

import io.authsvc.client.CannotKnow;
import io.authsvc.client.Claims;
import io.authsvc.client.EndReason;
import io.authsvc.client.Reason;
import io.authsvc.client.Requirements;
import io.authsvc.client.TokenVerifier;
import io.authsvc.client.Verdict;
import java.util.Map;
import java.util.Optional;
import java.util.concurrent.ConcurrentHashMap;

/**
 * Knows the tokens it was told, and no network. Any other token is refused as BAD_SIGNATURE. What a call requires is judged as a
 * real verifier judges it.
 */
public final class FakeVerifier implements TokenVerifier {
    private final Requirements own;
    private final Map<String, Verdict> answers = new ConcurrentHashMap<>();
    private volatile CannotKnow unknown;

    /** Makes a fake verifier for an audience. */
    public FakeVerifier(String audience) {
        own = Requirements.audience(audience);
    }

    /** Makes a token good; {@link TokenIssuer#claims} makes claims. */
    public FakeVerifier accept(String token, Claims claims) {
        answers.put(token, new Verdict.Active(claims));
        return this;
    }

    /** Makes a token bad, from now on. */
    public FakeVerifier refuse(String token, Reason reason) {
        answers.put(token, new Verdict.Inactive(reason, EndReason.UNSPECIFIED));
        return this;
    }

    /** Makes every answer "cannot know"; null ends that. */
    public FakeVerifier cannotKnow(CannotKnow.Why why) {
        unknown = why == null ? null : new CannotKnow(why, null);
        return this;
    }

    @Override
    public Verdict verify(String token, Requirements required) {
        if (unknown != null) {
            throw unknown;
        }
        Verdict said = answers.getOrDefault(token, new Verdict.Inactive(Reason.BAD_SIGNATURE, EndReason.UNSPECIFIED));
        if (!(said instanceof Verdict.Active active)) {
            return said;
        }
        Requirements asked = required.audiences().isEmpty()
                ? new Requirements(own.audiences(), required.scopes(), required.roles())
                : required;
        Optional<Reason> lacks = active.claims().lacks(asked);
        return lacks.isEmpty() ? said : new Verdict.Inactive(lacks.get(), EndReason.UNSPECIFIED);
    }
}
