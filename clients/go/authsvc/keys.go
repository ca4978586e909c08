package authsvc

import (
	"context"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	authapiv1 "github.com/authsvc/authsvc/clients/go/authapi/v1"
)

const (
	// An unknown key id is reason for a read at most this often, counted from the beginning of the last one of any kind.
	keyReadGap = 10 * time.Second
	// How long a read may take.
	keyReadLimit = 10 * time.Second
	// After failed reads: the first pause and the longest.
	keyRetryFirst, keyRetryLast = time.Second, 30 * time.Second
)

// keyring holds the keys: the last known good set, read again ahead of its age. Reads are single flight.
type keyring struct {
	ctx   context.Context // ends reads when the verifier closes
	clock Clock
	fetch func(context.Context) (*authapiv1.GetJwksResponse, error)
	told  func(error)
	// now is what every check reads; nil before the first good answer.
	now atomic.Pointer[heldKeys]

	mu       sync.Mutex
	flight   *keyFlight
	began    time.Duration // of the last read of any kind
	everRead bool
	failures int
	due      time.Duration // when the next read ahead is due
}

// heldKeys is a key set and when its read began.
type heldKeys struct {
	*keySet
	began time.Duration
}

// keyFlight is a read under way; done is closed when it is over.
type keyFlight struct {
	began time.Duration
	done  chan struct{}
}

func newKeyring(
	ctx context.Context, clock Clock, fetch func(context.Context) (*authapiv1.GetJwksResponse, error), told func(error),
) *keyring {
	return &keyring{ctx: ctx, clock: clock, fetch: fetch, told: told, due: clock.Elapsed()}
}

// refresh reads the keys, or waits for the read under way.
func (k *keyring) refresh(ctx context.Context) {
	k.wait(ctx, k.start())
}

// start begins a read unless one is under way, and returns the one under way. The read is bounded by its own limit and
// not by whoever asks first.
func (k *keyring) start() *keyFlight {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.flight == nil {
		k.begin()
	}
	return k.flight
}

// begin starts a read; k.mu is held.
func (k *keyring) begin() {
	flight := &keyFlight{began: k.clock.Elapsed(), done: make(chan struct{})}
	k.flight, k.began, k.everRead = flight, flight.began, true
	go k.read(flight)
}

func (k *keyring) read(flight *keyFlight) {
	ctx, cancel := context.WithTimeout(k.ctx, keyReadLimit)
	defer cancel()
	response, err := k.fetch(ctx)
	var set *keySet
	if err == nil {
		set, err = newKeySet(response)
	}
	k.mu.Lock()
	if err == nil {
		k.failures = 0
		k.keep(set, flight.began)
		// Ahead of its age, and not everybody at once.
		ahead := min(max(set.maxAge*(0.7+0.2*rand.Float64()), 1), 24*3600)
		k.due = k.clock.Elapsed() + time.Duration(ahead*float64(time.Second))
	} else {
		pause := min(keyRetryFirst<<min(k.failures, 5), keyRetryLast)
		k.failures++
		k.due = k.clock.Elapsed() + time.Duration(float64(pause)*(0.5+0.5*rand.Float64()))
	}
	k.flight = nil
	k.mu.Unlock()
	close(flight.done)
	if k.told != nil {
		k.told(err)
	}
}

// keep takes a good answer; k.mu is held. A withdrawal is for ever, whatever a later answer says.
func (k *keyring) keep(set *keySet, began time.Duration) {
	if held := k.now.Load(); held != nil {
		for kid := range held.withdrawn {
			set.withdrawn[kid] = struct{}{}
			delete(set.keys, kid)
		}
	}
	k.now.Store(&heldKeys{set, began})
}

func (k *keyring) wait(ctx context.Context, flight *keyFlight) {
	select {
	case <-flight.done:
	case <-ctx.Done():
	}
}

// nextDue returns when the next read ahead is due, on the elapsed clock.
func (k *keyring) nextDue() time.Duration {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.flight != nil {
		return k.clock.Elapsed() + keyReadLimit
	}
	return k.due
}

// find returns the key of a token that arrived at a time on the elapsed clock.
//
// known tells whether the answer is knowledge: false with no key means that no successful read began at or after the
// arrival. With waits, it waits for the read that this arrival may be reason for, or that is under way; without, it
// only sees to it that there is one.
func (k *keyring) find(ctx context.Context, kid string, arrived time.Duration, waits bool) (key *publicKey, known bool) {
	key, known = k.held(kid, arrived)
	if key != nil || known {
		return key, known
	}
	k.mu.Lock()
	if k.flight == nil && (!k.everRead || k.clock.Elapsed()-k.began >= keyReadGap) {
		k.begin()
	}
	flight := k.flight
	k.mu.Unlock()
	if flight == nil || !waits {
		return k.held(kid, arrived)
	}
	k.wait(ctx, flight)
	return k.held(kid, arrived)
}

func (k *keyring) held(kid string, arrived time.Duration) (*publicKey, bool) {
	held := k.now.Load()
	if held == nil {
		return nil, false
	}
	if key := held.keys[kid]; key != nil {
		return key, true
	}
	return nil, held.began >= arrived
}

// isWithdrawn reports whether an answer of GetJwks said that a key was withdrawn.
func (k *keyring) isWithdrawn(kid string) bool {
	held := k.now.Load()
	if held == nil {
		return false
	}
	_, withdrawn := held.withdrawn[kid]
	return withdrawn
}
