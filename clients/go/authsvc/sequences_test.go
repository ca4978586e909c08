package authsvc

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	authapiv1 "github.com/authsvc/authsvc/clients/go/authapi/v1"
)

type sequenceCase struct {
	ID          string
	NowMS       int64 `json:"now_ms"`
	Keys        string
	HardBoundMS int64  `json:"hard_bound_ms"`
	WhenStale   string `json:"when_stale"`
	Steps       []map[string]json.RawMessage
}

// life drives a verifier's state by hand, as the goroutines of a Verifier do.
type life struct {
	t       *testing.T
	file    vectorFile[sequenceCase]
	start   time.Duration
	clock   *virtualClock
	judge   *judge
	keys    string
	reads   int
	remote  *vectorVerdict
	age     time.Duration
	asked   int
	opens   int
	resumed []byte
}

func (l *life) fetchKeys(context.Context) (*authapiv1.GetJwksResponse, error) {
	l.reads++
	if l.keys == "fails" {
		return nil, errors.New("scripted")
	}
	return decodeMessage(l.t, l.file.KeySets[l.keys].Base64, &authapiv1.GetJwksResponse{}), nil
}

func (l *life) ask(context.Context, string, string) (answer, error) {
	l.asked++
	if l.remote == nil {
		return answer{}, errors.New("scripted")
	}
	said := answer{age: l.age}
	if l.remote.Active == nil {
		said.refusal = &Refusal{
			Reason(authapiv1.InactiveReason_value["INACTIVE_REASON_"+l.remote.Inactive]),
			EndReason(authapiv1.SessionEndReason_value["SESSION_END_REASON_"+l.remote.SessionEndReason]),
		}
	}
	return said, nil
}

// due does what is due now: one round of each of the verifier's loops.
func (l *life) due() {
	now := l.clock.elapsed
	if now >= l.judge.keys.nextDue() {
		l.judge.keys.refresh(l.t.Context())
	}
	follower := l.judge.follower
	follower.tick(now)
	if follower.wantsStream(now) {
		follower.opened(now)
		l.opens++
		l.resumed = follower.cursor
	}
}

func (l *life) goTo(at time.Duration) {
	for l.clock.elapsed < at {
		l.clock.move(min(100*time.Millisecond, at-l.clock.elapsed))
		l.due()
	}
}

func field[V any](l *life, step map[string]json.RawMessage, name string) (value V) {
	l.t.Helper()
	if raw, has := step[name]; !has || json.Unmarshal(raw, &value) != nil {
		l.t.Fatalf("a step without a %s that can be read: %v", name, step)
	}
	return value
}

func (l *life) message(step map[string]json.RawMessage) {
	sent := field[vectorMessage](l, step, "message")
	if _, when := step["when_open"]; when {
		for hops := 0; !l.judge.follower.open; hops++ {
			if hops == 80 {
				l.t.Fatal("no stream was opened for 8 s")
			}
			l.goTo(l.clock.elapsed + 100*time.Millisecond)
		}
	}
	if !l.judge.follower.open {
		l.t.Fatal("no stream is open")
	}
	message := decodeMessage(l.t, sent.Base64, &authapiv1.WatchRevocationsResponse{})
	goesOn := l.judge.follower.message(l.clock.elapsed, l.clock.wall, message)
	if _, ends := step["then"]; ends {
		if then := field[string](l, step, "then"); then != "ok" {
			l.t.Fatalf("unknown then %q", then)
		}
		if goesOn {
			l.judge.follower.ended(l.clock.elapsed, nil)
		}
	}
	l.due()
}

func (l *life) end(step map[string]json.RawMessage) {
	ends := map[string]error{
		"cut":          status.Error(codes.Unavailable, "scripted"),
		"ok":           nil,
		"out_of_range": status.Error(codes.OutOfRange, "scripted"),
		"too_slow":     status.Error(codes.ResourceExhausted, "scripted"),
	}
	end, known := ends[field[string](l, step, "stream")]
	if !known {
		l.t.Fatalf("unknown end of a stream: %v", step)
	}
	l.judge.follower.ended(l.clock.elapsed, end)
	l.due()
}

func (l *life) verify(step map[string]json.RawMessage) {
	token, known := l.file.Tokens[field[string](l, step, "verify")]
	if !known {
		l.t.Fatalf("unknown token: %v", step)
	}
	before := l.asked
	claims, err := l.judge.check(l.t.Context(), token.Token, token.Require.requirements(), true)
	assertVerdict(l.t, field[vectorVerdict](l, step, "expect"), verdictOf(claims, err))
	if asked := field[bool](l, step, "asked"); asked != (l.asked > before) {
		l.t.Errorf("asked: expected %v, got %v", asked, !asked)
	}
}

func (l *life) setRemote(step map[string]json.RawMessage) {
	var text string
	if json.Unmarshal(step["remote"], &text) == nil {
		if text != "unavailable" {
			l.t.Fatalf("unknown remote %q", text)
		}
		l.remote = nil
		return
	}
	said := field[struct {
		Verdict vectorVerdict
		AgeMS   int64 `json:"age_ms"`
	}](l, step, "remote")
	l.remote, l.age = &said.Verdict, time.Duration(said.AgeMS)*time.Millisecond
}

