import assert from "node:assert/strict";
import { test } from "node:test";

import { create } from "@bufbuild/protobuf";
import { status } from "@grpc/grpc-js";

import { GetJwksResponseSchema, InactiveReason, SessionEndReason } from "../src/authapi/v1/index.js";
import { VerifyTokenResponseSchema, WatchRevocationsResponseSchema } from "../src/authapi/v1/index.js";
import { Verifier } from "../src/index.js";
import { FakeClock } from "../src/testing/clock.js";
import { ScriptedConnection, settle } from "./support/scripted.js";
import { decode, policyOf, readVectors, requirement, verdictOf } from "./support/vectors.js";
import type { VectorFile, VectorMessage, VectorVerdict } from "./support/vectors.js";

type Remote = "unavailable" | { verdict: VectorVerdict; age_ms: number };

interface Step {
  readonly at_ms: number;
  readonly message?: VectorMessage;
  readonly then?: string;
  readonly when_open?: true;
  readonly stream?: string;
  readonly expect_open?: { resume_from: string | null };
  readonly keys?: string;
  readonly expect_key_reads?: number;
  readonly remote?: Remote;
  readonly verify?: string;
  readonly expect?: VectorVerdict | boolean;
  readonly asked?: boolean;
  readonly expect_age_ms?: number | null;
  readonly expect_fresh?: boolean;
  readonly expect_position?: string | null;
  readonly reached?: string;
  readonly wall_jump_ms?: number;
  readonly suspended?: true;
  readonly buffered?: VectorMessage[];
}

interface SequenceCase {
  readonly id: string;
  readonly now_ms: number;
  readonly keys: string;
  readonly hard_bound_ms: number;
  readonly when_stale: string;
  readonly steps: readonly Step[];
}

const HOP_MS = 100;
const OPEN_WITHIN_HOPS = 80;
const ENDS: Readonly<Record<string, status>> = {
  cut: status.UNAVAILABLE,
  ok: status.OK,
  out_of_range: status.OUT_OF_RANGE,
  too_slow: status.RESOURCE_EXHAUSTED,
};

/** A real verifier on a virtual clock, over a connection without a network. */
class Life {
  readonly #file: VectorFile<SequenceCase>;
  readonly #clock: FakeClock;
  readonly #connection = new ScriptedConnection();
  readonly #verifier: Verifier;
  readonly #began: number;
  #opensSeen = 0;

  constructor(file: VectorFile<SequenceCase>, one: SequenceCase) {
    this.#file = file;
    this.#clock = new FakeClock(one.now_ms);
    this.#began = this.#clock.elapsed();
    this.#setKeys(one.keys);
    const [hardBoundMs, whenStale] = [one.hard_bound_ms, policyOf(one.when_stale)];
    this.#verifier = new Verifier(this.#connection, { audience: "orders", hardBoundMs, whenStale, clock: this.#clock });
  }

  async live(steps: readonly Step[]): Promise<void> {
    void this.#verifier.start({ waitMs: 0 });
    await settle();
    for (const [i, step] of steps.entries()) {
      try {
        await this.#step(step);
      } catch (error) {
        if (error instanceof Error) error.message = `step ${i}, ${JSON.stringify(step).slice(0, 300)}: ${error.message}`;
        throw error;
      }
    }
    this.#verifier.stop();
  }

