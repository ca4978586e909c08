package authsvc

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"strconv"
	"strings"
	"time"
)

// The access token (JWT, RFC 9068) and its one accepted spelling.
const (
	tokenType      = "at+jwt"
	maxTokenLength = 8192
	maxInstant     = int64(1) << 53
	leewaySeconds  = 5
	idBytes        = 16
)

// Strict refuses padding and bits that belong to no byte: one token has one spelling here.
var base64url = base64.RawURLEncoding.Strict()

// Claims is what a good token says. It is shared by everybody who asks about the token: read it, never change it.
type Claims struct {
	// Issuer is who made the token.
	Issuer string
	// UserID is our id of the user, the claim sub.
	UserID string
	// SessionID is the session, the claim sid.
	SessionID string
	// AppID is the mini-program, the claim client_id.
	AppID string
	// TokenID is the token's own id, the claim jti.
	TokenID string
	// OpenID is WeChat's id of the user in the app; empty where the app's tokens do not carry it.
	OpenID string
	// ExternalID is the id another system gave the user; empty where the token does not carry it.
	ExternalID string
	// Audiences are all the token's audiences.
	Audiences []string
	// Scopes are the token's scopes.
	Scopes []string
	// Roles are the token's roles.
	Roles []string
	// PreviousUserIDs are users that were merged into this one: move what is stored under them.
	PreviousUserIDs []string
	// IssuedAt, NotBefore and ExpiresAt are whole seconds.
	IssuedAt, NotBefore, ExpiresAt time.Time
	// Position is the log position read when the session was created, the claim sp.
	Position uint64
}

// HasScope reports whether the token carries a scope.
func (c *Claims) HasScope(scope string) bool { return contains(c.Scopes, scope) }

// HasRole reports whether the token carries a role.
func (c *Claims) HasRole(role string) bool { return contains(c.Roles, role) }

// Meets returns nil if the token allows what is required, else a *Refusal: for a handler that finds out what it needs
// while it works.
func (c *Claims) Meets(required ...Requirement) error {
	if refusal := unmet(c, required); refusal != nil {
		return refusal
	}
	return nil
}

// parsedToken is a well-formed token, not yet believed.
type parsedToken struct {
	header header
	claims Claims
	times  instants
	signed string
	// signature is what follows the last dot, decoded.
	signature []byte
}

// header is the part of a JOSE header that decides anything.
type header struct{ kid, alg, typ string }

// instants are seconds since 1970.
type instants struct{ issued, notBefore, expires int64 }

// parseToken returns the token's parts, or false if it is MALFORMED. known maps header segments of the keys at hand to
// their meaning, so that the usual token costs no parse of its header.
func parseToken(token string, known map[string]header) (parsedToken, bool) {
	var parsed parsedToken
	if len(token) > maxTokenLength {
		return parsed, false
	}
	first := strings.IndexByte(token, '.')
	last := strings.LastIndexByte(token, '.')
	if first < 0 || first == last || strings.IndexByte(token[first+1:last], '.') >= 0 {
		return parsed, false
	}
	// The decoder skips line breaks wherever they stand; no other byte gets past it.
	if strings.IndexByte(token, '\n') >= 0 || strings.IndexByte(token, '\r') >= 0 {
		return parsed, false
	}
	var ok bool
	if parsed.header, ok = known[token[:first]]; !ok {
		if parsed.header, ok = parseHeader(token[:first]); !ok {
			return parsed, false
		}
	}
	payload, err := base64url.DecodeString(token[first+1 : last])
	if err != nil {
		return parsed, false
	}
	if parsed.signature, err = base64url.DecodeString(token[last+1:]); err != nil {
		return parsed, false
	}
	parsed.signed = token[:last]
	return parsed, parsed.readClaims(payload)
}

func headerSegment(h header) string {
	return base64url.EncodeToString([]byte(`{"typ":"` + h.typ + `","alg":"` + h.alg + `","kid":"` + h.kid + `"}`))
}

func parseHeader(segment string) (header, bool) {
	var parsed header
	raw, err := base64url.DecodeString(segment)
	if err != nil {
		return parsed, false
	}
	members, err := parseObject(raw, make([]jsonMember, 0, 8))
	if err != nil {
		return parsed, false
	}
	var hasKid, hasAlg bool
	for i := range members {
		member := &members[i]
		ok := true
		switch member.name {
		case "jku", "x5u", "jwk", "crit", "b64":
			return parsed, false
		case "kid":
			parsed.kid, ok = member.value.plainText()
			hasKid = true
		case "alg":
			parsed.alg, ok = member.value.plainText()
			hasAlg = true
		case "typ":
			parsed.typ, ok = member.value.plainText()
		}
		if !ok {
			return parsed, false
		}
	}
	return parsed, hasKid && hasAlg && strings.ToLower(parsed.alg) != "none"
}

