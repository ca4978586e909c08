package authsvc

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	authapiv1 "github.com/authsvc/authsvc/clients/go/authapi/v1"
)

func numbered(n uint64) (made id) {
	sum := sha256.Sum256(binary.BigEndian.AppendUint64(nil, n))
	copy(made[:], sum[:])
	return made
}

// Layers say of every id what a plain map says that took in the same facts in the same order.
func TestLayersAgreeWithAMap(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	sessions, users := newLayers(noFacts, false), newLayers(noFacts, true)
	firstReason, furthest := map[id]uint8{}, map[id]fact{}
	for range 200 {
		batch := make([]fact, 1+random.IntN(300))
		for i := range batch {
			entry := fact{numbered(random.Uint64N(30_000)), random.Uint64(), forever, uint8(random.IntN(11))}
			batch[i] = entry
			if _, known := firstReason[entry.id]; !known {
				firstReason[entry.id] = entry.reason
			}
			if entry.position > furthest[entry.id].position {
				furthest[entry.id] = entry
			}
		}
		sessions = sessions.with(append([]fact{}, batch...), 0)
		users = users.with(append([]fact{}, batch...), 0)
	}
	if sessions.base.starts == nil || sessions.middle.len()+sessions.recent.len() == 0 {
		t.Fatal("not every layer was used")
	}
	for n := range uint64(30_000) {
		key := numbered(n)
		reason, known := firstReason[key]
		if got, dead := sessions.session(&key); dead != known || got != reason {
			t.Fatalf("session %d: expected %v %d, got %v %d", n, known, reason, dead, got)
		}
		top := furthest[key]
		if _, dead := users.above(&key, top.position); dead {
			t.Fatalf("user %d is dead at the position of its last fact", n)
		}
		if known && top.position > 0 {
			if got, dead := users.above(&key, top.position-1); !dead || got != top.reason {
				t.Fatalf("user %d: expected %d, got %v %d", n, top.reason, dead, got)
			}
		}
	}
}

// A merge forgets what is past its use, and nothing before its time.
func TestMergeForgets(t *testing.T) {
	old := newFacts([]fact{{id: numbered(1), until: 100}, {id: numbered(2), until: 101}, {id: numbered(3), until: forever}}, false)
	merged := newLayers(merge(old, noFacts, 100, false), false)
	for n, expected := range map[uint64]bool{1: false, 2: true, 3: true} {
		key := numbered(n)
		if _, dead := merged.session(&key); dead != expected {
			t.Errorf("fact %d: expected %v", n, expected)
		}
	}
}

// A server that only ever ends the stream in peace is not asked in a loop; one that brought news is asked at once.
func TestPeacefulEnds(t *testing.T) {
	f := newFollower(0)
	f.opened(0)
	f.ended(0, nil)
	if f.wantsStream(0) {
		t.Error("no pause after a stream without news")
	}
	if !f.wantsStream(reopenFirst) {
		t.Error("the first pause is longer than it may be")
	}
	f.opened(0)
	f.message(0, time.Time{}, &authapiv1.WatchRevocationsResponse{
		Body: &authapiv1.WatchRevocationsResponse_Heartbeat{Heartbeat: &authapiv1.Heartbeat{}},
	})
	f.ended(0, nil)
	if !f.wantsStream(0) {
		t.Error("a pause after a stream with news")
	}
}

// The pause doubles up to its limit, and a cursor that the server cannot read is given up.
func TestBackOff(t *testing.T) {
	f := newFollower(0)
	f.cursor = []byte("of other keys")
	now, longest := time.Duration(0), time.Duration(0)
	for i := range 12 {
		f.opened(now)
		f.ended(now, status.Error(codes.InvalidArgument, ""))
		pause := f.reopen - now
		if limit := min(reopenFirst<<i, reopenLast); pause > limit || pause < limit/2 {
			t.Fatalf("pause %d is %v, not within half of %v", i, pause, limit)
		}
		now, longest = f.reopen, max(longest, pause)
	}
	if longest < reopenLast/2 || f.cursor != nil {
		t.Errorf("longest pause %v, cursor %q", longest, f.cursor)
	}
}

// The cache stays within its bytes, keeps what is asked for, and sweeps what is past its end.
func TestCacheIsBounded(t *testing.T) {
	const limit = cacheShards * 10 * 1000
	cache := newTokenCache(limit)
	favourite := sha256.Sum256([]byte("asked for"))
	cache.put(&favourite, &verifiedToken{cost: 1000, times: instants{expires: 1000}}, 0)
	for n := range 5000 {
		key := sha256.Sum256([]byte(fmt.Sprint(n)))
		cache.put(&key, &verifiedToken{cost: 1000, times: instants{expires: int64(500 + n)}}, 0)
		if cache.get(&favourite) == nil {
			t.Fatalf("what is asked for was dropped at %d", n)
		}
	}
	if count := cache.len(); count > limit/1000 || count < limit/1000*9/10 {
		t.Errorf("%d entries", count)
	}
	huge := sha256.Sum256([]byte("huge"))
	cache.put(&huge, &verifiedToken{cost: limit}, 0)
	if cache.get(&huge) != nil {
		t.Error("an entry larger than its place was kept")
	}
	cache.sweep(100_000)
	if count := cache.len(); count != 0 {
		t.Errorf("%d entries past their end", count)
	}
	for i := range cache.shards {
		if cache.shards[i].cost != 0 {
			t.Errorf("a shard without entries costs %d", cache.shards[i].cost)
		}
	}
}

