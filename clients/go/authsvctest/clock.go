package authsvctest

import (
	"sync"
	"time"

	"github.com/authsvc/authsvc/clients/go/authsvc"
)

// Clock is an authsvc.Clock that stands until it is moved.
type Clock struct {
	mu      sync.Mutex
	wall    time.Time
	elapsed time.Duration
	timers  map[chan struct{}]time.Duration
}

var _ authsvc.Clock = (*Clock)(nil)

// NewClock returns a clock that shows a time.
func NewClock(wall time.Time) *Clock {
	return &Clock{wall: wall, elapsed: time.Hour, timers: map[chan struct{}]time.Duration{}}
}

// Now returns the wall clock.
func (c *Clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.wall
}

// Elapsed returns the clock that counts suspend.
func (c *Clock) Elapsed() time.Duration {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.elapsed
}

// After returns a channel that is closed once the clock was moved by a duration.
func (c *Clock) After(d time.Duration) (<-chan struct{}, func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	done := make(chan struct{})
	if d <= 0 {
		close(done)
		return done, func() {}
	}
	c.timers[done] = c.elapsed + d
	return done, func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		delete(c.timers, done)
	}
}

// Waiting returns how many timers are set. A Verifier at rest has two: a test that moves the clock in steps should wait
// for them before each, or a busy machine looks to the verifier like one that slept.
func (c *Clock) Waiting() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.timers)
}

// Advance moves both clocks and ends what waited for a time that has passed. A verifier takes one long step for a
// machine that slept, and opens its stream anew; several short ones are time that passes.
func (c *Clock) Advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.wall, c.elapsed = c.wall.Add(d), c.elapsed+d
	for done, due := range c.timers {
		if due <= c.elapsed {
			close(done)
			delete(c.timers, done)
		}
	}
}
