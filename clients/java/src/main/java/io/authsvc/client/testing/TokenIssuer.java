package io.authsvc.client.testing;

import com.google.protobuf.Duration;
import io.authsvc.authapi.v1.GetJwksResponse;
import io.authsvc.client.Claims;
import java.math.BigInteger;
import java.nio.charset.StandardCharsets;
import java.security.GeneralSecurityException;
import java.security.KeyPair;
import java.security.KeyPairGenerator;
import java.security.MessageDigest;
import java.security.SecureRandom;
import java.security.Signature;
import java.security.interfaces.ECPublicKey;
import java.security.spec.ECGenParameterSpec;
import java.time.Instant;
import java.util.Base64;
import java.util.List;
import java.util.Optional;
import java.util.function.Supplier;
import java.util.function.UnaryOperator;

/** Mints tokens as authsvc does, with an ES256 key of its own. */
public final class TokenIssuer {
    private static final SecureRandom ENTROPY = new SecureRandom();
    private static final java.time.Duration LIFETIME = java.time.Duration.ofHours(2);

    private final Supplier<Instant> now;
    private final KeyPair pair;
    private final String x;
    private final String y;
    private final String keyId;

    /** Makes an issuer with a fresh key; {@code now} tells the time of issue. */
    public TokenIssuer(Supplier<Instant> now) {
        this.now = now;
        try {
            KeyPairGenerator generator = KeyPairGenerator.getInstance("EC");
            generator.initialize(new ECGenParameterSpec("secp256r1"), ENTROPY);
            pair = generator.generateKeyPair();
            ECPublicKey key = (ECPublicKey) pair.getPublic();
            x = coordinate(key.getW().getAffineX());
            y = coordinate(key.getW().getAffineY());
            // RFC 7638: the required members in the order of their names, without spaces.
            String members = "{\"crv\":\"P-256\",\"kty\":\"EC\",\"x\":\"" + x + "\",\"y\":\"" + y + "\"}";
            keyId = encode(MessageDigest.getInstance("SHA-256").digest(members.getBytes(StandardCharsets.US_ASCII)));
        } catch (GeneralSecurityException e) {
            throw new IllegalStateException("every JDK has P-256", e);
        }
    }

    /** Makes an issuer with a fresh key and the real time. */
    public TokenIssuer() {
        this(Instant::now);
    }

    /** Returns the kid of its tokens. */
    public String keyId() {
        return keyId;
    }

    /** Begins claims: random ids, audience "orders", issued now, good for two hours. */
    public ClaimsBuilder claims() {
        return new ClaimsBuilder(now.get());
    }

    /** Returns a token with the usual claims. */
    public String mint() {
        return mint(claims().build());
    }

    /** Returns a token with the usual claims, changed. */
    public String mint(UnaryOperator<ClaimsBuilder> change) {
        return mint(change.apply(claims()).build());
    }

    /** Returns a token that says what the claims say. */
    public String mint(Claims claims) {
        String header = "{\"typ\":\"at+jwt\",\"alg\":\"ES256\",\"kid\":\"" + keyId + "\"}";
        String signed = encode(header.getBytes(StandardCharsets.UTF_8)) + "."
                + encode(payload(claims).getBytes(StandardCharsets.UTF_8));
        try {
            Signature signature = Signature.getInstance("SHA256withECDSAinP1363Format");
            signature.initSign(pair.getPrivate(), ENTROPY);
            signature.update(signed.getBytes(StandardCharsets.US_ASCII));
            return signed + "." + encode(signature.sign());
        } catch (GeneralSecurityException e) {
            throw new IllegalStateException("every JDK has ES256", e);
        }
    }

    private static String payload(Claims claims) {
        StringBuilder json = new StringBuilder("{");
        json.append("\"iss\":").append(quoted(claims.issuer()));
        json.append(",\"sub\":").append(quoted(claims.userId()));
        json.append(",\"aud\":").append(list(claims.audiences()));
        json.append(",\"client_id\":").append(quoted(claims.appId()));
        json.append(",\"exp\":").append(claims.expiresAt().getEpochSecond());
        json.append(",\"iat\":").append(claims.issuedAt().getEpochSecond());
        json.append(",\"nbf\":").append(claims.notBefore().getEpochSecond());
        json.append(",\"jti\":").append(quoted(claims.tokenId()));
        json.append(",\"sid\":").append(quoted(claims.sessionId()));
        json.append(",\"scope\":").append(quoted(String.join(" ", claims.scopes())));
        json.append(",\"sp\":").append(quoted(String.format("%016x", claims.position())));
        optional(json, "openid", claims.openid());
        optional(json, "external_id", claims.externalId());
        if (!claims.roles().isEmpty()) {
            json.append(",\"roles\":").append(list(claims.roles()));
        }
        if (!claims.previousUserIds().isEmpty()) {
            json.append(",\"prev\":").append(list(claims.previousUserIds()));
        }
        return json.append('}').toString();
    }

