package io.authsvc.client;

/** How a session ended: the contract's SessionEndReason, by the same numbers. */
public enum EndReason {
    /** Not known, or not said. */
    UNSPECIFIED,
    /** The user logged out. */
    LOGOUT,
    /** The same device logged in again. */
    SUPERSEDED,
    /** The user has too many sessions, and this was the oldest. */
    REPLACED,
    /** An operator or a service ended it. */
    ADMIN,
    /** The user was blocked. */
    BLOCKED,
    /** An old refresh token was used again. */
    REFRESH_REUSE,
    /** The last refresh token but one was used too late. */
    REFRESH_STALE,
    /** It came to its end. */
    EXPIRED,
    /** Its user was merged into another. */
    MERGED,
    /** The store was restored from a backup. */
    STORE_RESTORED;

    private static final EndReason[] ALL = values();

    static EndReason ofNumber(int number) {
        return number > 0 && number < ALL.length ? ALL[number] : UNSPECIFIED;
    }
}
