import type { GetJwksResponse } from "./authapi/v1/key_service_pb.js";
import type { Clock } from "./clock.js";
import { NO_KEYS, readKeySet, type KeySet, type PublicKey } from "./keyset.js";

// Milliseconds all. An unknown key id is reason for a read at most this often, counted from the beginning of the last one
// of any kind: 10,000 strangers a second cost one read, and that is all the negative cache there is.
const READ_GAP = 10_000;
const RETRY_FIRST = 1000;
const RETRY_LAST = 30_000;
const LONGEST_AGE = 24 * 3600 * 1000;

/** Holds the keys: the last known good set, read again ahead of its age. Reads are single flight. */
export class Keyring {
  /** The last good answer. */
  set: KeySet = NO_KEYS;
  /** When its read began, on the elapsed clock. */
  #readFrom = Number.NEGATIVE_INFINITY;
  #began = Number.NEGATIVE_INFINITY; // of the last read of any kind
  #flight: Promise<void> | undefined;
  #failures = 0;
  #giveUp: (() => void) | undefined;
  #isClosed = false;
  readonly #clock: Clock;
  readonly #fetch: () => Promise<GetJwksResponse>;
  readonly #told: (error?: unknown) => void;

  /** `told` is called after every read, with the error of one that failed. */
  constructor(clock: Clock, fetch: () => Promise<GetJwksResponse>, told: (error?: unknown) => void) {
    this.#clock = clock;
    this.#fetch = fetch;
    this.#told = told;
  }

  get hasKeys(): boolean {
    return this.set !== NO_KEYS;
  }

  /** Begins to keep the keys current. */
  start(): void {
    void this.#refresh();
  }

  close(): void {
    this.#isClosed = true;
    this.#giveUp?.();
  }

  /** The key, or undefined where no key of this name is held. */
  find(kid: string): PublicKey | undefined {
    return this.set.keys.get(kid);
  }

  /** Whether a successful read began at or after a time on the elapsed clock: only then a key is known not to exist. */
  isReadSince(arrived: number): boolean {
    return this.#readFrom >= arrived;
  }

  /** Begins the read that an unknown key is reason for, if one is due. Returns the read under way, if there is one. */
  lookAgain(): Promise<void> | undefined {
    if (this.#flight === undefined && this.#clock.elapsed() - this.#began >= READ_GAP) void this.#refresh();
    return this.#flight;
  }

  #refresh(): Promise<void> {
    this.#flight ??= this.#read();
    return this.#flight;
  }

  async #read(): Promise<void> {
    this.#giveUp?.();
    const began = (this.#began = this.#clock.elapsed());
    let failure: unknown;
    try {
      this.set = readKeySet(await this.#fetch(), this.set.withdrawn);
      this.#readFrom = began;
      this.#failures = 0;
    } catch (error) {
      failure = error;
      this.#failures++;
    }
    this.#flight = undefined;
    if (this.#isClosed) return;
    this.#giveUp = this.#clock.after(this.#pause(), () => void this.#refresh());
    this.#told(failure);
  }

  /** Ahead of the set's age, and not everybody at once. */
  #pause(): number {
    if (this.#failures === 0) {
      return Math.min(Math.max(this.set.maxAge * 1000 * (0.7 + 0.2 * Math.random()), 1000), LONGEST_AGE);
    }
    return Math.min(RETRY_FIRST * 2 ** Math.min(this.#failures - 1, 5), RETRY_LAST) * (0.5 + 0.5 * Math.random());
  }
}
