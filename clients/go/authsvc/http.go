package authsvc

import (
	"net/http"
	"strconv"
)

// Middleware guards net/http handlers: the token comes in the header "Authorization: Bearer …", its claims go into the
// request's context. A bad token is 401, one that is good but not for this 403, and 503 with Retry-After says that
// nobody can tell right now. The bodies have the shape of authsvc's own edge; the fine reason does not leave the server.
//
// Wrap the whole mux, and single routes once more where they ask for scopes or roles: a token seen before costs about a
// microsecond.
func Middleware(verifier TokenVerifier, required ...Requirement) func(http.Handler) http.Handler {
	return MiddlewareWith(verifier, WriteError, required...)
}

// MiddlewareWith is Middleware with an error page of one's own: refuse gets the verifier's error, which is for logs.
func MiddlewareWith(
	verifier TokenVerifier, refuse func(http.ResponseWriter, *http.Request, error), required ...Requirement,
) func(http.Handler) http.Handler {
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			token, err := bearer(r.Header.Values("Authorization"))
			if err != nil {
				refuse(w, r, err)
				return
			}
			claims, err := verifier.Verify(r.Context(), token, required...)
			if err != nil {
				refuse(w, r, err)
				return
			}
			next.ServeHTTP(w, r.WithContext(NewContext(r.Context(), claims)))
		})
	}
}

// WriteError answers for an error of a verifier as Middleware does.
func WriteError(w http.ResponseWriter, _ *http.Request, err error) {
	header := w.Header()
	header.Set("Content-Type", "application/json")
	header.Set("Cache-Control", "no-store")
	header.Set("X-Content-Type-Options", "nosniff")
	// The challenges are RFC 6750's, section 3: without a token no error is named.
	code, body := http.StatusServiceUnavailable, `{"error":{"code":"UNAVAILABLE","reason":"NOT_FRESH"}}`
	switch insufficient, invalid := refused(err); {
	case insufficient:
		header.Set("WWW-Authenticate", `Bearer error="insufficient_scope"`)
		code, body = http.StatusForbidden, `{"error":{"code":"PERMISSION_DENIED","reason":"TOKEN_INSUFFICIENT"}}`
	case err == errNoToken:
		header.Set("WWW-Authenticate", `Bearer`)
		code, body = http.StatusUnauthorized, `{"error":{"code":"UNAUTHENTICATED","reason":"TOKEN_INVALID"}}`
	case invalid:
		header.Set("WWW-Authenticate", `Bearer error="invalid_token"`)
		code, body = http.StatusUnauthorized, `{"error":{"code":"UNAUTHENTICATED","reason":"TOKEN_INVALID"}}`
	default:
		header.Set("Retry-After", strconv.Itoa(retryAfterSeconds))
	}
	w.WriteHeader(code)
	_, _ = w.Write([]byte(body))
}
