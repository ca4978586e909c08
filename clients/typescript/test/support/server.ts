/** A real grpc-js server whose answers a test gives one by one, and a verifier on a fake clock that watches it. */
import assert from "node:assert/strict";
import { setTimeout as delay } from "node:timers/promises";
import type { TestContext } from "node:test";

import { create, type MessageInitShape } from "@bufbuild/protobuf";
import { Server, ServerCredentials, status, type sendUnaryData, type ServerUnaryCall, type ServerWritableStream } from "@grpc/grpc-js";

import { AuthService, KeyService, RevocationSchema, RevocationService, SessionEndReason } from "../../src/authapi/v1/index.js";
import { VerifyTokenResponseSchema, WatchRevocationsResponseSchema } from "../../src/authapi/v1/index.js";
import type * as api from "../../src/authapi/v1/index.js";
import { CannotKnow, serviceDefinition, Verifier, type Requirement, type TokenVerifier, type VerifierOptions } from "../../src/index.js";
import { FakeClock, Issuer, keySet } from "../../src/testing/index.js";

type Message = MessageInitShape<typeof WatchRevocationsResponseSchema>;
type Body = Pick<Message, "body">;
type Answer = MessageInitShape<typeof VerifyTokenResponseSchema>;

/** Bounds every wait of a test; none of them is expected to last. */
const PATIENCE_MS = 30_000;

/** Waits until a condition holds, without any time passing on a verifier's clock. */
export async function eventually(condition: () => boolean | Promise<boolean>): Promise<void> {
  for (const deadline = Date.now() + PATIENCE_MS; !(await condition()); await delay(1)) {
    assert.ok(Date.now() < deadline, "it never came");
  }
}

/** One WatchRevocations, driven by the test. */
export class ScriptedStream {
  isGone = false;
  readonly #call: ServerWritableStream<api.WatchRevocationsRequest, api.WatchRevocationsResponse>;

  constructor(call: ServerWritableStream<api.WatchRevocationsRequest, api.WatchRevocationsResponse>) {
    this.#call = call;
    call.on("cancelled", () => (this.isGone = true));
    call.on("error", () => {});
  }

  /** The cursor it was opened with, "" for none. */
  get cursor(): string {
    return Buffer.from(this.#call.request.resumeFrom?.value ?? []).toString();
  }

  say(message: Message): void {
    this.#call.write(create(WatchRevocationsResponseSchema, message));
  }

  end(code: status = status.OK): void {
    if (code === status.OK) this.#call.end();
    else this.#call.emit("error", { code, details: "scripted" });
  }
}

export class ScriptedServer {
  readonly #server = new Server();
  readonly streams: ScriptedStream[] = [];
  readonly calls = new Map<string, number>();
  readonly batches: number[] = [];
  /** Fails where it is undefined. */
  keys: api.GetJwksResponse | undefined;
  keyReads = 0;
  /** Fails where it is undefined, or throws a status. */
  verify: ((request: api.VerifyTokenRequest) => Answer | Promise<Answer>) | undefined;
  address = "";

  constructor(...issuers: Issuer[]) {
    this.keys = keySet(...issuers);
    const verify = async (request: api.VerifyTokenRequest): Promise<api.VerifyTokenResponse> => {
      if (this.verify === undefined) throw SCRIPTED;
      return create(VerifyTokenResponseSchema, await this.verify(request));
    };
    this.#server.addService(serviceDefinition(KeyService), {
      getJwks: (_: unknown, callback: sendUnaryData<api.GetJwksResponse>) => {
        this.keyReads++;
        if (this.keys === undefined) callback(SCRIPTED);
        else callback(null, this.keys);
      },
    });
    this.#server.addService(serviceDefinition(RevocationService), {
      watchRevocations: (call: ServerWritableStream<api.WatchRevocationsRequest, api.WatchRevocationsResponse>) => {
        this.streams.push(new ScriptedStream(call));
      },
    });
    this.#server.addService(serviceDefinition(AuthService), {
      verifyToken: this.#unary("verifyToken", verify),
      batchVerifyTokens: this.#unary("batchVerifyTokens", async ({ requests }: api.BatchVerifyTokensRequest) => {
        this.batches.push(requests.length);
        const responses = await Promise.all(requests.map(verify));
        return { $typeName: "authapi.v1.BatchVerifyTokensResponse", responses };
      }),
      login: this.#unary("login", () => Promise.reject({ code: status.UNAVAILABLE, details: "scripted" })),
      refreshToken: this.#unary("refreshToken", async () => {
        if (this.count("refreshToken") < 3) throw { code: status.UNAVAILABLE, details: "scripted" };
        return { $typeName: "authapi.v1.RefreshTokenResponse", userId: "third time", sessionId: "", previousUserIds: [] };
      }),
    });
  }

  async start(): Promise<this> {
    this.address = await new Promise((resolve, reject) => {
      this.#server.bindAsync("127.0.0.1:0", ServerCredentials.createInsecure(), (error, port) => {
        if (error) reject(error);
        else resolve(`127.0.0.1:${port}`);
      });
    });
    return this;
  }

  /** The end of a process: every connection breaks. */
  stop(): void {
    this.#server.forceShutdown();
  }

  count(method: string): number {
    return this.calls.get(method) ?? 0;
  }

  #unary<Request, Response>(method: string, answer: (request: Request) => Promise<Response>) {
    return (call: ServerUnaryCall<Request, Response>, callback: sendUnaryData<Response>) => {
      this.calls.set(method, this.count(method) + 1);
      answer(call.request).then((response) => callback(null, response), callback);
    };
  }
}

