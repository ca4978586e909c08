package authsvc_test

import (
	"context"
	"encoding/json"
	"net"
	"net/http"
	"net/http/httptest"
	"reflect"
	"testing"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/authsvc/authsvc/clients/go/authsvc"
	"github.com/authsvc/authsvc/clients/go/authsvctest"
)

// greeter is a service with a unary and a streaming method: both say whose token it was.
type greeter struct {
	healthpb.UnimplementedHealthServer
	user chan string
}

func (g *greeter) seen(ctx context.Context) {
	claims, _ := authsvc.FromContext(ctx)
	if claims == nil {
		claims = &authsvc.Claims{UserID: "nobody"}
	}
	g.user <- claims.UserID
}

func (g *greeter) Check(ctx context.Context, _ *healthpb.HealthCheckRequest) (*healthpb.HealthCheckResponse, error) {
	g.seen(ctx)
	return &healthpb.HealthCheckResponse{}, nil
}

func (g *greeter) Watch(_ *healthpb.HealthCheckRequest, stream healthpb.Health_WatchServer) error {
	g.seen(stream.Context())
	return stream.Send(&healthpb.HealthCheckResponse{})
}

func greet(t *testing.T, verifier authsvc.TokenVerifier, rules ...authsvc.Rule) (healthpb.HealthClient, *greeter) {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := grpc.NewServer(
		grpc.UnaryInterceptor(authsvc.UnaryServerInterceptor(verifier, rules...)),
		grpc.StreamInterceptor(authsvc.StreamServerInterceptor(verifier, rules...)),
	)
	service := &greeter{user: make(chan string, 1)}
	healthpb.RegisterHealthServer(server, service)
	go func() { _ = server.Serve(listener) }()
	conn, err := grpc.NewClient(listener.Addr().String(), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close(); server.Stop() })
	return healthpb.NewHealthClient(conn), service
}

func fakes() *authsvctest.Verifier {
	fake := authsvctest.NewVerifier("orders")
	fake.Accept("good", authsvc.Claims{UserID: "u1", Scopes: []string{"read"}})
	fake.Accept("elsewhere", authsvc.Claims{UserID: "u1", Audiences: []string{"billing"}})
	fake.Refuse("expired", authsvc.Expired)
	return fake
}

var requests = []struct {
	name          string
	authorization []string
	cause         authsvc.Cause
	code          codes.Code
	http          int
	challenge     string
	reason        string
}{
	{"good", []string{"Bearer good"}, "", codes.OK, 200, "", ""},
	{"scheme in capitals", []string{"BEARER good"}, "", codes.OK, 200, "", ""},
	{"no header", nil, "", codes.Unauthenticated, 401, `Bearer`, "TOKEN_INVALID"},
	{"two headers", []string{"Bearer good", "Bearer good"}, "", codes.Unauthenticated, 401, `Bearer`, "TOKEN_INVALID"},
	{"another scheme", []string{"Basic good"}, "", codes.Unauthenticated, 401, `Bearer`, "TOKEN_INVALID"},
	{"unknown", []string{"Bearer junk"}, "", codes.Unauthenticated, 401, `Bearer error="invalid_token"`, "TOKEN_INVALID"},
	{"expired", []string{"Bearer expired"}, "", codes.Unauthenticated, 401, `Bearer error="invalid_token"`, "TOKEN_INVALID"},
	{"other audience", []string{"Bearer elsewhere"}, "", codes.PermissionDenied, 403, `Bearer error="insufficient_scope"`,
		"TOKEN_INSUFFICIENT"},
	{"cannot know", []string{"Bearer good"}, authsvc.CauseStale, codes.Unavailable, 503, "", "NOT_FRESH"},
}

// Every kind of request gets its one coarse answer, unary and streaming alike, and claims reach the handler.
func TestInterceptors(t *testing.T) {
	for _, c := range requests {
		t.Run(c.name, func(t *testing.T) {
			fake := fakes()
			fake.SetUnavailable(c.cause)
			client, service := greet(t, fake)
			ctx, cancel := context.WithTimeout(context.Background(), patience)
			defer cancel()
			for _, value := range c.authorization {
				ctx = metadata.AppendToOutgoingContext(ctx, "authorization", value)
			}
			for method, call := range map[string]func() error{
				"unary": func() error { _, err := client.Check(ctx, &healthpb.HealthCheckRequest{}); return err },
				"stream": func() error {
					stream, err := client.Watch(ctx, &healthpb.HealthCheckRequest{})
					if err == nil {
						_, err = stream.Recv()
					}
					return err
				},
			} {
				said := status.Convert(call())
				if said.Code() != c.code {
					t.Fatalf("%s: expected %v, got %v", method, c.code, said)
				}
				if c.code == codes.OK {
					expect(t, "u1", <-service.user)
					continue
				}
				info, _ := said.Details()[0].(*errdetails.ErrorInfo)
				expect(t, "authsvc "+c.reason, info.GetDomain()+" "+info.GetReason())
			}
		})
	}
}

