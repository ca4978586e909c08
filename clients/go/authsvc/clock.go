package authsvc

import "time"

// Clock is where a verifier gets the time from. Tests give their own (package authsvctest).
type Clock interface {
	// Now returns the wall clock, which judges a token's instants.
	Now() time.Time
	// Elapsed returns a reading that only ever grows and counts the time a machine was suspended. It judges freshness.
	Elapsed() time.Duration
	// After returns a channel that is closed once a duration has passed, and a function that gives the timer up.
	After(time.Duration) (done <-chan struct{}, stop func())
}

// SystemClock returns the real clock.
//
// On Linux Elapsed is CLOCK_BOOTTIME. Elsewhere it is the monotonic clock of the time package: macOS and Windows stop
// that one while the machine sleeps, so there a sleep is noticed only by the stream (three seconds without a message).
func SystemClock() Clock { return systemClock{} }

// wallSlack is how much sleep may go unnoticed between two readings of the system's clock.
const wallSlack = 10 * time.Millisecond

type systemClock struct{}

func (systemClock) Now() time.Time { return time.Now() }

func (systemClock) Elapsed() time.Duration { return elapsed() }

func (systemClock) After(d time.Duration) (<-chan struct{}, func()) {
	done := make(chan struct{})
	timer := time.AfterFunc(d, func() { close(done) })
	return done, func() { timer.Stop() }
}
