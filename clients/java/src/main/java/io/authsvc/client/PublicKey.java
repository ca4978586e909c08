package io.authsvc.client;

import java.math.BigInteger;
import java.nio.charset.StandardCharsets;
import java.security.AlgorithmParameters;
import java.security.GeneralSecurityException;
import java.security.KeyFactory;
import java.security.Signature;
import java.security.spec.ECFieldFp;
import java.security.spec.ECGenParameterSpec;
import java.security.spec.ECParameterSpec;
import java.security.spec.ECPoint;
import java.security.spec.ECPublicKeySpec;
import java.security.spec.EdECPoint;
import java.security.spec.EdECPublicKeySpec;
import java.security.spec.EllipticCurve;
import java.security.spec.NamedParameterSpec;
import java.security.spec.RSAPublicKeySpec;
import java.util.Map;

/** Checks signatures of one key with the one algorithm it is for. */
final class PublicKey {
    private static final String ES256 = "SHA256withECDSAinP1363Format";
    private static final String ED25519 = "Ed25519";
    private static final int MIN_RSA_BITS = 2048;
    private static final ECParameterSpec P256 = p256();

    private final AccessToken.Header header;
    private final java.security.PublicKey key;
    private final String algorithm;

    private PublicKey(AccessToken.Header header, java.security.PublicKey key, String algorithm) {
        this.header = header;
        this.key = key;
        this.algorithm = algorithm;
    }

    /** Returns the header of its tokens. */
    AccessToken.Header header() {
        return header;
    }

    /**
     * Returns the key that a JWK (RFC 7517) is, or null where this verifier has no use for it: another kind, curve or
     * algorithm, an algorithm that does not fit the key, RSA below 2048 bits.
     */
    static PublicKey of(Map<?, ?> jwk) {
        String kid = text(jwk, "kid");
        String alg = text(jwk, "alg");
        if (kid == null || kid.isEmpty() || alg == null) {
            return null;
        }
        if (jwk.get("use") != null && !"sig".equals(jwk.get("use"))) {
            return null;
        }
        AccessToken.Header header = new AccessToken.Header(kid, alg, AccessToken.TYPE);
        String kind = alg + " " + text(jwk, "kty") + " " + text(jwk, "crv");
        try {
            if (kind.equals("ES256 EC P-256")) {
                return new PublicKey(header, ec(jwk), ES256);
            } else if (kind.equals("EdDSA OKP Ed25519")) {
                return new PublicKey(header, ed25519(jwk), ED25519);
            } else if (alg.equals("RS256") && "RSA".equals(jwk.get("kty"))) {
                return new PublicKey(header, rsa(jwk), "SHA256withRSA");
            }
            return null;
        } catch (GeneralSecurityException e) {
            return null;
        }
    }

    /** Tells whether a signature holds. */
    boolean verifies(String signed, byte[] signature) {
        // JDK 17 takes an Ed25519 signature with bytes behind it (RFC 8032 section 5.1.7 step 1 does not).
        if (algorithm.equals(ED25519) ? signature.length != 64 : algorithm.equals(ES256) && !isInRange(signature)) {
            return false;
        }
        try {
            Signature check = Signature.getInstance(algorithm);
            check.initVerify(key);
            check.update(signed.getBytes(StandardCharsets.ISO_8859_1));
            return check.verify(signature);
        } catch (GeneralSecurityException e) {
            return false; // of the wrong length, or otherwise no signature at all
        }
    }

    /** RFC 7518 section 3.4: r and s, 32 bytes each; zero or beyond the order is never right, whatever a provider says. */
    private static boolean isInRange(byte[] signature) {
        if (signature.length != 64) {
            return false;
        }
        for (int at = 0; at < 64; at += 32) {
            BigInteger number = new BigInteger(1, signature, at, 32);
            if (number.signum() == 0 || number.compareTo(P256.getOrder()) >= 0) {
                return false;
            }
        }
        return true;
    }

    private static java.security.PublicKey ec(Map<?, ?> jwk) throws GeneralSecurityException {
        BigInteger x = new BigInteger(1, bytes(jwk, "x", 32));
        BigInteger y = new BigInteger(1, bytes(jwk, "y", 32));
        EllipticCurve curve = P256.getCurve();
        BigInteger p = ((ECFieldFp) curve.getField()).getP();
        BigInteger right = x.pow(3).add(curve.getA().multiply(x)).add(curve.getB()).mod(p);
        if (x.compareTo(p) >= 0 || y.compareTo(p) >= 0 || !y.pow(2).mod(p).equals(right)) {
            throw new GeneralSecurityException("not a point of the curve");
        }
        return KeyFactory.getInstance("EC").generatePublic(new ECPublicKeySpec(new ECPoint(x, y), P256));
    }

    private static java.security.PublicKey ed25519(Map<?, ?> jwk) throws GeneralSecurityException {
        byte[] raw = bytes(jwk, "x", 32);
        boolean odd = raw[31] < 0; // RFC 8032 section 5.1.2: little-endian, the top bit is x's
        byte[] bigEndian = new byte[32];
        for (int i = 0; i < 32; i++) {
            bigEndian[31 - i] = raw[i];
        }
        bigEndian[0] &= 0x7F;
        EdECPoint point = new EdECPoint(odd, new BigInteger(1, bigEndian));
        return KeyFactory.getInstance(ED25519).generatePublic(new EdECPublicKeySpec(NamedParameterSpec.ED25519, point));
    }

    private static java.security.PublicKey rsa(Map<?, ?> jwk) throws GeneralSecurityException {
        BigInteger modulus = new BigInteger(1, bytes(jwk, "n", -1));
        BigInteger exponent = new BigInteger(1, bytes(jwk, "e", -1));
        boolean usable = modulus.bitLength() >= MIN_RSA_BITS && modulus.testBit(0)
                && exponent.bitLength() >= 2 && exponent.bitLength() <= 31 && exponent.testBit(0);
        if (!usable) {
            throw new GeneralSecurityException("not an RSA key to trust");
        }
        return KeyFactory.getInstance("RSA").generatePublic(new RSAPublicKeySpec(modulus, exponent));
    }

    private static String text(Map<?, ?> jwk, String name) {
        return jwk.get(name) instanceof String text ? text : null;
    }

    private static byte[] bytes(Map<?, ?> jwk, String name, int length) throws GeneralSecurityException {
        String text = text(jwk, name);
        byte[] bytes = text == null ? null : Base64Url.decode(text);
        if (bytes == null || bytes.length == 0 || (length >= 0 && bytes.length != length)) {
            throw new GeneralSecurityException("a part of the key is missing");
        }
        return bytes;
    }

    private static ECParameterSpec p256() {
        try {
            AlgorithmParameters parameters = AlgorithmParameters.getInstance("EC");
            parameters.init(new ECGenParameterSpec("secp256r1"));
            return parameters.getParameterSpec(ECParameterSpec.class);
        } catch (GeneralSecurityException e) {
            throw new AssertionError("every JDK has P-256", e);
        }
    }
}
