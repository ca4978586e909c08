/** A verifier against a real gRPC server: what its stream does, and what it decides meanwhile. */
import assert from "node:assert/strict";
import { test } from "node:test";

import { status } from "@grpc/grpc-js";

import { CannotKnow, GrpcConnection, Verifier } from "../src/index.js";
import { Issuer } from "../src/testing/index.js";
import { active, bytesOf, changes, complete, eventually, GO_AWAY, HEARTBEAT, serve, Site, snapshot, userRevoked } from "./support/server.js";
import { verdictOf } from "./support/server.js";

test("a revocation on the stream refuses tokens judged before, and waitFor tells when it has come", async (t) => {
  const site = await Site.open(t);
  const stream = await site.ready();
  const token = site.issuer.mint({ userId: "u1", position: 1n });
  assert.equal(await site.verdict(token), "active");
  const reached = site.verifier.waitFor(bytesOf(7n), 60_000);
  stream.say(complete(changes(userRevoked("u1", 7n)), "c7", 7n));
  assert.equal(await reached, true);
  assert.deepEqual(site.verifier.check(token), { active: false, reason: "USER_REVOKED", endReason: "ADMIN" });
  assert.equal(await site.verdict(site.issuer.mint({ userId: "u1", position: 7n })), "active");
});

test("waitFor gives up in time", async (t) => {
  const site = await Site.open(t);
  await site.ready();
  const reached = site.verifier.waitFor(9n, 100);
  site.clock.advance(100);
  assert.equal(await reached, false);
});

test("positions are compared as 64-bit numbers", async (t) => {
  const site = await Site.open(t);
  const high = 2n ** 63n + 1n;
  await site.ready(userRevoked("u1", high));
  assert.equal(await site.verdict(site.issuer.mint({ userId: "u1", position: high - 1n })), "USER_REVOKED");
  assert.equal(await site.verdict(site.issuer.mint({ userId: "u1", position: high })), "active");
});

test("before the first snapshot is whole the verifier cannot know, whatever its parts say", async (t) => {
  const site = await Site.open(t, { whenStale: "unavailable" });
  const token = site.issuer.mint();
  const stream = await site.next();
  stream.say(snapshot(false, userRevoked("u1", 7n)));
  await site.within(async () => (await site.verdict(token)) === "no_snapshot"); // and no longer unknown_key
  assert.equal(site.verifier.ageMs, undefined);
  stream.say(complete(snapshot(true), "c1", 1n));
  await site.within(async () => (await site.verdict(token)) === "active");
});

test("a cut stream is opened again with the last cursor, and what was known decides in the meantime", async (t) => {
  const site = await Site.open(t);
  const cut = await site.ready();
  const token = site.issuer.mint({ userId: "u1" });
  cut.end(status.INTERNAL);
  const stream = await site.next();
  assert.equal(stream.cursor, "c1");
  assert.equal(await site.verdict(token), "active");
  stream.say(complete(changes(userRevoked("u1", 9n)), "c9", 9n));
  await site.within(async () => (await site.verdict(token)) === "USER_REVOKED");
});

test("a server that says GoAway is left at once, without back-off, with the cursor of its last word", async (t) => {
  const site = await Site.open(t);
  const stream = await site.ready();
  stream.say(complete(GO_AWAY, "c2", 2n));
  assert.equal((await site.nextAtOnce()).cursor, "c2");
});

test("a cursor that is too old leads to a snapshot, which replaces what was known once it is whole", async (t) => {
  const site = await Site.open(t);
  const old = site.issuer.mint({ userId: "old" });
  const young = site.issuer.mint({ userId: "young" });
  const first = await site.ready(userRevoked("old", 1n));
  first.end(status.OUT_OF_RANGE);
  const stream = await site.nextAtOnce();
  assert.equal(stream.cursor, "");
  stream.say(snapshot(false, userRevoked("young", 3n)));
  assert.equal(await site.verdict(old), "USER_REVOKED");
  assert.equal(await site.verdict(young), "active");
  stream.say(complete(snapshot(true), "n1", 3n));
  await site.within(async () => (await site.verdict(young)) === "USER_REVOKED");
  assert.equal(await site.verdict(old), "active");
});

