package io.authsvc.client;

import java.time.Instant;
import java.util.List;
import java.util.Optional;

/**
 * What a good token says. Immutable; its text holds no openid.
 *
 * @param issuer who made the token
 * @param userId our id of the user, the claim sub
 * @param sessionId the session, the claim sid
 * @param appId the mini-program, the claim client_id
 * @param tokenId the token's own id, the claim jti
 * @param openid WeChat's id of the user in the app, where the app's tokens carry it
 * @param externalId the id another system gave the user, where the token carries it
 * @param audiences all the token's audiences
 * @param scopes the token's scopes
 * @param roles the token's roles
 * @param previousUserIds users that were merged into this one: move what is stored under them
 * @param issuedAt when it was made, in whole seconds
 * @param notBefore when it begins, in whole seconds
 * @param expiresAt when it ends, in whole seconds
 * @param position the log position read when the session was created, the claim sp: an unsigned number ({@link
 *     Long#compareUnsigned})
 */
public record Claims(
        String issuer,
        String userId,
        String sessionId,
        String appId,
        String tokenId,
        Optional<String> openid,
        Optional<String> externalId,
        List<String> audiences,
        List<String> scopes,
        List<String> roles,
        List<String> previousUserIds,
        Instant issuedAt,
        Instant notBefore,
        Instant expiresAt,
        long position) {

    /** Copies the lists. */
    public Claims {
        audiences = List.copyOf(audiences);
        scopes = List.copyOf(scopes);
        roles = List.copyOf(roles);
        previousUserIds = List.copyOf(previousUserIds);
    }

    /** Tells whether the token carries a scope. */
    public boolean hasScope(String scope) {
        return scopes.contains(scope);
    }

    /** Tells whether the token carries a role. */
    public boolean hasRole(String role) {
        return roles.contains(role);
    }

    /**
     * Returns the first reason why the token does not allow what is required, or nothing: for a handler that finds out what
     * it needs while it works. Requirements without an audience ask for none here.
     */
    public Optional<Reason> lacks(Requirements required) {
        return Optional.ofNullable(required.unmetBy(this, List.of()));
    }

    @Override
    public String toString() {
        return "Claims[userId=" + userId + ", sessionId=" + sessionId + ", appId=" + appId + "]";
    }
}
