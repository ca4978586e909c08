/** What of a judgement the caller of a service may know: good, one of three coarse answers, or nothing at all. */
import { isInsufficient, type Claims, type Requirement, type TokenVerifier } from "./verdict.js";

/** `no_token`: none, or none that can be told apart. The fine reason is for the verifier's hooks. */
export interface Refused {
  readonly answer: "no_token" | "invalid" | "insufficient" | "unavailable";
}

/** Judges the token of Authorization headers (RFC 6750 section 2.1), of which there must be exactly one. */
export async function judgeHeaders(
  verifier: TokenVerifier,
  headers: readonly unknown[],
  required: Requirement | undefined,
): Promise<{ readonly claims: Claims } | Refused> {
  const header = headers.length === 1 ? headers[0] : undefined;
  const token = typeof header === "string" ? /^bearer +(.*)$/is.exec(header)?.[1] : undefined;
  if (token === undefined) return { answer: "no_token" };
  try {
    const verdict = await verifier.verify(token, required);
    if (verdict.active) return verdict;
    return { answer: isInsufficient(verdict.reason) ? "insufficient" : "invalid" };
  } catch {
    return { answer: "unavailable" }; // whatever it is, it is no verdict
  }
}

/** How long the caller of a service is told to wait. */
export const RETRY_AFTER_S = 1;

const claimsByRequest = new WeakMap<object, Claims>();

/** Puts claims beside a request. */
export function remember(request: object, claims: Claims): void {
  claimsByRequest.set(request, claims);
}

/**
 * The claims of the token that a request came with: of an HTTP request that middleware has let through, or of a gRPC call
 * that the interceptor has. Throws where there are none: the method or route is public, or not guarded at all.
 */
export function claimsOf(request: object): Claims {
  const { metadata } = request as { metadata?: unknown };
  const key = typeof metadata === "object" && metadata !== null ? metadata : request;
  const claims = claimsByRequest.get(request) ?? claimsByRequest.get(key);
  if (claims === undefined) throw new Error("no token was judged for this request");
  return claims;
}
