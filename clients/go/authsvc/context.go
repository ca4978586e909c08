package authsvc

import (
	"context"
	"errors"
	"strings"
)

type contextKey struct{}

// NewContext returns a context that carries the claims of the request's token.
func NewContext(ctx context.Context, claims *Claims) context.Context {
	return context.WithValue(ctx, contextKey{}, claims)
}

// FromContext returns the claims that the interceptors or the middleware put into a context. False where the method or
// route is public.
func FromContext(ctx context.Context) (*Claims, bool) {
	claims, ok := ctx.Value(contextKey{}).(*Claims)
	return claims, ok
}

// errNoToken is the refusal of a request that brings no token, or more than one.
var errNoToken = &Refusal{Reason: Malformed}

// bearer returns the token of an Authorization header (RFC 6750 section 2.1), of which there must be exactly one.
func bearer(headers []string) (string, error) {
	if len(headers) != 1 {
		return "", errNoToken
	}
	scheme, token, found := strings.Cut(headers[0], " ")
	if !found || !strings.EqualFold(scheme, "Bearer") {
		return "", errNoToken
	}
	return strings.TrimLeft(token, " "), nil
}

// refused splits a verifier's error: what the end user may know of it is one of the three.
func refused(err error) (insufficient, invalid bool) {
	var refusal *Refusal
	if !errors.As(err, &refusal) {
		return false, false
	}
	return refusal.Reason.Insufficient(), !refusal.Reason.Insufficient()
}
