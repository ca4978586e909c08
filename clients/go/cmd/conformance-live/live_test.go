package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	authapiv1 "github.com/authsvc/authsvc/clients/go/authapi/v1"
	"github.com/authsvc/authsvc/clients/go/authsvc"
)

const (
	app      = "wx00000000000000d1" // the sandbox's first
	patience = 60 * time.Second
)

// live starts a real authsvc with its sandbox in a folder of its own, and returns its addresses.
func live(t *testing.T) map[string]string {
	t.Helper()
	command, err := filepath.Abs(filepath.Join("..", "..", "..", "..", ".venv", "bin", "authsvc"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(command); err != nil {
		t.Skip("SKIPPED, NOT PASSED: no authsvc in the repository's .venv (make install); nothing was tested against a live server")
	}
	folder := t.TempDir()
	ready := filepath.Join(folder, "ready.json")
	process := exec.Command(command, "dev", "--quiet", "--data-dir", filepath.Join(folder, "data"), "--ready-file", ready,
		"--grpc-port", "0", "--http-port", "0", "--sandbox-port", "0", "--ops-port", "0", "--drain-wait", "0")
	process.Dir = folder
	var log bytes.Buffer
	process.Stdout, process.Stderr = &log, &log
	if err := process.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- process.Wait() }()
	t.Cleanup(func() {
		_ = process.Process.Signal(os.Interrupt)
		select {
		case <-ended:
		case <-time.After(patience):
			_ = process.Process.Kill()
			<-ended
		}
	})
	for deadline := time.Now().Add(patience); ; time.Sleep(50 * time.Millisecond) {
		if raw, err := os.ReadFile(ready); err == nil {
			var given map[string]any
			if json.Unmarshal(raw, &given) == nil {
				addresses := map[string]string{}
				for name, value := range given {
					addresses[name], _ = value.(string)
				}
				return addresses
			}
		}
		if time.Now().After(deadline) || len(ended) > 0 {
			t.Fatalf("authsvc did not start:\n%s", log.String())
		}
	}
}

func login(t *testing.T, client *authsvc.AuthClient, sandbox, user string) *authapiv1.LoginResponse {
	t.Helper()
	body := strings.NewReader(`{"app_id":"` + app + `","user":"` + user + `"}`)
	reply, err := http.Post(sandbox+"/sandbox/v1/codes", "application/json", body)
	if err != nil {
		t.Fatal(err)
	}
	defer reply.Body.Close()
	var said struct{ Code string }
	if err := json.NewDecoder(reply.Body).Decode(&said); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	session, err := client.Login(ctx, &authapiv1.LoginRequest{
		AppId: app, Credential: &authapiv1.LoginRequest_MiniProgramCode{MiniProgramCode: said.Code},
	})
	if err != nil {
		t.Fatal(err)
	}
	return session
}

// Against a real service: a login's token is good here, with its claims, and a revocation ends it, by session and by
// user, within what WaitFor promises; the live program says so in its lines.
func TestLive(t *testing.T) {
	addresses := live(t)
	target, sandbox := addresses["grpc"], addresses["sandbox"]
	target = strings.TrimPrefix(target, "http://")
	if !strings.HasPrefix(sandbox, "http") {
		sandbox = "http://" + sandbox
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	client, err := authsvc.NewAuthClient(ctx, target)
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	verifier, err := authsvc.NewVerifier(ctx, target, authsvc.WithAudience(app))
	if err != nil {
		t.Fatal(err)
	}
	defer verifier.Close()
	if err := verifier.WaitReady(ctx); err != nil {
		t.Fatal(err)
	}

	in, commands := io.Pipe()
	lines, out := io.Pipe()
	done := make(chan error, 1)
	go func() { done <- run(target, app, in, out) }()
	said := bufio.NewScanner(lines)
	say := func(line string) string {
		if line != "" {
			_, _ = io.WriteString(commands, line+"\n")
		}
		if !said.Scan() {
			t.Fatal("the program said nothing")
		}
		return said.Text()
	}
	expect := func(prefix, line string) {
		t.Helper()
		if !strings.HasPrefix(line, prefix) {
			t.Fatalf("expected %q, got %q", prefix, line)
		}
	}
	expect("ready", say(""))

	for n, target := range []func(*authapiv1.LoginResponse) *authapiv1.RevokeRequest{
		func(session *authapiv1.LoginResponse) *authapiv1.RevokeRequest {
			return &authapiv1.RevokeRequest{Target: &authapiv1.RevokeRequest_SessionId{SessionId: session.GetSessionId()}}
		},
		func(session *authapiv1.LoginResponse) *authapiv1.RevokeRequest {
			user := &authapiv1.UserTarget{UserId: session.GetUserId()}
			return &authapiv1.RevokeRequest{Target: &authapiv1.RevokeRequest_User{User: user}}
		},
	} {
		session := login(t, client, sandbox, "alice")
		token := session.GetTokens().GetAccessToken()
		claims, err := verifier.Verify(ctx, token)
		if err != nil || claims.UserID != session.GetUserId() || claims.OpenID != session.GetOpenid() {
			t.Fatalf("a fresh token: %v, %v", claims, err)
		}
		number := string(rune('1' + n))
		expect("watching "+number, say("watch "+number+" "+token))
		expect("active", say("verify "+token))
		revoked, err := client.Revoke(ctx, target(session))
		if err != nil {
			t.Fatal(err)
		}
		began := time.Now()
		if err := verifier.WaitFor(ctx, revoked.GetPosition()); err != nil {
			t.Fatal(err)
		}
		t.Logf("known here %v after Revoke answered", time.Since(began).Round(time.Microsecond))
		reason := []string{"SESSION_REVOKED", "USER_REVOKED"}[n]
		if _, err := verifier.Check(token); err == nil || !strings.Contains(err.Error(), reason) {
			t.Fatalf("a revoked token: %v", err)
		}
		expect("refused "+number+" "+reason, say(""))
		expect("inactive "+reason, say("verify "+token))
	}
	expect("inactive MALFORMED", say("verify junk"))
	expect("age ", say("age"))
	expect("stats {", say("stats"))
	expect("error ", say("dance"))
	_, _ = io.WriteString(commands, "quit\n")
	if err := <-done; err != nil {
		t.Fatal(err)
	}
}
