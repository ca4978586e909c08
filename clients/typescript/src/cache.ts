import type { Header } from "./token.js";
import type { Active, Claims } from "./verdict.js";
import { Targets } from "./view.js";

/** What is remembered of a token whose signature, type, issuer and lifetime hold: never a verdict. */
export class VerifiedToken {
  readonly active: Active;
  readonly kid: string;
  /** Seconds since 1970: the later of nbf and iat. */
  readonly notBefore: number;
  readonly expiresAt: number;
  readonly targets: Targets;
  /** Reckoned bytes of memory. */
  readonly cost: number;

  constructor(header: Header, claims: Claims, length: number) {
    this.active = Object.freeze({ active: true, claims });
    this.kid = header.kid;
    this.notBefore = Math.max(claims.notBefore, claims.issuedAt);
    this.expiresAt = claims.expiresAt;
    this.targets = new Targets(claims);
    this.cost = ENTRY_BYTES + length;
  }
}

// Measured by the benchmark (npm run bench): the objects of an entry, without the letters of its texts.
const ENTRY_BYTES = 1500;

/**
 * Verified tokens under SHA-256 of their whole text (never of a signature, jti or kid: a forged payload with a stolen
 * signature would hit), bounded by memory. Whoever was put in first goes first.
 */
export class TokenCache {
  readonly #held = new Map<string, VerifiedToken>();
  readonly #limit: number;
  #bytes = 0;

  constructor(limit: number) {
    this.#limit = limit;
  }

  get size(): number {
    return this.#held.size;
  }

  get(digest: string): VerifiedToken | undefined {
    return this.#held.get(digest);
  }

  put(digest: string, token: VerifiedToken): void {
    if (token.cost > this.#limit || this.#held.has(digest)) return;
    this.#held.set(digest, token);
    this.#bytes += token.cost;
    if (this.#bytes <= this.#limit) return;
    // Several at once: a Map finds its first entry by passing over all that were deleted before it.
    for (const [oldest, held] of this.#held) {
      if (this.#bytes <= this.#limit - this.#limit / 64) return;
      this.#forget(oldest, held);
    }
  }

  /** Forgets the tokens whose exp is not after an instant (seconds since 1970). */
  sweep(expiredAt: number): void {
    for (const [digest, held] of this.#held) if (held.expiresAt <= expiredAt) this.#forget(digest, held);
  }

  #forget(digest: string, held: VerifiedToken): void {
    this.#held.delete(digest);
    this.#bytes -= held.cost;
  }
}
