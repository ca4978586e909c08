package authsvc_test

import (
	"context"
	"net"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/health"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/durationpb"

	authapiv1 "github.com/authsvc/authsvc/clients/go/authapi/v1"
	"github.com/authsvc/authsvc/clients/go/authsvc"
	"github.com/authsvc/authsvc/clients/go/authsvctest"
)

// scripted is a real gRPC server whose answers a test gives one by one.
type scripted struct {
	authapiv1.UnimplementedAuthServiceServer
	authapiv1.UnimplementedKeyServiceServer
	authapiv1.UnimplementedRevocationServiceServer

	tb      testing.TB
	address string
	server  *grpc.Server
	streams chan *stream
	stopped chan struct{}

	mu       sync.Mutex
	keys     *authapiv1.GetJwksResponse // nil: STORE_UNAVAILABLE
	keyReads int
	verify   func(*authapiv1.VerifyTokenRequest) (*authapiv1.VerifyTokenResponse, error)
	calls    map[string]int
	batches  []int
}

// stream is one WatchRevocations, driven by the test.
type stream struct {
	tb      testing.TB
	request *authapiv1.WatchRevocationsRequest
	send    chan *authapiv1.WatchRevocationsResponse
	end     chan error
	gone    <-chan struct{} // the client gave it up
}

func serve(tb testing.TB, issuers ...*authsvctest.Issuer) *scripted {
	tb.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		tb.Fatal(err)
	}
	s := &scripted{
		tb: tb, address: listener.Addr().String(), server: grpc.NewServer(), streams: make(chan *stream, 16),
		stopped: make(chan struct{}), keys: authsvctest.KeySet(issuers...), calls: map[string]int{},
	}
	healthy := health.NewServer()
	healthy.SetServingStatus("authapi.v1.AuthService", healthpb.HealthCheckResponse_SERVING)
	healthpb.RegisterHealthServer(s.server, healthy)
	authapiv1.RegisterAuthServiceServer(s.server, s)
	authapiv1.RegisterKeyServiceServer(s.server, s)
	authapiv1.RegisterRevocationServiceServer(s.server, s)
	go func() { _ = s.server.Serve(listener) }()
	tb.Cleanup(s.stop)
	return s
}

// stop is the end of a process: every connection breaks.
func (s *scripted) stop() {
	s.mu.Lock()
	defer s.mu.Unlock()
	select {
	case <-s.stopped:
	default:
		close(s.stopped)
		s.server.Stop()
	}
}

func (s *scripted) set(change func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	change()
}

func (s *scripted) count(method string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.calls[method]
}

func (s *scripted) GetJwks(context.Context, *authapiv1.GetJwksRequest) (*authapiv1.GetJwksResponse, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.keyReads++
	if s.keys == nil {
		return nil, status.Error(codes.FailedPrecondition, "scripted") // not one that the service config repeats
	}
	return s.keys, nil
}

func (s *scripted) answer(request *authapiv1.VerifyTokenRequest) (*authapiv1.VerifyTokenResponse, error) {
	s.mu.Lock()
	verify := s.verify
	s.mu.Unlock()
	if verify == nil {
		return nil, status.Error(codes.FailedPrecondition, "scripted")
	}
	return verify(request)
}

func (s *scripted) VerifyToken(
	_ context.Context, request *authapiv1.VerifyTokenRequest,
) (*authapiv1.VerifyTokenResponse, error) {
	s.set(func() { s.calls["VerifyToken"]++ })
	return s.answer(request)
}

func (s *scripted) BatchVerifyTokens(
	_ context.Context, request *authapiv1.BatchVerifyTokensRequest,
) (*authapiv1.BatchVerifyTokensResponse, error) {
	s.set(func() {
		s.calls["BatchVerifyTokens"]++
		s.batches = append(s.batches, len(request.GetRequests()))
	})
	response := &authapiv1.BatchVerifyTokensResponse{}
	for _, one := range request.GetRequests() {
		answer, err := s.answer(one)
		if err != nil {
			return nil, err
		}
		response.Responses = append(response.Responses, answer)
	}
	return response, nil
}

func (s *scripted) Login(context.Context, *authapiv1.LoginRequest) (*authapiv1.LoginResponse, error) {
	s.set(func() { s.calls["Login"]++ })
	return nil, status.Error(codes.Unavailable, "scripted")
}

func (s *scripted) RefreshToken(
	context.Context, *authapiv1.RefreshTokenRequest,
) (*authapiv1.RefreshTokenResponse, error) {
	s.set(func() { s.calls["RefreshToken"]++ })
	if s.count("RefreshToken") < 3 {
		return nil, status.Error(codes.Unavailable, "scripted")
	}
	return &authapiv1.RefreshTokenResponse{UserId: "third time"}, nil
}

func (s *scripted) WatchRevocations(
	request *authapiv1.WatchRevocationsRequest, out authapiv1.RevocationService_WatchRevocationsServer,
) error {
	opened := &stream{
		tb: s.tb, request: request, send: make(chan *authapiv1.WatchRevocationsResponse), end: make(chan error),
		gone: out.Context().Done(),
	}
	select {
	case s.streams <- opened:
	case <-s.stopped:
	}
	for {
		select {
		case message := <-opened.send:
			if err := out.Send(message); err != nil {
				return err
			}
		case err := <-opened.end:
			return err
		case <-opened.gone:
			return status.FromContextError(out.Context().Err()).Err()
		case <-s.stopped:
			return status.Error(codes.Unavailable, "stopped")
		}
	}
}

