import { ServerInterceptingCall, status, type Metadata, type ServerInterceptor, type StatusObject } from "@grpc/grpc-js";

import { judgeHeaders, remember, RETRY_AFTER_S, type Refused } from "./answer.js";
import { makeStatus } from "./status.js";
import type { Requirement, TokenVerifier } from "./verdict.js";

/**
 * What methods ask of a token, by full method name ("/orders.v1.Orders/Cancel"), all methods of a service
 * ("/orders.v1.Orders/*") or all ("*"). Of several that match, the longest alone counts. A method without a rule asks for a
 * good token and nothing more: nothing is public by omission.
 */
export type Rules = Readonly<Record<string, Requirement | "public">>;

/** The statuses are the same for everybody: one of each. The fine reason does not leave the server. */
const STATUSES: Readonly<Record<Refused["answer"], StatusObject>> = {
  no_token: makeStatus(status.UNAUTHENTICATED, "the token is not valid", "TOKEN_INVALID"),
  invalid: makeStatus(status.UNAUTHENTICATED, "the token is not valid", "TOKEN_INVALID"),
  insufficient: makeStatus(status.PERMISSION_DENIED, "the token does not allow this", "TOKEN_INSUFFICIENT"),
  unavailable: makeStatus(status.UNAVAILABLE, "the token cannot be judged right now", "NOT_FRESH", RETRY_AFTER_S * 1000),
};

/**
 * Guards the methods of a grpc-js server, unary and streaming: `new Server({ interceptors: [authInterceptor(verifier)] })`.
 * The token comes in the metadata "authorization: Bearer …"; `claimsOf(call)` gives its claims to handlers. Put it first:
 * what stands before it has to hand on the metadata it was given, and not another object.
 *
 * A stream is judged when it is opened; one that lives longer than a token should call `verify` again as it goes.
 */
export function authInterceptor(verifier: TokenVerifier, rules: Rules = {}): ServerInterceptor {
  return (method, call) => {
    const rule = ruleFor(rules, method.path);
    if (rule === "public") return new ServerInterceptingCall(call);
    return new ServerInterceptingCall(call, {
      start: (next) =>
        next({
          onReceiveMetadata: (metadata, goOn) => {
            void admit(verifier, metadata, rule).then((refused) => {
              if (refused === undefined) goOn(metadata);
              else call.sendStatus(refused);
            });
          },
        }),
    });
  };
}

async function admit(verifier: TokenVerifier, metadata: Metadata, rule: Requirement): Promise<StatusObject | undefined> {
  const said = await judgeHeaders(verifier, metadata.get("authorization"), rule);
  if (!("claims" in said)) return STATUSES[said.answer];
  remember(metadata, said.claims);
  return undefined;
}

function ruleFor(rules: Rules, method: string): Requirement | "public" {
  let best = "";
  for (const pattern of Object.keys(rules)) {
    const matches = pattern === method || (pattern.endsWith("*") && method.startsWith(pattern.slice(0, -1)));
    if (matches && pattern.length > best.length) best = pattern;
  }
  return best === "" ? {} : rules[best]!;
}
