import { status } from "@grpc/grpc-js";

import type { WatchRevocationsResponse } from "./authapi/v1/revocation_service_pb.js";
import type { Clock } from "./clock.js";
import type { Connection, Stream } from "./connection.js";
import type { EndCode, Follower } from "./follower.js";
import { tell, type Hooks } from "./hooks.js";

/** Drives a follower with real streams and a clock. */
export class Watcher {
  readonly #follower: Follower;
  readonly #connection: Connection;
  readonly #clock: Clock;
  readonly #hooks: Hooks;
  readonly #changed: () => void;
  #stream: Stream | undefined;
  #cancelTimer: () => void = () => {};
  #isStopped = false;

  /** `changed` is called after everything that was learnt. */
  constructor(follower: Follower, connection: Connection, clock: Clock, hooks: Hooks, changed: () => void) {
    this.#follower = follower;
    this.#connection = connection;
    this.#clock = clock;
    this.#hooks = hooks;
    this.#changed = changed;
  }

  start(): void {
    this.#turn();
  }

  stop(): void {
    this.#isStopped = true;
    this.#cancelTimer();
    this.#stream?.cancel();
    this.#stream = undefined;
  }

  /** Does what is due, and comes back when something else will be. */
  #turn(): void {
    if (this.#isStopped) return;
    const now = this.#clock.elapsed();
    if (!this.#follower.tick(now)) this.#drop("silent");
    if (this.#follower.wantsStream(now)) this.#open(now);
    this.#cancelTimer();
    this.#cancelTimer = this.#clock.after(this.#follower.next(this.#clock.elapsed()), () => this.#turn());
  }

  #open(now: number): void {
    const { cursor } = this.#follower;
    this.#follower.opened(now);
    tell(() => this.#hooks.streamOpened?.(cursor !== undefined));
    try {
      this.#stream = this.#connection.watch(cursor, (message) => this.#take(message), (code) => {
        this.#ended(code);
        this.#turn();
      });
    } catch {
      this.#ended(status.UNAVAILABLE); // the caller's metadata could not be had: another time
    }
  }

  #take(message: WatchRevocationsResponse): void {
    if (!this.#follower.message(this.#clock.elapsed(), this.#clock.now() / 1000, message)) {
      this.#drop(message.body.case === "goAway" ? status.OK : "silent");
    }
    this.#follower.worked(this.#clock.elapsed());
    this.#changed();
    if (!this.#follower.isOpen) this.#turn();
  }

  #ended(code: EndCode): void {
    this.#stream = undefined;
    this.#follower.ended(this.#clock.elapsed(), code);
    tell(() => this.#hooks.streamEnded?.(code));
  }

  #drop(why: number | "silent"): void {
    this.#stream?.cancel();
    this.#stream = undefined;
    tell(() => this.#hooks.streamEnded?.(why));
  }
}
