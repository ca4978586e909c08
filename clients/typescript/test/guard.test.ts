/** Interceptor and middleware over real servers: every kind of request gets its one coarse answer. */
import assert from "node:assert/strict";
import http from "node:http";
import type { AddressInfo } from "node:net";
import { test, type TestContext } from "node:test";

import { Client, credentials, Metadata, Server, ServerCredentials, status, type ServiceError } from "@grpc/grpc-js";
import express from "express";
import fastify from "fastify";

import { authInterceptor, claimsOf, errorInfo, expressAuth, fastifyAuth, Verifier, type Cause, type Rules } from "../src/index.js";
import { FakeVerifier, Issuer, newId } from "../src/testing/index.js";
import { complete, serve, snapshot, verdictOf } from "./support/server.js";

function fakes(cause?: Cause): FakeVerifier {
  const fake = new FakeVerifier("orders");
  fake.accept("good", { userId: "u1", scopes: ["read"] });
  fake.accept("elsewhere", { audiences: ["billing"] });
  fake.refuse("expired", "EXPIRED");
  fake.setUnavailable(cause);
  return fake;
}

interface Case {
  readonly name: string;
  readonly authorization: string[];
  readonly cause?: Cause;
  readonly code: status;
  readonly http: number;
  readonly challenge?: string;
  readonly reason?: string;
}

const INVALID = { code: status.UNAUTHENTICATED, http: 401, reason: "TOKEN_INVALID" };
const CASES: readonly Case[] = [
  { name: "good", authorization: ["Bearer good"], code: status.OK, http: 200 },
  { name: "scheme in capitals", authorization: ["BEARER good"], code: status.OK, http: 200 },
  { name: "no header", authorization: [], challenge: "Bearer", ...INVALID },
  { name: "another scheme", authorization: ["Basic good"], challenge: "Bearer", ...INVALID },
  { name: "unknown", authorization: ["Bearer junk"], challenge: 'Bearer error="invalid_token"', ...INVALID },
  { name: "expired", authorization: ["Bearer expired"], challenge: 'Bearer error="invalid_token"', ...INVALID },
  {
    name: "other audience",
    authorization: ["Bearer elsewhere"],
    code: status.PERMISSION_DENIED,
    http: 403,
    challenge: 'Bearer error="insufficient_scope"',
    reason: "TOKEN_INSUFFICIENT",
  },
  { name: "cannot know", authorization: ["Bearer good"], cause: "stale", code: status.UNAVAILABLE, http: 503, reason: "NOT_FRESH" },
];

/** A service with a unary and a streaming method: both answer with whose token it was. */
class Greeter {
  reached = 0;
  readonly #client: Client;

  private constructor(port: number) {
    this.#client = new Client(`127.0.0.1:${port}`, credentials.createInsecure());
  }

  static async open(t: TestContext, verifier: FakeVerifier, rules?: Rules): Promise<Greeter> {
    const server = new Server({ interceptors: [authInterceptor(verifier, rules)] });
    const text = { requestSerialize: Buffer.from, requestDeserialize: String, responseSerialize: Buffer.from, responseDeserialize: String };
    const method = (name: string, responseStream: boolean) => ({ path: `/greeter.v1.Greeter/${name}`, requestStream: false, responseStream, ...text });
    const greeting = (call: object) => {
      greeter.reached++;
      try {
        return claimsOf(call).userId;
      } catch {
        return "nobody";
      }
    };
    server.addService({ greet: method("Greet", false), follow: method("Follow", true) }, {
      greet: (call: object, callback: (error: null, answer: string) => void) => callback(null, greeting(call)),
      follow: (call: NodeJS.WritableStream) => {
        call.write(greeting(call));
        call.end();
      },
    });
    const port = await new Promise<number>((resolve, reject) => {
      server.bindAsync("127.0.0.1:0", ServerCredentials.createInsecure(), (error, bound) => (error ? reject(error) : resolve(bound)));
    });
    const greeter = new Greeter(port);
    t.after(() => {
      greeter.#client.close();
      server.forceShutdown();
    });
    return greeter;
  }

  greet(authorization: string[]): Promise<string | ServiceError> {
    return new Promise((resolve) => {
      this.#client.makeUnaryRequest("/greeter.v1.Greeter/Greet", Buffer.from, String, "hi", metadataOf(authorization), (error, answer) => resolve(error ?? answer!));
    });
  }

  follow(authorization: string[]): Promise<string | ServiceError> {
    return new Promise((resolve) => {
      const call = this.#client.makeServerStreamRequest("/greeter.v1.Greeter/Follow", Buffer.from, String, "hi", metadataOf(authorization));
      call.on("data", resolve);
      call.on("error", resolve);
      call.on("end", () => resolve("nothing"));
    });
  }
}

function metadataOf(authorization: string[]): Metadata {
  const metadata = new Metadata();
  for (const value of authorization) metadata.add("authorization", value);
  return metadata;
}

for (const one of CASES) {
  test(`gRPC, unary and streaming: ${one.name}`, async (t) => {
    const greeter = await Greeter.open(t, fakes(one.cause));
    for (const said of [await greeter.greet(one.authorization), await greeter.follow(one.authorization)]) {
      if (typeof said === "string") {
        assert.deepEqual([status.OK, "u1"], [one.code, said]);
        continue;
      }
      assert.equal(said.code, one.code);
      assert.equal(errorInfo(said)?.reason, one.reason);
      assert.equal(errorInfo(said)?.retryAfterMs, one.http === 503 ? 1000 : undefined);
      assert.equal(greeter.reached, 0, "no handler saw a refused call");
    }
  });
}

