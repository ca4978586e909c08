package io.authsvc.client;

import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;

/** 128 bits that stand for a thing the log can kill. */
record FactId(long high, long low) {
    static final int BYTES = 16;

    static FactId of(byte[] raw) {
        ByteBuffer bytes = ByteBuffer.wrap(raw);
        return new FactId(bytes.getLong(), bytes.getLong());
    }

    /** Returns the id behind a sid, or null if it is not the one spelling of any: then no fact names it. */
    static FactId ofSession(String sid) {
        byte[] raw = sid.length() == 22 ? Base64Url.decode(sid) : null;
        return raw == null ? null : of(raw);
    }

    /**
     * Returns what stands for a user, in one app or (empty) in all. User ids and app ids may be any text, so it is a hash; 128
     * bits of SHA-256 meet by chance never.
     */
    static FactId ofUser(String user, String app) {
        return of(Sha256.of((app.length() + "." + app + user).getBytes(StandardCharsets.UTF_8)));
    }
}
