import { AuthService } from "./authapi/v1/auth_service_pb.js";
import { KeyService } from "./authapi/v1/key_service_pb.js";
import { SessionService } from "./authapi/v1/session_service_pb.js";
import { UserService } from "./authapi/v1/user_service_pb.js";
import { WeChatService } from "./authapi/v1/wechat_service_pb.js";
import { callsOf, type Calls } from "./calls.js";
import { Coalescer } from "./coalescer.js";
import { GrpcConnection, type ConnectionOptions } from "./connection.js";
import type { Hooks } from "./hooks.js";

export interface AuthClientOptions extends ConnectionOptions {
  /** Of the hooks, `asked` counts here. */
  readonly hooks?: Hooks;
}

/**
 * Calls the RPCs of the contract with the shipped service config: retries for what may be repeated, none for Login. It
 * connects with its first call.
 */
export class AuthClient {
  /**
   * AuthService. Concurrent `verifyToken` calls go together in BatchVerifyTokens, and share equal answers: read them only.
   * With call options, or with `atLeast`, one is a call of its own. To check many tokens, a Verifier is far cheaper.
   */
  readonly auth: Calls<typeof AuthService>;
  readonly sessions: Calls<typeof SessionService>;
  readonly keys: Calls<typeof KeyService>;
  readonly users: Calls<typeof UserService>;
  readonly wechat: Calls<typeof WeChatService>;
  readonly #connection: GrpcConnection;
  readonly #coalescer: Coalescer;

  /** `target` is a gRPC target, "dns:///authsvc:50051" for one. */
  constructor(target: string, options: AuthClientOptions = {}) {
    const connection = (this.#connection = new GrpcConnection(target, options));
    const coalescer = (this.#coalescer = new Coalescer(connection.auth, options.hooks ?? {}));
    this.auth = {
      ...connection.auth,
      // A cursor makes the server wait, or fail the whole batch.
      verifyToken: (request, callOptions) =>
        callOptions === undefined && request.atLeast === undefined
          ? coalescer.ask(request)
          : connection.auth.verifyToken(request, callOptions),
    };
    this.sessions = callsOf(connection.client, SessionService, connection.metadata);
    this.keys = callsOf(connection.client, KeyService, connection.metadata);
    this.users = callsOf(connection.client, UserService, connection.metadata);
    this.wechat = callsOf(connection.client, WeChatService, connection.metadata);
  }

  /** Ends calls under way and closes the connection. Idempotent. */
  close(): void {
    this.#coalescer.close();
    this.#connection.close();
  }
}