// patience bounds every wait of a test; none of them is expected to last.
const patience = 30 * time.Second

func (s *stream) say(message *authapiv1.WatchRevocationsResponse) {
	s.tb.Helper()
	select {
	case s.send <- message:
	case <-s.gone:
		s.tb.Fatal("the client gave the stream up")
	case <-time.After(patience):
		s.tb.Fatal("nobody took the message")
	}
}

func (s *stream) finish(err error) {
	s.tb.Helper()
	select {
	case s.end <- err:
	case <-time.After(patience):
		s.tb.Fatal("the stream is gone")
	}
}

func (s *stream) cursor() string { return string(s.request.GetResumeFrom().GetValue()) }

// complete fills in how far a message completes what the reader knows.
func complete(
	message *authapiv1.WatchRevocationsResponse, cursor string, position byte,
) *authapiv1.WatchRevocationsResponse {
	message.CompleteThrough = &authapiv1.Cursor{Value: []byte(cursor)}
	message.PositionThrough = []byte{0, 0, 0, 0, 0, 0, 0, position}
	message.Age = durationpb.New(0)
	return message
}

func snapshot(last bool, facts ...*authapiv1.Revocation) *authapiv1.WatchRevocationsResponse {
	part := &authapiv1.SnapshotPart{Revocations: facts, Last: last}
	return &authapiv1.WatchRevocationsResponse{Body: &authapiv1.WatchRevocationsResponse_SnapshotPart{SnapshotPart: part}}
}

func changes(facts ...*authapiv1.Revocation) *authapiv1.WatchRevocationsResponse {
	body := &authapiv1.Changes{Revocations: facts}
	return &authapiv1.WatchRevocationsResponse{Body: &authapiv1.WatchRevocationsResponse_Changes{Changes: body}}
}

func goAway() *authapiv1.WatchRevocationsResponse {
	body := &authapiv1.WatchRevocationsResponse_GoAway{GoAway: &authapiv1.GoAway{}}
	return &authapiv1.WatchRevocationsResponse{Body: body}
}

func heartbeat() *authapiv1.WatchRevocationsResponse {
	body := &authapiv1.WatchRevocationsResponse_Heartbeat{Heartbeat: &authapiv1.Heartbeat{}}
	return &authapiv1.WatchRevocationsResponse{Body: body}
}

func userRevoked(user string, position byte) *authapiv1.Revocation {
	return &authapiv1.Revocation{
		Target:   &authapiv1.Revocation_UserId{UserId: user},
		Position: []byte{0, 0, 0, 0, 0, 0, 0, position},
		Reason:   authapiv1.SessionEndReason_SESSION_END_REASON_ADMIN,
	}
}

// site is a verifier on a fake clock and the server it watches.
type site struct {
	*scripted
	tb       testing.TB
	clock    *authsvctest.Clock
	issuer   *authsvctest.Issuer
	verifier *authsvc.Verifier
}

func newSite(tb testing.TB, options ...authsvc.Option) *site {
	tb.Helper()
	clock := authsvctest.NewClock(time.Date(2026, 7, 1, 0, 0, 0, 0, time.UTC))
	issuer := authsvctest.NewIssuer(clock.Now)
	s := &site{scripted: serve(tb, issuer), tb: tb, clock: clock, issuer: issuer}
	s.verifier = newVerifier(tb, s.address, append([]authsvc.Option{authsvc.WithClock(clock)}, options...)...)
	return s
}

func newVerifier(tb testing.TB, target string, options ...authsvc.Option) *authsvc.Verifier {
	tb.Helper()
	verifier, err := authsvc.NewVerifier(
		context.Background(), target, append([]authsvc.Option{authsvc.WithAudience("orders")}, options...)...,
	)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = verifier.Close() })
	return verifier
}

// within lets time pass in short steps until a condition holds.
func (s *site) within(condition func() bool) {
	s.tb.Helper()
	for deadline := time.Now().Add(patience); !condition(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			s.tb.Fatal("it never came")
		}
		s.pass(20 * time.Millisecond)
	}
}

// pass lets a short time pass, unless the verifier has not yet done what was due: on a busy machine it would take that
// for a sleep.
func (s *site) pass(step time.Duration) bool {
	atRest := s.clock.Waiting() >= 2
	if atRest {
		s.clock.Advance(step)
	}
	return atRest
}

// next lets time pass until the verifier opens a stream.
func (s *site) next() (opened *stream) {
	s.tb.Helper()
	s.within(func() bool {
		select {
		case opened = <-s.streams:
		default:
		}
		return opened != nil
	})
	return opened
}

// at once waits, without any time passing on the verifier's clock.
func (s *site) atOnce(condition func() bool) {
	s.tb.Helper()
	for deadline := time.Now().Add(patience); !condition(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			s.tb.Fatal("it never came")
		}
	}
}

// ready completes the first snapshot and returns its stream.
func (s *site) ready(facts ...*authapiv1.Revocation) *stream {
	s.tb.Helper()
	opened := s.next()
	opened.say(complete(snapshot(true, facts...), "c1", 1))
	s.within(func() bool { return s.verifier.IsFresh() })
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := s.verifier.WaitReady(ctx); err != nil {
		s.tb.Fatal(err)
	}
	return opened
}
