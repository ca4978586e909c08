package authsvctest

import (
	"context"
	"sync"

	"github.com/authsvc/authsvc/clients/go/authsvc"
)

// Verifier is an authsvc.TokenVerifier that knows the tokens it was told, and no network. Any other token is refused as
// authsvc.BadSignature. What a call requires is judged as a real verifier judges it.
type Verifier struct {
	audience string

	mu      sync.Mutex
	answers map[string]answer
	unknown error
}

type answer struct {
	claims authsvc.Claims
	err    error
}

var _ authsvc.TokenVerifier = (*Verifier)(nil)

// NewVerifier returns a fake verifier for an audience.
func NewVerifier(audience string) *Verifier {
	return &Verifier{audience: audience, answers: map[string]answer{}}
}

// Accept makes a token good. Without audiences, the claims get the verifier's.
func (v *Verifier) Accept(token string, claims authsvc.Claims) {
	if claims.Audiences == nil {
		claims.Audiences = []string{v.audience}
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	v.answers[token] = answer{claims: claims}
}

// Refuse makes a token bad, from now on.
func (v *Verifier) Refuse(token string, reason authsvc.Reason) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.answers[token] = answer{err: &authsvc.Refusal{Reason: reason}}
}

// SetUnavailable makes every answer "cannot know" with a cause; an empty one ends that.
func (v *Verifier) SetUnavailable(cause authsvc.Cause) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.unknown = nil
	if cause != "" {
		v.unknown = &authsvc.Unavailable{Cause: cause}
	}
}

// Verify answers as it was told to.
func (v *Verifier) Verify(
	_ context.Context, token string, required ...authsvc.Requirement,
) (*authsvc.Claims, error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	said, known := v.answers[token]
	switch {
	case v.unknown != nil:
		return nil, v.unknown
	case !known:
		return nil, &authsvc.Refusal{Reason: authsvc.BadSignature}
	case said.err != nil:
		return nil, said.err
	}
	if !authsvc.RequiresAudience(required) {
		required = append([]authsvc.Requirement{authsvc.Audience(v.audience)}, required...)
	}
	if err := said.claims.Meets(required...); err != nil {
		return nil, err
	}
	return &said.claims, nil
}
