import type { VerifyTokenResponse } from "./authapi/v1/auth_service_pb.js";
import { TokenCache } from "./cache.js";
import { SystemClock, type Clock } from "./clock.js";
import { Coalescer } from "./coalescer.js";
import { GrpcConnection, type Connection, type ConnectionOptions } from "./connection.js";
import { Follower } from "./follower.js";
import { tell, type Hooks } from "./hooks.js";
import { milliseconds } from "./instants.js";
import { Judge } from "./judge.js";
import { Keyring } from "./keyring.js";
import { LEEWAY_S } from "./token.js";
import { CannotKnow, reasonOf, refuse, revoked, unmet } from "./verdict.js";
import type { Cause, Claims, Inactive, Requirement, TokenVerifier, Verdict } from "./verdict.js";
import { readPosition } from "./view.js";
import { Watcher } from "./watcher.js";

/**
 * What a verifier does when it may not decide by itself: it is older than its hard bound, has no complete snapshot yet, or
 * a newer server revoked something it does not know.
 *
 * - `ask`: the server's VerifyToken decides; where that cannot be had, CannotKnow.
 * - `unavailable`: CannotKnow.
 * - `accept`: tokens that nothing known stands against are accepted, however old that knowledge is. A revoked token stays
 *   good for as long as the verifier is cut off. Without keys nothing is accepted.
 */
export type WhenStale = "ask" | "unavailable" | "accept";

export interface VerifierOptions extends ConnectionOptions {
  /** This service's name, as the apps' audiences have it. A token must be for one of the names. */
  readonly audience: string | readonly string[];
  /** How old the knowledge of revocations may be that decides by itself: 1,000 to 300,000 ms, 30,000 by default. */
  readonly hardBoundMs?: number;
  /** `ask` by default. */
  readonly whenStale?: WhenStale;
  /** Bounds the memory of the cache of verified tokens: 64 MiB by default, some 25,000 tokens. */
  readonly cacheBytes?: number;
  readonly hooks?: Hooks;
  readonly clock?: Clock;
}

// The pause after a server's answer that was no better than what is known here, in milliseconds.
const USELESS_PAUSE = 1000;
const HOUSEKEEPING_EVERY = 60_000;
const TIDY_EVERY = 10; // rounds of housekeeping

/**
 * Judges access tokens in this process: keys and revocations come to it. Make one, start it and share it.
 *
 * A check is synchronous work of about a microsecond for a token seen before, and of a signature check for a new one.
 */
export class Verifier implements TokenVerifier {
  readonly #audiences: readonly string[];
  readonly #whenStale: WhenStale;
  readonly #hardBound: number;
  readonly #clock: Clock;
  readonly #hooks: Hooks;
  readonly #connection: Connection;
  readonly #ownsConnection: boolean;
  readonly #keys: Keyring;
  readonly #follower: Follower;
  readonly #watcher: Watcher;
  readonly #judge: Judge;
  readonly #coalescer: Coalescer;
  readonly #waiting = new Set<() => void>();
  #state: "new" | "running" | "stopped" = "new";
  #cancelHousekeeping = () => {};
  /** The server was asked and knew no better: not again before this, on the elapsed clock. */
  #askAgain = Number.NEGATIVE_INFINITY;

