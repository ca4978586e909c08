//go:build unix

package authsvc

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"runtime"
	"syscall"
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	"crypto/sha256"

	authapiv1 "github.com/authsvc/authsvc/clients/go/authapi/v1"
)

// bench is a ready verifier's state on the real clock, with tokens to judge.
type bench struct {
	*judge
	tokens  []string
	private *ecdsa.PrivateKey
	stream  *follower
}

func newBench(b *testing.B, tokens int) *bench {
	b.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		b.Fatal(err)
	}
	var x, y [32]byte
	private.X.FillBytes(x[:])
	private.Y.FillBytes(y[:])
	key := map[string]string{
		"kty": "EC", "crv": "P-256", "alg": "ES256", "kid": "bench", "use": "sig",
		"x": base64url.EncodeToString(x[:]), "y": base64url.EncodeToString(y[:]),
	}
	jwks, _ := json.Marshal(map[string]any{"keys": []any{key}})
	fetch := func(context.Context) (*authapiv1.GetJwksResponse, error) {
		return &authapiv1.GetJwksResponse{
			JwksJson: string(jwks), Issuer: "authsvc", MaxTokenLifetime: durationpb.New(24 * time.Hour),
		}, nil
	}
	clock := SystemClock()
	made := &bench{private: private, stream: newFollower(clock.Elapsed())}
	made.judge = &judge{
		clock: clock, read: reading(clock), keys: newKeyring(b.Context(), clock, fetch, nil),
		follower: made.stream, cache: newTokenCache(defaultCacheBytes), audiences: []string{"orders"},
		hardBound: 300 * time.Second, policy: AnswerUnavailable,
	}
	made.keys.refresh(b.Context())
	made.stream.opened(clock.Elapsed())
	made.snapshot(b, nil)
	for n := range tokens {
		made.tokens = append(made.tokens, made.mint(b, n))
	}
	return made
}

func (m *bench) snapshot(b *testing.B, groups []*authapiv1.PackedSessions) {
	b.Helper()
	part := &authapiv1.SnapshotPart{Last: true, Sessions: groups}
	m.stream.looked, m.stream.heard = m.clock.Elapsed(), m.clock.Elapsed()
	whole := m.stream.message(m.clock.Elapsed(), time.Now(), &authapiv1.WatchRevocationsResponse{
		Body:            &authapiv1.WatchRevocationsResponse_SnapshotPart{SnapshotPart: part},
		CompleteThrough: &authapiv1.Cursor{Value: []byte{1}}, PositionThrough: make([]byte, 8), Age: durationpb.New(0),
	})
	if !whole {
		b.Fatal("the snapshot was not taken")
	}
}

// mint makes a token of the size that authsvc's have.
func (m *bench) mint(b *testing.B, n int) string {
	b.Helper()
	now := time.Now().Unix()
	session := numbered(uint64(n))
	payload := fmt.Sprintf(`{"iss":"authsvc","sub":"K9dM3xQe7hT2vYwRb5nL1g","aud":"orders","client_id":"wx1234567890abcdef",`+
		`"exp":%d,"iat":%d,"nbf":%d,"jti":"h2Vn8sKq0LpZyXwE4tRb7g","sid":"%s","scope":"orders.read orders.write",`+
		`"sp":"%016x","openid":"oGZUI0egBJY1zhBYw2KhdUfwVJJE"}`,
		now+7200, now, now, base64url.EncodeToString(session[:]), n)
	signed := headerSegment(header{"bench", "ES256", tokenType}) + "." + base64url.EncodeToString([]byte(payload))
	digest := sha256.Sum256([]byte(signed))
	r, s, err := ecdsa.Sign(rand.Reader, m.private, digest[:])
	if err != nil {
		b.Fatal(err)
	}
	var signature [64]byte
	r.FillBytes(signature[:32])
	s.FillBytes(signature[32:])
	return signed + "." + base64url.EncodeToString(signature[:])
}

func (m *bench) mustCheck(b *testing.B, token string, required []Requirement) {
	if _, err := m.check(context.Background(), token, required, false); err != nil {
		b.Fatal(err)
	}
}