// The claims a token must have, as bits.
const (
	sawIss = 1 << iota
	sawSub
	sawAud
	sawClient
	sawExp
	sawIat
	sawNbf
	sawJti
	sawSid
	sawScope
	sawSp
	sawAll = 1<<iota - 1
)

// readClaims is stricter than RFC 7519 on purpose: integers are integers, names occur once, text has no lone
// surrogates; each of these trips something behind some library that lets it through.
func (t *parsedToken) readClaims(payload []byte) bool {
	members, err := parseObject(payload, make([]jsonMember, 0, 20))
	if err != nil {
		return false
	}
	claims, saw := &t.claims, 0
	for i := range members {
		value := &members[i].value
		ok := true
		switch members[i].name {
		case "iss":
			claims.Issuer, ok = value.plainText()
			saw |= sawIss
		case "sub":
			claims.UserID, ok = value.plainText()
			saw |= sawSub
		case "aud":
			claims.Audiences, ok = value.textOrTexts()
			saw |= sawAud
		case "client_id":
			claims.AppID, ok = value.plainText()
			saw |= sawClient
		case "exp":
			t.times.expires, ok = value.instant()
			saw |= sawExp
		case "iat":
			t.times.issued, ok = value.instant()
			saw |= sawIat
		case "nbf":
			t.times.notBefore, ok = value.instant()
			saw |= sawNbf
		case "jti":
			claims.TokenID, ok = value.plainText()
			saw |= sawJti
		case "sid":
			claims.SessionID, ok = value.plainText()
			saw |= sawSid
		case "scope":
			var text string
			text, ok = value.plainText()
			claims.Scopes = strings.FieldsFunc(text, isSpace)
			saw |= sawScope
		case "sp":
			claims.Position, ok = value.position()
			saw |= sawSp
		case "roles":
			claims.Roles, ok = value.texts()
		case "prev":
			claims.PreviousUserIDs, ok = value.texts()
		case "openid":
			claims.OpenID, ok = value.optionalText()
		case "external_id":
			claims.ExternalID, ok = value.optionalText()
		}
		if !ok {
			return false
		}
	}
	claims.IssuedAt = time.Unix(t.times.issued, 0)
	claims.NotBefore = time.Unix(t.times.notBefore, 0)
	claims.ExpiresAt = time.Unix(t.times.expires, 0)
	return saw == sawAll
}

// isSpace is what separates scopes: spaces and nothing else (RFC 6749 section 3.3).
func isSpace(r rune) bool { return r == ' ' }

func (v *jsonValue) plainText() (string, bool) { return v.text, v.kind == jsonString && !v.lone }

func (v *jsonValue) optionalText() (string, bool) {
	if v.kind == jsonNull {
		return "", true
	}
	return v.plainText()
}

func (v *jsonValue) texts() ([]string, bool) {
	if v.kind != jsonArray {
		return nil, false
	}
	texts := make([]string, len(v.items))
	for i := range v.items {
		text, ok := v.items[i].plainText()
		if !ok {
			return nil, false
		}
		texts[i] = text
	}
	return texts, true
}

func (v *jsonValue) textOrTexts() ([]string, bool) {
	if v.kind == jsonArray {
		return v.texts()
	}
	text, ok := v.plainText()
	return []string{text}, ok
}

func (v *jsonValue) instant() (int64, bool) {
	if v.kind != jsonInteger {
		return 0, false
	}
	seconds, err := strconv.ParseInt(v.text, 10, 64)
	return seconds, err == nil && seconds >= 0 && seconds < maxInstant
}

// position reads the claim sp: 16 lowercase hex digits.
func (v *jsonValue) position() (uint64, bool) {
	text, ok := v.plainText()
	if !ok || len(text) != 16 || strings.ToLower(text) != text {
		return 0, false
	}
	var raw [8]byte
	if _, err := hex.Decode(raw[:], []byte(text)); err != nil {
		return 0, false
	}
	return binary.BigEndian.Uint64(raw[:]), true
}

// id is 128 bits that stand for a thing the log can kill.
type id [idBytes]byte

// sessionID returns the 16 bytes behind a sid; false if it is not the one spelling of any, and then no fact names it.
func sessionID(sid string) (raw id, ok bool) {
	if len(sid) != 22 {
		return raw, false
	}
	_, err := base64url.Decode(raw[:], []byte(sid))
	return raw, err == nil && !strings.ContainsAny(sid, "\r\n")
}

// userID returns what stands for a user, in one app or (empty) in all. User ids and app ids may be any text, so it is
// a hash; 128 bits of SHA-256 meet by chance never.
func userID(user, app string) (short id) {
	sum := sha256.Sum256([]byte(strconv.Itoa(len(app)) + "." + app + user))
	copy(short[:], sum[:])
	return short
}

func contains(list []string, wanted string) bool {
	for i := range list {
		if list[i] == wanted {
			return true
		}
	}
	return false
}