test("the longest matching rule alone counts, a method without a rule asks for a token, and only what is said is public", async (t) => {
  const [greet, follow] = ["/greeter.v1.Greeter/Greet", "/greeter.v1.Greeter/Follow"];
  const token = ["Bearer good"];
  const cases: [string, Rules, string[], string | status][] = [
    ["public method", { [greet]: "public" }, [], "nobody"],
    ["public service", { "/greeter.v1.Greeter/*": "public" }, [], "nobody"],
    ["another is public", { [follow]: "public" }, [], status.UNAUTHENTICATED],
    ["half a name", { "/greeter.v1.Greeter/Gre": "public" }, [], status.UNAUTHENTICATED],
    ["scope held", { [greet]: { scopes: ["read"] } }, token, "u1"],
    ["scope not held", { [greet]: { scopes: ["write"] } }, token, status.PERMISSION_DENIED],
    ["role not held", { "*": { roles: ["admin"] } }, token, status.PERMISSION_DENIED],
    ["longest, in any order", { [greet]: { scopes: ["write"] }, "*": "public" }, token, status.PERMISSION_DENIED],
  ];
  for (const [name, rules, authorization, expected] of cases) {
    const said = await (await Greeter.open(t, fakes(), rules)).greet(authorization);
    assert.equal(typeof said === "string" ? said : said.code, expected, name);
  }
});

/** What an HTTP server answers to headers as they are written. */
function get(port: number, authorization: string[]): Promise<{ code: number; headers: http.IncomingHttpHeaders; body: string }> {
  return new Promise((resolve, reject) => {
    const headers = ["host", "localhost", ...authorization.flatMap((value) => ["authorization", value])];
    const request = http.get({ port, host: "127.0.0.1", path: "/orders", headers, agent: false }, async (response) => {
      let body = "";
      for await (const chunk of response.setEncoding("utf8")) body += chunk;
      resolve({ code: response.statusCode!, headers: response.headers, body });
    });
    request.on("error", reject);
  });
}

const HOSTS: Readonly<Record<string, (t: TestContext, verifier: FakeVerifier) => Promise<number>>> = {
  express: async (t, verifier) => {
    const app = express();
    app.get("/orders", expressAuth(verifier), (request, response) => void response.send(claimsOf(request).userId));
    const server = app.listen(0, "127.0.0.1");
    t.after(() => server.close());
    await new Promise((resolve) => server.once("listening", resolve));
    return (server.address() as AddressInfo).port;
  },
  fastify: async (t, verifier) => {
    const app = fastify();
    app.addHook("onRequest", fastifyAuth(verifier));
    app.get("/orders", async (request) => claimsOf(request).userId);
    t.after(() => app.close());
    await app.listen({ port: 0, host: "127.0.0.1" });
    return (app.server.address() as AddressInfo).port;
  },
};

const TWICE: Case = { name: "two headers", authorization: ["Bearer good", "Bearer good"], challenge: "Bearer", ...INVALID };

for (const [host, open] of Object.entries(HOSTS)) {
  for (const one of [...CASES, TWICE]) {
    test(`${host}: ${one.name}`, async (t) => {
      const { code, headers, body } = await get(await open(t, fakes(one.cause)), one.authorization);
      assert.equal(code, one.http);
      assert.equal(headers["www-authenticate"], one.challenge);
      assert.equal(headers["retry-after"], one.http === 503 ? "1" : undefined);
      if (one.http === 200) {
        assert.equal(body, "u1");
        return;
      }
      assert.equal(headers["cache-control"], "no-store");
      assert.equal((JSON.parse(body) as { error: { reason: string } }).error.reason, one.reason);
    });
  }
}

test("a route may ask for more than the app around it", async (t) => {
  const app = express();
  app.use(expressAuth(fakes()), expressAuth(fakes(), { scopes: ["write"] }));
  const server = app.listen(0, "127.0.0.1");
  t.after(() => server.close());
  await new Promise((resolve) => server.once("listening", resolve));
  assert.equal((await get((server.address() as AddressInfo).port, ["Bearer good"])).code, 403);
});

test("where nothing was judged there are no claims", () => {
  assert.throws(() => claimsOf({}), /no token was judged/);
});

test("minted tokens are good for a real verifier, with every claim in its place", async (t) => {
  const issuer = new Issuer();
  const server = await serve(t, issuer);
  const verifier = new Verifier(server.address, { audience: "orders" });
  t.after(() => verifier.stop());
  const starting = verifier.start({ waitMs: 30_000 });
  while (server.streams.length === 0) await new Promise((resolve) => setImmediate(resolve));
  server.streams[0]!.say(complete(snapshot(true), "c1", 1n));
  assert.equal(await starting, true);
  const now = Math.floor(Date.now() / 1000);
  const claims = {
    issuer: "authsvc", userId: "u1", sessionId: newId(), appId: "wx1", tokenId: "t1", openid: "o1", externalId: "e1",
    audiences: ["orders", "billing"], scopes: ["read", "write"], roles: ["clerk"], previousUserIds: ["u0"],
    issuedAt: now, notBefore: now, expiresAt: now + 60, position: 2n ** 64n - 1n,
  };
  const required = { scopes: ["write"], roles: ["clerk"] };
  assert.deepEqual(await verifier.verify(issuer.mint(claims), required), { active: true, claims });
  assert.equal(await verdictOf(verifier, issuer.mint({ audiences: ["billing"] })), "WRONG_AUDIENCE");
});