  /** `target` is a gRPC target, "dns:///authsvc:50051" for one, or a connection of the caller's, who closes it. */
  constructor(target: string | Connection, options: VerifierOptions) {
    this.#audiences = Object.freeze([options.audience].flat());
    this.#hardBound = options.hardBoundMs ?? 30_000;
    this.#whenStale = options.whenStale ?? "ask";
    this.#clock = options.clock ?? new SystemClock();
    this.#hooks = options.hooks ?? {};
    if (this.#audiences.length === 0 || this.#audiences.some((audience) => typeof audience !== "string" || audience === "")) {
      throw new TypeError("no verifier works without an audience");
    }
    if (!(this.#hardBound >= 1000 && this.#hardBound <= 300_000)) throw new RangeError("hardBoundMs is not within 1,000 and 300,000");
    if (!["ask", "unavailable", "accept"].includes(this.#whenStale)) throw new RangeError("whenStale is ask, unavailable or accept");
    this.#ownsConnection = typeof target === "string";
    this.#connection = typeof target === "string" ? new GrpcConnection(target, options) : target;
    const connection = this.#connection;
    this.#keys = new Keyring(this.#clock, () => connection.getJwks(), (error) => {
      tell(() => this.#hooks.keysRead?.(error));
      this.#changed();
    });
    this.#follower = new Follower(this.#clock.elapsed());
    this.#watcher = new Watcher(this.#follower, connection, this.#clock, this.#hooks, () => this.#changed());
    const cache = new TokenCache(options.cacheBytes ?? 64 << 20);
    this.#judge = new Judge(this.#clock, this.#keys, this.#follower, cache, this.#audiences, this.#hardBound);
    this.#coalescer = new Coalescer(connection.auth, this.#hooks);
  }

  /**
   * Begins to follow keys and revocations. Resolves to whether there were keys and a complete, fresh snapshot within
   * `waitMs` (5,000): a server that is down keeps no service from starting, and until then checks go by the policy.
   */
  async start({ waitMs = 5000 }: { waitMs?: number } = {}): Promise<boolean> {
    if (this.#state === "stopped") throw new Error("a verifier that was stopped is not started again");
    if (this.#state === "new") {
      this.#state = "running";
      this.#follower.worked(this.#clock.elapsed());
      this.#keys.start();
      this.#watcher.start();
      this.#keepHouse(1);
    }
    return this.#until(() => this.isReady, waitMs);
  }

  /** Ends the stream, the reads and, if it was made here, the connection. Idempotent. */
  stop(): void {
    if (this.#state === "stopped") return;
    this.#state = "stopped";
    this.#cancelHousekeeping();
    this.#watcher.stop();
    this.#keys.close();
    this.#coalescer.close();
    if (this.#ownsConnection) this.#connection.close();
    this.#changed();
  }

  /**
   * Judges a token for this verifier's audience and for what is required. May wait for a read of the keys where the key is
   * unknown, and for the server where the policy says so; else it decides at once. Rejects with CannotKnow.
   */
  async verify(token: string, required?: Requirement): Promise<Verdict> {
    try {
      const verdict = await this.#judged(token, required);
      if (this.#hooks.checked !== undefined) tell(() => this.#hooks.checked?.(verdict));
      return verdict;
    } catch (error) {
      if (error instanceof CannotKnow) tell(() => this.#hooks.checked?.(error));
      throw error;
    }
  }

  /** `verify` from memory alone. What it would have to ask for is CannotKnow, and a due read of the keys is begun. */
  check(token: string, required?: Requirement): Verdict {
    const outcome = this.#fromMemory(token, required);
    if (typeof outcome !== "string") {
      if (this.#hooks.checked !== undefined) tell(() => this.#hooks.checked?.(outcome));
      return outcome;
    }
    if (outcome === "unknown_key") void this.#keys.lookAgain();
    const unknown = new CannotKnow(outcome);
    tell(() => this.#hooks.checked?.(unknown));
    throw unknown;
  }

  /** Milliseconds since the revocation log was last confirmed; undefined before the first complete snapshot. */
  get ageMs(): number | undefined {
    return this.position === undefined ? undefined : this.#clock.elapsed() - this.#follower.confirmed;
  }

  /** Whether it may decide by itself. */
  get isFresh(): boolean {
    return this.#judge.doubt() === undefined;
  }

  /** Whether it has keys as well: for a readiness probe. */
  get isReady(): boolean {
    return this.#state === "running" && this.#keys.hasKeys && this.isFresh;
  }

  /** The log position through which every revocation is known; undefined before the first complete snapshot. */
  get position(): bigint | undefined {
    return this.#follower.position;
  }

  /** How much is held. */
  get stats(): { revocations: number; tokens: number } {
    return { revocations: this.#follower.view.size, tokens: this.#judge.cache.size };
  }

  /**
   * Resolves to whether every revocation up to a position was known here within `timeoutMs`. With RevokeResponse.position
   * it makes sure that this verifier refuses what was revoked.
   */
  async waitFor(position: Uint8Array | bigint, timeoutMs = 5000): Promise<boolean> {
    const wanted = typeof position === "bigint" ? position : readPosition(position);
    if (wanted === undefined) throw new RangeError("a position has 8 bytes");
    return this.#until(() => (this.position ?? -1n) >= wanted, timeoutMs);
  }

  #fromMemory(token: string, required: Requirement | undefined): Verdict | Cause {
    if (this.#state !== "running") return "not_running";
    const outcome = this.#judge.decide(token, required);
    const opens = this.#whenStale === "accept" && typeof outcome === "string" && outcome !== "unknown_key";
    return opens ? this.#judge.decide(token, required, true) : outcome;
  }

  async #judged(token: string, required: Requirement | undefined): Promise<Verdict> {
    const arrived = this.#clock.elapsed();
    let outcome = this.#fromMemory(token, required);
    if (outcome === "unknown_key") {
      await this.#keys.lookAgain();
      outcome = this.#fromMemory(token, required);
      // Only a read that began after the token arrived can say that there is no such key.
      if (outcome === "unknown_key" && this.#keys.isReadSince(arrived)) return refuse("UNKNOWN_KEY");
    }
    if (typeof outcome !== "string") return outcome;
    // A flood of random key ids must not become one of questions; without any keys the server decides.
    const mayAsk = outcome !== "not_running" && (outcome !== "unknown_key" || !this.#keys.hasKeys);
    const claims = this.#whenStale === "ask" && mayAsk ? this.#judge.claimsOf(token) : undefined;
    if (claims === undefined) throw new CannotKnow(outcome);
    return this.#asked(outcome, token, claims, required);
  }

  /** What the server calls active is authentic, so its claims are; what is required of them is judged here. */
  async #asked(cause: Cause, token: string, claims: Claims, required: Requirement | undefined): Promise<Verdict> {
    const began = this.#clock.elapsed();
    if (began < this.#askAgain) throw new CannotKnow(cause, "the server knew no better a moment ago");
    let response: VerifyTokenResponse;
    try {
      const audience = this.#judge.audienceToAsk(claims, required);
      response = await this.#coalescer.ask({ accessToken: token, audience });
    } catch (error) {
      throw new CannotKnow(cause, error);
    }
    const now = this.#clock.elapsed();
    // An answer that does not say its age is older than every bound.
    const age = response.age === undefined ? Infinity : milliseconds(response.age) + now - began;
    if (age > this.#hardBound && age >= (this.ageMs ?? Infinity)) {
      this.#askAgain = now + USELESS_PAUSE;
      throw new CannotKnow(cause, "the server knows no better");
    }
    return this.#read(cause, response, claims, required);
  }

  #read(cause: Cause, { outcome }: VerifyTokenResponse, claims: Claims, required: Requirement | undefined): Verdict {
    switch (outcome.case) {
      case "active":
        return unmet(claims, this.#audiences, required) ?? { active: true, claims };
      case "inactive":
        return refusalOf(outcome.value.reason, outcome.value.sessionEndReason);
      default:
        throw new CannotKnow(cause, "an answer without an outcome is no verdict");
    }
  }

  async #until(condition: () => boolean, timeoutMs: number): Promise<boolean> {
    if (condition() || timeoutMs <= 0) return condition();
    await new Promise<void>((resolve) => {
      const look = () => {
        if (!condition() && this.#state === "running") return;
        this.#waiting.delete(look);
        cancel();
        resolve();
      };
      const cancel = this.#clock.after(timeoutMs, () => {
        this.#waiting.delete(look);
        resolve();
      });
      this.#waiting.add(look);
      look();
    });
    return condition();
  }

  #changed(): void {
    for (const look of [...this.#waiting]) look();
  }

  #keepHouse(round: number): void {
    this.#cancelHousekeeping = this.#clock.after(HOUSEKEEPING_EVERY, () => {
      const now = this.#clock.now() / 1000;
      this.#judge.cache.sweep(now - LEEWAY_S);
      if (round % TIDY_EVERY === 0) this.#follower.view.tidy(now);
      this.#keepHouse(round + 1);
    });
  }
}

function refusalOf(reason: number, endReason: number): Inactive {
  return revoked(reasonOf(reason), endReason);
}
