/** The parts by themselves, where the shared vectors do not reach. */
import assert from "node:assert/strict";
import { randomBytes, randomInt } from "node:crypto";
import { test } from "node:test";
import { inspect } from "node:util";

import { TokenCache, VerifiedToken } from "../src/cache.js";
import { SystemClock } from "../src/clock.js";
import { isLocal } from "../src/connection.js";
import { Facts, idOf } from "../src/facts.js";
import { FOREVER } from "../src/instants.js";
import { CannotKnow, Verifier } from "../src/index.js";
import { JsonNumber, parseObject, type JsonValue } from "../src/json.js";
import type { Run } from "../src/packed.js";
import { parseToken } from "../src/token.js";
import { FakeClock, Issuer, keySet } from "../src/testing/index.js";
import { ScriptedConnection, settle } from "./support/scripted.js";

function plain(value: JsonValue): unknown {
  if (value instanceof JsonNumber) return Number(value.text);
  if (Array.isArray(value)) return value.map(plain);
  return typeof value === "symbol" ? "object" : value;
}

function without(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(without);
  return typeof value === "object" && value !== null ? "object" : value;
}

const SEEDS = [
  "{}", '{"a":1}', '{"a":"\\ud83d\\ude00","b":[true,null,-0.5e+3]}', '{"a":{"b":{}},"c":"\\ud800"}', '{"a":01}', '{"a":"\x01"}',
  '{"a":"é\\u00e9"}', "[1]", '{"a":[[[]]]}', '{"a":NaN}', '{"a":"\\ud800\\u0041"}', ' {"a" : "\\n\\t\\"\\\\\\/" , "b":[1 ,2]} ', '{"a":1}x', "",
];

test("what the strict reader takes is JSON for JSON.parse too, with the same values; mutated a thousand times each", () => {
  let taken = 0;
  for (const seed of SEEDS) {
    for (let round = 0; round < 1000; round++) {
      const raw = Buffer.from(seed);
      for (let i = randomInt(3); round > 0 && raw.length > 0 && i > 0; i--) {
        const other = Buffer.from(SEEDS[randomInt(SEEDS.length)]!);
        raw[randomInt(raw.length)] = other[randomInt(Math.max(other.length, 1))] ?? 0x20;
      }
      const members = parseObject(raw);
      if (members === undefined) continue;
      taken++;
      const oracle = JSON.parse(raw.toString()) as Record<string, unknown>;
      const said = new Map([...members].map(([name, value]) => [name, plain(value)]));
      assert.deepEqual(said, new Map(Object.entries(oracle).map(([name, value]) => [name, without(value)])), raw.toString());
    }
  }
  assert.ok(taken > 1000);
});

test("the strict reader refuses what JSON.parse lets through", () => {
  for (const text of ['{"a":1,"a":1}', '{"b":{"a":1,"\\u0061":1}}', '\uFEFF{}', `{"a":${"9".repeat(4301)}}`, `{"a":${"[".repeat(600)}${"]".repeat(600)}}`]) {
    assert.equal(parseObject(Buffer.from(text)), undefined, text.slice(0, 40));
  }
  assert.equal(parseObject(Buffer.from([0x7b, 0x22, 0xc3, 0x28, 0x22, 0x3a, 0x31, 0x7d])), undefined, "no UTF-8");
});

test("scopes are separated by spaces and by nothing else", () => {
  const scopes = ["a\tb", "c\u00a0d", "\u3000e"];
  const claims = parseToken(new Issuer().mint({ scopes: ["", ...scopes, ""] }), new Map())?.claims;
  assert.deepEqual(claims?.scopes, scopes);
});

