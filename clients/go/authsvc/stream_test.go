package authsvc_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/resolver"
	"google.golang.org/grpc/resolver/manual"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/durationpb"

	authapiv1 "github.com/authsvc/authsvc/clients/go/authapi/v1"
	"github.com/authsvc/authsvc/clients/go/authsvc"
	"github.com/authsvc/authsvc/clients/go/authsvctest"
)

func verdict(verifier authsvc.TokenVerifier, token string, required ...authsvc.Requirement) string {
	_, err := verifier.Verify(context.Background(), token, required...)
	var refusal *authsvc.Refusal
	var unavailable *authsvc.Unavailable
	switch {
	case err == nil:
		return "active"
	case errors.As(err, &refusal):
		return refusal.Reason.String()
	case errors.As(err, &unavailable):
		return string(unavailable.Cause)
	default:
		return err.Error()
	}
}

func expect(t *testing.T, expected, actual string) {
	t.Helper()
	if expected != actual {
		t.Fatalf("expected %s, got %s", expected, actual)
	}
}

// A revocation on the stream refuses tokens judged before, and WaitFor tells when it has come.
func TestRevocationArrives(t *testing.T) {
	s := newSite(t)
	opened := s.ready()
	token := s.issuer.Mint(authsvc.Claims{UserID: "u1", Position: 1})
	expect(t, "active", verdict(s.verifier, token))
	waited := make(chan error, 1)
	go func() { waited <- s.verifier.WaitFor(context.Background(), []byte{0, 0, 0, 0, 0, 0, 0, 7}) }()
	opened.say(complete(changes(userRevoked("u1", 7)), "c7", 7))
	if err := <-waited; err != nil {
		t.Fatal(err)
	}
	expect(t, "USER_REVOKED", verdict(s.verifier, token))
	expect(t, "active", verdict(s.verifier, s.issuer.Mint(authsvc.Claims{UserID: "u1", Position: 7})))
}

// Before the first snapshot is whole the verifier cannot know, whatever its parts say.
func TestNothingIsKnownBeforeTheSnapshot(t *testing.T) {
	s := newSite(t, authsvc.WhenStale(authsvc.AnswerUnavailable))
	token := s.issuer.Mint(authsvc.Claims{})
	opened := s.next()
	opened.say(snapshot(false, userRevoked("u1", 7)))
	s.within(func() bool { return verdict(s.verifier, token) == "no_snapshot" }) // and no longer unknown_key
	if _, known := s.verifier.Age(); known {
		t.Fatal("an age before the snapshot")
	}
	opened.say(complete(snapshot(true), "c1", 1))
	s.within(func() bool { return verdict(s.verifier, token) == "active" })
}

// A cut stream is opened again with the last cursor, and what was known decides in the meantime.
func TestCutStreamResumes(t *testing.T) {
	s := newSite(t)
	opened := s.ready()
	token := s.issuer.Mint(authsvc.Claims{UserID: "u1"})
	expect(t, "active", verdict(s.verifier, token))
	opened.finish(status.Error(codes.Internal, "cut"))
	opened = s.next()
	expect(t, "c1", opened.cursor())
	expect(t, "active", verdict(s.verifier, token))
	opened.say(complete(changes(userRevoked("u1", 9)), "c9", 9))
	s.within(func() bool { return verdict(s.verifier, token) == "USER_REVOKED" })
}

// A server that says GoAway is left at once, without back-off, with the cursor of its last word.
func TestGoAway(t *testing.T) {
	s := newSite(t)
	opened := s.ready()
	opened.say(complete(goAway(), "c2", 2))
	s.atOnce(func() bool {
		select {
		case opened = <-s.streams:
			return true
		default:
			return false
		}
	})
	expect(t, "c2", opened.cursor())
}

// A cursor that is too old leads to a snapshot, which replaces what was known once it is whole, and not before.
func TestExpiredCursor(t *testing.T) {
	s := newSite(t)
	old := s.issuer.Mint(authsvc.Claims{UserID: "old"})
	young := s.issuer.Mint(authsvc.Claims{UserID: "young"})
	opened := s.ready(userRevoked("old", 1))
	opened.finish(status.Error(codes.OutOfRange, "CURSOR_EXPIRED"))
	opened = s.next()
	if opened.request.GetResumeFrom() != nil {
		t.Fatal("a cursor was sent")
	}
	opened.say(snapshot(false, userRevoked("young", 3)))
	expect(t, "USER_REVOKED", verdict(s.verifier, old))
	expect(t, "active", verdict(s.verifier, young))
	opened.say(complete(snapshot(true), "n1", 3))
	s.within(func() bool { return verdict(s.verifier, young) == "USER_REVOKED" })
	expect(t, "active", verdict(s.verifier, old))
}

