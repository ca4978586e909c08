package authsvc

import (
	"context"
	"crypto/sha256"
	"math"
	"time"
	"unsafe"
)

// Requirement is something a check asks of a token beyond being good. Make it once and use it for every call.
type Requirement struct {
	kind   requirementKind
	values []string
}

type requirementKind uint8

const (
	needAudience requirementKind = iota + 1
	needScopes
	needRoles
)

// Audience asks for one of these audiences instead of the verifier's own.
func Audience(anyOf ...string) Requirement { return Requirement{needAudience, anyOf} }

// Scopes asks for all of these scopes.
func Scopes(all ...string) Requirement { return Requirement{needScopes, all} }

// Roles asks for all of these roles.
func Roles(all ...string) Requirement { return Requirement{needRoles, all} }

// Policy says what a verifier does when it may not decide by itself: it is older than its hard bound, has no complete
// snapshot yet, or a newer server revoked something it does not know.
type Policy uint8

const (
	// AskServer lets the server's VerifyToken decide; where that cannot be had, Unavailable. The default.
	AskServer Policy = iota
	// AnswerUnavailable answers Unavailable.
	AnswerUnavailable
	// FailOpen accepts tokens that nothing known stands against, however old that knowledge is. A revoked token stays
	// good for as long as the verifier is cut off.
	FailOpen
)

// answer is a verdict of the server's.
type answer struct {
	refusal *Refusal // nil: active
	age     time.Duration
}

// judge holds what checks read. It starts nothing.
type judge struct {
	clock     Clock
	read      func() (time.Time, time.Duration)
	keys      *keyring
	follower  *follower
	cache     *tokenCache
	audiences []string
	hardBound time.Duration
	policy    Policy
	// ask lets the server judge a token against an audience.
	ask func(ctx context.Context, token, audience string) (answer, error)
}

// reading returns how both clocks are read; the real ones cost one reading together.
func reading(clock Clock) func() (time.Time, time.Duration) {
	if _, isReal := clock.(systemClock); isReal {
		return readSystemClocks
	}
	return func() (time.Time, time.Duration) { return clock.Now(), clock.Elapsed() }
}

// check judges a token. waits: it may read keys and ask the server; otherwise it answers from memory at once.
func (j *judge) check(ctx context.Context, token string, required []Requirement, waits bool) (*Claims, error) {
	wall, arrived := j.read()
	if len(token) > maxTokenLength {
		return nil, refusals[Malformed]
	}
	// The bytes of the string itself; they are only read.
	key := sha256.Sum256(unsafe.Slice(unsafe.StringData(token), len(token)))
	believed := j.cache.get(&key)
	if believed == nil {
		parsed, ok := parseToken(token, j.headers())
		if !ok {
			return nil, refusals[Malformed]
		}
		var err error
		if believed, err = j.believe(ctx, &parsed, arrived, waits); err != nil {
			if waits && j.policy == AskServer && j.keys.now.Load() == nil && err == unavailables[CauseUnknownKey] {
				return j.askBlindly(ctx, token, &parsed.claims, required)
			}
			return nil, err
		}
		believed.cost = len(token) + entryOverhead
		wall, arrived = j.read()
		if believed.times.expires+leewaySeconds > wall.Unix() {
			j.cache.put(&key, believed, wall.Unix())
		}
	}
	return j.decide(ctx, token, believed, required, wall, arrived, waits)
}

func (j *judge) headers() map[string]header {
	if held := j.keys.now.Load(); held != nil {
		return held.headers
	}
	return nil
}

// believe judges what never changes about a token.
func (j *judge) believe(
	ctx context.Context, parsed *parsedToken, arrived time.Duration, waits bool,
) (*verifiedToken, error) {
	kid := parsed.header.kid
	if parsed.header.typ != tokenType {
		return nil, refusals[WrongType]
	}
	if j.isWithdrawn(j.follower.now.Load(), kid) {
		return nil, refusals[KeyWithdrawn]
	}
	key, known := j.keys.find(ctx, kid, arrived, waits)
	if key == nil {
		switch {
		case j.isWithdrawn(j.follower.now.Load(), kid): // the read may just have told
			return nil, refusals[KeyWithdrawn]
		case known:
			return nil, refusals[UnknownKey]
		case ctx.Err() != nil:
			return nil, &Unavailable{CauseCanceled, ctx.Err()}
		default:
			return nil, unavailables[CauseUnknownKey]
		}
	}
	if parsed.header.alg != key.header.alg || !key.verify(parsed.signed, parsed.signature) {
		return nil, refusals[BadSignature]
	}
	set := j.keys.now.Load()
	if parsed.claims.Issuer != set.issuer {
		return nil, refusals[WrongIssuer]
	}
	if float64(parsed.times.expires-parsed.times.issued) > set.maxLifetime {
		return nil, refusals[LifetimeTooLong]
	}
	token := &verifiedToken{claims: parsed.claims, times: parsed.times, kid: kid}
	token.session, token.hasSession = sessionID(parsed.claims.SessionID)
	token.user = userID(parsed.claims.UserID, "")
	token.userInApp = userID(parsed.claims.UserID, parsed.claims.AppID)
	return token, nil
}