    private static void optional(StringBuilder json, String name, Optional<String> value) {
        value.ifPresent(text -> json.append(",\"").append(name).append("\":").append(quoted(text)));
    }

    private static String list(List<String> texts) {
        return "[" + String.join(",", texts.stream().map(TokenIssuer::quoted).toList()) + "]";
    }

    private static String quoted(String text) {
        StringBuilder json = new StringBuilder("\"");
        for (char c : text.toCharArray()) {
            if (c == '"' || c == '\\') {
                json.append('\\').append(c);
            } else if (c < 0x20) {
                json.append(String.format("\\u%04x", (int) c));
            } else {
                json.append(c);
            }
        }
        return json.append('"').toString();
    }

    /** Returns what KeyService.GetJwks answers for these issuers' tokens. */
    public static GetJwksResponse keySet(TokenIssuer... issuers) {
        StringBuilder keys = new StringBuilder();
        for (TokenIssuer issuer : issuers) {
            keys.append(keys.length() == 0 ? "" : ",")
                    .append("{\"kty\":\"EC\",\"crv\":\"P-256\",\"use\":\"sig\",\"alg\":\"ES256\",\"x\":\"").append(issuer.x)
                    .append("\",\"y\":\"").append(issuer.y).append("\",\"kid\":\"").append(issuer.keyId).append("\"}");
        }
        return GetJwksResponse.newBuilder()
                .setJwksJson("{\"keys\":[" + keys + "]}")
                .setMaxAge(Duration.newBuilder().setSeconds(300))
                .setIssuer("authsvc")
                .setMaxTokenLifetime(Duration.newBuilder().setSeconds(24 * 3600))
                .build();
    }

    /** Returns a fresh id as authsvc spells its own: 128 random bits in 22 characters. */
    public static String newId() {
        byte[] raw = new byte[16];
        ENTROPY.nextBytes(raw);
        return encode(raw);
    }

    private static String coordinate(BigInteger number) {
        byte[] raw = new byte[32];
        byte[] bytes = number.toByteArray(); // shorter, or one longer for its sign
        int length = Math.min(bytes.length, 32);
        System.arraycopy(bytes, bytes.length - length, raw, 32 - length, length);
        return encode(raw);
    }

    private static String encode(byte[] raw) {
        return Base64.getUrlEncoder().withoutPadding().encodeToString(raw);
    }

    /** Claims in the making. */
    public static final class ClaimsBuilder {
        private String userId = newId();
        private String sessionId = newId();
        private String appId = "wx00000000000000d1";
        private Optional<String> openid = Optional.empty();
        private List<String> audiences = List.of("orders");
        private List<String> scopes = List.of();
        private List<String> roles = List.of();
        private final Instant issuedAt;
        private Instant expiresAt;
        private long position;

        private ClaimsBuilder(Instant now) {
            issuedAt = Instant.ofEpochSecond(now.getEpochSecond());
            expiresAt = issuedAt.plus(LIFETIME);
        }

        /** Sets the user. */
        public ClaimsBuilder user(String id) {
            userId = id;
            return this;
        }

        /** Sets the session. */
        public ClaimsBuilder session(String id) {
            sessionId = id;
            return this;
        }

        /** Sets the mini-program. */
        public ClaimsBuilder app(String id) {
            appId = id;
            return this;
        }

        /** Sets WeChat's id of the user. */
        public ClaimsBuilder openid(String id) {
            openid = Optional.of(id);
            return this;
        }

        /** Sets all audiences. */
        public ClaimsBuilder audiences(String... all) {
            audiences = List.of(all);
            return this;
        }

        /** Sets all scopes. */
        public ClaimsBuilder scopes(String... all) {
            scopes = List.of(all);
            return this;
        }

        /** Sets all roles. */
        public ClaimsBuilder roles(String... all) {
            roles = List.of(all);
            return this;
        }

        /** Sets the end. */
        public ClaimsBuilder expiresAt(Instant end) {
            expiresAt = end;
            return this;
        }

        /** Sets the log position of the session's beginning, an unsigned number. */
        public ClaimsBuilder position(long at) {
            position = at;
            return this;
        }

        /** Returns the claims. */
        public Claims build() {
            return new Claims(
                    "authsvc", userId, sessionId, appId, newId(), openid, Optional.empty(), audiences, scopes, roles,
                    List.of(), issuedAt, issuedAt, expiresAt, position);
        }
    }
}
