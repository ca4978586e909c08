import os from "node:os";

/** Where a verifier gets the time from. Tests give their own (`FakeClock` of `@authsvc/client/testing`). */
export interface Clock {
  /** Milliseconds since 1970 of the wall clock, which judges a token's instants. */
  now(): number;
  /** Milliseconds that only ever grow and count the time a machine was suspended. They judge freshness. */
  elapsed(): number;
  /** Calls back once so many milliseconds have passed; the function that is returned gives the timer up. */
  after(milliseconds: number, callback: () => void): () => void;
}

// `performance.now` and `process.hrtime` stand while a Linux or macOS machine sleeps. The machine's uptime
// (CLOCK_BOOTTIME on Linux) and the wall clock go on. Reading the uptime takes microseconds, so it is read only when the
// two cheap clocks have come apart, and once a second at least, because slow adjustments of the wall clock could hide a
// sleep of the same length.
const LOOK_EVERY = 1000;
const WALL_SLACK = 10;
// Uptime comes in steps: 10 ms on Linux, a second on macOS. What is less than this is no sleep.
const SLEEP_SLACK = process.platform === "linux" ? 50 : 2000;

/** The real clock. */
export class SystemClock implements Clock {
  #slept = 0;
  #looked = performance.now();
  #apart = Date.now() - this.#looked;
  readonly #awake = os.uptime() * 1000 - this.#looked;

  now(): number {
    return Date.now();
  }

  elapsed(): number {
    const monotonic = performance.now();
    const apart = Date.now() - monotonic;
    const moved = apart - this.#apart;
    if (moved > WALL_SLACK || moved < -WALL_SLACK || monotonic - this.#looked > LOOK_EVERY) {
      this.#looked = monotonic;
      this.#apart = apart;
      const slept = os.uptime() * 1000 - monotonic - this.#awake;
      if (slept > this.#slept + SLEEP_SLACK) this.#slept = slept;
    }
    return monotonic + this.#slept;
  }

  after(milliseconds: number, callback: () => void): () => void {
    const timer = setTimeout(callback, milliseconds);
    return () => clearTimeout(timer);
  }
}
