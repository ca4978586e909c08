package io.authsvc.client;

import java.time.Instant;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Optional;

/**
 * A well-formed access token (JWT, RFC 9068), not yet believed.
 *
 * <p>Stricter than RFC 7519 on purpose: integers are integers, names occur once, text has no lone surrogates; each of these
 * trips something behind some library that lets it through.
 *
 * @param signed what the signature is over
 */
record AccessToken(Header header, Claims claims, String signed, byte[] signature) {
    static final String TYPE = "at+jwt";
    static final int MAX_LENGTH = 8192;
    static final long LEEWAY_SECONDS = 5;
    private static final long MAX_INSTANT = 1L << 53;
    private static final List<String> FORBIDDEN = List.of("jku", "x5u", "jwk", "crit", "b64");

    /** The part of a JOSE header that decides anything. */
    record Header(String kid, String alg, String typ) {
        /** Returns the server's spelling of it. */
        String segment() {
            String json = "{\"typ\":\"" + typ + "\",\"alg\":\"" + alg + "\",\"kid\":\"" + kid + "\"}";
            return Base64Url.encode(json.getBytes(java.nio.charset.StandardCharsets.UTF_8));
        }
    }

    /** A claim is missing or of the wrong type. */
    private static final class WrongClaim extends Exception {
        private static final long serialVersionUID = 1;

        WrongClaim() {
            super("a claim is wrong", null, false, false);
        }
    }

    /**
     * Returns the token's parts, or null if it is MALFORMED. {@code known} maps header segments of the keys at hand to their
     * meaning, so that the usual token costs no parse of its header.
     */
    static AccessToken parse(String token, Map<String, Header> known) {
        if (token.length() > MAX_LENGTH) {
            return null;
        }
        int first = token.indexOf('.');
        int last = token.lastIndexOf('.');
        if (first < 0 || first == last || token.indexOf('.', first + 1) != last) {
            return null;
        }
        try {
            Header header = known.get(token.substring(0, first));
            if (header == null) {
                header = header(Base64Url.decode(token, 0, first));
            }
            byte[] payload = Base64Url.decode(token, first + 1, last);
            byte[] signature = Base64Url.decode(token, last + 1, token.length());
            if (header == null || payload == null || signature == null) {
                return null;
            }
            return new AccessToken(header, claims(Json.object(payload)), token.substring(0, last), signature);
        } catch (Json.Malformed | WrongClaim e) {
            return null;
        }
    }

    /** Returns what a header says, or null where it is none, or plays games. */
    static Header header(byte[] raw) {
        if (raw == null) {
            return null;
        }
        try {
            Map<String, Object> members = Json.object(raw);
            for (String name : FORBIDDEN) {
                if (members.containsKey(name)) {
                    return null;
                }
            }
            String typ = members.containsKey("typ") ? text(members, "typ") : "";
            Header header = new Header(text(members, "kid"), text(members, "alg"), typ);
            return header.alg.toLowerCase(Locale.ROOT).equals("none") ? null : header;
        } catch (Json.Malformed | WrongClaim e) {
            return null;
        }
    }

    private static Claims claims(Map<String, Object> members) throws WrongClaim {
        return new Claims(
                text(members, "iss"),
                text(members, "sub"),
                text(members, "sid"),
                text(members, "client_id"),
                text(members, "jti"),
                optionalText(members, "openid"),
                optionalText(members, "external_id"),
                members.get("aud") instanceof List<?> ? texts(members, "aud") : List.of(text(members, "aud")),
                words(text(members, "scope")),
                members.containsKey("roles") ? texts(members, "roles") : List.of(),
                members.containsKey("prev") ? texts(members, "prev") : List.of(),
                instant(members, "iat"),
                instant(members, "nbf"),
                instant(members, "exp"),
                position(text(members, "sp")));
    }

    /** Returns the scopes: separated by U+0020 and nothing else (RFC 6749 section 3.3). */
    private static List<String> words(String text) {
        List<String> words = new ArrayList<>();
        int from = 0;
        while (from < text.length()) {
            int space = text.indexOf(' ', from);
            int to = space < 0 ? text.length() : space;
            if (to > from) {
                words.add(text.substring(from, to));
            }
            from = to + 1;
        }
        return words;
    }

    private static String text(Map<String, Object> members, String name) throws WrongClaim {
        Object value = members.get(name);
        if (!Json.isText(value)) {
            throw new WrongClaim();
        }
        return (String) value;
    }

    private static Optional<String> optionalText(Map<String, Object> members, String name) throws WrongClaim {
        return members.get(name) == null ? Optional.empty() : Optional.of(text(members, name));
    }

    private static List<String> texts(Map<String, Object> members, String name) throws WrongClaim {
        if (!(members.get(name) instanceof List<?> items)) {
            throw new WrongClaim();
        }
        List<String> texts = new ArrayList<>(items.size());
        for (Object item : items) {
            if (!Json.isText(item)) {
                throw new WrongClaim();
            }
            texts.add((String) item);
        }
        return texts;
    }

    private static Instant instant(Map<String, Object> members, String name) throws WrongClaim {
        // 2^53 has 16 digits; a sign and zeros are not more of them.
        if (members.get(name) instanceof Json.Whole whole && whole.digits().length() <= 17) {
            long seconds = Long.parseLong(whole.digits());
            if (seconds >= 0 && seconds < MAX_INSTANT) {
                return Instant.ofEpochSecond(seconds);
            }
        }
        throw new WrongClaim();
    }

    /** Reads the claim sp: 16 lowercase hex digits. */
    private static long position(String text) throws WrongClaim {
        if (text.length() != 16) {
            throw new WrongClaim();
        }
        long value = 0;
        for (int i = 0; i < 16; i++) {
            int digit = "0123456789abcdef".indexOf(text.charAt(i));
            if (digit < 0) {
                throw new WrongClaim();
            }
            value = value << 4 | digit;
        }
        return value;
    }
}
