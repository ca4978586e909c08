import { toBinary, create, type MessageInitShape } from "@bufbuild/protobuf";
import { status } from "@grpc/grpc-js";

import { VerifyTokenRequestSchema, type VerifyTokenRequest, type VerifyTokenResponse } from "./authapi/v1/auth_service_pb.js";
import type { Connection } from "./connection.js";
import { tell, type Hooks } from "./hooks.js";

// The contract's bound of a batch, and one of ours, well below what a server reads in one message.
const BATCH_TOKENS = 1000;
const BATCH_BYTES = 1 << 20;
// How many calls are on their way at once, and how many callers wait at most.
const CALLS_AT_ONCE = 2;
const MOST_WAITING = 20_000;
const CALL_LIMIT_MS = 5000;

interface Question {
  readonly request: VerifyTokenRequest;
  readonly bytes: number;
  readonly answer: Promise<VerifyTokenResponse>;
  readonly resolve: (response: VerifyTokenResponse) => void;
  readonly reject: (error: unknown) => void;
}

/** Asks the server about tokens. Questions that come while calls are under way go together into the next, equal ones once. */
export class Coalescer {
  readonly #auth: Connection["auth"];
  readonly #hooks: Hooks;
  /** By what they ask, in the order they came. */
  readonly #waiting = new Map<string, Question>();
  readonly #ended = new AbortController();
  #callers = 0;
  #running = 0;

  constructor(auth: Connection["auth"], hooks: Hooks) {
    this.#auth = auth;
    this.#hooks = hooks;
  }

  /** Rejects where there is no answer. The response may be shared: nobody changes it. */
  async ask(asked: MessageInitShape<typeof VerifyTokenRequestSchema>): Promise<VerifyTokenResponse> {
    if (this.#callers >= MOST_WAITING) throw new Error("too many questions are waiting for the server");
    const question = this.#question(create(VerifyTokenRequestSchema, asked));
    if (this.#running < CALLS_AT_ONCE) {
      this.#running++;
      queueMicrotask(() => void this.#work()); // what is asked in the same turn comes along
    }
    this.#callers++;
    try {
      return await question.answer;
    } finally {
      this.#callers--;
    }
  }

  /** Ends what is under way; whoever waits is left without an answer. */
  close(): void {
    this.#ended.abort();
  }

  #question(request: VerifyTokenRequest): Question {
    const name = JSON.stringify([request.accessToken, request.audience, request.requiredScopes, request.requiredRoles]);
    let question = this.#waiting.get(name);
    if (question === undefined) {
      const { promise: answer, resolve, reject } = withResolvers<VerifyTokenResponse>();
      question = { request, bytes: toBinary(VerifyTokenRequestSchema, request).length, answer, resolve, reject };
      this.#waiting.set(name, question);
    }
    return question;
  }

  async #work(): Promise<void> {
    for (;;) {
      const batch = this.#take();
      if (batch.length === 0) {
        this.#running--;
        return;
      }
      await this.#call(batch);
    }
  }

  #take(): Question[] {
    const batch: Question[] = [];
    let bytes = 0;
    for (const [name, question] of this.#waiting) {
      bytes += question.bytes;
      if (batch.length > 0 && (bytes > BATCH_BYTES || batch.length === BATCH_TOKENS)) break;
      batch.push(question);
      this.#waiting.delete(name);
    }
    return batch;
  }

  async #call(batch: Question[]): Promise<void> {
    if (batch.length === 1) {
      await this.#one(batch[0]!);
      return;
    }
    const options = { timeoutMs: CALL_LIMIT_MS, signal: this.#ended.signal };
    try {
      const { responses } = await this.#auth.batchVerifyTokens({ requests: batch.map(({ request }) => request) }, options);
      if (responses.length !== batch.length) throw new Error("the server's answers do not fit the questions");
      batch.forEach((question, i) => question.resolve(responses[i]!));
      tell(() => this.#hooks.asked?.(batch.length));
    } catch (error) {
      tell(() => this.#hooks.asked?.(batch.length, error));
      if ((error as { code?: unknown }).code === status.INVALID_ARGUMENT) {
        // One bad question fails them all; each gets the answer it deserves.
        for (const question of batch) await this.#one(question);
      } else {
        for (const question of batch) question.reject(error);
      }
    }
  }

  async #one(question: Question): Promise<void> {
    try {
      question.resolve(await this.#auth.verifyToken(question.request, { timeoutMs: CALL_LIMIT_MS, signal: this.#ended.signal }));
      tell(() => this.#hooks.asked?.(1));
    } catch (error) {
      question.reject(error);
      tell(() => this.#hooks.asked?.(1, error));
    }
  }
}

function withResolvers<T>() {
  let resolve!: (value: T) => void;
  let reject!: (error: unknown) => void;
  const promise = new Promise<T>((yes, no) => {
    resolve = yes;
    reject = no;
  });
  return { promise, resolve, reject };
}
