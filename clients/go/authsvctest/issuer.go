package authsvctest

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"

	authapiv1 "github.com/authsvc/authsvc/clients/go/authapi/v1"
	"github.com/authsvc/authsvc/clients/go/authsvc"
)

// Issuer mints tokens as authsvc does, with an ES256 key of its own.
type Issuer struct {
	// Name is the claim iss of its tokens.
	Name string

	now     func() time.Time
	private *ecdsa.PrivateKey
	kid     string
	public  map[string]string
}

// NewIssuer makes an issuer with a fresh key. now tells the time of issue; nil is time.Now.
func NewIssuer(now func() time.Time) *Issuer {
	if now == nil {
		now = time.Now
	}
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		panic(fmt.Sprintf("authsvctest: no entropy: %v", err))
	}
	issuer := &Issuer{Name: "authsvc", now: now, private: private}
	var x, y [32]byte
	private.X.FillBytes(x[:])
	private.Y.FillBytes(y[:])
	issuer.public = map[string]string{"crv": "P-256", "kty": "EC", "x": encode(x[:]), "y": encode(y[:])}
	// RFC 7638: the required members in the order of their names, without spaces; json.Marshal writes maps so.
	issuer.kid = thumbprint(issuer.public)
	return issuer
}

// KeyID returns the kid of its tokens.
func (i *Issuer) KeyID() string { return i.kid }

// Mint returns a token that says what claims say. What is left out is filled in: issuer, ids, audience "orders", issued
// now, good for two hours.
func (i *Issuer) Mint(claims authsvc.Claims) string {
	orRandom := func(text string) string {
		if text == "" {
			return NewID()
		}
		return text
	}
	orTime := func(at, otherwise time.Time) int64 {
		if at.IsZero() {
			at = otherwise
		}
		return at.Unix()
	}
	if claims.Issuer == "" {
		claims.Issuer = i.Name
	}
	if claims.AppID == "" {
		claims.AppID = "wx00000000000000d1"
	}
	if claims.Audiences == nil {
		claims.Audiences = []string{"orders"}
	}
	now := i.now()
	payload := map[string]any{
		"iss": claims.Issuer, "sub": orRandom(claims.UserID), "sid": orRandom(claims.SessionID),
		"jti": orRandom(claims.TokenID), "client_id": claims.AppID, "aud": claims.Audiences,
		"iat": orTime(claims.IssuedAt, now), "nbf": orTime(claims.NotBefore, now),
		"exp":   orTime(claims.ExpiresAt, now.Add(2*time.Hour)),
		"scope": strings.Join(claims.Scopes, " "), "sp": fmt.Sprintf("%016x", claims.Position),
	}
	for name, text := range map[string]string{"openid": claims.OpenID, "external_id": claims.ExternalID} {
		if text != "" {
			payload[name] = text
		}
	}
	for name, list := range map[string][]string{"roles": claims.Roles, "prev": claims.PreviousUserIDs} {
		if len(list) > 0 {
			payload[name] = list
		}
	}
	return i.sign(payload)
}

func (i *Issuer) sign(payload map[string]any) string {
	header := `{"typ":"at+jwt","alg":"ES256","kid":"` + i.kid + `"}`
	signed := encode([]byte(header)) + "." + encode(mustMarshal(payload))
	digest := sha256.Sum256([]byte(signed))
	r, s, err := ecdsa.Sign(rand.Reader, i.private, digest[:])
	if err != nil {
		panic(fmt.Sprintf("authsvctest: cannot sign: %v", err))
	}
	var signature [64]byte
	r.FillBytes(signature[:32])
	s.FillBytes(signature[32:])
	return signed + "." + encode(signature[:])
}

// KeySet is what KeyService.GetJwks answers for these issuers' tokens.
func KeySet(issuers ...*Issuer) *authapiv1.GetJwksResponse {
	keys := make([]map[string]string, 0, len(issuers))
	name := "authsvc"
	for _, issuer := range issuers {
		name = issuer.Name
		key := map[string]string{"use": "sig", "alg": "ES256", "kid": issuer.kid}
		for member, value := range issuer.public {
			key[member] = value
		}
		keys = append(keys, key)
	}
	return &authapiv1.GetJwksResponse{
		JwksJson:         string(mustMarshal(map[string]any{"keys": keys})),
		MaxAge:           durationpb.New(5 * time.Minute),
		Issuer:           name,
		MaxTokenLifetime: durationpb.New(24 * time.Hour),
	}
}

// NewID returns a fresh id as authsvc spells its own: 128 random bits in 22 characters.
func NewID() string {
	var raw [16]byte
	if _, err := rand.Read(raw[:]); err != nil {
		panic(fmt.Sprintf("authsvctest: no entropy: %v", err))
	}
	return encode(raw[:])
}

func thumbprint(public map[string]string) string {
	sum := sha256.Sum256(mustMarshal(public))
	return encode(sum[:])
}

func encode(raw []byte) string { return base64.RawURLEncoding.EncodeToString(raw) }

func mustMarshal(value any) []byte {
	raw, err := json.Marshal(value)
	if err != nil {
		panic(fmt.Sprintf("authsvctest: %v", err))
	}
	return raw
}
