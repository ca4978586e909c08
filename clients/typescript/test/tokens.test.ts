import assert from "node:assert/strict";
import { test } from "node:test";

import { GetJwksResponseSchema, WatchRevocationsResponseSchema } from "../src/authapi/v1/index.js";
import { Verifier } from "../src/index.js";
import { FakeClock } from "../src/testing/clock.js";
import { ScriptedConnection, settle } from "./support/scripted.js";
import { decode, policyOf, readVectors, requirement, verdictOf } from "./support/vectors.js";
import type { VectorMessage, VectorRequire, VectorVerdict } from "./support/vectors.js";

interface TokenCase {
  readonly id: string;
  readonly now_ms: number;
  readonly keys: string;
  readonly key_fetch: string;
  readonly hard_bound_ms: number;
  readonly when_stale: string;
  readonly view: { message: VectorMessage } | null;
  readonly token: string;
  readonly require: VectorRequire;
  readonly expect: VectorVerdict;
}

const file = readVectors<TokenCase>("tokens.json");

// Every token of the shared vectors gets the verdict that the server's own code gives, and again from the cache.
test("tokens.json", { skip: file === undefined && "SKIPPED, NOT PASSED: tokens.json is not beside this package" }, async (t) => {
  for (const one of file!.cases) {
    await t.test(one.id, async () => {
      assert.ok(one.key_fetch === "same" || one.key_fetch === "fails", `unknown key_fetch ${one.key_fetch}`);
      const clock = new FakeClock(one.now_ms - 60_000);
      const connection = new ScriptedConnection();
      connection.keys = decode(GetJwksResponseSchema, file!.key_sets[one.keys]);
      const verifier = new Verifier(connection, {
        audience: one.require.audience,
        hardBoundMs: one.hard_bound_ms,
        whenStale: policyOf(one.when_stale),
        clock,
      });
      void verifier.start({ waitMs: 0 });
      await settle();
      if (one.key_fetch === "fails") connection.keys = undefined;
      clock.advance(60_000);
      await settle();
      if (one.view !== null) connection.stream!.say(decode(WatchRevocationsResponseSchema, one.view.message));
      const required = requirement(one.require);
      assert.deepEqual(await verdictOf(verifier.verify(one.token, required)), one.expect);
      if (one.expect.inactive !== "UNKNOWN_KEY") {
        assert.deepEqual(await verdictOf(verifier.verify(one.token, required)), one.expect);
      }
      verifier.stop();
    });
  }
  t.diagnostic(`${file!.cases.length} cases`);
});
