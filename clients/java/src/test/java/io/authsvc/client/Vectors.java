package io.authsvc.client;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.google.protobuf.InvalidProtocolBufferException;
import com.google.protobuf.Message;
import com.google.protobuf.Parser;
import io.authsvc.authapi.v1.GetJwksResponse;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Base64;
import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.function.Supplier;
import java.util.stream.Stream;

/** The shared conformance vectors; what they mean is in clients/conformance/README.md. */
final class Vectors {
    static final Path FOLDER = Path.of("..", "conformance");
    private static final Map<String, Vectors> READ = new HashMap<>();

    final Map<String, Object> file;

    private Vectors(Map<String, Object> file) {
        this.file = file;
    }

    static synchronized Vectors read(String name) {
        return READ.computeIfAbsent(name, Vectors::load);
    }

    private static Vectors load(String name) {
        try {
            Vectors vectors = new Vectors(Json.object(Files.readAllBytes(FOLDER.resolve(name))));
            assertEquals(1, number(vectors.file.get("format")), "a format that this runner knows");
            long count = number(vectors.file.get("count"));
            assertTrue(count > 0 && vectors.cases().count() >= count, "all cases are there");
            return vectors;
        } catch (IOException | Json.Malformed e) {
            throw new AssertionError(name, e);
        }
    }

    Stream<Map<String, Object>> cases() {
        return list(file.get("cases")).stream().map(Vectors::object);
    }

    GetJwksResponse keySet(Object name) {
        return message(object(file.get("key_sets")).get(name), GetJwksResponse.parser());
    }

    static <M extends Message> M message(Object given, Parser<M> parser) {
        try {
            return parser.parseFrom(Base64.getDecoder().decode((String) object(given).get("base64")));
        } catch (InvalidProtocolBufferException e) {
            throw new AssertionError(e);
        }
    }

    @SuppressWarnings("unchecked")
    static Map<String, Object> object(Object value) {
        return (Map<String, Object>) value;
    }

    static List<?> list(Object value) {
        return (List<?>) value;
    }

    static long number(Object value) {
        return Long.parseLong(((Json.Whole) value).digits());
    }

    static WhenStale policy(Object name) {
        return switch ((String) name) {
            case "ask" -> WhenStale.ASK;
            case "unavailable" -> WhenStale.UNAVAILABLE;
            case "accept" -> WhenStale.ACCEPT;
            default -> throw new AssertionError("an unknown policy: " + name);
        };
    }

    static Requirements requirements(Object given) {
        Map<String, Object> require = object(given);
        return Requirements.audience((String) require.get("audience"))
                .andScopes(list(require.get("scopes")).toArray(String[]::new))
                .andRoles(list(require.get("roles")).toArray(String[]::new));
    }

    /** Returns what a check says, in the words of the vectors. */
    static Map<String, Object> verdict(Supplier<Verdict> check) {
        Map<String, Object> said = new LinkedHashMap<>();
        try {
            Verdict verdict = check.get();
            if (verdict instanceof Verdict.Active active) {
                said.put("active", active(active.claims()));
                return said;
            }
            Verdict.Inactive inactive = (Verdict.Inactive) verdict;
            said.put("inactive", inactive.reason().name());
            if (inactive.endReason() != EndReason.UNSPECIFIED) {
                said.put("session_end_reason", inactive.endReason().name());
            }
        } catch (CannotKnow e) {
            said.put("unavailable", e.why().name().toLowerCase(java.util.Locale.ROOT));
        }
        return said;
    }

    private static Map<String, Object> active(Claims claims) {
        Map<String, Object> said = new LinkedHashMap<>();
        said.put("user_id", claims.userId());
        said.put("session_id", claims.sessionId());
        said.put("app_id", claims.appId());
        said.put("audiences", new ArrayList<>(claims.audiences()));
        said.put("scopes", new ArrayList<>(claims.scopes()));
        said.put("roles", new ArrayList<>(claims.roles()));
        said.put("token_id", claims.tokenId());
        said.put("issued_at", new Json.Whole(Long.toString(claims.issuedAt().getEpochSecond())));
        said.put("expires_at", new Json.Whole(Long.toString(claims.expiresAt().getEpochSecond())));
        said.put("position", String.format("%016x", claims.position()));
        said.put("previous_user_ids", new ArrayList<>(claims.previousUserIds()));
        claims.openid().ifPresent(openid -> said.put("openid", openid));
        claims.externalId().ifPresent(id -> said.put("external_id", id));
        return said;
    }
}
