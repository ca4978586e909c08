import type { PackedSessions, Revocation } from "./authapi/v1/revocation_service_pb.js";
import { Facts, idOf, sessionId, userId } from "./facts.js";
import { endOfUse } from "./instants.js";
import { ID_BYTES, type Fact, type Id, type Run } from "./packed.js";
import { revoked, type Claims, type Inactive } from "./verdict.js";

/** What of a token a revocation can name. */
export class Targets {
  readonly session: Id | undefined;
  readonly appId: string;
  readonly position: bigint;
  readonly #userId: string;
  #user: Id | undefined;
  #userInApp: Id | undefined;

  constructor(claims: Claims) {
    this.session = sessionId(claims.sessionId);
    this.appId = claims.appId;
    this.position = claims.position;
    this.#userId = claims.userId;
  }

  /** Hashes, made when they are first needed: there may be no facts about users. */
  get user(): Id {
    return (this.#user ??= userId(this.#userId, ""));
  }

  get userInApp(): Id {
    return (this.#userInApp ??= userId(this.#userId, this.appId));
  }
}

interface AppFact {
  readonly position: bigint;
  readonly reason: number;
}

/** A position as the wire has it: 8 bytes, big-endian. Undefined if these are not. */
export function readPosition(bytes: Uint8Array): bigint | undefined {
  if (bytes.length !== 8) return undefined;
  return new DataView(bytes.buffer, bytes.byteOffset, 8).getBigUint64(0);
}

/**
 * What is known of revocations. A session or key fact names its target outright; a user or app fact kills tokens whose
 * session began below its position. Applying a fact twice is harmless, and nothing once dead comes back, except when a
 * complete snapshot replaces everything; withdrawn keys stay withdrawn even then.
 */
export class View {
  #sessions = new Facts(false);
  #users = new Facts(true);
  #apps = new Map<string, AppFact>();
  #withdrawn = new Set<string>();
  #hasUnknown = false;

  /** Something was revoked that this version does not know. Only a new snapshot without it mends that. */
  get hasUnknown(): boolean {
    return this.#hasUnknown;
  }

  get size(): number {
    return this.#sessions.size + this.#users.size + this.#apps.size + this.#withdrawn.size;
  }

  isWithdrawn(kid: string): boolean {
    return this.#withdrawn.has(kid);
  }

  /** Says what killed a token, the nearest cause first. */
  death(token: Targets): Inactive | undefined {
    if (token.session !== undefined && this.#sessions.size > 0) {
      const reason = this.#sessions.reasonOf(token.session);
      if (reason !== undefined) return revoked("SESSION_REVOKED", reason);
    }
    if (this.#users.size > 0) {
      const { position } = token;
      const reason = this.#users.reasonAbove(token.user, position) ?? this.#users.reasonAbove(token.userInApp, position);
      if (reason !== undefined) return revoked("USER_REVOKED", reason);
    }
    if (this.#apps.size > 0) {
      const app = this.#apps.get(token.appId);
      if (app !== undefined && token.position < app.position) return revoked("APP_REVOKED", app.reason);
    }
    return undefined;
  }

  /** Takes facts in, in any order, as often as they come. `now` is in seconds since 1970. */
  apply(revocations: readonly Revocation[], now: number): void {
    for (const revocation of revocations) this.#apply(revocation, now);
  }

  /** Knows what a whole snapshot says, and nothing else but the keys withdrawn before. */
  replace(parts: Parts, now: number): void {
    this.#sessions = new Facts(false, parts.sessions);
    this.#users = new Facts(true);
    this.#apps = new Map();
    this.#hasUnknown = parts.isGarbled;
    this.apply(parts.others, now);
    this.#users.tidy(now);
  }

  /** Packs what is new, and forgets what is past its use. `now` is in seconds since 1970. */
  tidy(now: number): void {
    this.#sessions.tidy(now);
    this.#users.tidy(now);
  }

  #apply(revocation: Revocation, now: number): void {
    const { target } = revocation;
    const { reason, until } = shared(revocation);
    if (target.case === "keyId") {
      this.#withdrawn.add(target.value);
      return;
    }
    if (target.case === "sessionId" && target.value.length === ID_BYTES) {
      this.#sessions.add(idOf(target.value), shared(revocation), now);
      return;
    }
    const position = readPosition(revocation.position);
    if (position === undefined || (target.case !== "userId" && target.case !== "appId")) {
      this.#hasUnknown = true;
    } else if (target.case === "userId") {
      this.#users.add(userId(target.value, revocation.appFilter), { reason, until, position }, now);
    } else {
      const held = this.#apps.get(target.value);
      if (held === undefined || held.position < position) this.#apps.set(target.value, { position, reason });
    }
  }
}

/** What every fact says; a reason that no byte holds is none that is known here. */
function shared(said: Revocation | PackedSessions): Fact {
  const reason = said.reason >= 0 && said.reason <= 255 ? said.reason : 0;
  return { reason, until: endOfUse(said.usefulUntil), position: 0n };
}

/** A snapshot on its way in: it counts for nothing before it is whole. */
export class Parts {
  /** Sessions, packed or not. */
  readonly sessions: Run[] = [];
  /** Everything else. */
  readonly others: Revocation[] = [];
  /** What it kills cannot be told. */
  isGarbled = false;

  add(revocations: readonly Revocation[], packed: readonly PackedSessions[]): void {
    for (const revocation of revocations) {
      const { target } = revocation;
      if (target.case === "sessionId" && target.value.length === ID_BYTES) {
        this.sessions.push({ ids: target.value, fact: shared(revocation) });
      } else {
        this.others.push(revocation);
      }
    }
    for (const group of packed) {
      if (group.ids.length % ID_BYTES === 0) this.sessions.push({ ids: group.ids, fact: shared(group) });
      else this.isGarbled = true;
    }
  }
}
