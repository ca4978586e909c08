/** What a verifier costs. Rates count this process's processor time, which other work on the machine leaves alone. */
import { createPublicKey, randomBytes, verify } from "node:crypto";

import { create } from "@bufbuild/protobuf";

import { WatchRevocationsResponseSchema, type WatchRevocationsResponse } from "../src/authapi/v1/index.js";
import { Verifier, type Requirement } from "../src/index.js";
import { Issuer, keySet } from "../src/testing/index.js";
import { ScriptedConnection, settle } from "../test/support/scripted.js";

const TOKENS = 10_000;
const REVOCATIONS = 1_000_000;
const RUNS = 5;

const issuer = new Issuer();
const ids = { openid: "oGZUI0egBJY1zhBYw2KhdUfwVJJE", scopes: ["orders.read", "orders.write"], position: 77n };

function cpuSeconds(): number {
  const { user, system } = process.cpuUsage();
  return (user + system) / 1e6;
}

function mebibytes(): number {
  globalThis.gc!();
  globalThis.gc!();
  const { heapUsed, arrayBuffers } = process.memoryUsage();
  return (heapUsed + arrayBuffers) / 2 ** 20;
}

/** Processor time of one round in microseconds: the best of some runs, because garbage and neighbours only ever add. */
function measure(rounds: number, work: (round: number) => void): number {
  let best = Infinity;
  for (let run = 0; run <= RUNS; run++) {
    const before = cpuSeconds();
    for (let i = 0; i < rounds; i++) work(i);
    if (run > 0) best = Math.min(best, (cpuSeconds() - before) / rounds);
  }
  return best * 1e6;
}

function whole(ids: Uint8Array): WatchRevocationsResponse {
  const usefulUntil = { seconds: BigInt(Math.floor(Date.now() / 1000) + 3600) };
  return create(WatchRevocationsResponseSchema, {
    body: { case: "snapshotPart", value: { sessions: ids.length > 0 ? [{ ids, usefulUntil }] : [], last: true } },
    completeThrough: { value: Buffer.from("c") },
    positionThrough: Buffer.alloc(8),
    age: {},
  });
}

async function ready(cacheBytes: number, revoked: Uint8Array): Promise<Verifier> {
  const connection = new ScriptedConnection();
  connection.keys = keySet(issuer);
  const verifier = new Verifier(connection, { audience: "orders", hardBoundMs: 300_000, whenStale: "unavailable", cacheBytes });
  void verifier.start({ waitMs: 0 });
  await settle();
  connection.stream!.say(whole(revoked));
  return verifier;
}

/** Tokens as they come off a wire: each time another string, whose hash V8 has not seen. */
function warm(verifier: Verifier, tokens: readonly Buffer[], rounds: number, required?: Requirement): number {
  const reading = measure(rounds, (i) => void tokens[i % tokens.length]!.toString("latin1").length);
  const checking = measure(rounds, (i) => void verifier.check(tokens[i % tokens.length]!.toString("latin1"), required));
  return 1 / (checking - reading);
}

function say(what: string, figure: string): void {
  console.log(`${what.padEnd(72)}${figure}`);
}

const million = randomBytes(16 * REVOCATIONS);
const tokens = Array.from({ length: TOKENS }, () => Buffer.from(issuer.mint(ids)));

const one = await ready(64 << 20, new Uint8Array());
say("warm check, one token", `${warm(one, tokens.slice(0, 1), 200_000).toFixed(2)} M/s`);
one.stop();

const before = mebibytes();
const began = performance.now();
const busy = await ready(64 << 20, million);
const took = performance.now() - began;
say(`${REVOCATIONS.toLocaleString("en")} live session revocations`, `${(mebibytes() - before).toFixed(1)} MiB, taken in ${took.toFixed(0)} ms`);
const beforeTokens = mebibytes();
const texts = tokens.reduce((sum, token) => sum + token.length, 0);
for (const token of tokens) busy.check(token.toString("latin1"));
say("a remembered token, without the length of its text", `${(((mebibytes() - beforeTokens) * 2 ** 20 - texts) / TOKENS).toFixed(0)} bytes`);
say(`warm, ${TOKENS.toLocaleString("en")} tokens in turn, these revocations, a scope`, `${warm(busy, tokens, 200_000, { scopes: ["orders.write"] }).toFixed(2)} M/s`);
busy.stop();

const none = await ready(0, new Uint8Array());
const token = tokens[0]!.toString("latin1");
const firstSeen = measure(5000, () => void none.check(token));
const cut = token.lastIndexOf(".");
const key = createPublicKey({ key: issuer.jwk(), format: "jwk" });
const [signed, signature] = [Buffer.from(token.slice(0, cut)), Buffer.from(token.slice(cut + 1), "base64url")];
const bare = measure(5000, () => void verify("sha256", signed, { key, dsaEncoding: "ieee-p1363" }, signature));
say("first-seen ES256 token; the bare signature check", `${firstSeen.toFixed(1)} µs; ${bare.toFixed(1)} µs`);
none.stop();