func (j *judge) isWithdrawn(held *known, kid string) bool {
	if _, withdrawn := held.withdrawn[kid]; withdrawn {
		return true
	}
	return j.keys.isWithdrawn(kid)
}

// decide judges what may change from one use of a token to the next.
func (j *judge) decide(
	ctx context.Context, text string, token *verifiedToken, required []Requirement,
	wall time.Time, now time.Duration, waits bool,
) (*Claims, error) {
	held := j.follower.now.Load()
	if j.isWithdrawn(held, token.kid) {
		return nil, refusals[KeyWithdrawn]
	}
	// Whole seconds are enough: the claims are whole, and so is the leeway.
	seconds := wall.Unix()
	if token.times.notBefore > seconds+leewaySeconds || token.times.issued > seconds+leewaySeconds {
		return nil, refusals[NotYetValid]
	}
	if seconds >= token.times.expires+leewaySeconds {
		return nil, refusals[Expired]
	}
	if refusal := held.death(token); refusal != nil {
		return nil, refusal
	}
	// From here on the verdict rests on nothing having been revoked meanwhile.
	if cause := j.doubt(held, now); cause != "" && j.policy != FailOpen {
		if !waits || j.policy == AnswerUnavailable {
			return nil, unavailables[cause]
		}
		if err := j.askServer(ctx, text, &token.claims, required, cause); err != nil {
			return nil, err
		}
	}
	if refusal := insufficient(&token.claims, j.audiences, required); refusal != nil {
		return nil, refusal
	}
	return &token.claims, nil
}

// doubt says why the verifier may not decide by itself; empty if it may.
func (j *judge) doubt(held *known, now time.Duration) Cause {
	switch {
	case !held.complete:
		return CauseNoSnapshot
	case now-held.confirmed > j.hardBound:
		return CauseStale
	case held.hasUnknown:
		return CauseUnknownFact
	default:
		return ""
	}
}

// adds reports whether an answer of an age is worth more than what is known here: it is within the bound, or at least
// younger.
func (j *judge) adds(age time.Duration) bool {
	own := time.Duration(math.MaxInt64)
	if held := j.follower.now.Load(); held.complete {
		own = j.clock.Elapsed() - held.confirmed
	}
	return age <= j.hardBound || age < own
}

// askServer returns nil where the server says that a token is active, by better knowledge than there is here.
func (j *judge) askServer(ctx context.Context, text string, claims *Claims, required []Requirement, cause Cause) error {
	said, err := j.ask(ctx, text, audienceToAsk(claims, j.audiences, required))
	switch {
	case err != nil:
		return &Unavailable{cause, err}
	case !j.adds(said.age):
		return unavailables[cause]
	case said.refusal != nil:
		return said.refusal
	default:
		return nil
	}
}

// askBlindly is for a verifier that never had any keys: what the server calls active is authentic, so its claims are.
func (j *judge) askBlindly(ctx context.Context, text string, claims *Claims, required []Requirement) (*Claims, error) {
	if err := j.askServer(ctx, text, claims, required, CauseUnknownKey); err != nil {
		return nil, err
	}
	if refusal := insufficient(claims, j.audiences, required); refusal != nil {
		return nil, refusal
	}
	return claims, nil
}

// audienceToAsk returns an audience of the demand, one that the token has if there is one: the verdict on scopes and
// roles is made here, the server is asked for what only it knows.
func audienceToAsk(claims *Claims, own []string, required []Requirement) string {
	wanted := own
	for i := range required {
		if required[i].kind == needAudience {
			wanted = required[i].values
		}
	}
	for _, audience := range wanted {
		if contains(claims.Audiences, audience) {
			return audience
		}
	}
	if len(wanted) > 0 {
		return wanted[0]
	}
	return ""
}

// insufficient judges what this call asks for, one of the verifier's audiences unless others are required; never
// remembered as a verdict.
func insufficient(claims *Claims, audiences []string, required []Requirement) *Refusal {
	if !RequiresAudience(required) && !containsAny(claims.Audiences, audiences) {
		return refusals[WrongAudience]
	}
	return unmet(claims, required)
}

// RequiresAudience reports whether an Audience is among the requirements, which then counts instead of a verifier's own.
func RequiresAudience(required []Requirement) bool {
	for i := range required {
		if required[i].kind == needAudience {
			return true
		}
	}
	return false
}

// unmet returns the first reason in the contract's order: audience, scope, role.
func unmet(claims *Claims, required []Requirement) *Refusal {
	missing := Reason(0)
	for i := range required {
		switch values := required[i].values; required[i].kind {
		case needAudience:
			if !containsAny(claims.Audiences, values) {
				return refusals[WrongAudience]
			}
		case needScopes:
			if !containsAll(claims.Scopes, values) {
				missing = MissingScope
			}
		case needRoles:
			if missing == 0 && !containsAll(claims.Roles, values) {
				missing = MissingRole
			}
		}
	}
	if missing != 0 {
		return refusals[missing]
	}
	return nil
}

func containsAny(list, wanted []string) bool {
	for i := range wanted {
		if contains(list, wanted[i]) {
			return true
		}
	}
	return false
}

func containsAll(list, wanted []string) bool {
	for i := range wanted {
		if !contains(list, wanted[i]) {
			return false
		}
	}
	return true
}
