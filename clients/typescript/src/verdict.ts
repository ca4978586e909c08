/** The three answers of a verifier: good (claims), bad (a reason), and "cannot know", which is an error of its own kind. */
import { InactiveReason, SessionEndReason } from "./authapi/v1/types_pb.js";

/**
 * Why a token is not accepted. When several hold, the first in this order is told: MALFORMED, WRONG_TYPE, KEY_WITHDRAWN,
 * UNKNOWN_KEY, BAD_SIGNATURE, WRONG_ISSUER, LIFETIME_TOO_LONG, NOT_YET_VALID, EXPIRED, SESSION_REVOKED, USER_REVOKED,
 * APP_REVOKED, WRONG_AUDIENCE, MISSING_SCOPE, MISSING_ROLE. UNSPECIFIED is a reason of a newer server's.
 */
export type Reason = keyof typeof InactiveReason;

/** How a session ended. */
export type EndReason = keyof typeof SessionEndReason;

/** What a good token says. It is shared by everybody who asks about the token, and frozen. */
export interface Claims {
  /** Who made the token. */
  readonly issuer: string;
  /** Our id of the user, the claim sub. */
  readonly userId: string;
  /** The session, the claim sid. */
  readonly sessionId: string;
  /** The mini-program, the claim client_id. */
  readonly appId: string;
  /** The token's own id, the claim jti. */
  readonly tokenId: string;
  /** WeChat's id of the user in the app, where the app's tokens carry it. */
  readonly openid?: string;
  /** The id another system gave the user, where the token carries it. */
  readonly externalId?: string;
  readonly audiences: readonly string[];
  readonly scopes: readonly string[];
  readonly roles: readonly string[];
  /** Users that were merged into this one: move what is stored under them. */
  readonly previousUserIds: readonly string[];
  /** Seconds since 1970, as are `notBefore` and `expiresAt`. */
  readonly issuedAt: number;
  readonly notBefore: number;
  readonly expiresAt: number;
  /** The log position read when the session was created, the claim sp: 64 bits. */
  readonly position: bigint;
}

/** A good token. */
export interface Active {
  readonly active: true;
  readonly claims: Claims;
}

/** A token that is not accepted. The reason is for logs and metrics; end users see one answer for all of them. */
export interface Inactive {
  readonly active: false;
  readonly reason: Reason;
  /** How the session ended, where a revocation killed the token and the log says how. */
  readonly endReason?: EndReason;
}

export type Verdict = Active | Inactive;

/** What a check asks of a token beyond being good. */
export interface Requirement {
  /** One of these must be the token's, instead of the verifier's own. */
  readonly audience?: string | readonly string[];
  /** All of these. */
  readonly scopes?: readonly string[];
  /** All of these. */
  readonly roles?: readonly string[];
}

/** What middleware needs: a `Verifier`, or the fake of `@authsvc/client/testing`. */
export interface TokenVerifier {
  /** Judges a token. Rejects with CannotKnow where there is no verdict. */
  verify(token: string, required?: Requirement): Promise<Verdict>;
}

/**
 * Why a verifier cannot know.
 *
 * - `unknown_key`: no read of the keys that began after the token arrived has succeeded, and its key is not known.
 * - `no_snapshot`: no complete snapshot of the revocations has come yet.
 * - `stale`: the revocation log was not confirmed within the hard bound.
 * - `unknown_fact`: a newer server revoked something that this version does not know.
 * - `not_running`: the verifier was not started, or is stopped.
 */
export type Cause = "unknown_key" | "no_snapshot" | "stale" | "unknown_fact" | "not_running";

/** Neither a yes nor a no. Answer UNAVAILABLE, or 503 with Retry-After; never 401. */
export class CannotKnow extends Error {
  override readonly name = "CannotKnow";

  /** `reason` is why; `error` is what went wrong underneath, where something did. */
  constructor(
    readonly reason: Cause,
    error?: unknown,
  ) {
    super(`cannot know: ${reason}`, error === undefined ? undefined : { cause: error });
  }
}

/** Whether the token is good and only not for this: PERMISSION_DENIED or 403. Every other reason is 401. */
export function isInsufficient(reason: Reason): boolean {
  return reason === "WRONG_AUDIENCE" || reason === "MISSING_SCOPE" || reason === "MISSING_ROLE";
}

/** One value for each reason: a refusal costs no allocation. */
const refusals = new Map<Reason, Inactive>();

export function refuse(reason: Reason): Inactive {
  let refusal = refusals.get(reason);
  if (refusal === undefined) {
    refusal = Object.freeze({ active: false, reason });
    refusals.set(reason, refusal);
  }
  return refusal;
}

/** The refusal of a token that a revocation killed. */
export function revoked(reason: Reason, end: number): Inactive {
  const endReason = SessionEndReason[end] as EndReason | undefined;
  return end === 0 || endReason === undefined ? refuse(reason) : { active: false, reason, endReason };
}

/** The contract's numbers by name; one that is not known here is still a refusal. */
export function reasonOf(number: InactiveReason): Reason {
  return (InactiveReason[number] as Reason | undefined) ?? "UNSPECIFIED";
}

/** Judges what one call asks for, in the contract's order; undefined: the claims meet it. Never remembered. */
export function unmet(claims: Claims, own: readonly string[], required: Requirement | undefined): Inactive | undefined {
  if (required === undefined) return hasOne(claims.audiences, own) ? undefined : refuse("WRONG_AUDIENCE");
  const { audience, scopes, roles } = required;
  const wanted = audience === undefined ? own : audience;
  const fits = typeof wanted === "string" ? claims.audiences.includes(wanted) : hasOne(claims.audiences, wanted);
  if (!fits) return refuse("WRONG_AUDIENCE");
  if (scopes !== undefined && !hasAll(claims.scopes, scopes)) return refuse("MISSING_SCOPE");
  if (roles !== undefined && !hasAll(claims.roles, roles)) return refuse("MISSING_ROLE");
  return undefined;
}

function hasOne(list: readonly string[], wanted: readonly string[]): boolean {
  for (const one of wanted) if (list.includes(one)) return true;
  return false;
}

function hasAll(list: readonly string[], wanted: readonly string[]): boolean {
  for (const one of wanted) if (!list.includes(one)) return false;
  return true;
}
