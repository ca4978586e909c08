package io.authsvc.client;

/** The token of an Authorization header (RFC 6750 section 2.1). */
final class Bearer {
    private static final String SCHEME = "bearer ";

    private Bearer() {}

    /** Returns the token, or null where the header brings none. */
    static String token(String header) {
        if (header == null || !header.regionMatches(true, 0, SCHEME, 0, SCHEME.length())) {
            return null;
        }
        int from = SCHEME.length();
        while (from < header.length() && header.charAt(from) == ' ') {
            from++;
        }
        return header.substring(from);
    }
}
