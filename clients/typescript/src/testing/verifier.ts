import { CannotKnow, refuse, unmet } from "../verdict.js";
import type { Cause, Claims, Reason, Requirement, TokenVerifier, Verdict } from "../verdict.js";
import { newId } from "./issuer.js";

const LIFETIME_S = 7200;

/**
 * A verifier that knows the tokens it was told, and no network. Any other token is refused as BAD_SIGNATURE. What a call
 * requires is judged as a real verifier judges it.
 */
export class FakeVerifier implements TokenVerifier {
  readonly #audience: string;
  readonly #verdicts = new Map<string, Verdict>();
  #cause: Cause | undefined;

  constructor(audience: string) {
    this.#audience = audience;
  }

  /** Makes a token good. What is left out of the claims is filled in; without audiences they get the verifier's. */
  accept(token: string, claims: Partial<Claims> = {}): void {
    const now = Math.floor(Date.now() / 1000);
    const filled: Claims = {
      issuer: "authsvc",
      userId: newId(),
      sessionId: newId(),
      appId: "wx00000000000000d1",
      tokenId: newId(),
      audiences: [this.#audience],
      scopes: [],
      roles: [],
      previousUserIds: [],
      issuedAt: now,
      notBefore: now,
      expiresAt: now + LIFETIME_S,
      position: 0n,
      ...claims,
    };
    this.#verdicts.set(token, { active: true, claims: filled });
  }

  /** Makes a token bad, from now on. */
  refuse(token: string, reason: Reason): void {
    this.#verdicts.set(token, refuse(reason));
  }

  /** Makes every answer "cannot know"; undefined ends that. */
  setUnavailable(cause: Cause | undefined): void {
    this.#cause = cause;
  }

  async verify(token: string, required?: Requirement): Promise<Verdict> {
    return this.check(token, required);
  }

  check(token: string, required?: Requirement): Verdict {
    if (this.#cause !== undefined) throw new CannotKnow(this.#cause);
    const verdict = this.#verdicts.get(token) ?? refuse("BAD_SIGNATURE");
    return (verdict.active && unmet(verdict.claims, [this.#audience], required)) || verdict;
  }
}
