package authsvc

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	authapiv1 "github.com/authsvc/authsvc/clients/go/authapi/v1"
)

// What clients/conformance/README.md calls a message, a verdict and a requirement.
type (
	vectorMessage struct{ Base64 string }
	vectorRequire struct {
		Audience      string
		Scopes, Roles []string
	}
	vectorActive struct {
		UserID          string   `json:"user_id"`
		SessionID       string   `json:"session_id"`
		AppID           string   `json:"app_id"`
		Audiences       []string `json:"audiences"`
		Scopes          []string `json:"scopes"`
		Roles           []string `json:"roles"`
		TokenID         string   `json:"token_id"`
		IssuedAt        int64    `json:"issued_at"`
		ExpiresAt       int64    `json:"expires_at"`
		Position        string   `json:"position"`
		PreviousUserIDs []string `json:"previous_user_ids"`
		OpenID          string   `json:"openid,omitempty"`
		ExternalID      string   `json:"external_id,omitempty"`
	}
	vectorVerdict struct {
		Active           *vectorActive `json:"active,omitempty"`
		Inactive         string        `json:"inactive,omitempty"`
		SessionEndReason string        `json:"session_end_reason,omitempty"`
		Unavailable      string        `json:"unavailable,omitempty"`
	}
	vectorFile[C any] struct {
		Format  int
		Count   int
		KeySets map[string]vectorMessage `json:"key_sets"`
		Tokens  map[string]struct {
			Token   string
			Require vectorRequire
		}
		Cases []C
	}
)

// virtualClock is both clocks of a case; they stand until they are moved.
type virtualClock struct {
	wall    time.Time
	elapsed time.Duration
}

func (c *virtualClock) Now() time.Time         { return c.wall }
func (c *virtualClock) Elapsed() time.Duration { return c.elapsed }
func (c *virtualClock) move(by time.Duration)  { c.wall, c.elapsed = c.wall.Add(by), c.elapsed+by }
func (c *virtualClock) After(time.Duration) (<-chan struct{}, func()) {
	panic("nothing that is driven by hand waits")
}

func readVectors[C any](t *testing.T, name string) vectorFile[C] {
	t.Helper()
	raw, err := os.ReadFile(filepath.Join("..", "..", "conformance", name))
	if errors.Is(err, os.ErrNotExist) {
		t.Skipf("SKIPPED, NOT PASSED: %s is not beside this module (a copy outside the repository)", name)
	}
	if err != nil {
		t.Fatal(err)
	}
	var file vectorFile[C]
	if err := json.Unmarshal(raw, &file); err != nil {
		t.Fatal(err)
	}
	if file.Format != 1 {
		t.Fatalf("format %d is not one this runner knows", file.Format)
	}
	if len(file.Cases) < file.Count || file.Count == 0 {
		t.Fatalf("%d cases of %d", len(file.Cases), file.Count)
	}
	return file
}

func decodeMessage[M proto.Message](t *testing.T, encoded string, message M) M {
	t.Helper()
	raw, err := base64.StdEncoding.DecodeString(encoded)
	if err != nil {
		t.Fatal(err)
	}
	if err := proto.Unmarshal(raw, message); err != nil {
		t.Fatal(err)
	}
	return message
}

func policyOf(t *testing.T, name string) Policy {
	t.Helper()
	policy, known := map[string]Policy{"ask": AskServer, "unavailable": AnswerUnavailable, "accept": FailOpen}[name]
	if !known {
		t.Fatalf("unknown policy %q", name)
	}
	return policy
}

func (r vectorRequire) requirements() []Requirement {
	return []Requirement{Scopes(r.Scopes...), Audience(r.Audience), Roles(r.Roles...)}
}

