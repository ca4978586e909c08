/**
 * Verifies authsvc's access tokens in the process that uses them: keys and revocations come to it, a check needs no network,
 * and what the verifier knows is never older than its hard bound without it saying so.
 */
export { claimsOf } from "./answer.js";
export { serviceDefinition, type CallOptions, type Calls } from "./calls.js";
export { AuthClient, type AuthClientOptions } from "./client.js";
export { SystemClock, type Clock } from "./clock.js";
export { GrpcConnection, type Connection, type ConnectionOptions, type Stream } from "./connection.js";
export type { Hooks } from "./hooks.js";
export { expressAuth, fastifyAuth } from "./http.js";
export { authInterceptor, type Rules } from "./interceptor.js";
export { SERVICE_CONFIG } from "./service_config.js";
export { errorInfo, type ErrorInfo } from "./status.js";
export { CannotKnow, isInsufficient } from "./verdict.js";
export type { Active, Cause, Claims, EndReason, Inactive, Reason, Requirement, TokenVerifier, Verdict } from "./verdict.js";
export { Verifier, type VerifierOptions, type WhenStale } from "./verifier.js";
