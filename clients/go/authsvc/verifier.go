package authsvc

import (
	"context"
	"encoding/binary"
	"errors"
	"io"
	"math"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	authapiv1 "github.com/authsvc/authsvc/clients/go/authapi/v1"
)

// TokenVerifier is what middleware needs: a *Verifier, or package authsvctest's fake.
type TokenVerifier interface {
	// Verify returns the claims of a good token; else *Refusal or *Unavailable.
	Verify(ctx context.Context, token string, required ...Requirement) (*Claims, error)
}

// Verifier judges access tokens in this process: keys and revocations come to it. Make one and share it; its methods
// may be called at the same time.
type Verifier struct {
	judge  judge
	hooks  Hooks
	closed atomic.Bool
	cancel context.CancelFunc
	close  func() error // once
	wait   sync.WaitGroup

	ask coalescer
	// The server was asked and knew no better: not again before this, on the elapsed clock.
	notBefore atomic.Int64

	mu      sync.Mutex
	changed chan struct{} // closed when the view or the keys change
}

// The pause after a server's answer that was no better than what is known here.
const uselessPause = time.Second

var errNoBetter = errors.New("the server knew no better a moment ago")

const sweepEvery = time.Minute

// NewVerifier makes a verifier and lets it start: it needs neither the server nor time for that. Until keys and a
// snapshot have come, it does what its policy says; WaitReady waits for them. It ends with ctx, or with Close.
//
// target is a gRPC target, "dns:///authsvc:50051" for one. WithAudience is required.
func NewVerifier(ctx context.Context, target string, options ...Option) (*Verifier, error) {
	c, err := newConfig(options)
	if err != nil {
		return nil, err
	}
	if len(c.audiences) == 0 {
		return nil, errors.New("authsvc: no verifier works without an audience: WithAudience")
	}
	conn, closeConn, err := dial(target, c)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(ctx)
	v := &Verifier{hooks: c.hooks, cancel: cancel, close: sync.OnceValue(closeConn), changed: make(chan struct{})}
	v.ask = coalescer{ctx: ctx, client: authapiv1.NewAuthServiceClient(conn), told: c.hooks.Asked}
	keys := authapiv1.NewKeyServiceClient(conn)
	fetch := func(ctx context.Context) (*authapiv1.GetJwksResponse, error) {
		return keys.GetJwks(ctx, &authapiv1.GetJwksRequest{})
	}
	v.judge = judge{
		clock: c.clock, read: reading(c.clock),
		keys:      newKeyring(ctx, c.clock, fetch, v.keysRead),
		follower:  newFollower(c.clock.Elapsed()),
		cache:     newTokenCache(c.cacheBytes),
		audiences: c.audiences, hardBound: c.hardBound, policy: c.policy,
		ask: v.askServer,
	}
	v.wait.Add(2)
	go v.followKeys(ctx)
	go v.followRevocations(ctx, authapiv1.NewRevocationServiceClient(conn))
	context.AfterFunc(ctx, func() { v.closed.Store(true) })
	return v, nil
}

// Close ends the stream, the reads and the connection. Idempotent.
func (v *Verifier) Close() error {
	v.closed.Store(true)
	v.cancel()
	v.wait.Wait()
	return v.close()
}

// Verify returns the claims of a token that is good for this verifier's audience and for what is required.
//
// Any other token is a *Refusal. A verifier that cannot know returns *Unavailable: that is no verdict. A token seen
// before costs about a microsecond; one of an unknown key may wait for a read of the keys, and when the verifier is
// stale its policy may ask the server. The claims are shared: read them only.
func (v *Verifier) Verify(ctx context.Context, token string, required ...Requirement) (*Claims, error) {
	return v.check(ctx, token, required, true)
}

// Check is Verify from memory alone: it never waits. What Verify would have to ask for is *Unavailable, and a read of
// the keys is begun where one is due.
func (v *Verifier) Check(token string, required ...Requirement) (*Claims, error) {
	return v.check(context.Background(), token, required, false)
}