func verdictOf(claims *Claims, err error) vectorVerdict {
	var refusal *Refusal
	var unavailable *Unavailable
	switch {
	case err == nil:
		list := func(list []string) []string { return append([]string{}, list...) }
		return vectorVerdict{Active: &vectorActive{
			UserID: claims.UserID, SessionID: claims.SessionID, AppID: claims.AppID, TokenID: claims.TokenID,
			Audiences: list(claims.Audiences), Scopes: list(claims.Scopes), Roles: list(claims.Roles),
			IssuedAt: claims.IssuedAt.Unix(), ExpiresAt: claims.ExpiresAt.Unix(),
			Position:        fmt.Sprintf("%016x", claims.Position),
			PreviousUserIDs: list(claims.PreviousUserIDs), OpenID: claims.OpenID, ExternalID: claims.ExternalID,
		}}
	case errors.As(err, &refusal):
		verdict := vectorVerdict{Inactive: refusal.Reason.String()}
		if refusal.EndReason != 0 {
			verdict.SessionEndReason = refusal.EndReason.String()
		}
		return verdict
	case errors.As(err, &unavailable):
		return vectorVerdict{Unavailable: string(unavailable.Cause)}
	default:
		return vectorVerdict{Unavailable: "no verdict at all: " + err.Error()}
	}
}

func assertVerdict(t *testing.T, expected, actual vectorVerdict) {
	t.Helper()
	if !reflect.DeepEqual(expected, actual) {
		want, _ := json.Marshal(expected)
		got, _ := json.Marshal(actual)
		t.Errorf("expected %s, got %s", want, got)
	}
}

type tokenCase struct {
	ID          string
	NowMS       int64 `json:"now_ms"`
	Keys        string
	KeyFetch    string `json:"key_fetch"`
	HardBoundMS int64  `json:"hard_bound_ms"`
	WhenStale   string `json:"when_stale"`
	View        *struct{ Message vectorMessage }
	Token       string
	Require     vectorRequire
	Expect      vectorVerdict
}

// Every token of the shared vectors gets the verdict that the server's own code gives, and again from the cache.
func TestTokenVectors(t *testing.T) {
	file := readVectors[tokenCase](t, "tokens.json")
	for _, c := range file.Cases {
		t.Run(c.ID, func(t *testing.T) {
			if c.KeyFetch != "same" && c.KeyFetch != "fails" {
				t.Fatalf("unknown key_fetch %q", c.KeyFetch)
			}
			set := decodeMessage(t, file.KeySets[c.Keys].Base64, &authapiv1.GetJwksResponse{})
			clock := &virtualClock{wall: time.UnixMilli(c.NowMS - 60_000), elapsed: time.Hour}
			fails := false
			fetch := func(context.Context) (*authapiv1.GetJwksResponse, error) {
				if fails {
					return nil, errors.New("scripted")
				}
				return set, nil
			}
			j := &judge{
				clock: clock, read: reading(clock),
				keys:      newKeyring(t.Context(), clock, fetch, nil),
				follower:  newFollower(clock.Elapsed()),
				cache:     newTokenCache(1 << 20),
				audiences: []string{c.Require.Audience},
				hardBound: time.Duration(c.HardBoundMS) * time.Millisecond,
				policy:    policyOf(t, c.WhenStale),
			}
			j.keys.refresh(t.Context())
			clock.move(time.Minute)
			fails = c.KeyFetch == "fails"
			if c.View != nil {
				j.follower.tick(clock.elapsed)
				j.follower.opened(clock.elapsed)
				message := decodeMessage(t, c.View.Message.Base64, &authapiv1.WatchRevocationsResponse{})
				if !j.follower.message(clock.elapsed, clock.wall, message) {
					t.Fatal("the follower gave up the stream")
				}
			}
			first := verdictOf(j.check(t.Context(), c.Token, c.Require.requirements(), true))
			assertVerdict(t, c.Expect, first)
			if c.Expect.Inactive != "UNKNOWN_KEY" {
				assertVerdict(t, c.Expect, verdictOf(j.check(t.Context(), c.Token, c.Require.requirements(), true)))
			}
		})
	}
	fmt.Printf("tokens.json: %d cases\n", len(file.Cases))
}