test("facts say what a plain map says, through merges, whatever the ids have in common", () => {
  for (const withPositions of [false, true]) {
    const prefix = randomBytes(14);
    const makeId = (n: number) => (n % 2 === 0 ? Buffer.concat([prefix, Buffer.from([n >> 8, n])]) : Buffer.from(n.toString().padStart(16, "\xff"), "latin1"));
    const model = new Map<string, { reason: number; until: number; position: bigint }>();
    const learn = (id: Buffer, fact: { reason: number; until: number; position: bigint }) => {
      const held = model.get(id.toString("hex"));
      const stands = held === undefined || (withPositions && fact.position > held.position) ? fact : held;
      model.set(id.toString("hex"), { ...stands, until: Math.max(fact.until, held?.until ?? 0) });
    };
    const draw = () => ({ reason: randomInt(1, 11), until: randomInt(4) === 0 ? FOREVER : randomInt(1, 2000), position: BigInt(randomInt(1000)) });
    const runs: Run[] = [];
    for (let i = 0; i < 300; i++) {
      const fact = draw();
      const ids = Array.from({ length: 10 }, () => makeId(randomInt(2000)));
      runs.push({ ids: Buffer.concat(ids), fact });
      for (const id of ids) learn(id, fact);
    }
    const facts = new Facts(withPositions, runs);
    for (let i = 0; i < 20_000; i++) {
      const [id, fact] = [makeId(randomInt(2000)), draw()];
      facts.add(idOf(id), fact, 0);
      learn(id, fact);
    }
    const check = () => {
      for (let n = 0; n < 2000; n++) {
        const id = makeId(n);
        const held = model.get(id.toString("hex"));
        if (withPositions) {
          for (const position of [0n, 500n, 998n]) {
            assert.equal(facts.reasonAbove(idOf(id), position), held !== undefined && position < held.position ? held.reason : undefined);
          }
        } else {
          assert.equal(facts.reasonOf(idOf(id)), held?.reason);
        }
      }
    };
    check();
    facts.tidy(0);
    check();
    facts.tidy(1000);
    for (const [id, { until }] of model) if (until <= 1000) model.delete(id);
    check();
    assert.equal(facts.size, model.size);
  }
});

test("the cache stays within its bytes, forgets the oldest first, and what is past its end", () => {
  const claims = parseToken(new Issuer().mint(), new Map())!.claims;
  const token = (expiresAt: number) => new VerifiedToken({ kid: "k", alg: "ES256", typ: "at+jwt" }, { ...claims, expiresAt }, 500);
  const cache = new TokenCache(100_000);
  const most = Math.floor(100_000 / token(0).cost);
  for (let n = 0; n < 1000; n++) {
    cache.put(`digest ${n}`, token(n));
    assert.ok(cache.size <= most);
  }
  assert.ok(cache.size >= most - 2);
  assert.ok(cache.get("digest 999") !== undefined && cache.get("digest 0") === undefined);
  cache.sweep(998);
  assert.equal(cache.size, 1);
  new TokenCache(0).put("digest", token(1));
});

test("the clock never goes back", () => {
  const clock = new SystemClock();
  for (let i = 0, last = clock.elapsed(); i < 100_000; i++) {
    const now = clock.elapsed();
    assert.ok(now >= last);
    last = now;
  }
});

test("the clock counts a sleep that the monotonic clock does not, and takes no step of the wall clock for one", async () => {
  const os = (await import("node:os")).default;
  const real = { now: Date.now, uptime: os.uptime };
  try {
    const clock = new SystemClock();
    const before = clock.elapsed();
    Date.now = () => real.now() + 3_600_000;
    assert.ok(clock.elapsed() - before < 60_000, "a step of the wall clock");
    os.uptime = () => real.uptime() + 7200;
    Date.now = () => real.now() + 10_800_000;
    const slept = clock.elapsed() - before;
    assert.ok(slept >= 7_199_000 && slept < 7_260_000, `${slept} ms of a sleep of two hours`);
  } finally {
    Date.now = real.now;
    os.uptime = real.uptime;
  }
});

test("plaintext is for what cannot leave the machine", () => {
  const targets: Record<string, boolean> = {
    "localhost:50051": true, "127.0.0.1:50051": true, "[::1]:50051": true, "::1": true, "dns:///localhost:1": true, "dns:localhost:1": false,
    "unix:/run/authsvc": true, "unix:///run/authsvc": true, "ipv4:127.0.0.1:1,127.0.0.2:1": true, "ipv4:127.0.0.1:1,10.0.0.1:1": false,
    "authsvc:50051": false, "dns:///authsvc:50051": false, "10.0.0.1:1": false, "localhost.example.com:1": false, "": false,
    "ipv6:[::1]:1": true, "dns://8.8.8.8/localhost:1": false, "127.0.0.1.example.com:1": false,
  };
  for (const [target, expected] of Object.entries(targets)) assert.equal(isLocal(target), expected, target);
});

test("no error, however it is printed, holds anything of a token", async () => {
  const connection = new ScriptedConnection();
  connection.keys = keySet(new Issuer());
  const verifier = new Verifier(connection, { audience: "orders", clock: new FakeClock() });
  void verifier.start({ waitMs: 0 });
  await settle();
  const tokens = ["canary", "canary.canary.canary", new Issuer("canary").mint({ userId: "canary" })];
  for (const token of tokens) {
    for (const judge of [() => verifier.verify(token), async () => verifier.check(token)]) {
      const said: unknown = await judge().catch((error: unknown) => error);
      assert.ok(said instanceof CannotKnow || (said as { active: boolean }).active === false);
      assert.doesNotMatch(inspect(said, { depth: 9, showHidden: true }), /canary|Y2FuYXJ5|iss/);
    }
  }
  verifier.stop();
});
