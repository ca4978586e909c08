/** The programs of the READMEs, as they stand: type-checked, and run against a scripted server. */
import assert from "node:assert/strict";
import { execFile, spawn } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createServer, type AddressInfo } from "node:net";
import { join } from "node:path";
import { test, type TestContext } from "node:test";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";

import { Client, credentials, Metadata, status } from "@grpc/grpc-js";

import { Issuer } from "../src/testing/index.js";
import { complete, eventually, serve, snapshot } from "./support/server.js";

const PACKAGE = fileURLToPath(new URL("../..", import.meta.url));
const SERVICES = "// Add your services here.";
const ECHO = `const text = { requestSerialize: Buffer.from, requestDeserialize: String, responseSerialize: Buffer.from, responseDeserialize: String };
server.addService({ cancel: { path: "/orders.v1.Orders/Cancel", requestStream: false, responseStream: false, ...text } }, { cancel: (call, answer) => answer(null, "cancelled") });
//`;

function programsOf(page: string): string[] {
  return [...readFileSync(join(PACKAGE, page), "utf8").matchAll(/```ts\n(.*?)```/gs)].map((found) => found[1]!);
}

/** A folder within the package, so that the programs find it under its own name. */
function folder(t: TestContext): string {
  const made = mkdtempSync(join(PACKAGE, "build", "readme-"));
  t.after(() => rmSync(made, { recursive: true, force: true }));
  return made;
}

async function freePort(): Promise<number> {
  const server = createServer().listen(0, "127.0.0.1");
  await new Promise((resolve) => server.once("listening", resolve));
  const { port } = server.address() as AddressInfo;
  await new Promise((resolve) => server.close(resolve));
  return port;
}

/** Runs a program beside a server that has completed its verifier's snapshot. */
async function run(t: TestContext, program: string): Promise<{ port: number; token: string }> {
  const issuer = new Issuer();
  const server = await serve(t, issuer);
  const port = await freePort();
  const path = join(folder(t), "main.js");
  const code = program.replace("localhost:50051", server.address).replace("8000", String(port)).replace(SERVICES, ECHO);
  writeFileSync(path, code.replace('"localhost"', '"127.0.0.1"').replace('"localhost:', '"127.0.0.1:'));
  const running = spawn(process.execPath, [path], { stdio: ["ignore", "ignore", "inherit"] });
  t.after(() => running.kill());
  await eventually(() => server.streams.length > 0);
  server.streams[0]!.say(complete(snapshot(true), "c1", 1n));
  return { port, token: issuer.mint({ userId: "u1", scopes: ["orders.write"] }) };
}

test("both pages have the same programs, which type-check; a protected endpoint takes fewer than 15 lines", async (t) => {
  const programs = programsOf("README.md");
  assert.equal(programs.length, 4);
  assert.deepEqual(programsOf("README.zh-CN.md"), programs);
  const made = folder(t);
  programs.forEach((program, i) => writeFileSync(join(made, `p${i}.ts`), program));
  const compilerOptions = { target: "es2023", module: "nodenext", strict: true, noEmit: true, types: ["node"], skipLibCheck: true };
  writeFileSync(join(made, "tsconfig.json"), JSON.stringify({ compilerOptions }));
  const tsc = join(PACKAGE, "node_modules", ".bin", "tsc");
  await promisify(execFile)(tsc, ["-p", made]).catch((error: { stdout: string }) => assert.fail(error.stdout));
  for (const program of programs.slice(0, 3)) {
    const own = program.split("\n").filter((line) => !/^(import .*|\s*\/\/.*|[\s{}();]*)$/.test(line));
    assert.ok(own.length < 15, `${own.length} lines`);
  }
});

for (const [i, name] of ["Express", "Fastify"].entries()) {
  test(`the ${name} program answers 401 without a token, and with one as its user`, async (t) => {
    const { port, token } = await run(t, programsOf("README.md")[i]!);
    const get = (headers: Record<string, string>) => fetch(`http://127.0.0.1:${port}/orders`, { headers }).catch(() => undefined);
    await eventually(async () => (await get({}))?.status === 401);
    assert.equal(await (await get({ authorization: `Bearer ${token}` }))?.text(), "orders of u1");
  });
}

test("the gRPC program refuses a call without a token, and lets one with the scope through", async (t) => {
  const { port, token } = await run(t, programsOf("README.md")[2]!);
  const client = new Client(`127.0.0.1:${port}`, credentials.createInsecure());
  t.after(() => client.close());
  const cancel = (authorization?: string) =>
    new Promise<string | status>((resolve) => {
      const metadata = new Metadata();
      if (authorization !== undefined) metadata.set("authorization", authorization);
      client.makeUnaryRequest("/orders.v1.Orders/Cancel", Buffer.from, String, "7", metadata, (error, answer) => resolve(error?.code ?? answer!));
    });
  await eventually(async () => (await cancel()) === status.UNAUTHENTICATED);
  assert.equal(await cancel(`Bearer ${token}`), "cancelled");
});

test("the test program passes", async (t) => {
  const path = join(folder(t), "orders.test.js");
  writeFileSync(path, programsOf("README.md")[3]!);
  const { NODE_TEST_CONTEXT: _, ...env } = process.env; // else it would report to this run
  const { stdout } = await promisify(execFile)(process.execPath, ["--test", path], { env });
  assert.match(stdout, /^\S+ pass 1$/m);
});
