package authsvc

import (
	"crypto"
	"crypto/ecdh"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"math/big"
	"strings"

	authapiv1 "github.com/authsvc/authsvc/clients/go/authapi/v1"
)

// publicKey checks signatures of one key with the one algorithm it is for.
type publicKey struct {
	header header
	verify func(signed string, signature []byte) bool
}

// keySet is one answer of GetJwks.
type keySet struct {
	keys      map[string]*publicKey
	headers   map[string]header
	withdrawn map[string]struct{}
	issuer    string
	// maxLifetime is in seconds.
	maxLifetime float64
	maxAge      float64
}

type jwk struct {
	Kty, Use, Alg, Kid, Crv, N, E, X, Y string
}

var errKeySet = errors.New("authsvc: the key set cannot be read")

const minRSABits = 2048

// newKeySet reads an answer of GetJwks. A key that this verifier has no use for is ignored: another kind, curve or
// algorithm, an algorithm that does not fit the key, RSA below 2048 bits.
func newKeySet(response *authapiv1.GetJwksResponse) (*keySet, error) {
	var document struct{ Keys []json.RawMessage }
	if err := json.Unmarshal([]byte(response.GetJwksJson()), &document); err != nil || document.Keys == nil {
		return nil, errKeySet
	}
	set := &keySet{
		keys:        make(map[string]*publicKey, len(document.Keys)),
		headers:     make(map[string]header, len(document.Keys)),
		withdrawn:   make(map[string]struct{}, len(response.GetWithdrawnKeyIds())),
		issuer:      response.GetIssuer(),
		maxLifetime: response.GetMaxTokenLifetime().AsDuration().Seconds(),
		maxAge:      response.GetMaxAge().AsDuration().Seconds(),
	}
	for _, kid := range response.GetWithdrawnKeyIds() {
		set.withdrawn[kid] = struct{}{}
	}
	for _, raw := range document.Keys {
		var fields jwk
		if json.Unmarshal(raw, &fields) != nil {
			continue
		}
		key := fields.publicKey()
		if key == nil {
			continue
		}
		if _, withdrawn := set.withdrawn[key.header.kid]; withdrawn {
			continue
		}
		set.keys[key.header.kid] = key
		// The server's spelling of the header; another one is parsed.
		if segment := headerSegment(key.header); isOwnHeader(segment, key.header) {
			set.headers[segment] = key.header
		}
	}
	return set, nil
}

// isOwnHeader reports whether a segment means the header it was made of: a kid with a quote in it would not.
func isOwnHeader(segment string, meant header) bool {
	parsed, ok := parseHeader(segment)
	return ok && parsed == meant
}

func (k *jwk) publicKey() *publicKey {
	if k.Kid == "" || (k.Use != "" && k.Use != "sig") {
		return nil
	}
	var verify func(string, []byte) bool
	switch {
	case k.Alg == "ES256" && k.Kty == "EC" && k.Crv == "P-256":
		verify = k.es256()
	case k.Alg == "EdDSA" && k.Kty == "OKP" && k.Crv == "Ed25519":
		verify = k.eddsa()
	case k.Alg == "RS256" && k.Kty == "RSA":
		verify = k.rs256()
	}
	if verify == nil {
		return nil
	}
	return &publicKey{header{kid: k.Kid, alg: k.Alg, typ: tokenType}, verify}
}

func (k *jwk) es256() func(string, []byte) bool {
	x, errX := decodeField(k.X)
	y, errY := decodeField(k.Y)
	if errX != nil || errY != nil || len(x) != 32 || len(y) != 32 {
		return nil
	}
	point := append(append([]byte{4}, x...), y...)
	if _, err := ecdh.P256().NewPublicKey(point); err != nil { // proves that the point is on the curve
		return nil
	}
	public := &ecdsa.PublicKey{Curve: elliptic.P256(), X: new(big.Int).SetBytes(x), Y: new(big.Int).SetBytes(y)}
	return func(signed string, signature []byte) bool {
		// RFC 7518 section 3.4: r and s, 32 bytes each.
		if len(signature) != 64 {
			return false
		}
		digest := sha256.Sum256([]byte(signed))
		r, s := new(big.Int).SetBytes(signature[:32]), new(big.Int).SetBytes(signature[32:])
		return ecdsa.Verify(public, digest[:], r, s)
	}
}

func (k *jwk) eddsa() func(string, []byte) bool {
	public, err := decodeField(k.X)
	if err != nil || len(public) != ed25519.PublicKeySize {
		return nil
	}
	return func(signed string, signature []byte) bool {
		return len(signature) == ed25519.SignatureSize && ed25519.Verify(public, []byte(signed), signature)
	}
}

func (k *jwk) rs256() func(string, []byte) bool {
	modulus, errN := decodeField(k.N)
	exponent, errE := decodeField(k.E)
	if errN != nil || errE != nil || len(exponent) == 0 || len(exponent) > 4 {
		return nil
	}
	public := &rsa.PublicKey{N: new(big.Int).SetBytes(modulus), E: int(new(big.Int).SetBytes(exponent).Int64())}
	if public.N.BitLen() < minRSABits || public.N.Bit(0) == 0 || public.E < 3 || public.E%2 == 0 || public.E > 1<<31-1 {
		return nil
	}
	return func(signed string, signature []byte) bool {
		digest := sha256.Sum256([]byte(signed))
		return rsa.VerifyPKCS1v15(public, crypto.SHA256, digest[:], signature) == nil
	}
}

func decodeField(text string) ([]byte, error) {
	if strings.ContainsAny(text, "\r\n") {
		return nil, errKeySet
	}
	return base64url.DecodeString(text)
}
