package authsvc

import (
	"encoding/binary"
	"math/rand/v2"
	"sync/atomic"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	authapiv1 "github.com/authsvc/authsvc/clients/go/authapi/v1"
)

const (
	// A server says something at least once a second.
	silenceLimit = 3 * time.Second
	// A first snapshot may take longer to come; each silent attempt doubles the patience, so often.
	patienceDoublings = 3
	// The loop looks at the clock this often. If it could not for longer than the gap, the machine slept, or this
	// process did: what then lies in a socket may have lain there as long, and its age means nothing.
	tickEvery, tickGap = 250 * time.Millisecond, time.Second
	// Back-off of the stream.
	reopenFirst, reopenLast = 100 * time.Millisecond, 5 * time.Second
)

// known is what a verifier decides by at one moment.
type known struct {
	*view
	// confirmed is when the log was last confirmed, on the elapsed clock; means nothing before the view is complete.
	confirmed time.Duration
}

// follower turns the messages of WatchRevocations into a view. It does no I/O and starts nothing: whoever drives it
// tells it the time, what came and what ended, and asks it when to open a stream and with which cursor. Its methods
// belong to one goroutine; now is for all.
type follower struct {
	now atomic.Pointer[known]

	cursor []byte
	parts  *batch // of a snapshot that is not complete

	open       bool
	heard      time.Duration // when the stream was opened, or last brought something
	hasNews    bool          // it brought something besides GoAway
	looked     time.Duration // the last tick
	reopen     time.Duration // when the next stream is to be opened
	failures   int
	silentRuns int
}

func newFollower(now time.Duration) *follower {
	f := &follower{looked: now, reopen: now}
	f.now.Store(&known{view: emptyView()})
	return f
}

// wantsStream tells whether a stream is to be opened now, with f.cursor (nil: a snapshot first).
func (f *follower) wantsStream(now time.Duration) bool { return !f.open && now >= f.reopen }

// next returns for how long nothing is to be done.
func (f *follower) next(now time.Duration) time.Duration {
	if f.open {
		return tickEvery
	}
	return min(max(f.reopen-now, 0), tickEvery)
}

// opened says that the stream that was wanted is on its way.
func (f *follower) opened(now time.Duration) {
	f.open, f.heard, f.hasNews, f.looked, f.parts = true, now, false, now, nil
}

// patience is how long the open stream may be silent.
func (f *follower) patience() time.Duration {
	if f.hasNews || f.cursor != nil {
		return silenceLimit
	}
	return silenceLimit << min(f.silentRuns, patienceDoublings)
}

// tick looks at the clock. False: give up the open stream, whatever it still brings.
func (f *follower) tick(now time.Duration) bool {
	slept := now-f.looked > tickGap
	f.looked = now
	switch {
	case !f.open:
		return true
	case slept:
		f.leave(now)
		return false
	case now-f.heard > f.patience():
		if !f.hasNews {
			f.silentRuns++
		}
		f.leave(now)
		f.backOff(now)
		return false
	default:
		return true
	}
}

// message takes what the open stream brought, received at a time on the elapsed clock; wall is for forgetting what
// nobody needs any more. False: give up this stream.
func (f *follower) message(received time.Duration, wall time.Time, message *authapiv1.WatchRevocationsResponse) bool {
	if received-f.looked > tickGap || received-f.heard > f.patience() {
		f.leave(received)
		return false
	}
	f.heard = received
	held := f.now.Load()
	next := held.view
	isSnapshot, leaves := false, false
	switch body := message.GetBody().(type) {
	case *authapiv1.WatchRevocationsResponse_SnapshotPart:
		if f.parts == nil {
			f.parts = newBatch()
		}
		f.parts.addAll(body.SnapshotPart.GetRevocations())
		f.parts.addPacked(body.SnapshotPart.GetSessions())
		if body.SnapshotPart.GetLast() && message.GetCompleteThrough() != nil {
			next, f.parts, isSnapshot = f.parts.snapshot(held.view), nil, true
		}
	case *authapiv1.WatchRevocationsResponse_Changes:
		changes := newBatch()
		changes.addAll(body.Changes.GetRevocations())
		next = changes.changes(held.view, wall.Unix())
	case *authapiv1.WatchRevocationsResponse_GoAway:
		leaves = true
	}
	if !leaves {
		f.hasNews, f.failures, f.silentRuns = true, 0, 0
	}
	f.take(received, message, held, next, isSnapshot)
	if leaves {
		f.leaveAtOnce(received)
	}
	return !leaves
}

// take publishes what a message brought, and how far and how well it is known.
func (f *follower) take(
	received time.Duration, message *authapiv1.WatchRevocationsResponse, held *known, next *view, isSnapshot bool,
) {
	confirmed := held.confirmed
	through := message.GetCompleteThrough()
	// In the middle of a snapshot nothing is known of it.
	if through != nil && next.complete && f.parts == nil {
		f.cursor = through.GetValue()
		if raw := message.GetPositionThrough(); len(raw) == 8 {
			if next == held.view {
				copied := *next
				next = &copied
			}
			next.position = binary.BigEndian.Uint64(raw)
		}
		if age := message.GetAge(); age != nil {
			at := received - max(age.AsDuration(), 0)
			// A message that was slow never makes older what another has made younger; a snapshot stands by itself.
			if isSnapshot || at > confirmed || !held.complete {
				confirmed = at
			}
		}
	}
	f.now.Store(&known{view: next, confirmed: confirmed})
}

// ended takes the end of the open stream; nil is an end in peace.
func (f *follower) ended(now time.Duration, err error) {
	hadCursor := f.cursor != nil
	code := status.Code(err)
	switch {
	case code == codes.OK:
		f.leaveAtOnce(now)
		return
	case code == codes.OutOfRange, code == codes.InvalidArgument && hadCursor:
		// Too old, of another incarnation, or not readable any more: start without. What is known stays known until the
		// snapshot is whole.
		f.cursor = nil
	}
	f.leave(now)
	if code != codes.OutOfRange || !hadCursor {
		f.backOff(now)
	}
}

// leave gives up the stream and wants the next one now.
func (f *follower) leave(now time.Duration) {
	f.open, f.parts, f.reopen = false, nil, now
}

// leaveAtOnce is leave for a server that ends the stream in peace; one that does nothing else is not asked in a loop.
func (f *follower) leaveAtOnce(now time.Duration) {
	f.leave(now)
	if !f.hasNews {
		f.backOff(now)
	}
}

func (f *follower) backOff(now time.Duration) {
	pause := min(reopenFirst<<min(f.failures, 10), reopenLast)
	f.failures++
	f.reopen = now + time.Duration(float64(pause)*(0.5+0.5*rand.Float64()))
}
