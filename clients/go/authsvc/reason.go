package authsvc

import (
	"strings"

	authapiv1 "github.com/authsvc/authsvc/clients/go/authapi/v1"
)

// Reason says why a token is not accepted; the numbers are the contract's InactiveReason.
type Reason int32

// The reasons, in the order of the contract's numbers. Which one is given when several hold is pinned by the contract:
// Malformed, WrongType, KeyWithdrawn, UnknownKey, BadSignature, WrongIssuer, LifetimeTooLong, NotYetValid, Expired,
// SessionRevoked, UserRevoked, AppRevoked, WrongAudience, MissingScope, MissingRole.
const (
	Malformed       = Reason(authapiv1.InactiveReason_INACTIVE_REASON_MALFORMED)
	UnknownKey      = Reason(authapiv1.InactiveReason_INACTIVE_REASON_UNKNOWN_KEY)
	BadSignature    = Reason(authapiv1.InactiveReason_INACTIVE_REASON_BAD_SIGNATURE)
	WrongType       = Reason(authapiv1.InactiveReason_INACTIVE_REASON_WRONG_TYPE)
	WrongIssuer     = Reason(authapiv1.InactiveReason_INACTIVE_REASON_WRONG_ISSUER)
	WrongAudience   = Reason(authapiv1.InactiveReason_INACTIVE_REASON_WRONG_AUDIENCE)
	MissingScope    = Reason(authapiv1.InactiveReason_INACTIVE_REASON_MISSING_SCOPE)
	Expired         = Reason(authapiv1.InactiveReason_INACTIVE_REASON_EXPIRED)
	NotYetValid     = Reason(authapiv1.InactiveReason_INACTIVE_REASON_NOT_YET_VALID)
	SessionRevoked  = Reason(authapiv1.InactiveReason_INACTIVE_REASON_SESSION_REVOKED)
	UserRevoked     = Reason(authapiv1.InactiveReason_INACTIVE_REASON_USER_REVOKED)
	AppRevoked      = Reason(authapiv1.InactiveReason_INACTIVE_REASON_APP_REVOKED)
	KeyWithdrawn    = Reason(authapiv1.InactiveReason_INACTIVE_REASON_KEY_WITHDRAWN)
	MissingRole     = Reason(authapiv1.InactiveReason_INACTIVE_REASON_MISSING_ROLE)
	LifetimeTooLong = Reason(authapiv1.InactiveReason_INACTIVE_REASON_LIFETIME_TOO_LONG)
)

const reasonCount = 16

// String returns the contract's name without its prefix, "EXPIRED" for one.
func (r Reason) String() string {
	return strings.TrimPrefix(authapiv1.InactiveReason(r).String(), "INACTIVE_REASON_")
}

// Insufficient reports whether the token is good and only not for this: wrong audience, missing scope or role. Such a
// refusal is PERMISSION_DENIED or 403; every other one is UNAUTHENTICATED or 401.
func (r Reason) Insufficient() bool {
	return r == WrongAudience || r == MissingScope || r == MissingRole
}

// EndReason says how a session ended; the numbers are the contract's SessionEndReason.
type EndReason int32

// String returns the contract's name without its prefix, "LOGOUT" for one.
func (r EndReason) String() string {
	return strings.TrimPrefix(authapiv1.SessionEndReason(r).String(), "SESSION_END_REASON_")
}

// Refusal is the error of a token that is not accepted. It says nothing about the token but why.
//
// The fine reason is for logs and metrics of internal services; end users see one answer for all of them.
type Refusal struct {
	// Reason is the first reason that holds.
	Reason Reason
	// EndReason says how the session ended, where a revocation killed the token and it is known; else 0.
	EndReason EndReason
}

// Error names the reasons.
func (r *Refusal) Error() string {
	if r.EndReason != 0 {
		return "authsvc: token refused: " + r.Reason.String() + ", " + r.EndReason.String()
	}
	return "authsvc: token refused: " + r.Reason.String()
}

// Cause says why a verifier cannot know.
type Cause string

// The causes.
const (
	// CauseUnknownKey: the token's key is not known, and no read of the keys that began after the token arrived has
	// succeeded.
	CauseUnknownKey Cause = "unknown_key"
	// CauseNoSnapshot: no complete snapshot of the revocations has come yet.
	CauseNoSnapshot Cause = "no_snapshot"
	// CauseStale: the revocation log was not confirmed within the hard bound.
	CauseStale Cause = "stale"
	// CauseUnknownFact: a newer server revoked something that this version does not know.
	CauseUnknownFact Cause = "unknown_fact"
	// CauseNotReached: a required position was not reached in time.
	CauseNotReached Cause = "not_reached"
	// CauseClosed: the verifier is closed.
	CauseClosed Cause = "closed"
	// CauseCanceled: the caller's context ended before there was an answer.
	CauseCanceled Cause = "canceled"
)

// Unavailable is the error of a verifier that cannot know: neither a yes nor a no. Answer UNAVAILABLE or 503, never 401.
type Unavailable struct {
	// Cause is why.
	Cause Cause
	// Err is what went wrong underneath, where something did: the error of a call, or of a context. May be nil.
	Err error
}

// Error names the cause.
func (u *Unavailable) Error() string {
	if u.Err != nil {
		return "authsvc: cannot know: " + string(u.Cause) + ": " + u.Err.Error()
	}
	return "authsvc: cannot know: " + string(u.Cause)
}

// Unwrap returns what went wrong underneath.
func (u *Unavailable) Unwrap() error { return u.Err }

// One value for each answer: a refusal costs no allocation.
var (
	refusals     [reasonCount]*Refusal
	unavailables = map[Cause]*Unavailable{}
)

func init() {
	for reason := range refusals {
		refusals[reason] = &Refusal{Reason: Reason(reason)}
	}
	for _, cause := range []Cause{CauseUnknownKey, CauseNoSnapshot, CauseStale, CauseUnknownFact, CauseClosed} {
		unavailables[cause] = &Unavailable{Cause: cause}
	}
}
