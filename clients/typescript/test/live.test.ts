/** Against a real authsvc with its sandbox, where the repository has one installed. */
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { test, type TestContext } from "node:test";
import { fileURLToPath } from "node:url";

import { AuthClient, errorInfo, Verifier } from "../src/index.js";
import { eventually } from "./support/server.js";

const COMMAND = fileURLToPath(new URL("../../../../.venv/bin/authsvc", import.meta.url));
const APP = "wx00000000000000d1"; // the sandbox's first

/** Starts a real authsvc in a folder of its own, and returns its addresses. */
async function authsvc(t: TestContext): Promise<{ grpc: string; sandbox: string }> {
  const folder = mkdtempSync(join(tmpdir(), "authsvc-ts-"));
  const ready = join(folder, "ready.json");
  const ports = ["--grpc-port", "--http-port", "--sandbox-port", "--ops-port"].flatMap((port) => [port, "0"]);
  const words = ["dev", "--quiet", "--data-dir", join(folder, "data"), "--ready-file", ready, "--drain-wait", "0", ...ports];
  const service = spawn(COMMAND, words, { cwd: folder, stdio: ["ignore", "ignore", "pipe"] });
  let log = "";
  service.stderr.on("data", (chunk) => (log += chunk));
  const ended = once(service, "exit");
  t.after(async () => {
    service.kill("SIGINT");
    const timer = setTimeout(() => service.kill("SIGKILL"), 30_000);
    await ended;
    clearTimeout(timer);
    rmSync(folder, { recursive: true, force: true });
  });
  let given: Record<string, string> | undefined;
  await eventually(() => {
    assert.equal(service.exitCode, null, log);
    given = existsSync(ready) ? (parsed(readFileSync(ready, "utf8")) as Record<string, string> | undefined) : undefined;
    return given !== undefined;
  });
  const withScheme = (url: string) => (url.startsWith("http") ? url : `http://${url}`);
  return { grpc: given!["grpc"]!.replace("http://", ""), sandbox: withScheme(given!["sandbox"]!) };
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined; // half written
  }
}

async function login(client: AuthClient, sandbox: string, user: string) {
  const reply = await fetch(`${sandbox}/sandbox/v1/codes`, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({ app_id: APP, user }),
  });
  const { code } = (await reply.json()) as { code: string };
  return client.auth.login({ appId: APP, credential: { case: "miniProgramCode", value: code } });
}

/** The program of the harness, spoken to by lines. */
async function program(t: TestContext, target: string) {
  const path = fileURLToPath(new URL("../conformance/live.js", import.meta.url));
  const process_ = spawn(process.execPath, [path, "--target", target, "--audience", APP], { stdio: ["pipe", "pipe", "inherit"] });
  t.after(() => process_.kill());
  const lines = createInterface({ input: process_.stdout })[Symbol.asyncIterator]();
  const hear = async () => (await lines.next()).value as string;
  const ask = (line: string) => {
    process_.stdin.write(`${line}\n`);
    return hear();
  };
  const quit = async () => {
    process_.stdin.write("quit\n");
    return (await once(process_, "exit"))[0] as number;
  };
  return { hear, ask, quit };
}

const skip = !existsSync(COMMAND) && "SKIPPED, NOT PASSED: no authsvc in the repository's .venv (make install); nothing was tested against a live server";

test("a login's token is good with its claims, and a revocation ends it, by session and by user", { skip }, async (t) => {
  const { grpc, sandbox } = await authsvc(t);
  const client = new AuthClient(grpc);
  const verifier = new Verifier(grpc, { audience: APP });
  t.after(() => {
    client.close();
    verifier.stop();
  });
  assert.equal(await verifier.start({ waitMs: 30_000 }), true);
  const live = await program(t, grpc);
  assert.equal(await live.hear(), "ready");
  for (const reason of ["SESSION_REVOKED", "USER_REVOKED"]) {
    const { userId, sessionId, openid, tokens } = await login(client, sandbox, "alice");
    const token = tokens!.accessToken;
    const verdict = await verifier.verify(token);
    assert.ok(verdict.active);
    assert.deepEqual([verdict.claims.userId, verdict.claims.sessionId, verdict.claims.openid], [userId, sessionId, openid]);
    assert.equal(await live.ask(`watch ${reason} ${token}`), `watching ${reason}`);
    assert.equal(await live.ask(`verify ${token}`), "active");
    const ofUser = reason === "USER_REVOKED";
    const { position } = await client.auth.revoke({ target: ofUser ? { case: "user", value: { userId } } : { case: "sessionId", value: sessionId } });
    assert.equal(await verifier.waitFor(position, 30_000), true);
    assert.deepEqual(verifier.check(token), { active: false, reason, endReason: "ADMIN" });
    assert.match(await live.hear(), new RegExp(`^refused ${reason} ${reason} \\d+(\\.\\d{1,3})?$`));
    assert.equal(await live.ask(`verify ${token}`), `inactive ${reason}`);
    const remote = await client.auth.verifyToken({ accessToken: token, audience: APP });
    assert.equal(remote.outcome.case, "inactive");
  }
  assert.equal(await live.ask("verify junk"), "inactive MALFORMED");
  assert.match(await live.ask("age"), /^age \d+(\.\d+)?$/);
  assert.match(await live.ask("stats"), /^stats \{.*\}$/);
  assert.match(await live.ask("dance"), /^error /);
  assert.equal(await live.quit(), 0);
  const failure = await client.auth.refreshToken({ refreshToken: "nonsense" }).catch((error: unknown) => error);
  assert.equal(errorInfo(failure)?.reason, "REFRESH_TOKEN_INVALID");
});