test("a watcher that was too slow resumes", async (t) => {
  const site = await Site.open(t);
  (await site.ready()).end(status.RESOURCE_EXHAUSTED);
  assert.equal((await site.next()).cursor, "c1");
});

test("a stream that says nothing for 3 s is given up; a heartbeat keeps one alive", async (t) => {
  const site = await Site.open(t);
  const stream = await site.ready();
  for (let round = 0; round < 5; round++) {
    for (let i = 0; i < 20; i++) site.clock.advance(100);
    stream.say(complete(HEARTBEAT, "c1", 1n));
    await eventually(() => site.verifier.ageMs === 0);
  }
  await site.next();
  await eventually(() => stream.isGone);
});

test("a verifier whose machine slept beyond its bound cannot know, and goes on from its cursor on a new stream", async (t) => {
  const site = await Site.open(t, { whenStale: "unavailable" });
  await site.ready();
  const token = site.issuer.mint();
  site.clock.advance(60_000);
  assert.equal(await site.verdict(token), "stale");
  const stream = await site.next();
  assert.equal(stream.cursor, "c1");
  stream.say(complete(HEARTBEAT, "c1", 1n));
  await site.within(async () => (await site.verdict(token)) === "active");
});

test("a replica that stops for good is replaced by another, on which the verifier goes on from its cursor", async (t) => {
  const site = await Site.open(t);
  const second = await serve(t, site.issuer);
  const first = site.server;
  const both = `ipv4:${first.address},${second.address}`;
  const verifier = new Verifier(both, { audience: "orders", clock: site.clock });
  t.after(() => verifier.stop());
  void verifier.start({ waitMs: 0 });
  const onFirst = first.streams.length;
  await site.within(() => first.streams.length > onFirst || second.streams.length > 0);
  const [from, to] = second.streams.length > 0 ? [second, first] : [first, second];
  from.streams.at(-1)!.say(complete(snapshot(true), "c1", 1n));
  await site.within(() => verifier.isReady);
  const before = to.streams.length;
  from.stop();
  await site.within(() => to.streams.slice(before).some((stream) => stream.cursor === "c1"));
  const token = site.issuer.mint({ userId: "u1" });
  assert.equal(await verdictOf(verifier, token), "active");
  to.streams.filter((stream) => stream.cursor === "c1").at(-1)!.say(complete(changes(userRevoked("u1", 9n)), "c9", 9n));
  await site.within(async () => (await verdictOf(verifier, token)) === "USER_REVOKED");
});

for (const [whenStale, expected] of [["unavailable", "stale"], ["accept", "active"], ["ask", "active"]] as const) {
  test(`authsvc away for longer than the hard bound: ${whenStale}; the dead stay dead`, async (t) => {
    const site = await Site.open(t, { whenStale });
    await site.ready(userRevoked("dead", 9n));
    site.server.verify = active(0);
    const token = site.issuer.mint();
    assert.equal(await site.verdict(token), "active");
    site.clock.sleep(30_001);
    assert.equal(await site.verdict(token), expected);
    assert.equal(await site.verdict(site.issuer.mint({ userId: "dead" })), "USER_REVOKED");
    if (whenStale === "accept") assert.equal(site.verifier.check(token).active, true);
    else assert.throws(() => site.verifier.check(token), CannotKnow);
    assert.equal(site.server.count("verifyToken"), whenStale === "ask" ? 1 : 0);
  });
}

test("a server that is itself beyond the bound, and no younger, decides nothing, and is left alone for a second", async (t) => {
  const site = await Site.open(t);
  await site.ready();
  site.server.verify = active(3600);
  const token = site.issuer.mint();
  site.clock.sleep(60_000);
  assert.equal(await site.verdict(token), "stale");
  assert.equal(await site.verdict(token), "stale");
  assert.equal(site.server.count("verifyToken"), 1);
  site.server.verify = active(0);
  site.clock.sleep(1000);
  assert.equal(await site.verdict(token), "active");
});