// A stream that says nothing for 3 s is given up; a heartbeat keeps one alive.
func TestSilentStreamIsReopened(t *testing.T) {
	s := newSite(t)
	opened := s.ready()
	for range 5 {
		for range 20 {
			s.atOnce(func() bool { return s.pass(100 * time.Millisecond) })
		}
		opened.say(complete(heartbeat(), "c1", 1))
		s.atOnce(func() bool { age, _ := s.verifier.Age(); return age == 0 })
	}
	s.next()
	s.atOnce(func() bool {
		select {
		case <-opened.gone:
			return true
		default:
			return false
		}
	})
}

// A verifier whose machine slept for longer than its bound cannot know, and goes on from its cursor on a new stream.
func TestSleepingMachine(t *testing.T) {
	s := newSite(t, authsvc.WhenStale(authsvc.AnswerUnavailable))
	s.ready()
	token := s.issuer.Mint(authsvc.Claims{})
	expect(t, "active", verdict(s.verifier, token))
	s.clock.Advance(time.Minute)
	expect(t, "stale", verdict(s.verifier, token))
	opened := s.next()
	expect(t, "c1", opened.cursor())
	opened.say(complete(heartbeat(), "c1", 1))
	s.within(func() bool { return verdict(s.verifier, token) == "active" })
}

// A replica that stops for good is replaced by the other one, on which the verifier goes on from its cursor.
func TestServerMoved(t *testing.T) {
	clock := authsvctest.NewClock(time.Date(2026, 7, 1, 0, 0, 0, 0, time.UTC))
	issuer := authsvctest.NewIssuer(clock.Now)
	first, second := serve(t, issuer), serve(t, issuer)
	addresses := manual.NewBuilderWithScheme("moved")
	addresses.InitialState(resolver.State{Addresses: []resolver.Address{{Addr: first.address}}})
	verifier := newVerifier(t, "moved:///authsvc", authsvc.WithClock(clock), authsvc.WithPlaintext(),
		authsvc.WithDialOptions(grpc.WithResolvers(addresses)))
	s := &site{scripted: first, tb: t, clock: clock, issuer: issuer, verifier: verifier}
	s.ready()
	token := issuer.Mint(authsvc.Claims{UserID: "u1"})
	first.stop()
	addresses.UpdateState(resolver.State{Addresses: []resolver.Address{{Addr: second.address}}})
	s.scripted = second
	opened := s.next()
	expect(t, "c1", opened.cursor())
	opened.say(complete(changes(userRevoked("u1", 9)), "c9", 9))
	s.within(func() bool { return verdict(verifier, token) == "USER_REVOKED" })
}

func active(age time.Duration) func(*authapiv1.VerifyTokenRequest) (*authapiv1.VerifyTokenResponse, error) {
	return func(*authapiv1.VerifyTokenRequest) (*authapiv1.VerifyTokenResponse, error) {
		return &authapiv1.VerifyTokenResponse{
			Outcome: &authapiv1.VerifyTokenResponse_Active{Active: &authapiv1.Active{}}, Age: durationpb.New(age),
		}, nil
	}
}

// When authsvc is away for longer than the hard bound, each policy does what it says; the dead stay dead under all.
func TestPoliciesWhenStale(t *testing.T) {
	for policy, expected := range map[authsvc.Policy]string{
		authsvc.AnswerUnavailable: "stale", authsvc.FailOpen: "active", authsvc.AskServer: "active",
	} {
		t.Run(fmt.Sprint(policy), func(t *testing.T) {
			s := newSite(t, authsvc.WhenStale(policy))
			s.ready(userRevoked("dead", 9))
			s.set(func() { s.verify = active(0) })
			token := s.issuer.Mint(authsvc.Claims{})
			dead := s.issuer.Mint(authsvc.Claims{UserID: "dead"})
			expect(t, "active", verdict(s.verifier, token))
			s.clock.Advance(30*time.Second + time.Millisecond)
			expect(t, expected, verdict(s.verifier, token))
			expect(t, "USER_REVOKED", verdict(s.verifier, dead))
			if _, err := s.verifier.Check(token); (err == nil) != (policy == authsvc.FailOpen) {
				t.Fatalf("Check from memory alone: %v", err)
			}
			if asked := s.count("VerifyToken"); (asked == 1) != (policy == authsvc.AskServer) {
				t.Fatalf("the server was asked %d times", asked)
			}
		})
	}
}

