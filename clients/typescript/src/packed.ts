/**
 * Facts in sorted typed arrays, which the garbage collector never looks into: 21 bytes for a session, 29 for a user.
 */
import { FOREVER } from "./instants.js";

export const ID_BYTES = 16;

/** An id, as a map's key and as four words, most significant first. */
export interface Id {
  /** 16 characters, one for each byte. */
  readonly key: string;
  /** Signed, so that V8 keeps them within the object. */
  readonly a: number;
  readonly b: number;
  readonly c: number;
  readonly d: number;
}

/** One entry. */
export interface Fact {
  /** SessionEndReason. */
  readonly reason: number;
  /** Second since 1970 up to which it must be kept; FOREVER. */
  readonly until: number;
  /** Tokens of sessions that began below it are dead; of a session every token is. */
  readonly position: bigint;
}

/** Facts about sessions that share everything but the id. */
export interface Run {
  /** 16 bytes each. */
  readonly ids: Uint8Array;
  readonly fact: Fact;
}

const PREFIXES = 1 << 16;
const NO_STARTS = new Uint32Array(PREFIXES + 1);
/** Buckets of random ids hold a few entries; a longer one is sorted by other means than insertion. */
const INSERTION_LIMIT = 64;

export function isUseful(until: number, now: number): boolean {
  return until === FOREVER || until > now;
}

/** Of a session the first reason stands; of a user the fact that reaches furthest. */
export function joined(older: Fact | undefined, newer: Fact, withPositions: boolean): Fact {
  if (older === undefined) return newer;
  const until = Math.max(older.until, newer.until);
  const stands = withPositions && newer.position > older.position ? newer : older;
  return stands.until === until ? stands : { ...stands, until };
}

/** Four bytes as an unsigned number, big-endian. */
export function wordAt(bytes: Uint8Array, at: number): number {
  return ((bytes[at]! << 24) | (bytes[at + 1]! << 16) | (bytes[at + 2]! << 8) | bytes[at + 3]!) >>> 0;
}

/** Facts sorted by id, each id once; immutable once `of` or `merged` has made it. */
export class Packed {
  /** Where ids with the upper 16 bits p begin. */
  #starts = NO_STARTS;
  #size = 0;

  words: Uint32Array;
  reasons: Uint8Array;
  until: Uint32Array;
  positions: BigUint64Array | undefined;

  /** An empty set with room for so many. */
  constructor(room: number, withPositions: boolean) {
    this.words = new Uint32Array(room * 4);
    this.reasons = new Uint8Array(room);
    this.until = new Uint32Array(room);
    this.positions = withPositions ? new BigUint64Array(room) : undefined;
  }

  static of(runs: readonly Run[], withPositions: boolean): Packed {
    const count = runs.reduce((sum, run) => sum + run.ids.length / ID_BYTES, 0);
    const nothing = withPositions ? NO_USERS : NO_SESSIONS;
    if (count === 0) return nothing;
    const sorted = new Packed(count, withPositions);
    const next = countPrefixes(runs);
    const starts = next.slice();
    // Stable: facts about one id keep their order.
    for (const { ids, fact } of runs) {
      for (let at = 0; at < ids.length; at += ID_BYTES) sorted.#put(next[wordAt(ids, at) >>> 16]!++, ids, at, fact);
    }
    const spare = new Packed(1, withPositions);
    for (let prefix = 0; prefix < PREFIXES; prefix++) sorted.#sort(starts[prefix]!, starts[prefix + 1]!, spare);
    sorted.#size = count;
    return nothing.merged(sorted, 0); // joins those about one id
  }

  get size(): number {
    return this.#size;
  }

  at(i: number): Fact {
    return { reason: this.reasons[i]!, until: this.until[i]!, position: this.positions?.[i] ?? 0n };
  }

  /** Where an id stands, -1 where it does not. */
  find(id: Id): number {
    const words = this.words;
    const prefix = id.a >>> 16;
    let low = this.#starts[prefix]!;
    let high = this.#starts[prefix + 1]!;
    while (low < high) {
      const middle = (low + high) >>> 1;
      const at = middle * 4;
      const order =
        words[at]! - (id.a >>> 0) || words[at + 1]! - (id.b >>> 0) || words[at + 2]! - (id.c >>> 0) || words[at + 3]! - (id.d >>> 0);
      if (order === 0) return middle;
      if (order < 0) low = middle + 1;
      else high = middle;
    }
    return -1;
  }

