/** Express and Fastify, by the shapes of their requests and replies: neither is a dependency. */
import type { IncomingMessage, ServerResponse } from "node:http";

import { judgeHeaders, remember, RETRY_AFTER_S, type Refused } from "./answer.js";
import type { Requirement, TokenVerifier } from "./verdict.js";

interface HttpAnswer {
  readonly code: number;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: string;
}

function answerOf(code: number, name: string, reason: string, headers: Readonly<Record<string, string>>): HttpAnswer {
  const always = { "content-type": "application/json", "cache-control": "no-store", "x-content-type-options": "nosniff" };
  return { code, headers: { ...always, ...headers }, body: JSON.stringify({ error: { code: name, reason } }) };
}

/** The challenges are RFC 6750's, section 3: without a token no error is named. The fine reason does not leave the server. */
const ANSWERS: Readonly<Record<Refused["answer"], HttpAnswer>> = {
  no_token: answerOf(401, "UNAUTHENTICATED", "TOKEN_INVALID", { "www-authenticate": "Bearer" }),
  invalid: answerOf(401, "UNAUTHENTICATED", "TOKEN_INVALID", { "www-authenticate": 'Bearer error="invalid_token"' }),
  insufficient: answerOf(403, "PERMISSION_DENIED", "TOKEN_INSUFFICIENT", { "www-authenticate": 'Bearer error="insufficient_scope"' }),
  unavailable: answerOf(503, "UNAVAILABLE", "NOT_FRESH", { "retry-after": String(RETRY_AFTER_S) }),
};

/**
 * Middleware for Express, Connect and whatever hands on node:http's request and response. A bad token is 401, one that is
 * good but not for this 403, and 503 with Retry-After says that nobody can tell right now; the bodies have the shape of
 * authsvc's own edge. `claimsOf(request)` gives the claims to handlers. Guard the whole app, and single routes once more
 * where they ask for scopes or roles: a token seen before costs about a microsecond.
 */
export function expressAuth<Request extends IncomingMessage, Response extends ServerResponse>(
  verifier: TokenVerifier,
  required?: Requirement,
): (request: Request, response: Response, next: () => void) => Promise<void> {
  return async (request, response, next) => {
    const said = await judgeHeaders(verifier, authorizationOf(request), required);
    if ("claims" in said) {
      remember(request, said.claims);
      next();
      return;
    }
    const { code, headers, body } = ANSWERS[said.answer];
    response.writeHead(code, headers).end(body);
  };
}

/** What is used of a Fastify reply. */
interface Reply {
  code(code: number): Reply;
  headers(headers: Record<string, string>): Reply;
  send(body: string): unknown;
}

/** The same as a Fastify hook: `app.addHook("onRequest", fastifyAuth(verifier))`, or `{ onRequest: … }` of one route. */
export function fastifyAuth(
  verifier: TokenVerifier,
  required?: Requirement,
): (request: { readonly raw: IncomingMessage }, reply: Reply) => Promise<unknown> {
  return async (request, reply) => {
    const said = await judgeHeaders(verifier, authorizationOf(request.raw), required);
    if ("claims" in said) {
      remember(request, said.claims);
      return undefined;
    }
    const { code, headers, body } = ANSWERS[said.answer];
    return reply.code(code).headers({ ...headers }).send(body);
  };
}

/** All of them: `headers.authorization` silently drops a second one. HTTP/2 has no list, and no second one. */
function authorizationOf(request: IncomingMessage): readonly unknown[] {
  const distinct = request.headersDistinct as NodeJS.Dict<string[]> | undefined;
  if (distinct !== undefined) return distinct["authorization"] ?? [];
  const { authorization } = request.headers;
  return authorization === undefined ? [] : [authorization];
}
