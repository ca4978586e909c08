//go:build !linux

package authsvc

import "time"

var started = time.Now()

func elapsed() time.Duration { return time.Since(started) }

func readSystemClocks() (time.Time, time.Duration) {
	now := time.Now()
	return now, now.Sub(started)
}
