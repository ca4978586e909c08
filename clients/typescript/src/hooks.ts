import type { CannotKnow, Verdict } from "./verdict.js";

/** Called where metrics are counted. Nothing handed over holds a token; what a hook throws is ignored. */
export interface Hooks {
  /** After every `verify` and `check`. */
  checked?(outcome: Verdict | CannotKnow): void;
  /** After every read of the keys, with the error of one that failed. */
  keysRead?(error?: unknown): void;
  /** A stream of revocations is opened; one that is not `resumed` starts with a snapshot. */
  streamOpened?(resumed: boolean): void;
  /** It is over: `code` is a gRPC status (0: in peace), "silent" where it was given up. */
  streamEnded?(code: number | "silent"): void;
  /** After every question to the server, with the number of tokens in it and the error of one that failed. */
  asked?(tokens: number, error?: unknown): void;
}

/** Calls a hook so that it can break nothing. */
export function tell(call: () => void): void {
  try {
    call();
  } catch {
    // Counting must not decide about tokens.
  }
}