func (l *life) expectAge(step map[string]json.RawMessage) {
	held := l.judge.follower.now.Load()
	expected := field[*int64](l, step, "expect_age_ms")
	if (expected != nil) != held.complete {
		l.t.Errorf("age: expected %v, complete is %v", expected, held.complete)
	} else if expected != nil {
		if age := (l.clock.elapsed - held.confirmed).Milliseconds(); max(age-*expected, *expected-age) > 1 {
			l.t.Errorf("age: expected %d ms, got %d", *expected, age)
		}
	}
}

func position(t *testing.T, hex string) (value uint64) {
	t.Helper()
	if _, err := fmt.Sscanf(hex, "%016x", &value); err != nil {
		t.Fatal(err)
	}
	return value
}

// step does one step; which are its kinds is in clients/conformance/README.md.
func (l *life) step(step map[string]json.RawMessage) {
	at := l.start + time.Duration(field[int64](l, step, "at_ms"))*time.Millisecond
	if _, suspended := step["suspended"]; suspended {
		l.clock.move(at - l.clock.elapsed)
		for _, buffered := range field[[]vectorMessage](l, step, "buffered") {
			if l.judge.follower.open { // else the one before has made the verifier give the stream up
				message := decodeMessage(l.t, buffered.Base64, &authapiv1.WatchRevocationsResponse{})
				l.judge.follower.message(l.clock.elapsed, l.clock.wall, message)
			}
		}
		l.due()
		return
	}
	l.goTo(at)
	held := l.judge.follower.now.Load()
	kinds := map[string]func(map[string]json.RawMessage){
		"message": l.message, "stream": l.end, "verify": l.verify, "remote": l.setRemote, "expect_age_ms": l.expectAge,
		"expect_open": func(step map[string]json.RawMessage) {
			expected := field[struct {
				ResumeFrom *string `json:"resume_from"`
			}](l, step, "expect_open").ResumeFrom
			switch {
			case l.opens == 0:
				l.t.Error("no stream was opened")
			case (expected == nil) != (l.resumed == nil):
				l.t.Errorf("resume_from: expected %v, got %v", expected, l.resumed)
			case expected != nil && *expected != base64.StdEncoding.EncodeToString(l.resumed):
				l.t.Errorf("resume_from: expected %v, got %x", *expected, l.resumed)
			}
			l.opens = 0
		},
		"keys": func(step map[string]json.RawMessage) { l.keys = field[string](l, step, "keys") },
		"expect_key_reads": func(step map[string]json.RawMessage) {
			if expected := field[int](l, step, "expect_key_reads"); expected != l.reads {
				l.t.Errorf("key reads: expected %d, got %d", expected, l.reads)
			}
		},
		"expect_fresh": func(step map[string]json.RawMessage) {
			if expected := field[bool](l, step, "expect_fresh"); expected != (l.judge.doubt(held, l.clock.elapsed) == "") {
				l.t.Errorf("fresh: expected %v", expected)
			}
		},
		"expect_position": func(step map[string]json.RawMessage) {
			expected := field[*string](l, step, "expect_position")
			if (expected != nil) != held.complete || (expected != nil && position(l.t, *expected) != held.position) {
				l.t.Errorf("position: expected %v, got %016x, complete %v", step, held.position, held.complete)
			}
		},
		"reached": func(step map[string]json.RawMessage) {
			if field[bool](l, step, "expect") != l.judge.reached(position(l.t, field[string](l, step, "reached"))) {
				l.t.Errorf("reached: %v", step)
			}
		},
		"wall_jump_ms": func(step map[string]json.RawMessage) {
			l.clock.wall = l.clock.wall.Add(time.Duration(field[int64](l, step, "wall_jump_ms")) * time.Millisecond)
		},
	}
	done := 0
	for kind, do := range kinds {
		if _, has := step[kind]; has {
			do(step)
			done++
		}
	}
	if done != 1 {
		l.t.Fatalf("a step of %d kinds that this runner knows: %v", done, step)
	}
}

// A verifier's life over each of the shared sequences goes as the server's own code says.
func TestSequenceVectors(t *testing.T) {
	file := readVectors[sequenceCase](t, "sequences.json")
	for _, c := range file.Cases {
		t.Run(c.ID, func(t *testing.T) {
			clock := &virtualClock{wall: time.UnixMilli(c.NowMS), elapsed: time.Hour}
			l := &life{t: t, file: file, clock: clock, start: clock.elapsed, keys: c.Keys}
			l.judge = &judge{
				clock: clock, read: reading(clock),
				keys:      newKeyring(t.Context(), clock, l.fetchKeys, nil),
				follower:  newFollower(clock.elapsed),
				cache:     newTokenCache(1 << 20),
				audiences: []string{"orders"},
				hardBound: time.Duration(c.HardBoundMS) * time.Millisecond,
				policy:    policyOf(t, c.WhenStale),
				ask:       l.ask,
			}
			l.due()
			for i, step := range c.Steps {
				l.step(step)
				if t.Failed() {
					t.Fatalf("at step %d: %.300s", i, fmt.Sprint(step))
				}
			}
		})
	}
	fmt.Printf("sequences.json: %d cases\n", len(file.Cases))
}
