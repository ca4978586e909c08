package io.authsvc.client;

import jakarta.servlet.Filter;
import jakarta.servlet.FilterChain;
import jakarta.servlet.ServletException;
import jakarta.servlet.ServletRequest;
import jakarta.servlet.ServletResponse;
import jakarta.servlet.http.HttpServletRequest;
import jakarta.servlet.http.HttpServletRequestWrapper;
import jakarta.servlet.http.HttpServletResponse;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.security.Principal;
import java.util.Collections;
import java.util.List;
import java.util.Objects;

/**
 * Guards servlets: the token comes in the header {@code Authorization: Bearer …}, its claims become an attribute of the request
 * ({@link #claims}), its user the request's principal, its roles the request's roles. A bad token is 401, one that is good but not
 * for this 403, and 503 with Retry-After says that nobody can tell right now. The bodies have the shape of authsvc's own edge; the
 * fine reason does not leave the server.
 *
 * <p>Map it to everything, and once more where paths ask for scopes or roles: a token seen before costs about a microsecond.
 */
public final class AuthFilter implements Filter {
    /** The name of the request's attribute that holds the claims. */
    public static final String CLAIMS = "io.authsvc.client.Claims"; // a constant, so that annotations can name it

    private static final String RETRY_AFTER_SECONDS = "1";

    /** What a request is refused with. */
    public enum Refusal {
        /** No token, or more than one. */
        NO_TOKEN(401, "UNAUTHENTICATED", "TOKEN_INVALID", "Bearer"),
        /** A token that is not accepted. */
        INVALID(401, "UNAUTHENTICATED", "TOKEN_INVALID", "Bearer error=\"invalid_token\""),
        /** A good token that does not allow this. */
        INSUFFICIENT(403, "PERMISSION_DENIED", "TOKEN_INSUFFICIENT", "Bearer error=\"insufficient_scope\""),
        /** Nobody can tell right now. */
        UNAVAILABLE(503, "UNAVAILABLE", "NOT_FRESH", null);

        private final int status;
        private final byte[] body;
        private final String challenge; // RFC 6750 section 3: without a token no error is named

        Refusal(int status, String code, String reason, String challenge) {
            this.status = status;
            this.body = ("{\"error\":{\"code\":\"" + code + "\",\"reason\":\"" + reason + "\"}}")
                    .getBytes(StandardCharsets.US_ASCII);
            this.challenge = challenge;
        }

        /** Returns the HTTP status. */
        public int status() {
            return status;
        }

        /** Writes the usual answer. */
        public void writeTo(HttpServletResponse response) throws IOException {
            response.setStatus(status);
            response.setHeader("Cache-Control", "no-store");
            response.setHeader("X-Content-Type-Options", "nosniff");
            if (challenge == null) {
                response.setHeader("Retry-After", RETRY_AFTER_SECONDS);
            } else {
                response.setHeader("WWW-Authenticate", challenge);
            }
            response.setContentType("application/json");
            response.setContentLength(body.length);
            response.getOutputStream().write(body);
        }
    }

    /** Answers a request that is refused. */
    @FunctionalInterface
    public interface ErrorPage {
        /** Writes the answer, {@link Refusal#writeTo} for one. */
        void answer(HttpServletRequest request, HttpServletResponse response, Refusal refusal) throws IOException;
    }

    private final TokenVerifier verifier;
    private final Requirements required;
    private final ErrorPage page;

    /** Makes a filter that asks for a good token. */
    public AuthFilter(TokenVerifier verifier) {
        this(verifier, Requirements.NONE);
    }

    /** Makes a filter that asks for more. */
    public AuthFilter(TokenVerifier verifier, Requirements required) {
        this(verifier, required, (request, response, refusal) -> refusal.writeTo(response));
    }

    /** Makes a filter with an error page of one's own. */
    public AuthFilter(TokenVerifier verifier, Requirements required, ErrorPage page) {
        this.verifier = Objects.requireNonNull(verifier);
        this.required = Objects.requireNonNull(required);
        this.page = Objects.requireNonNull(page);
    }

    /** Returns the claims of a request's token; null where no filter of this kind has seen it. */
    public static Claims claims(ServletRequest request) {
        return request.getAttribute(CLAIMS) instanceof Claims claims ? claims : null;
    }

    @Override
    public void doFilter(ServletRequest request, ServletResponse response, FilterChain chain)
            throws IOException, ServletException {
        if (!(request instanceof HttpServletRequest http) || !(response instanceof HttpServletResponse answer)) {
            throw new ServletException("not HTTP: there is no token to judge");
        }
        List<String> headers = Collections.list(http.getHeaders("Authorization"));
        String token = headers.size() == 1 ? Bearer.token(headers.get(0)) : null;
        if (token == null) {
            page.answer(http, answer, Refusal.NO_TOKEN);
            return;
        }
        Verdict verdict;
        try {
            verdict = verifier.verify(token, required);
        } catch (CannotKnow e) {
            page.answer(http, answer, Refusal.UNAVAILABLE);
            return;
        }
        if (verdict instanceof Verdict.Active active) {
            request.setAttribute(CLAIMS, active.claims());
            chain.doFilter(new Admitted(http, active.claims()), response);
        } else {
            boolean lacks = ((Verdict.Inactive) verdict).reason().isInsufficient();
            page.answer(http, answer, lacks ? Refusal.INSUFFICIENT : Refusal.INVALID);
        }
    }

    /** A request whose user is the token's. */
    private static final class Admitted extends HttpServletRequestWrapper {
        private final Claims claims;

        Admitted(HttpServletRequest request, Claims claims) {
            super(request);
            this.claims = claims;
        }

        @Override
        public Principal getUserPrincipal() {
            return claims::userId;
        }

        @Override
        public String getRemoteUser() {
            return claims.userId();
        }

        @Override
        public boolean isUserInRole(String role) {
            return claims.hasRole(role);
        }

        @Override
        public String getAuthType() {
            return "Bearer";
        }
    }
}
