package io.authsvc.client;

import static org.junit.jupiter.api.Assertions.assertEquals;

import io.authsvc.client.testing.FakeVerifier;
import io.authsvc.client.testing.TokenIssuer;
import jakarta.servlet.DispatcherType;
import jakarta.servlet.http.HttpServlet;
import jakarta.servlet.http.HttpServletRequest;
import jakarta.servlet.http.HttpServletResponse;
import java.io.IOException;
import java.net.InetSocketAddress;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;
import java.util.EnumSet;
import org.eclipse.jetty.ee10.servlet.FilterHolder;
import org.eclipse.jetty.ee10.servlet.ServletContextHandler;
import org.eclipse.jetty.ee10.servlet.ServletHolder;
import org.eclipse.jetty.server.Server;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;

/** The filter, in a real servlet container. */
class FilterTest {
    private final FakeVerifier verifier = new FakeVerifier("orders")
            .accept("good", new TokenIssuer().claims().user("u1").roles("clerk").build())
            .refuse("old", Reason.EXPIRED);
    private final HttpClient client = HttpClient.newHttpClient();
    private Server server;

    private static final class WhoAmI extends HttpServlet {
        private static final long serialVersionUID = 1;

        @Override
        protected void doGet(HttpServletRequest request, HttpServletResponse response) throws IOException {
            String claimed = AuthFilter.claims(request).userId();
            response.getWriter().print(claimed + " " + request.getUserPrincipal().getName() + " "
                    + request.getRemoteUser() + " " + request.isUserInRole("clerk") + request.isUserInRole("boss"));
        }
    }

    @BeforeEach
    void start() throws Exception {
        server = new Server(new InetSocketAddress("127.0.0.1", 0));
        ServletContextHandler app = new ServletContextHandler();
        EnumSet<DispatcherType> all = EnumSet.of(DispatcherType.REQUEST);
        app.addFilter(new FilterHolder(new AuthFilter(verifier)), "/*", all);
        app.addFilter(new FilterHolder(new AuthFilter(verifier, Requirements.scopes("write"))), "/write", all);
        app.addFilter(
                new FilterHolder(new AuthFilter(verifier, Requirements.roles("boss"),
                        (request, response, refusal) -> response.sendError(418))),
                "/tea", all);
        app.addServlet(new ServletHolder(new WhoAmI()), "/*");
        server.setHandler(app);
        server.start();
    }

    @AfterEach
    void stop() throws Exception {
        server.stop();
    }

    private HttpResponse<String> get(String path, String... headers) throws Exception {
        var request = HttpRequest.newBuilder(server.getURI().resolve(URI.create(path)));
        for (String header : headers) {
            request.header("Authorization", header);
        }
        return client.send(request.build(), HttpResponse.BodyHandlers.ofString());
    }

    private void assertRefused(int status, String reason, String challenge, HttpResponse<String> response) {
        assertEquals(status, response.statusCode());
        String code = status == 401 ? "UNAUTHENTICATED" : status == 403 ? "PERMISSION_DENIED" : "UNAVAILABLE";
        assertEquals("{\"error\":{\"code\":\"" + code + "\",\"reason\":\"" + reason + "\"}}", response.body());
        assertEquals(challenge, response.headers().firstValue("WWW-Authenticate").orElse(null));
        assertEquals("no-store", response.headers().firstValue("Cache-Control").orElseThrow());
        assertEquals("nosniff", response.headers().firstValue("X-Content-Type-Options").orElseThrow());
    }

    /** A good token reaches the servlet, as claims, principal and roles. */
    @Test
    void goodToken() throws Exception {
        HttpResponse<String> response = get("/", "Bearer good");
        assertEquals("u1 u1 u1 truefalse", response.body());
    }

    /** No token, two tokens and a bad one are 401 with the challenge of RFC 6750; the fine reason stays inside. */
    @Test
    void badTokens() throws Exception {
        assertRefused(401, "TOKEN_INVALID", "Bearer", get("/"));
        assertRefused(401, "TOKEN_INVALID", "Bearer", get("/", "Bearer good", "Bearer good"));
        assertRefused(401, "TOKEN_INVALID", "Bearer error=\"invalid_token\"", get("/", "Bearer old"));
    }

    /** A good token that lacks something is 403, and whoever has an error page of his own decides how it looks. */
    @Test
    void insufficientToken() throws Exception {
        assertRefused(403, "TOKEN_INSUFFICIENT", "Bearer error=\"insufficient_scope\"", get("/write", "Bearer good"));
        assertEquals(418, get("/tea", "Bearer good").statusCode());
    }

    /** Where nobody can tell it is 503 with Retry-After, never 401. */
    @Test
    void cannotKnow() throws Exception {
        verifier.cannotKnow(CannotKnow.Why.NO_SNAPSHOT);
        HttpResponse<String> response = get("/", "Bearer good");
        assertRefused(503, "NOT_FRESH", null, response);
        assertEquals("1", response.headers().firstValue("Retry-After").orElseThrow());
    }
}
