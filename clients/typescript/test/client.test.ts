/** AuthClient against a real gRPC server. */
import assert from "node:assert/strict";
import { existsSync, readFileSync } from "node:fs";
import { test, type TestContext } from "node:test";

import { status, type ServiceError } from "@grpc/grpc-js";

import { AuthClient, SERVICE_CONFIG } from "../src/index.js";
import { eventually, serve, type ScriptedServer } from "./support/server.js";

function connect(t: TestContext, server: ScriptedServer): AuthClient {
  const client = new AuthClient(server.address);
  t.after(() => client.close());
  return client;
}

test("Login reaches the server once, whatever happens; what may be repeated is repeated", async (t) => {
  const server = await serve(t);
  const client = connect(t, server);
  await assert.rejects(client.auth.login({ appId: "wx1" }), { code: status.UNAVAILABLE });
  assert.equal(server.count("login"), 1);
  assert.equal((await client.auth.refreshToken({ refreshToken: "r" })).userId, "third time");
  assert.equal(server.count("refreshToken"), 3);
});

test("checks that are asked for at once share calls, equal ones a question; each caller gets its own answer", async (t) => {
  const server = await serve(t);
  const client = connect(t, server);
  server.verify = ({ accessToken }) => ({ outcome: { case: "active", value: { userId: accessToken } } });
  const answers = await Promise.all(Array.from({ length: 300 }, (_, i) => client.auth.verifyToken({ accessToken: `t${i % 100}` })));
  answers.forEach(({ outcome }, i) => assert.equal(outcome.case === "active" && outcome.value.userId, `t${i % 100}`));
  assert.deepEqual(server.batches, [100]);
  assert.equal(server.count("verifyToken"), 0);
});

test("questions that come while calls are under way wait for the next one, and a batch stays below the contract's bound", async (t) => {
  const server = await serve(t);
  const client = connect(t, server);
  let open = () => {};
  const gate = new Promise<void>((resolve) => (open = resolve));
  server.verify = async ({ accessToken }) => {
    await gate;
    return { outcome: { case: "active", value: { userId: accessToken } } };
  };
  const asking = [client.auth.verifyToken({ accessToken: "first" })];
  await eventually(() => server.count("verifyToken") === 1);
  asking.push(client.auth.verifyToken({ accessToken: "second" }));
  await eventually(() => server.count("verifyToken") === 2);
  for (let i = 0; i < 2500; i++) asking.push(client.auth.verifyToken({ accessToken: `t${i}` }));
  open();
  await Promise.all(asking);
  assert.equal(server.count("verifyToken"), 2);
  assert.deepEqual(server.batches.sort((a, b) => b - a), [1000, 1000, 500]);
});

test("one bad question in a batch spoils nobody else's answer", async (t) => {
  const server = await serve(t);
  const client = connect(t, server);
  server.verify = ({ accessToken }) => {
    if (accessToken === "t7") throw { code: status.INVALID_ARGUMENT, details: "scripted" };
    return { outcome: { case: "active", value: {} } };
  };
  const asked = await Promise.allSettled(Array.from({ length: 20 }, (_, i) => client.auth.verifyToken({ accessToken: `t${i}` })));
  assert.deepEqual(asked.flatMap(({ status: how }, i) => (how === "rejected" ? [i] : [])), [7]);
});

test("a call can be cancelled or bounded by its caller, and a closed client answers at once", async (t) => {
  const server = await serve(t);
  const client = connect(t, server);
  server.verify = () => new Promise(() => {});
  const controller = new AbortController();
  const asking = client.auth.verifyToken({ accessToken: "t" }, { signal: controller.signal });
  await eventually(() => server.count("verifyToken") === 1);
  controller.abort();
  await assert.rejects(asking, { code: status.CANCELLED });
  await assert.rejects(client.auth.verifyToken({ accessToken: "t" }, { timeoutMs: 20 }), { code: status.DEADLINE_EXCEEDED });
  const waiting = client.auth.verifyToken({ accessToken: "t" });
  await eventually(() => server.count("verifyToken") >= 2);
  client.close();
  await assert.rejects(waiting, (error: ServiceError) => error.code === status.CANCELLED);
  await assert.rejects(client.auth.verifyToken({ accessToken: "t" }));
});

test("the lock names no registry", () => {
  assert.doesNotMatch(readFileSync(new URL("../../package-lock.json", import.meta.url), "utf8"), /"resolved"/);
});

test("the service config is the shipped one", { skip: shipped() === undefined && "SKIPPED, NOT PASSED: clients/service_config.json is not beside this package" }, () => {
  assert.equal(SERVICE_CONFIG.trim(), shipped()!.trim(), "generate.sh makes src/service_config.ts anew");
});

function shipped(): string | undefined {
  const path = new URL("../../../service_config.json", import.meta.url);
  return existsSync(path) ? readFileSync(path, "utf8") : undefined;
}