  /** Both in one, facts here being the older ones, without what nobody needs at `now`. */
  merged(newer: Packed, now: number): Packed {
    const made = new Packed(this.#size + newer.#size, this.positions !== undefined);
    let i = 0;
    let j = 0;
    while (i < this.#size || j < newer.#size) {
      const takesOlder = j === newer.#size || (i < this.#size && this.#compare(i, newer.words, j * 4) <= 0);
      const from = takesOlder ? this : newer;
      const at = takesOlder ? i++ : j++;
      if (isUseful(from.until[at]!, now)) made.#append(from, at);
    }
    made.#starts = new Uint32Array(PREFIXES + 1);
    for (let prefix = 0, at = 0; prefix < PREFIXES; prefix++) {
      made.#starts[prefix] = at;
      while (at < made.#size && made.words[at * 4]! >>> 16 === prefix) at++;
    }
    made.#starts[PREFIXES] = made.#size;
    made.#trim();
    return made;
  }

  /** Gives back the room that joined and forgotten facts left. */
  #trim(): void {
    const size = this.#size;
    if (size === this.reasons.length) return;
    this.words = this.words.slice(0, size * 4);
    this.reasons = this.reasons.slice(0, size);
    this.until = this.until.slice(0, size);
    this.positions = this.positions?.slice(0, size);
  }

  /** Appends an entry of another set whose id is not below the last one here; one about the same id is joined with it. */
  #append(from: Packed, at: number): void {
    const last = this.#size - 1;
    if (last >= 0 && this.#compare(last, from.words, at * 4) === 0) {
      const { reason, until, position } = joined(this.at(last), from.at(at), this.positions !== undefined);
      this.reasons[last] = reason;
      this.until[last] = until;
      if (this.positions !== undefined) this.positions[last] = position;
      return;
    }
    this.#copy(this.#size++, from, at);
  }

  #copy(to: number, from: Packed, at: number): void {
    for (let i = 0; i < 4; i++) this.words[to * 4 + i] = from.words[at * 4 + i]!;
    this.reasons[to] = from.reasons[at]!;
    this.until[to] = from.until[at]!;
    if (this.positions !== undefined) this.positions[to] = from.positions![at]!;
  }

  #put(to: number, ids: Uint8Array, at: number, fact: Fact): void {
    for (let i = 0; i < 4; i++) this.words[to * 4 + i] = wordAt(ids, at + i * 4);
    this.reasons[to] = fact.reason;
    this.until[to] = fact.until;
    if (this.positions !== undefined) this.positions[to] = fact.position;
  }

  /** Compares the id at i with the one at an offset of some words. */
  #compare(i: number, words: Uint32Array, offset: number): number {
    const own = this.words;
    const at = i * 4;
    for (let word = 0; word < 4; word++) {
      const difference = own[at + word]! - words[offset + word]!;
      if (difference !== 0) return difference;
    }
    return 0;
  }

  /** Sorts the entries of one bucket, stably. */
  #sort(from: number, to: number, spare: Packed): void {
    if (to - from > INSERTION_LIMIT) {
      this.#sortMany(from, to);
      return;
    }
    for (let i = from + 1; i < to; i++) {
      if (this.#compare(i - 1, this.words, i * 4) <= 0) continue;
      spare.#copy(0, this, i);
      let hole = i;
      for (; hole > from && this.#compare(hole - 1, spare.words, 0) > 0; hole--) this.#copy(hole, this, hole - 1);
      this.#copy(hole, spare, 0);
    }
  }

  #sortMany(from: number, to: number): void {
    const order = new Uint32Array(to - from).map((_, i) => from + i);
    order.sort((a, b) => this.#compare(a, this.words, b * 4) || a - b);
    const sorted = new Packed(order.length, this.positions !== undefined);
    order.forEach((at, i) => sorted.#copy(i, this, at));
    order.forEach((_, i) => this.#copy(from + i, sorted, i));
  }
}

/** Where the ids of each prefix begin, and at the end their number. */
function countPrefixes(runs: readonly Run[]): Uint32Array {
  const starts = new Uint32Array(PREFIXES + 1);
  for (const { ids } of runs) {
    for (let at = 0; at < ids.length; at += ID_BYTES) starts[(wordAt(ids, at) >>> 16) + 1]!++;
  }
  for (let prefix = 0; prefix < PREFIXES; prefix++) starts[prefix + 1]! += starts[prefix]!;
  return starts;
}

const NO_SESSIONS = new Packed(0, false);
const NO_USERS = new Packed(0, true);