// The longest matching rule alone counts, a method without a rule asks for a token, and only what is said is public.
func TestRules(t *testing.T) {
	const check, watch = "/grpc.health.v1.Health/Check", "/grpc.health.v1.Health/Watch"
	token := metadata.AppendToOutgoingContext(context.Background(), "authorization", "Bearer good")
	for name, c := range map[string]struct {
		rules    []authsvc.Rule
		ctx      context.Context
		expected codes.Code
		user     string
	}{
		"public method":         {[]authsvc.Rule{authsvc.Public(check)}, context.Background(), codes.OK, "nobody"},
		"public service":        {[]authsvc.Rule{authsvc.Public("/grpc.health.v1.Health/*")}, context.Background(), codes.OK, "nobody"},
		"another is public":     {[]authsvc.Rule{authsvc.Public(watch)}, context.Background(), codes.Unauthenticated, ""},
		"half a name":           {[]authsvc.Rule{authsvc.Public("/grpc.health.v1.Health/Che")}, context.Background(), codes.Unauthenticated, ""},
		"scope held":            {[]authsvc.Rule{authsvc.On(check, authsvc.Scopes("read"))}, token, codes.OK, "u1"},
		"scope not held":        {[]authsvc.Rule{authsvc.On(check, authsvc.Scopes("write"))}, token, codes.PermissionDenied, ""},
		"role not held":         {[]authsvc.Rule{authsvc.On("*", authsvc.Roles("admin"))}, token, codes.PermissionDenied, ""},
		"longest, in any order": {[]authsvc.Rule{authsvc.On(check, authsvc.Scopes("write")), authsvc.Public("*")}, token, codes.PermissionDenied, ""},
	} {
		t.Run(name, func(t *testing.T) {
			client, service := greet(t, fakes(), c.rules...)
			ctx, cancel := context.WithTimeout(c.ctx, patience)
			defer cancel()
			_, err := client.Check(ctx, &healthpb.HealthCheckRequest{})
			if status.Code(err) != c.expected {
				t.Fatalf("expected %v, got %v", c.expected, err)
			}
			if err == nil {
				expect(t, c.user, <-service.user)
			}
		})
	}
}

// Every kind of request gets its status, its challenge and a coarse body, and claims reach the handler.
func TestMiddleware(t *testing.T) {
	for _, c := range requests {
		t.Run(c.name, func(t *testing.T) {
			fake := fakes()
			fake.SetUnavailable(c.cause)
			handler := authsvc.Middleware(fake)(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				claims, _ := authsvc.FromContext(r.Context())
				_ = json.NewEncoder(w).Encode(claims.UserID)
			}))
			request := httptest.NewRequest(http.MethodGet, "/orders", nil)
			request.Header["Authorization"] = c.authorization
			recorder := httptest.NewRecorder()
			handler.ServeHTTP(recorder, request)
			if recorder.Code != c.http {
				t.Fatalf("expected %d, got %d", c.http, recorder.Code)
			}
			expect(t, c.challenge, recorder.Header().Get("WWW-Authenticate"))
			if c.http == 200 {
				expect(t, "\"u1\"\n", recorder.Body.String())
				return
			}
			var body struct{ Error struct{ Code, Reason string } }
			if err := json.Unmarshal(recorder.Body.Bytes(), &body); err != nil {
				t.Fatal(err)
			}
			expect(t, c.reason, body.Error.Reason)
			if (recorder.Header().Get("Retry-After") != "") != (c.http == 503) {
				t.Errorf("Retry-After is %q", recorder.Header().Get("Retry-After"))
			}
		})
	}
}

// A route may ask for more than the mux around it.
func TestMiddlewareRequires(t *testing.T) {
	handler := authsvc.Middleware(fakes(), authsvc.Scopes("write"))(http.NotFoundHandler())
	request := httptest.NewRequest(http.MethodGet, "/orders", nil)
	request.Header.Set("Authorization", "Bearer good")
	recorder := httptest.NewRecorder()
	handler.ServeHTTP(recorder, request)
	if recorder.Code != http.StatusForbidden {
		t.Fatalf("expected 403, got %d", recorder.Code)
	}
}

// Minted tokens are good for a real verifier, with every claim in its place.
func TestMintedTokens(t *testing.T) {
	s := newSite(t)
	s.ready()
	now := s.clock.Now().Truncate(time.Second) // claims are whole seconds
	minted := authsvc.Claims{
		UserID: "u1", SessionID: authsvctest.NewID(), AppID: "wx1", TokenID: "t1", OpenID: "o1", ExternalID: "e1",
		Audiences: []string{"orders", "billing"}, Scopes: []string{"read", "write"}, Roles: []string{"clerk"},
		PreviousUserIDs: []string{"u0"}, Position: 5, Issuer: "authsvc",
		IssuedAt: now, NotBefore: now, ExpiresAt: now.Add(time.Minute),
	}
	token := s.issuer.Mint(minted)
	claims, err := s.verifier.Verify(context.Background(), token, authsvc.Scopes("write"), authsvc.Roles("clerk"))
	if err != nil {
		t.Fatal(err)
	}
	got := *claims
	got.IssuedAt, got.NotBefore, got.ExpiresAt = got.IssuedAt.UTC(), got.NotBefore.UTC(), got.ExpiresAt.UTC()
	if !reflect.DeepEqual(minted, got) {
		t.Fatalf("expected %+v, got %+v", minted, got)
	}
	s.clock.Advance(time.Minute + 5*time.Second)
	expect(t, "EXPIRED", verdict(s.verifier, token))
}
