import { status } from "@grpc/grpc-js";

import type { WatchRevocationsResponse } from "./authapi/v1/revocation_service_pb.js";
import { milliseconds } from "./instants.js";
import { Parts, readPosition, View } from "./view.js";

// Milliseconds all. A server says something at least once a second.
const SILENCE = 3000;
// A first snapshot may take longer to come; each silent attempt doubles the patience, so often.
const PATIENCE_DOUBLINGS = 3;
// The loop looks at the clock this often. If it could not for longer than the gap, the machine slept or this process was
// busy: what then lies in a socket may have lain there as long, and its age means nothing.
const TICK_EVERY = 250;
const TICK_GAP = 1000;
const REOPEN_FIRST = 100;
const REOPEN_LAST = 5000;

/** How a stream ended: a gRPC status code, OK being an end in peace. */
export type EndCode = status;

/**
 * Turns the messages of WatchRevocations into a view. It does no I/O and starts nothing: whoever drives it tells it the
 * time (the elapsed clock), what came and what ended, and asks it when to open a stream and with which cursor.
 */
export class Follower {
  readonly view = new View();
  /** Through which the log is known; undefined before the first complete snapshot. */
  position: bigint | undefined;
  /** When the log was last confirmed, on the elapsed clock. */
  confirmed = Number.NEGATIVE_INFINITY;
  /** What the next stream resumes from; undefined asks for a snapshot. */
  cursor: Uint8Array | undefined;
  isOpen = false;

  #parts: Parts | undefined;
  #heard = 0; // when the stream was opened, or last brought something
  #hasNews = false; // it brought something besides GoAway
  #looked: number;
  #reopen: number; // when the next stream is to be opened
  #failures = 0;
  #silentRuns = 0;

  constructor(now: number) {
    this.#looked = now;
    this.#reopen = now;
  }

  /** Whether a stream is to be opened now, with `cursor`. */
  wantsStream(now: number): boolean {
    return !this.isOpen && now >= this.#reopen;
  }

  /** For how long nothing is to be done. */
  next(now: number): number {
    return this.isOpen ? TICK_EVERY : Math.min(Math.max(this.#reopen - now, 0), TICK_EVERY);
  }

  /** The stream that was wanted is on its way. */
  opened(now: number): void {
    this.isOpen = true;
    this.#heard = this.#looked = now;
    this.#hasNews = false;
    this.#parts = undefined;
  }

  /** Looks at the clock. False: give up the open stream, whatever it still brings. */
  tick(now: number): boolean {
    const slept = now - this.#looked > TICK_GAP;
    this.#looked = now;
    if (!this.isOpen) return true;
    if (slept) {
      this.#leave(now);
      return false;
    }
    if (now - this.#heard <= this.#patience()) return true;
    if (!this.#hasNews) this.#silentRuns++;
    this.#leave(now);
    this.#backOff(now);
    return false;
  }

  /** This loop worked until now, which is no sleep: a large snapshot takes its time. */
  worked(now: number): void {
    this.#looked = now;
  }

  /**
   * Takes what the open stream brought, received at a time on the elapsed clock; `wall` is in seconds since 1970, for
   * forgetting what nobody needs any more. False: give up this stream.
   */
  message(received: number, wall: number, message: WatchRevocationsResponse): boolean {
    if (received - this.#looked > TICK_GAP || received - this.#heard > this.#patience()) {
      this.#leave(received);
      return false;
    }
    this.#heard = received;
    const { body } = message;
    let isSnapshot = false;
    if (body.case === "snapshotPart") {
      this.#parts ??= new Parts();
      this.#parts.add(body.value.revocations, body.value.sessions);
      if (body.value.last && message.completeThrough !== undefined) {
        this.view.replace(this.#parts, wall);
        this.#parts = undefined;
        isSnapshot = true;
      }
    } else if (body.case === "changes") {
      this.view.apply(body.value.revocations, wall);
    }
    const leaves = body.case === "goAway";
    if (!leaves) {
      this.#hasNews = true;
      this.#failures = this.#silentRuns = 0;
    }
    this.#confirm(received, message, isSnapshot);
    if (leaves) this.#leaveAtOnce(received);
    return !leaves;
  }

  /** Takes how far and how well the log is known with a message. */
  #confirm(received: number, message: WatchRevocationsResponse, isSnapshot: boolean): void {
    const wasComplete = this.position !== undefined;
    // In the middle of a snapshot, and before the first one, nothing is known of it.
    if (message.completeThrough === undefined || this.#parts !== undefined || !(wasComplete || isSnapshot)) return;
    this.cursor = message.completeThrough.value;
    this.position = readPosition(message.positionThrough) ?? this.position ?? 0n;
    if (message.age === undefined) return;
    const at = received - milliseconds(message.age);
    // A message that was slow never makes older what another has made younger; a snapshot stands by itself.
    if (isSnapshot || at > this.confirmed) this.confirmed = at;
  }

  /** Takes the end of the open stream. */
  ended(now: number, code: EndCode): void {
    const hadCursor = this.cursor !== undefined;
    if (code === status.OK) {
      this.#leaveAtOnce(now);
      return;
    }
    // Too old, of another incarnation, or not readable any more: start without. What is known stays known until the
    // snapshot is whole.
    if (code === status.OUT_OF_RANGE || (code === status.INVALID_ARGUMENT && hadCursor)) this.cursor = undefined;
    this.#leave(now);
    if (code !== status.OUT_OF_RANGE || !hadCursor) this.#backOff(now);
  }

  /** How long the open stream may be silent. */
  #patience(): number {
    if (this.#hasNews || this.cursor !== undefined) return SILENCE;
    return SILENCE * 2 ** Math.min(this.#silentRuns, PATIENCE_DOUBLINGS);
  }

  /** Gives up the stream and wants the next one now. */
  #leave(now: number): void {
    this.isOpen = false;
    this.#parts = undefined;
    this.#reopen = now;
  }

  /** The same for a server that ends the stream in peace; one that does nothing else is not asked in a loop. */
  #leaveAtOnce(now: number): void {
    this.#leave(now);
    if (!this.#hasNews) this.#backOff(now);
  }

  #backOff(now: number): void {
    const pause = Math.min(REOPEN_FIRST * 2 ** Math.min(this.#failures, 10), REOPEN_LAST);
    this.#failures++;
    this.#reopen = now + pause * (0.5 + 0.5 * Math.random());
  }
}
