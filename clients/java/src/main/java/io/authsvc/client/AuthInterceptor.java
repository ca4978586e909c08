package io.authsvc.client;

import com.google.protobuf.Any;
import com.google.protobuf.Duration;
import com.google.protobuf.Message;
import com.google.rpc.Code;
import com.google.rpc.ErrorInfo;
import com.google.rpc.RetryInfo;
import io.grpc.Context;
import io.grpc.Contexts;
import io.grpc.Metadata;
import io.grpc.ServerCall;
import io.grpc.ServerCallHandler;
import io.grpc.ServerInterceptor;
import io.grpc.StatusRuntimeException;
import io.grpc.protobuf.StatusProto;
import java.util.ArrayList;
import java.util.List;
import java.util.Objects;

/**
 * Guards the methods of a gRPC server: the token comes in the metadata {@code authorization: Bearer …}, its claims go into the
 * context ({@link #claims}). A bad token is UNAUTHENTICATED, one that is good but not for this PERMISSION_DENIED, and UNAVAILABLE
 * says that nobody can tell right now; the fine reason does not leave the server.
 *
 * <p>A method without a rule of its own asks for a good token and nothing more: nothing is public by omission. A stream is judged
 * when it is opened; one that lives longer than a token should call {@link TokenVerifier#verify} again as it goes. A check may
 * wait for the server (an unknown key, a stale verifier), so don't give the server a direct executor.
 */
public final class AuthInterceptor implements ServerInterceptor {
    /** Where the claims are in the context of a call. */
    public static final Context.Key<Claims> CLAIMS = Context.key("authsvc-claims");

    private static final Metadata.Key<String> AUTHORIZATION =
            Metadata.Key.of("authorization", Metadata.ASCII_STRING_MARSHALLER);
    private static final long RETRY_AFTER_SECONDS = 1;

    private static final com.google.rpc.Status INVALID =
            status(Code.UNAUTHENTICATED, "the token is not valid", reason("TOKEN_INVALID"));
    private static final com.google.rpc.Status LACKING =
            status(Code.PERMISSION_DENIED, "the token does not allow this", reason("TOKEN_INSUFFICIENT"));
    private static final com.google.rpc.Status UNKNOWN = status(
            Code.UNAVAILABLE, "the token cannot be judged right now", reason("NOT_FRESH"),
            RetryInfo.newBuilder()
                    .setRetryDelay(Duration.newBuilder().setSeconds(RETRY_AFTER_SECONDS))
                    .build());

    /** What the methods that a pattern matches ask for; null: no token at all. */
    private record Rule(String pattern, Requirements required) {
        boolean matches(String method) {
            return pattern.endsWith("*")
                    ? method.startsWith(pattern.substring(0, pattern.length() - 1))
                    : pattern.equals(method);
        }
    }

    private final TokenVerifier verifier;
    private final List<Rule> rules;

    private AuthInterceptor(TokenVerifier verifier, List<Rule> rules) {
        this.verifier = Objects.requireNonNull(verifier);
        this.rules = rules;
    }

    /** Makes an interceptor without rules: every method asks for a good token. */
    public AuthInterceptor(TokenVerifier verifier) {
        this(verifier, List.of());
    }

    /**
     * Returns an interceptor with one more rule.
     *
     * @param pattern a full method name, {@code "/orders.v1.Orders/Cancel"}, or all methods of a service, {@code
     *     "/orders.v1.Orders/*"}, or {@code "*"}; of several that match, the longest alone counts
     */
    public AuthInterceptor on(String pattern, Requirements required) {
        return with(new Rule(pattern, Objects.requireNonNull(required)));
    }

    /** Returns an interceptor that lets a method, or all of a service, be called without a token; then there are no claims. */
    public AuthInterceptor open(String pattern) {
        return with(new Rule(pattern, null));
    }

    private AuthInterceptor with(Rule rule) {
        if (!rule.pattern.startsWith("/") && !rule.pattern.equals("*")) {
            throw new IllegalArgumentException("a pattern begins with a slash, as full method names do");
        }
        List<Rule> more = new ArrayList<>(rules);
        more.add(rule);
        return new AuthInterceptor(verifier, List.copyOf(more));
    }

    /** Returns the claims of the call that this thread works on; null where the method is open. */
    public static Claims claims() {
        return CLAIMS.get();
    }

    @Override
    public <Q, R> ServerCall.Listener<Q> interceptCall(
            ServerCall<Q, R> call, Metadata headers, ServerCallHandler<Q, R> next) {
        Requirements required = requirements("/" + call.getMethodDescriptor().getFullMethodName());
        if (required == null) {
            return next.startCall(call, headers);
        }
        String token = token(headers);
        if (token == null) {
            return refuse(call, INVALID);
        }
        Verdict verdict;
        try {
            verdict = verifier.verify(token, required);
        } catch (CannotKnow e) {
            return refuse(call, UNKNOWN);
        }
        if (verdict instanceof Verdict.Active active) {
            return Contexts.interceptCall(Context.current().withValue(CLAIMS, active.claims()), call, headers, next);
        }
        return refuse(call, ((Verdict.Inactive) verdict).reason().isInsufficient() ? LACKING : INVALID);
    }

    private Requirements requirements(String method) {
        Rule best = null;
        for (Rule rule : rules) {
            if (rule.matches(method) && (best == null || rule.pattern.length() > best.pattern.length())) {
                best = rule;
            }
        }
        return best == null ? Requirements.NONE : best.required;
    }

    /** Returns the token, of which there must be exactly one. */
    private static String token(Metadata headers) {
        Iterable<String> values = headers.getAll(AUTHORIZATION);
        if (values == null) {
            return null;
        }
        var all = values.iterator();
        String first = all.next();
        return all.hasNext() ? null : Bearer.token(first);
    }

    private static <Q, R> ServerCall.Listener<Q> refuse(ServerCall<Q, R> call, com.google.rpc.Status status) {
        StatusRuntimeException refusal = StatusProto.toStatusRuntimeException(status);
        call.close(refusal.getStatus(), refusal.getTrailers());
        return new ServerCall.Listener<>() { };
    }

    private static ErrorInfo reason(String name) {
        return ErrorInfo.newBuilder().setReason(name).setDomain("authsvc").build();
    }

    private static com.google.rpc.Status status(Code code, String text, Message... details) {
        var status = com.google.rpc.Status.newBuilder().setCode(code.getNumber()).setMessage(text);
        for (Message detail : details) {
            status.addDetails(Any.pack(detail));
        }
        return status.build();
    }
}