// What the strict reader takes is JSON for encoding/json too, with the same names and texts.
func FuzzStrictJSON(f *testing.F) {
	for _, seed := range []string{
		`{}`, `{"a":1}`, `{"a":"\ud83d\ude00","b":[true,null,-0.5e+3]}`, `{"a":{"b":{}},"c":"\ud800"}`, `{"a":1,"a":2}`,
		`{"a":01}`, "{\"a\":\"\x01\"}", `{"a":"\u00e9é"}`, `[1]`, `{"a":[[[]]]}`, `{"a":NaN}`, `{"a":"\ud800\u0041"}`,
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		members, err := parseObject([]byte(text), nil)
		if err != nil {
			return
		}
		var oracle map[string]any
		if err := json.Unmarshal([]byte(text), &oracle); err != nil {
			t.Fatalf("%q is no JSON: %v", text, err)
		}
		for _, member := range members {
			said, isText := oracle[member.name].(string)
			if isText && !member.value.lone && said != member.value.text {
				t.Fatalf("%q: %q is %q", text, said, member.value.text)
			}
		}
	})
}

// The clock reads what the system's clock reads, and never goes back.
func TestElapsedGrows(t *testing.T) {
	last := elapsed()
	for range 100_000 {
		now := elapsed()
		if now < last-wallSlack {
			t.Fatalf("%v after %v", now, last)
		}
		last = now
	}
}

// Plaintext is for what cannot leave the machine.
func TestIsLocal(t *testing.T) {
	for target, expected := range map[string]bool{
		"localhost:50051": true, "127.0.0.1:50051": true, "[::1]:50051": true, "dns:///localhost:1": true,
		"unix:/run/authsvc": true, "unix:///run/authsvc": true, "ipv4:127.0.0.1:1,127.0.0.2:1": true,
		"ipv4:127.0.0.1:1,10.0.0.1:1": false, "authsvc:50051": false, "dns:///authsvc:50051": false, "10.0.0.1:1": false,
		"localhost.example.com:1": false, "": false, "ipv6:[::1]:1": true, "passthrough:///127.0.0.1:1": true,
		"dns://8.8.8.8/localhost.evil:1": false,
	} {
		if isLocal(target) != expected {
			t.Errorf("%q: expected %v", target, expected)
		}
	}
}

// The service config of the module is the shipped one, and has Login in no retry policy.
func TestServiceConfig(t *testing.T) {
	shipped, err := os.ReadFile(filepath.Join("..", "..", "service_config.json"))
	if os.IsNotExist(err) {
		t.Skip("SKIPPED, NOT PASSED: clients/service_config.json is not beside this module")
	}
	if err != nil {
		t.Fatal(err)
	}
	if string(shipped) != ServiceConfig {
		t.Error("service_config.json differs from clients/service_config.json: clients/go/generate.sh copies it")
	}
	var config struct {
		MethodConfig []struct {
			Name        []struct{ Method string }
			RetryPolicy any
		}
	}
	if err := json.Unmarshal([]byte(ServiceConfig), &config); err != nil {
		t.Fatal(err)
	}
	retried := map[string]bool{}
	for _, entry := range config.MethodConfig {
		for _, name := range entry.Name {
			retried[name.Method] = entry.RetryPolicy != nil
		}
	}
	if login, named := retried["Login"]; login || !named || !retried["VerifyToken"] {
		t.Errorf("retried: %v", retried)
	}
}

// No error, however it is printed, holds anything of a token.
func TestErrorsHoldNoToken(t *testing.T) {
	clock := &virtualClock{wall: time.Unix(1_800_000_000, 0)}
	fetch := func(context.Context) (*authapiv1.GetJwksResponse, error) {
		return &authapiv1.GetJwksResponse{JwksJson: `{"keys":[]}`}, nil
	}
	j := &judge{
		clock: clock, read: reading(clock), keys: newKeyring(t.Context(), clock, fetch, nil),
		follower: newFollower(0), cache: newTokenCache(1 << 20), hardBound: time.Second,
	}
	for _, token := range []string{"canary.canary.canary", "canary", headerSegment(header{"canary", "ES256", tokenType}) + ".canary.canary"} {
		_, err := j.check(t.Context(), token, nil, true)
		if printed := fmt.Sprintf("%v %+v %#v", err, err, err); err == nil || strings.Contains(printed, "canary") {
			t.Errorf("%s", printed)
		}
	}
}
