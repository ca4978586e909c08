package authsvc_test

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	authapiv1 "github.com/authsvc/authsvc/clients/go/authapi/v1"
	"github.com/authsvc/authsvc/clients/go/authsvc"
)

func newClient(t *testing.T, s *scripted) *authsvc.AuthClient {
	t.Helper()
	client, err := authsvc.NewAuthClient(context.Background(), s.address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = client.Close() })
	return client
}

// eventually waits for a condition.
func eventually(t *testing.T, condition func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !condition(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("it never came")
		}
	}
}

// occupy puts one question of its own into each of the two calls that may be under way, so that all further ones wait.
func occupy(t *testing.T, s *scripted, client *authsvc.AuthClient) {
	t.Helper()
	for calls := 1; calls <= 2; calls++ {
		go func() {
			_, _ = client.VerifyToken(context.Background(), &authapiv1.VerifyTokenRequest{AccessToken: "occupies"})
		}()
		eventually(t, func() bool { return s.count("VerifyToken") == calls })
	}
}

// Login reaches the server once, whatever happens; what may be repeated is repeated.
func TestLoginIsNeverRetried(t *testing.T) {
	s := serve(t)
	client := newClient(t, s)
	if _, err := client.Login(context.Background(), &authapiv1.LoginRequest{}); status.Code(err) != codes.Unavailable {
		t.Fatalf("expected UNAVAILABLE, got %v", err)
	}
	if calls := s.count("Login"); calls != 1 {
		t.Errorf("Login was sent %d times", calls)
	}
	answer, err := client.RefreshToken(context.Background(), &authapiv1.RefreshTokenRequest{})
	if err != nil || answer.GetUserId() != "third time" {
		t.Errorf("RefreshToken: %v, %v", answer, err)
	}
}

// Checks that are asked for at once share calls, equal ones a question; each caller gets its own answer.
func TestConcurrentChecksShareCalls(t *testing.T) {
	s := serve(t)
	client := newClient(t, s)
	gate := make(chan struct{})
	s.verify = func(request *authapiv1.VerifyTokenRequest) (*authapiv1.VerifyTokenResponse, error) {
		<-gate
		return &authapiv1.VerifyTokenResponse{Outcome: &authapiv1.VerifyTokenResponse_Active{
			Active: &authapiv1.Active{UserId: request.GetAccessToken()},
		}}, nil
	}
	occupy(t, s, client)
	const callers = 300
	var group sync.WaitGroup
	for n := range callers {
		group.Add(1)
		go func() {
			defer group.Done()
			token := fmt.Sprint(n % 100)
			answer, err := client.VerifyToken(context.Background(), &authapiv1.VerifyTokenRequest{AccessToken: token})
			if err != nil || answer.GetActive().GetUserId() != token {
				t.Errorf("%s: %v, %v", token, answer, err)
			}
		}()
	}
	eventually(t, func() bool { return client.Waiting() == callers })
	close(gate)
	group.Wait()
	total := s.count("VerifyToken") + s.count("BatchVerifyTokens")
	if s.count("BatchVerifyTokens") == 0 || total > 4 {
		t.Errorf("%d calls for %d checks", total, callers)
	}
	for _, size := range s.batches {
		if size > 100 {
			t.Errorf("a batch of %d for 100 different questions", size)
		}
	}
}

// One bad question in a batch spoils nobody else's answer.
func TestBadQuestionStaysAlone(t *testing.T) {
	s := serve(t)
	client := newClient(t, s)
	gate := make(chan struct{})
	s.verify = func(request *authapiv1.VerifyTokenRequest) (*authapiv1.VerifyTokenResponse, error) {
		<-gate
		if request.GetAccessToken() == "7" {
			return nil, status.Error(codes.InvalidArgument, "scripted")
		}
		return &authapiv1.VerifyTokenResponse{}, nil
	}
	occupy(t, s, client)
	var group sync.WaitGroup
	for n := range 20 {
		group.Add(1)
		go func() {
			defer group.Done()
			_, err := client.VerifyToken(context.Background(), &authapiv1.VerifyTokenRequest{AccessToken: fmt.Sprint(n)})
			if (err != nil) != (n == 7) {
				t.Errorf("%d: %v", n, err)
			}
		}()
	}
	eventually(t, func() bool { return client.Waiting() == 20 })
	close(gate)
	group.Wait()
}

// A caller that gives up gets its own error, and a closed client answers at once.
func TestGivingUp(t *testing.T) {
	s := serve(t)
	client := newClient(t, s)
	gate := make(chan struct{})
	defer close(gate)
	s.verify = func(*authapiv1.VerifyTokenRequest) (*authapiv1.VerifyTokenResponse, error) {
		<-gate
		return &authapiv1.VerifyTokenResponse{}, nil
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := client.VerifyToken(ctx, &authapiv1.VerifyTokenRequest{}); status.Code(err) != codes.Canceled {
		t.Errorf("expected CANCELLED, got %v", err)
	}
	if err := client.Close(); err != nil {
		t.Error(err)
	}
	if _, err := client.VerifyToken(context.Background(), &authapiv1.VerifyTokenRequest{}); err == nil {
		t.Error("an answer of a closed client")
	}
}
