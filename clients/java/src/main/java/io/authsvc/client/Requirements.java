package io.authsvc.client;

import java.util.List;

/**
 * What a check asks of a token beyond being good. Immutable: make one and use it for every call.
 *
 * @param audiences any of these instead of the verifier's own; none: the verifier's own
 * @param scopes all of these
 * @param roles all of these
 */
public record Requirements(List<String> audiences, List<String> scopes, List<String> roles) {
    /** A good token for the verifier's own audience, and nothing more. */
    public static final Requirements NONE = new Requirements(List.of(), List.of(), List.of());

    /** Copies the lists. */
    public Requirements {
        audiences = List.copyOf(audiences);
        scopes = List.copyOf(scopes);
        roles = List.copyOf(roles);
    }

    /** Asks for all of these scopes. */
    public static Requirements scopes(String... all) {
        return NONE.andScopes(all);
    }

    /** Asks for all of these roles. */
    public static Requirements roles(String... all) {
        return NONE.andRoles(all);
    }

    /** Asks for one of these audiences instead of the verifier's own. */
    public static Requirements audience(String... anyOf) {
        return NONE.andAudience(anyOf);
    }

    /** Returns these requirements with all of these scopes instead of the ones before. */
    public Requirements andScopes(String... all) {
        return new Requirements(audiences, List.of(all), roles);
    }

    /** Returns these requirements with all of these roles instead of the ones before. */
    public Requirements andRoles(String... all) {
        return new Requirements(audiences, scopes, List.of(all));
    }

    /** Returns these requirements with one of these audiences instead of the ones before. */
    public Requirements andAudience(String... anyOf) {
        return new Requirements(List.of(anyOf), scopes, roles);
    }

    /** Returns the first reason in the contract's order (audience, scope, role), or null. {@code own} may be empty: any. */
    Reason unmetBy(Claims claims, List<String> own) {
        List<String> wanted = audiences.isEmpty() ? own : audiences;
        if (!wanted.isEmpty() && !containsAny(claims.audiences(), wanted)) {
            return Reason.WRONG_AUDIENCE;
        }
        if (!containsAll(claims.scopes(), scopes)) {
            return Reason.MISSING_SCOPE;
        }
        return containsAll(claims.roles(), roles) ? null : Reason.MISSING_ROLE;
    }

    // Lists of a few: a loop without an iterator is what makes these free.
    private static boolean containsAny(List<String> held, List<String> wanted) {
        for (int i = 0; i < wanted.size(); i++) {
            if (held.contains(wanted.get(i))) {
                return true;
            }
        }
        return false;
    }

    private static boolean containsAll(List<String> held, List<String> wanted) {
        for (int i = 0; i < wanted.size(); i++) {
            if (!held.contains(wanted.get(i))) {
                return false;
            }
        }
        return true;
    }
}
