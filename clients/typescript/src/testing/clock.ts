import type { Clock } from "../clock.js";

interface Timer {
  readonly due: number;
  readonly callback: () => void;
}

/** A clock that stands until it is moved. */
export class FakeClock implements Clock {
  #now: number;
  #elapsed = 3_600_000;
  readonly #timers = new Set<Timer>();

  /** `now` is in milliseconds since 1970. */
  constructor(now: number = Date.now()) {
    this.#now = now;
  }

  now(): number {
    return this.#now;
  }

  elapsed(): number {
    return this.#elapsed;
  }

  after(milliseconds: number, callback: () => void): () => void {
    const timer = { due: this.#elapsed + milliseconds, callback };
    this.#timers.add(timer);
    return () => void this.#timers.delete(timer);
  }

  /**
   * Moves both clocks, and runs what waited for a time that has passed. A verifier takes one long step for a machine that
   * slept, and opens its stream anew; several short ones are time that passes.
   */
  advance(milliseconds: number): void {
    this.sleep(milliseconds);
    const due = [...this.#timers].filter((timer) => timer.due <= this.#elapsed).sort((a, b) => a.due - b.due);
    for (const timer of due) {
      if (this.#timers.delete(timer)) timer.callback();
    }
  }

  /** Moves both clocks and runs nothing: a machine that sleeps. The next `advance` wakes it. */
  sleep(milliseconds: number): void {
    this.#now += milliseconds;
    this.#elapsed += milliseconds;
  }

  /** Moves the wall clock alone. */
  jump(milliseconds: number): void {
    this.#now += milliseconds;
  }
}
