/** Sets of what died, by 128-bit id: what is known for long is packed, what is new lies in a map beside it. */
import { hash } from "node:crypto";

import { decodeBase64url } from "./base64url.js";
import { ID_BYTES, isUseful, joined, Packed, wordAt, type Fact, type Id, type Run } from "./packed.js";

export function idOf(bytes: Uint8Array): Id {
  const key = Buffer.from(bytes.buffer, bytes.byteOffset, ID_BYTES).toString("latin1");
  return { key, a: wordAt(bytes, 0) | 0, b: wordAt(bytes, 4) | 0, c: wordAt(bytes, 8) | 0, d: wordAt(bytes, 12) | 0 };
}

/** The id behind a claim sid; undefined if it is not the one spelling of any, and then no fact names it. */
export function sessionId(sid: string): Id | undefined {
  const raw = sid.length === 22 ? decodeBase64url(sid) : undefined;
  return raw && idOf(raw);
}

/**
 * What stands for a user in one app, or (empty) in all. User ids and app ids may be any text, so it is a hash; 128 bits of
 * SHA-256 meet by chance never.
 */
export function userId(user: string, app: string): Id {
  return idOf(hash("sha256", `${app.length}.${app}${user}`, "buffer"));
}

/** So many new facts, or a sixteenth of the old ones, are worth a merge. */
const MERGE_FROM = 1 << 14;

/** Facts by id. */
export class Facts {
  #base: Packed;
  readonly #withPositions: boolean;
  #recent = new Map<string, Fact>();

  constructor(withPositions: boolean, runs: readonly Run[] = []) {
    this.#withPositions = withPositions;
    this.#base = Packed.of(runs, withPositions);
  }

  get size(): number {
    return this.#base.size + this.#recent.size;
  }

  /** Adds a fact. `now` is in seconds since 1970, for forgetting what nobody needs any more. */
  add(id: Id, fact: Fact, now: number): void {
    this.#recent.set(id.key, joined(this.#recent.get(id.key), fact, this.#withPositions));
    if (this.#recent.size > Math.max(MERGE_FROM, this.#base.size / 16)) this.tidy(now);
  }

  /** The reason a session died for, 0 where none is told; undefined: it lives. */
  reasonOf(id: Id): number | undefined {
    const at = this.#base.find(id);
    if (at >= 0) return this.#base.reasons[at]; // the first fact's reason stands
    return this.#recent.size === 0 ? undefined : this.#recent.get(id.key)?.reason;
  }

  /** The reason of the fact that reaches furthest, if it reaches above a position. */
  reasonAbove(id: Id, position: bigint): number | undefined {
    const at = this.#base.find(id);
    const old = at < 0 ? undefined : this.#base.at(at);
    const recent = this.#recent.get(id.key);
    const furthest = old !== undefined && recent !== undefined ? joined(old, recent, true) : (old ?? recent);
    return furthest !== undefined && position < furthest.position ? furthest.reason : undefined;
  }

  /** Packs what is new, and forgets what is past its use at `now`. */
  tidy(now: number): void {
    const runs: Run[] = [];
    for (const [key, fact] of this.#recent) if (isUseful(fact.until, now)) runs.push({ ids: Buffer.from(key, "latin1"), fact });
    this.#base = this.#base.merged(Packed.of(runs, this.#withPositions), now);
    this.#recent = new Map();
  }
}