// A server that is itself beyond the bound, and no younger, decides nothing, and is not asked again for a second.
func TestServerThatKnowsNoBetter(t *testing.T) {
	s := newSite(t)
	s.ready()
	s.set(func() { s.verify = active(time.Hour) })
	token := s.issuer.Mint(authsvc.Claims{})
	s.clock.Advance(time.Minute)
	expect(t, "stale", verdict(s.verifier, token))
	expect(t, "stale", verdict(s.verifier, token))
	if asked := s.count("VerifyToken"); asked != 1 {
		t.Fatalf("the server was asked %d times", asked)
	}
	s.set(func() { s.verify = active(0) })
	s.clock.Advance(time.Second)
	expect(t, "active", verdict(s.verifier, token))
}

// A verifier that never had keys lets the server decide, and judges scopes by the claims that the server vouches for.
func TestNoKeysYet(t *testing.T) {
	s := newSite(t)
	s.set(func() { s.keys, s.verify = nil, active(0) })
	other := newVerifier(t, s.address, authsvc.WithClock(s.clock))
	token := s.issuer.Mint(authsvc.Claims{Scopes: []string{"read"}})
	expect(t, "active", verdict(other, token, authsvc.Scopes("read")))
	expect(t, "MISSING_SCOPE", verdict(other, token, authsvc.Scopes("write")))
	expect(t, "WRONG_AUDIENCE", verdict(other, token, authsvc.Audience("elsewhere")))
}

// Ten thousand tokens of unknown keys cost one read of the keys in 10 s, and no good token suffers.
func TestUnknownKeysAreCheap(t *testing.T) {
	s := newSite(t)
	s.ready()
	good := s.issuer.Mint(authsvc.Claims{})
	for range 20 { // ten seconds on, a read is due for the asking
		s.clock.Advance(500 * time.Millisecond)
	}
	strangers := make([]string, 50)
	for i := range strangers {
		strangers[i] = authsvctest.NewIssuer(s.clock.Now).Mint(authsvc.Claims{})
	}
	var before int
	s.set(func() { before = s.keyReads })
	said := make(chan string, 10_000)
	var group sync.WaitGroup
	for worker := range 10 {
		group.Add(1)
		go func() {
			defer group.Done()
			for i := range 1000 {
				said <- verdict(s.verifier, strangers[(worker+i)%len(strangers)])
			}
		}()
	}
	group.Wait()
	close(said)
	for one := range said {
		if one != "UNKNOWN_KEY" && one != "unknown_key" {
			t.Fatalf("a stranger is %s", one)
		}
	}
	expect(t, "active", func() string { _, err := s.verifier.Check(good); return verdictText(err) }())
	s.set(func() {
		if s.keyReads != before+1 {
			t.Fatalf("%d reads of the keys", s.keyReads-before)
		}
	})
}

func verdictText(err error) string {
	if err == nil {
		return "active"
	}
	return err.Error()
}

// The last known good keys serve on while reads fail.
func TestKeysOutliveTheirServer(t *testing.T) {
	s := newSite(t, authsvc.WhenStale(authsvc.FailOpen))
	s.ready()
	s.set(func() { s.keys = nil })
	var before int
	s.set(func() { before = s.keyReads })
	for range 60 {
		s.atOnce(func() bool { return s.pass(10 * time.Second) })
	}
	s.within(func() bool { s.mu.Lock(); defer s.mu.Unlock(); return s.keyReads > before })
	expect(t, "active", verdict(s.verifier, s.issuer.Mint(authsvc.Claims{})))
}

// A closed verifier cannot know, and closing twice is harmless.
func TestClose(t *testing.T) {
	s := newSite(t)
	s.ready()
	for range 2 {
		if err := s.verifier.Close(); err != nil {
			t.Fatal(err)
		}
	}
	expect(t, "closed", verdict(s.verifier, s.issuer.Mint(authsvc.Claims{})))
}

// There is no verifier without an audience, nor with a bound outside of what the contract allows.
func TestNewVerifierRefusesNonsense(t *testing.T) {
	for name, options := range map[string][]authsvc.Option{
		"no audience":    nil,
		"empty audience": {authsvc.WithAudience("")},
		"bound of 0":     {authsvc.WithAudience("orders"), authsvc.WithHardBound(0)},
		"bound of 301 s": {authsvc.WithAudience("orders"), authsvc.WithHardBound(301 * time.Second)},
		"unknown policy": {authsvc.WithAudience("orders"), authsvc.WhenStale(9)},
	} {
		if verifier, err := authsvc.NewVerifier(context.Background(), "localhost:1", options...); err == nil {
			_ = verifier.Close()
			t.Errorf("%s was accepted", name)
		}
	}
}
