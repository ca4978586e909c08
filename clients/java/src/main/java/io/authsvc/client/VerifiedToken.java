package io.authsvc.client;

/** What is remembered of a token whose signature, type, issuer and lifetime hold: never a verdict. */
final class VerifiedToken {
    // What one costs besides the text's share in its claims: the values, the map's entry and the queue's.
    private static final int OVERHEAD = 1100;

    final Claims claims;
    final Verdict.Active active;
    final String kid;
    final long issued;
    final long notBefore;
    final long expires;
    final FactId session; // null if no fact can name it
    final FactId user;
    final FactId userInApp;
    final int cost;
    // Asked for since the eviction last passed by; a lost write only costs a second chance.
    boolean used;

    VerifiedToken(Claims claims, String kid, int length) {
        this.claims = claims;
        this.active = new Verdict.Active(claims);
        this.kid = kid;
        this.issued = claims.issuedAt().getEpochSecond();
        this.notBefore = claims.notBefore().getEpochSecond();
        this.expires = claims.expiresAt().getEpochSecond();
        this.session = FactId.ofSession(claims.sessionId());
        this.user = FactId.ofUser(claims.userId(), "");
        this.userInApp = FactId.ofUser(claims.userId(), claims.appId());
        this.cost = OVERHEAD + length;
    }

    /** Tells whether it can no longer be accepted at a time, in seconds since 1970. */
    boolean isOver(long now) {
        return now >= expires + AccessToken.LEEWAY_SECONDS;
    }
}