func (v *Verifier) check(ctx context.Context, token string, required []Requirement, waits bool) (*Claims, error) {
	if v.closed.Load() {
		return nil, unavailables[CauseClosed]
	}
	claims, err := v.judge.check(ctx, token, required, waits)
	if v.hooks.Checked != nil {
		v.hooks.Checked(err)
	}
	return claims, err
}

// Age returns how long ago the revocation log was last confirmed; false before the first complete snapshot.
func (v *Verifier) Age() (time.Duration, bool) {
	held := v.judge.follower.now.Load()
	return v.judge.clock.Elapsed() - held.confirmed, held.complete
}

// IsFresh reports whether the verifier may decide by itself.
func (v *Verifier) IsFresh() bool {
	return v.judge.doubt(v.judge.follower.now.Load(), v.judge.clock.Elapsed()) == ""
}

// Position returns the log position through which every revocation is known; false before the first complete snapshot.
func (v *Verifier) Position() (uint64, bool) {
	held := v.judge.follower.now.Load()
	return held.position, held.complete
}

// Stats returns how many revocations and verified tokens are held.
func (v *Verifier) Stats() (revocations, tokens int) {
	return v.judge.follower.now.Load().len(), v.judge.cache.len()
}

// WaitReady returns once there are keys and a complete, fresh snapshot; else the error of ctx.
func (v *Verifier) WaitReady(ctx context.Context) error {
	return v.until(ctx, func() bool { return v.judge.keys.now.Load() != nil && v.IsFresh() })
}

// WaitFor returns once every revocation up to a position is known here, as RevokeResponse.position has it: after a
// Revoke it makes sure that this verifier refuses what was revoked. Else *Unavailable, when ctx ends.
func (v *Verifier) WaitFor(ctx context.Context, position []byte) error {
	if len(position) != 8 {
		return errors.New("authsvc: a position has 8 bytes")
	}
	wanted := binary.BigEndian.Uint64(position)
	err := v.until(ctx, func() bool { return v.judge.reached(wanted) })
	if err != nil {
		return &Unavailable{CauseNotReached, err}
	}
	return nil
}

func (j *judge) reached(position uint64) bool {
	held := j.follower.now.Load()
	return held.complete && held.position >= position
}