// cpu returns the processor time of this process so far.
func cpu() time.Duration {
	var used syscall.Rusage
	if syscall.Getrusage(syscall.RUSAGE_SELF, &used) != nil {
		return 0
	}
	return time.Duration(used.Utime.Nano() + used.Stime.Nano())
}

// rate reports checks by the clock on the wall, and by processor time, which other work on the machine leaves alone.
func rate(b *testing.B, before time.Duration) {
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "checks/s")
	b.ReportMetric(float64(b.N)/(cpu()-before).Seconds(), "checks/cpu-s")
}

// each reports the processor time of one operation.
func each(b *testing.B, before time.Duration) {
	b.ReportMetric(float64(cpu()-before)/float64(b.N), "cpu-ns/op")
}

func millionRevoked() []*authapiv1.PackedSessions {
	ids := make([]byte, 0, 1_000_000*idBytes)
	for n := range uint64(1_000_000) {
		dead := numbered(n + 1<<40)
		ids = append(ids, dead[:]...)
	}
	return []*authapiv1.PackedSessions{{Ids: ids, UsefulUntil: timestamppb.New(time.Now().Add(time.Hour))}}
}

// A token seen before, one core: the hash of its text, times, revocation, audience.
func BenchmarkCheckWarm(b *testing.B) {
	made := newBench(b, 1)
	b.ReportAllocs()
	before := cpu()
	for b.Loop() {
		made.mustCheck(b, made.tokens[0], nil)
	}
	rate(b, before)
}

// The same with 10,000 tokens in turn, 1,000,000 live revocations, a scope and a role asked for.
func BenchmarkCheckWarmBusy(b *testing.B) {
	made := newBench(b, 10_000)
	made.snapshot(b, millionRevoked())
	required := []Requirement{Scopes("orders.write")}
	for _, token := range made.tokens {
		made.mustCheck(b, token, required)
	}
	b.ReportAllocs()
	n, before := 0, cpu()
	for b.Loop() {
		made.mustCheck(b, made.tokens[n%len(made.tokens)], required)
		n++
	}
	rate(b, before)
}

// The same on every core at once.
func BenchmarkCheckWarmParallel(b *testing.B) {
	made := newBench(b, 1000)
	b.ResetTimer()
	before := cpu()
	b.RunParallel(func(pb *testing.PB) {
		for n := 0; pb.Next(); n++ {
			made.mustCheck(b, made.tokens[n%len(made.tokens)], nil)
		}
	})
	rate(b, before)
}

// A token never seen before; compare with BenchmarkSignatureAlone.
func BenchmarkCheckFirstSeen(b *testing.B) {
	made := newBench(b, 1)
	made.cache = emptyCache
	b.ReportAllocs()
	before := cpu()
	for b.Loop() {
		made.mustCheck(b, made.tokens[0], nil)
	}
	each(b, before)
}

// A cache that keeps nothing.
var emptyCache = newTokenCache(0)

// The signature check that a first-seen token cannot do without: SHA-256 and ecdsa.Verify, the latter with the numbers
// it wants.
func BenchmarkSignatureAlone(b *testing.B) {
	made := newBench(b, 1)
	parsed, ok := parseToken(made.tokens[0], nil)
	if !ok {
		b.Fatal("malformed")
	}
	verify := made.keys.now.Load().keys["bench"].verify
	b.ReportAllocs()
	before := cpu()
	for b.Loop() {
		if !verify(parsed.signed, parsed.signature) {
			b.Fatal("bad signature")
		}
	}
	each(b, before)
}

// What a verifier holds for 1,000,000 live revocations of sessions, and how long a snapshot of them takes.
func BenchmarkMillionRevocations(b *testing.B) {
	groups := millionRevoked()
	memory := func() float64 {
		var stats runtime.MemStats
		runtime.GC()
		runtime.GC()
		runtime.ReadMemStats(&stats)
		return float64(stats.HeapAlloc) / (1 << 20)
	}
	made := newBench(b, 0)
	before := memory()
	for b.Loop() {
		made.snapshot(b, groups)
	}
	b.ReportMetric(memory()-before, "MiB-held")
	runtime.KeepAlive(made)
	runtime.KeepAlive(groups)
}