test("a verifier that never had keys lets the server decide, and judges scopes by the claims it vouches for", async (t) => {
  const site = await Site.open(t);
  site.server.keys = undefined;
  site.server.verify = active(0);
  const verifier = new Verifier(site.server.address, { audience: "orders", clock: site.clock });
  t.after(() => verifier.stop());
  void verifier.start({ waitMs: 0 });
  const token = site.issuer.mint({ scopes: ["read"] });
  assert.equal(await verdictOf(verifier, token, { scopes: ["read"] }), "active");
  assert.equal(await verdictOf(verifier, token, { scopes: ["write"] }), "MISSING_SCOPE");
  assert.equal(await verdictOf(verifier, token, { audience: "elsewhere" }), "WRONG_AUDIENCE");
});

test("ten thousand tokens of unknown keys cost one read of the keys in 10 s, and no good token suffers", async (t) => {
  const site = await Site.open(t);
  await site.ready();
  const good = site.issuer.mint();
  for (let i = 0; i < 20; i++) site.clock.advance(500);
  const strangers = Array.from({ length: 50 }, () => new Issuer("authsvc", () => site.clock.now()).mint());
  const before = site.server.keyReads;
  const said = await Promise.all(Array.from({ length: 10_000 }, (_, i) => site.verdict(strangers[i % 50]!)));
  assert.deepEqual([...new Set(said)].filter((word) => word !== "UNKNOWN_KEY" && word !== "unknown_key"), []);
  assert.ok(said.includes("UNKNOWN_KEY"));
  assert.equal(site.server.keyReads, before + 1);
  assert.equal(await site.verdict(good), "active");
});

test("the last known good keys serve on while reads fail", async (t) => {
  const site = await Site.open(t, { whenStale: "accept" });
  await site.ready();
  site.server.keys = undefined;
  const before = site.server.keyReads;
  await eventually(() => {
    site.clock.advance(10_000);
    return site.server.keyReads > before + 1;
  });
  assert.equal(await site.verdict(site.issuer.mint()), "active");
});

test("a stopped verifier cannot know, stopping twice is harmless, and a connection of the caller's stays open", async (t) => {
  const site = await Site.open(t);
  const connection = new GrpcConnection(site.server.address);
  t.after(() => connection.close());
  const verifier = new Verifier(connection, { audience: "orders" });
  assert.equal(await verdictOf(verifier, site.issuer.mint()), "not_running");
  void verifier.start({ waitMs: 0 });
  verifier.stop();
  verifier.stop();
  assert.equal(await verdictOf(verifier, site.issuer.mint()), "not_running");
  await assert.rejects(verifier.start(), /not started again/);
  assert.equal((await connection.getJwks()).issuer, "authsvc");
});

test("hooks hear of everything, and one that throws breaks nothing", async (t) => {
  const heard = new Set<string>();
  const hear = (name: string) => () => {
    heard.add(name);
    throw new Error("a broken hook");
  };
  const hooks = Object.fromEntries(["checked", "keysRead", "streamOpened", "streamEnded", "asked"].map((name) => [name, hear(name)]));
  const site = await Site.open(t, { hooks });
  const stream = await site.ready();
  site.server.verify = active(0);
  site.clock.sleep(40_000);
  assert.equal(await site.verdict(site.issuer.mint()), "active");
  stream.end(status.INTERNAL);
  await site.next();
  assert.deepEqual([...heard].sort(), ["asked", "checked", "keysRead", "streamEnded", "streamOpened"]);
});

test("there is no verifier without an audience, nor with a bound or a policy outside of the contract's", () => {
  const wrong: object[] = [
    { audience: "" },
    { audience: [] },
    {},
    { audience: "orders", hardBoundMs: 0 },
    { audience: "orders", hardBoundMs: 301_000 },
    { audience: "orders", hardBoundMs: Number.NaN },
    { audience: "orders", whenStale: "never" },
  ];
  for (const options of wrong) assert.throws(() => new Verifier("localhost:1", options as { audience: string }));
});
