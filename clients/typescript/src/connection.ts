/** The way to the server: a channel as the contract wants it, and what a verifier says over it. */
import { isIP } from "node:net";

import { create } from "@bufbuild/protobuf";
import { Client, credentials, Metadata, status, type ChannelCredentials, type ClientOptions } from "@grpc/grpc-js";

import { AuthService } from "./authapi/v1/auth_service_pb.js";
import { KeyService, type GetJwksResponse } from "./authapi/v1/key_service_pb.js";
import { RevocationService, WatchRevocationsRequestSchema } from "./authapi/v1/revocation_service_pb.js";
import type { WatchRevocationsResponse } from "./authapi/v1/revocation_service_pb.js";
import { callsOf, definitionOf, type Calls } from "./calls.js";
import type { EndCode } from "./follower.js";
import { SERVICE_CONFIG } from "./service_config.js";

export interface ConnectionOptions {
  /**
   * How the connection is secured. By default TLS with the roots of Node.js, and plaintext for targets that never leave
   * the machine (loopback addresses, localhost, unix sockets). `credentials.createInsecure()` speaks plaintext whatever
   * the target: where a proxy beside this process secures what leaves the host. Tokens travel on this connection.
   */
  readonly credentials?: ChannelCredentials;
  /** Goes with every call: a service key, for one; or what makes it anew for each. */
  readonly metadata?: Metadata | (() => Metadata);
  /** Options of the channel, over this package's own. */
  readonly channelOptions?: ClientOptions;
}

/** An open WatchRevocations. */
export interface Stream {
  /** Ends it; nothing is heard of it any more. */
  cancel(): void;
}

/** What a verifier says to a server. */
export interface Connection {
  readonly auth: Pick<Calls<typeof AuthService>, "verifyToken" | "batchVerifyTokens">;
  getJwks(): Promise<GetJwksResponse>;
  /** Opens a stream; undefined asks for a snapshot. `onEnd` is called once, unless the stream is cancelled. */
  watch(cursor: Uint8Array | undefined, onMessage: (message: WatchRevocationsResponse) => void, onEnd: (code: EndCode) => void): Stream;
  close(): void;
}

const WATCH = definitionOf(RevocationService.method.watchRevocations);
// The contract's longest answer is a part of a snapshot, 1 MB.
const RECEIVE_LIMIT = 16 << 20;

/** A channel, and the calls of a verifier over it. */
export class GrpcConnection implements Connection {
  readonly client: Client;
  readonly auth: Calls<typeof AuthService>;
  readonly metadata: () => Metadata;
  readonly #keys: Calls<typeof KeyService>;

  constructor(target: string, options: ConnectionOptions = {}) {
    const { metadata } = options;
    this.metadata = () => (typeof metadata === "function" ? metadata() : (metadata?.clone() ?? new Metadata()));
    this.client = new Client(target, options.credentials ?? defaultCredentials(target), {
      "grpc.service_config": SERVICE_CONFIG,
      "grpc.service_config_disable_resolution": 1,
      "grpc.initial_reconnect_backoff_ms": 100,
      "grpc.max_reconnect_backoff_ms": 1000,
      "grpc.keepalive_time_ms": 30_000,
      "grpc.keepalive_timeout_ms": 10_000,
      "grpc.max_receive_message_length": RECEIVE_LIMIT,
      ...options.channelOptions,
    });
    this.auth = callsOf(this.client, AuthService, this.metadata);
    this.#keys = callsOf(this.client, KeyService, () => this.#patient());
  }

  getJwks(): Promise<GetJwksResponse> {
    return this.#keys.getJwks({});
  }

  watch(cursor: Uint8Array | undefined, onMessage: (message: WatchRevocationsResponse) => void, onEnd: (code: EndCode) => void): Stream {
    const request = create(WatchRevocationsRequestSchema, cursor === undefined ? {} : { resumeFrom: { value: cursor } });
    const call = this.client.makeServerStreamRequest(WATCH.path, WATCH.requestSerialize, WATCH.responseDeserialize, request, this.#patient());
    let isOver = false;
    call.on("data", (message: WatchRevocationsResponse) => {
      if (!isOver) onMessage(message);
    });
    call.on("error", () => {}); // "status" says it
    call.on("status", ({ code }: { code: status }) => {
      if (isOver) return;
      isOver = true;
      onEnd(code);
    });
    return {
      cancel: () => {
        isOver = true;
        call.cancel();
      },
    };
  }

  close(): void {
    this.client.close();
  }

  /** grpc-js reads no waitForReady from a service config. */
  #patient(): Metadata {
    const metadata = this.metadata();
    metadata.setOptions({ ...metadata.getOptions(), waitForReady: true });
    return metadata;
  }
}

function defaultCredentials(target: string): ChannelCredentials {
  return isLocal(target) ? credentials.createInsecure() : credentials.createSsl();
}

/** Whether what is sent to a target cannot leave this machine. */
export function isLocal(target: string): boolean {
  if (/^unix(-abstract)?:/.test(target)) return true;
  const named = /^(?:ipv4:|ipv6:|[a-z]+:\/\/\/)?([^/]+)$/.exec(target)?.[1];
  return named !== undefined && named.split(",").every((address) => isLoopback(hostOf(address)));
}

function hostOf(address: string): string {
  if (isIP(address) === 6) return address;
  return /^\[(.*)\](?::\d+)?$/.exec(address)?.[1] ?? address.replace(/:\d+$/, "");
}

function isLoopback(host: string): boolean {
  switch (isIP(host)) {
    case 4:
      return host.startsWith("127.");
    case 6:
      return /^(0*:)*0*1$/.test(host);
    default:
      return host === "localhost";
  }
}