  async #step(step: Step): Promise<void> {
    if (step.suspended) {
      await this.#suspend(step);
      return;
    }
    await this.#goTo(this.#began + step.at_ms);
    const kinds: Record<string, () => void | Promise<void>> = {
      message: () => this.#say(step),
      stream: () => this.#end(step.stream!),
      verify: () => this.#verify(step),
      remote: () => this.#setRemote(step.remote!),
      expect_open: () => this.#expectOpen(step.expect_open!.resume_from),
      keys: () => this.#setKeys(step.keys!),
      expect_key_reads: () => assert.equal(this.#connection.keyReads, step.expect_key_reads),
      expect_age_ms: () => this.#expectAge(step.expect_age_ms!),
      expect_fresh: () => assert.equal(this.#verifier.isFresh, step.expect_fresh),
      expect_position: () => assert.equal(this.#verifier.position, step.expect_position === null ? undefined : BigInt(`0x${step.expect_position}`)),
      reached: async () => assert.equal(await this.#verifier.waitFor(BigInt(`0x${step.reached}`), 0), step.expect),
      wall_jump_ms: () => this.#clock.jump(step.wall_jump_ms!),
    };
    const known = Object.keys(kinds).filter((kind) => kind in step);
    assert.equal(known.length, 1, "a step of one kind that this runner knows");
    await kinds[known[0]!]!();
    await settle();
  }

  async #goTo(at: number): Promise<void> {
    while (this.#clock.elapsed() < at) {
      this.#clock.advance(Math.min(HOP_MS, at - this.#clock.elapsed()));
      await settle();
    }
  }

  async #suspend(step: Step): Promise<void> {
    const { stream } = this.#connection;
    this.#clock.sleep(this.#began + step.at_ms - this.#clock.elapsed());
    // The newest stream's socket: once the verifier has given that stream up, nobody reads it.
    for (const message of step.buffered!) {
      if (this.#connection.stream === stream) stream?.say(decode(WatchRevocationsResponseSchema, message));
    }
    this.#clock.advance(0);
    await settle();
  }

  async #say(step: Step): Promise<void> {
    for (let hops = 0; step.when_open && this.#connection.stream === undefined; hops++) {
      assert.ok(hops < OPEN_WITHIN_HOPS, "no stream was opened for 8 s");
      await this.#goTo(this.#clock.elapsed() + HOP_MS);
    }
    const { stream } = this.#connection;
    assert.ok(stream, "no stream is open");
    stream.say(decode(WatchRevocationsResponseSchema, step.message));
    if (step.then === undefined) return;
    assert.equal(step.then, "ok", "a then that this runner knows");
    if (this.#connection.stream === stream) stream.end(status.OK);
  }

  #end(how: string): void {
    const code = ENDS[how];
    assert.ok(code !== undefined, `an end of a stream that this runner knows: ${how}`);
    assert.ok(this.#connection.stream, "no stream is open");
    this.#connection.stream.end(code);
  }

  async #verify(step: Step): Promise<void> {
    const token = this.#file.tokens[step.verify!];
    assert.ok(token, "no such token");
    const before = this.#connection.asked;
    const verdict = await verdictOf(this.#verifier.verify(token.token, requirement(token.require)));
    assert.deepEqual(verdict, step.expect);
    assert.equal(this.#connection.asked > before, step.asked, "asked");
  }

  #setKeys(name: string): void {
    this.#connection.keys = name === "fails" ? undefined : decode(GetJwksResponseSchema, this.#file.key_sets[name]);
  }

  #setRemote(remote: Remote): void {
    if (typeof remote === "string") {
      assert.equal(remote, "unavailable");
      this.#connection.answer = undefined;
      return;
    }
    const { verdict, age_ms } = remote;
    const reason = InactiveReason[(verdict.inactive ?? "UNSPECIFIED") as keyof typeof InactiveReason];
    const sessionEndReason = SessionEndReason[(verdict.session_end_reason ?? "UNSPECIFIED") as keyof typeof SessionEndReason];
    this.#connection.answer = create(VerifyTokenResponseSchema, {
      outcome: verdict.active ? { case: "active", value: {} } : { case: "inactive", value: { reason, sessionEndReason } },
      age: { seconds: BigInt(Math.floor(age_ms / 1000)), nanos: (age_ms % 1000) * 1e6 },
    });
  }

  #expectOpen(resumeFrom: string | null): void {
    const { opened } = this.#connection;
    assert.ok(opened.length > this.#opensSeen, "no stream was opened");
    this.#opensSeen = opened.length;
    const cursor = opened.at(-1)!.cursor;
    assert.equal(cursor === undefined ? null : Buffer.from(cursor).toString("base64"), resumeFrom);
  }

  #expectAge(expected: number | null): void {
    const { ageMs } = this.#verifier;
    if (expected === null || ageMs === undefined) assert.equal(ageMs, expected ?? undefined);
    else assert.ok(Math.abs(ageMs - expected) <= 1, `an age of ${ageMs} ms, not ${expected}`);
  }
}

const file = readVectors<SequenceCase>("sequences.json");

// A verifier's life over each of the shared sequences goes as the server's own code says.
test("sequences.json", { skip: file === undefined && "SKIPPED, NOT PASSED: sequences.json is not beside this package" }, async (t) => {
  for (const one of file!.cases) await t.test(one.id, () => new Life(file!, one).live(one.steps));
  t.diagnostic(`${file!.cases.length} cases`);
});
