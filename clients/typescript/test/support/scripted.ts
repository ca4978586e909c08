import { create } from "@bufbuild/protobuf";

import { VerifyTokenResponseSchema, type VerifyTokenRequest, type VerifyTokenResponse } from "../../src/authapi/v1/index.js";
import type { GetJwksResponse, WatchRevocationsResponse } from "../../src/authapi/v1/index.js";
import type { Connection, Stream } from "../../src/connection.js";
import type { EndCode } from "../../src/follower.js";

/** A stream that the verifier under test has open. */
export interface OpenStream {
  readonly cursor: Uint8Array | undefined;
  readonly say: (message: WatchRevocationsResponse) => void;
  readonly end: (code: EndCode) => void;
}

/** A connection without a network, for verifiers on a virtual clock. */
export class ScriptedConnection implements Connection {
  /** Fails where it is undefined. */
  keys: GetJwksResponse | undefined;
  keyReads = 0;
  /** Fails where it is undefined. */
  answer: VerifyTokenResponse | undefined;
  asked = 0;
  stream: OpenStream | undefined;
  /** Streams that were opened, the newest last. */
  readonly opened: OpenStream[] = [];

  readonly auth: Connection["auth"] = {
    verifyToken: async () => this.#answer(),
    batchVerifyTokens: async ({ requests }) => ({
      $typeName: "authapi.v1.BatchVerifyTokensResponse",
      responses: ((requests ?? []) as VerifyTokenRequest[]).map(() => this.#answer()),
    }),
  };

  async getJwks(): Promise<GetJwksResponse> {
    this.keyReads++;
    if (this.keys === undefined) throw new Error("scripted");
    return this.keys;
  }

  watch(cursor: Uint8Array | undefined, onMessage: (message: WatchRevocationsResponse) => void, onEnd: (code: EndCode) => void): Stream {
    const leave = () => {
      if (this.stream === stream) this.stream = undefined;
    };
    const stream: OpenStream = {
      cursor,
      say: onMessage,
      end: (code) => {
        leave();
        onEnd(code);
      },
    };
    this.opened.push(stream);
    this.stream = stream;
    return { cancel: leave };
  }

  close(): void {}

  #answer(): VerifyTokenResponse {
    this.asked++;
    if (this.answer === undefined) throw new Error("scripted");
    return create(VerifyTokenResponseSchema, this.answer);
  }
}

/** Lets everything happen that waits for no time. */
export async function settle(): Promise<void> {
  for (let i = 0; i < 20; i++) await Promise.resolve();
}
