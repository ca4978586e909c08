import { hash } from "node:crypto";

import { TokenCache, VerifiedToken } from "./cache.js";
import type { Clock } from "./clock.js";
import type { Follower } from "./follower.js";
import type { Keyring } from "./keyring.js";
import { LEEWAY_S, MAX_TOKEN_LENGTH, parseToken, TOKEN_TYPE } from "./token.js";
import { refuse, unmet, type Cause, type Claims, type Inactive, type Requirement, type Verdict } from "./verdict.js";

/** Judges tokens by what is known here; waits for nothing. */
export class Judge {
  readonly cache: TokenCache;
  readonly #clock: Clock;
  readonly #keys: Keyring;
  readonly #follower: Follower;
  readonly #audiences: readonly string[];
  readonly #hardBound: number;

  /** `hardBound` is in milliseconds. */
  constructor(clock: Clock, keys: Keyring, follower: Follower, cache: TokenCache, audiences: readonly string[], hardBound: number) {
    this.#clock = clock;
    this.#keys = keys;
    this.#follower = follower;
    this.cache = cache;
    this.#audiences = audiences;
    this.#hardBound = hardBound;
  }

  /** Judges a token; a Cause where what is known here does not do. `unknown_key`: no key of this name is held. */
  decide(token: string, required: Requirement | undefined, thoughStale = false): Verdict | Cause {
    const believed = this.#remembered(token);
    if (!(believed instanceof VerifiedToken)) return believed;
    const dead = this.#dead(believed);
    if (dead !== undefined) return dead;
    // From here on the verdict rests on nothing having been revoked meanwhile.
    if (!thoughStale) {
      const doubt = this.doubt();
      if (doubt !== undefined) return doubt;
    }
    return unmet(believed.active.claims, this.#audiences, required) ?? believed.active;
  }

  /** Why this verifier may not decide by itself; undefined if it may. */
  doubt(): Cause | undefined {
    const { position, confirmed, view } = this.#follower;
    if (position === undefined) return "no_snapshot";
    if (this.#clock.elapsed() - confirmed > this.#hardBound) return "stale";
    return view.hasUnknown ? "unknown_fact" : undefined;
  }

  /** What a well-formed token claims, believed or not; undefined where there is none. */
  claimsOf(token: string): Claims | undefined {
    return parseToken(token, this.#keys.set.headers)?.claims;
  }

  /** An audience of the demand, one that the token has if there is one. */
  audienceToAsk(claims: Claims, required: Requirement | undefined): string {
    const wanted = required?.audience ?? this.#audiences;
    if (typeof wanted === "string") return wanted;
    return wanted.find((audience) => claims.audiences.includes(audience)) ?? wanted[0] ?? "";
  }

  #remembered(token: string): VerifiedToken | Inactive | Cause {
    if (token.length > MAX_TOKEN_LENGTH) return refuse("MALFORMED");
    const digest = hash("sha256", token, "binary");
    const known = this.cache.get(digest);
    if (known !== undefined) return known;
    const believed = this.#believe(token);
    if (believed instanceof VerifiedToken && !this.#isExpired(believed)) this.cache.put(digest, believed);
    return believed;
  }

  /** Judges what never changes about a token. */
  #believe(token: string): VerifiedToken | Inactive | Cause {
    const { set } = this.#keys;
    const parsed = parseToken(token, set.headers);
    if (parsed === undefined) return refuse("MALFORMED");
    const { header, claims } = parsed;
    if (header.typ !== TOKEN_TYPE) return refuse("WRONG_TYPE");
    if (this.#isWithdrawn(header.kid)) return refuse("KEY_WITHDRAWN");
    const key = set.keys.get(header.kid);
    if (key === undefined) return "unknown_key";
    if (header.alg !== key.alg || !key.verify(parsed.signed, parsed.signature)) return refuse("BAD_SIGNATURE");
    if (claims.issuer !== set.issuer) return refuse("WRONG_ISSUER");
    if (claims.expiresAt - claims.issuedAt > set.maxLifetime) return refuse("LIFETIME_TOO_LONG");
    return new VerifiedToken(header, claims, token.length);
  }

  /** Judges what may change from one use of a token to the next. A token found dead is dead however old the view is. */
  #dead(token: VerifiedToken): Inactive | undefined {
    if (this.#isWithdrawn(token.kid)) return refuse("KEY_WITHDRAWN");
    if (token.notBefore > this.#clock.now() / 1000 + LEEWAY_S) return refuse("NOT_YET_VALID");
    if (this.#isExpired(token)) return refuse("EXPIRED");
    return this.#follower.view.death(token.targets);
  }

  #isExpired(token: VerifiedToken): boolean {
    return this.#clock.now() / 1000 >= token.expiresAt + LEEWAY_S;
  }

  #isWithdrawn(kid: string): boolean {
    return this.#follower.view.isWithdrawn(kid) || this.#keys.set.withdrawn.has(kid);
  }
}