// Not one that the service config repeats.
const SCRIPTED = { code: status.FAILED_PRECONDITION, details: "scripted" };

export async function serve(t: TestContext, ...issuers: Issuer[]): Promise<ScriptedServer> {
  const server = await new ScriptedServer(...issuers).start();
  t.after(() => server.stop());
  return server;
}

/** A verifier on a fake clock and the server it watches. */
export class Site {
  #streamsSeen = 0;

  constructor(
    public server: ScriptedServer,
    readonly clock: FakeClock,
    readonly issuer: Issuer,
    readonly verifier: Verifier,
  ) {}

  static async open(t: TestContext, options: Partial<VerifierOptions> = {}): Promise<Site> {
    const clock = new FakeClock(Date.UTC(2026, 6, 1));
    const issuer = new Issuer("authsvc", () => clock.now());
    const server = await serve(t, issuer);
    const verifier = new Verifier(server.address, { audience: "orders", clock, ...options });
    t.after(() => verifier.stop());
    const site = new Site(server, clock, issuer, verifier);
    void verifier.start({ waitMs: 0 });
    return site;
  }

  /** Lets time pass in short steps until a condition holds. */
  async within(condition: () => boolean | Promise<boolean>): Promise<void> {
    await eventually(async () => {
      if (await condition()) return true;
      this.clock.advance(20);
      return false;
    });
  }

  /** Lets time pass until the verifier opens a stream. */
  async next(): Promise<ScriptedStream> {
    await this.within(() => this.server.streams.length > this.#streamsSeen);
    return this.#newest();
  }

  /** The same without any time passing. */
  async nextAtOnce(): Promise<ScriptedStream> {
    await eventually(() => this.server.streams.length > this.#streamsSeen);
    return this.#newest();
  }

  /** Goes on to a server whose streams are all new. */
  moveTo(server: ScriptedServer): void {
    this.server = server;
    this.#streamsSeen = 0;
  }

  /** Completes the first snapshot and returns its stream. */
  async ready(...facts: MessageInitShape<typeof RevocationSchema>[]): Promise<ScriptedStream> {
    const stream = await this.next();
    stream.say(complete(snapshot(true, ...facts), "c1", 1n));
    await this.within(() => this.verifier.isReady);
    return stream;
  }

  verdict(token: string, required?: Requirement): Promise<string> {
    return verdictOf(this.verifier, token, required);
  }

  #newest(): ScriptedStream {
    this.#streamsSeen = this.server.streams.length;
    return this.server.streams.at(-1)!;
  }
}

export async function verdictOf(verifier: TokenVerifier, token: string, required?: Requirement): Promise<string> {
  try {
    const verdict = await verifier.verify(token, required);
    return verdict.active ? "active" : verdict.reason;
  } catch (error) {
    if (error instanceof CannotKnow) return error.reason;
    throw error;
  }
}

export function bytesOf(position: bigint): Uint8Array {
  return Buffer.from(position.toString(16).padStart(16, "0"), "hex");
}

/** Says how far a message completes what the reader knows. */
export function complete(message: Body, cursor: string, position: bigint): Message {
  return { ...message, completeThrough: { value: Buffer.from(cursor) }, positionThrough: bytesOf(position), age: {} };
}

export function snapshot(last: boolean, ...revocations: MessageInitShape<typeof RevocationSchema>[]): Body {
  return { body: { case: "snapshotPart", value: { revocations, last } } };
}

export function changes(...revocations: MessageInitShape<typeof RevocationSchema>[]): Body {
  return { body: { case: "changes", value: { revocations } } };
}

export const HEARTBEAT: Body = { body: { case: "heartbeat", value: {} } };
export const GO_AWAY: Body = { body: { case: "goAway", value: {} } };

export function userRevoked(user: string, position: bigint): MessageInitShape<typeof RevocationSchema> {
  return { target: { case: "userId", value: user }, position: bytesOf(position), reason: SessionEndReason.ADMIN };
}

export function active(ageSeconds: number): () => Answer {
  return () => ({ outcome: { case: "active", value: {} }, age: { seconds: BigInt(ageSeconds) } });
}
