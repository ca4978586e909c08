package io.authsvc.client;

/**
 * Why a token is not accepted: the contract's InactiveReason, by the same numbers.
 *
 * <p>Which one is given when several hold is pinned by the contract: MALFORMED, WRONG_TYPE, KEY_WITHDRAWN, UNKNOWN_KEY,
 * BAD_SIGNATURE, WRONG_ISSUER, LIFETIME_TOO_LONG, NOT_YET_VALID, EXPIRED, SESSION_REVOKED, USER_REVOKED, APP_REVOKED,
 * WRONG_AUDIENCE, MISSING_SCOPE, MISSING_ROLE.
 */
public enum Reason {
    /** A newer server refused it for a reason that this version does not know. */
    UNSPECIFIED,
    /** Not an access token in its one accepted spelling. */
    MALFORMED,
    /** Signed by a key that is not published. */
    UNKNOWN_KEY,
    /** The signature does not hold, or the algorithm is not the key's. */
    BAD_SIGNATURE,
    /** A JWT of another kind. */
    WRONG_TYPE,
    /** Made by somebody else. */
    WRONG_ISSUER,
    /** Not for this service. */
    WRONG_AUDIENCE,
    /** A required scope is not granted. */
    MISSING_SCOPE,
    /** Past its end. */
    EXPIRED,
    /** Before its beginning, or issued in the future. */
    NOT_YET_VALID,
    /** Its session was ended. */
    SESSION_REVOKED,
    /** All older sessions of its user were ended. */
    USER_REVOKED,
    /** All older sessions of its app were ended. */
    APP_REVOKED,
    /** Its key was withdrawn, for good. */
    KEY_WITHDRAWN,
    /** A required role is not held. */
    MISSING_ROLE,
    /** Lives longer than any app's tokens do. */
    LIFETIME_TOO_LONG;

    private static final Reason[] ALL = values();

    /**
     * Tells whether the token is good and only not for this: wrong audience, missing scope or role. Such a refusal is
     * PERMISSION_DENIED or 403; every other one is UNAUTHENTICATED or 401.
     */
    public boolean isInsufficient() {
        return this == WRONG_AUDIENCE || this == MISSING_SCOPE || this == MISSING_ROLE;
    }

    static Reason ofNumber(int number) {
        return number > 0 && number < ALL.length ? ALL[number] : UNSPECIFIED;
    }
}