func (v *Verifier) until(ctx context.Context, condition func() bool) error {
	for {
		v.mu.Lock()
		changed := v.changed
		v.mu.Unlock()
		if condition() {
			return nil
		}
		if v.closed.Load() {
			return unavailables[CauseClosed]
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func (v *Verifier) notify() {
	v.mu.Lock()
	defer v.mu.Unlock()
	close(v.changed)
	v.changed = make(chan struct{})
}

// askServer is the policy AskServer.
func (v *Verifier) askServer(ctx context.Context, token, audience string) (answer, error) {
	clock := v.judge.clock
	if clock.Elapsed() < time.Duration(v.notBefore.Load()) {
		return answer{}, errNoBetter
	}
	began := clock.Elapsed()
	response, err := v.ask.ask(ctx, &authapiv1.VerifyTokenRequest{AccessToken: token, Audience: audience})
	if err != nil {
		return answer{}, err
	}
	said, err := readAnswer(response, clock.Elapsed()-began)
	if err == nil && !v.judge.adds(said.age) {
		v.notBefore.Store(int64(clock.Elapsed() + uselessPause))
	}
	return said, err
}

// readAnswer reads a verdict whose call took a while; one that does not say its age is older than every bound.
func readAnswer(response *authapiv1.VerifyTokenResponse, took time.Duration) (answer, error) {
	said := answer{age: math.MaxInt64}
	if age := response.GetAge(); age != nil {
		said.age = max(age.AsDuration(), 0) + took
	}
	switch outcome := response.GetOutcome().(type) {
	case *authapiv1.VerifyTokenResponse_Active:
		return said, nil
	case *authapiv1.VerifyTokenResponse_Inactive:
		said.refusal = &Refusal{Reason(outcome.Inactive.GetReason()), EndReason(outcome.Inactive.GetSessionEndReason())}
		return said, nil
	default:
		return said, status.Error(codes.Unavailable, "an answer without an outcome is no verdict")
	}
}

func (v *Verifier) keysRead(err error) {
	if v.hooks.KeysRead != nil {
		v.hooks.KeysRead(err)
	}
	v.notify()
}

// followKeys reads the keys ahead of their age, and forgets tokens that are past their end.
func (v *Verifier) followKeys(ctx context.Context) {
	defer v.wait.Done()
	clock, keys := v.judge.clock, v.judge.keys
	sweep := clock.Elapsed() + sweepEvery
	for ctx.Err() == nil {
		now := clock.Elapsed()
		if now >= keys.nextDue() {
			keys.refresh(ctx)
			continue
		}
		if now >= sweep {
			v.judge.cache.sweep(clock.Now().Unix())
			sweep = now + sweepEvery
		}
		passed, stop := clock.After(min(keys.nextDue(), sweep) - now)
		select {
		case <-passed:
		case <-ctx.Done():
		}
		stop()
	}
}

// received is what a stream brought, and when; err is its end.
type received struct {
	message *authapiv1.WatchRevocationsResponse
	err     error
	at      time.Duration
}

var errSilent = errors.New("the stream was silent, or this machine slept")

// followRevocations drives the follower with a real stream.
func (v *Verifier) followRevocations(ctx context.Context, client authapiv1.RevocationServiceClient) {
	defer v.wait.Done()
	clock, follower := v.judge.clock, v.judge.follower
	var stream <-chan received
	leave := func() {}
	defer func() { leave() }()
	drop := func(err error) {
		leave()
		stream = nil
		if v.hooks.StreamEnded != nil {
			v.hooks.StreamEnded(err)
		}
	}
	for ctx.Err() == nil {
		now := clock.Elapsed()
		if !follower.tick(now) {
			drop(errSilent)
		}
		if follower.wantsStream(now) {
			stream, leave = open(ctx, client, clock, follower.cursor)
			follower.opened(now)
			if v.hooks.StreamOpened != nil {
				v.hooks.StreamOpened(follower.cursor != nil)
			}
		}
		passed, stop := clock.After(follower.next(now))
		select {
		case came := <-stream:
			switch {
			// A machine that slept while this message waited here: the next ones may have waited below, and look new.
			case came.message != nil && clock.Elapsed()-follower.looked > tickGap:
				follower.leave(clock.Elapsed())
				drop(errSilent)
			case came.message == nil:
				follower.ended(came.at, came.err)
				drop(came.err)
			case !follower.message(came.at, clock.Now(), came.message):
				drop(whyLeft(came.message))
				v.notify()
			default:
				v.notify()
			}
			if came.message.GetSnapshotPart() != nil {
				follower.looked = clock.Elapsed() // a large snapshot takes its time, and that is no sleep
			}
		case <-passed:
		case <-ctx.Done():
		}
		stop()
	}
	v.notify()
}

// whyLeft returns why a stream was given up at a message: GoAway, or one that cannot be trusted to be new.
func whyLeft(message *authapiv1.WatchRevocationsResponse) error {
	if message.GetGoAway() != nil {
		return nil
	}
	return errSilent
}

// open opens a stream and returns what it brings, its end last, and a function that gives it up.
func open(
	ctx context.Context, client authapiv1.RevocationServiceClient, clock Clock, cursor []byte,
) (<-chan received, context.CancelFunc) {
	ctx, cancel := context.WithCancel(ctx)
	// Room, so that a message is read, and its time of receipt with it, while another is being taken in.
	came := make(chan received, 64)
	put := func(one received) {
		select {
		case came <- one:
		case <-ctx.Done():
		}
	}
	go func() {
		defer cancel()
		request := &authapiv1.WatchRevocationsRequest{}
		if cursor != nil {
			request.ResumeFrom = &authapiv1.Cursor{Value: cursor}
		}
		stream, err := client.WatchRevocations(ctx, request)
		for err == nil {
			var message *authapiv1.WatchRevocationsResponse
			if message, err = stream.Recv(); err == nil {
				put(received{message: message, at: clock.Elapsed()})
			}
		}
		if errors.Is(err, io.EOF) {
			err = nil
		}
		put(received{err: err, at: clock.Elapsed()})
	}()
	return came, cancel
}
