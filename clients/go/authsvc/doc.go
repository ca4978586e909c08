// Package authsvc verifies authsvc's access tokens in the process that uses them.
//
// A Verifier keeps the public keys and every revocation that can still matter in memory: keys are read ahead of their
// age, revocations come over a stream, a second after they happen at the latest. A check is then a matter of
// microseconds and needs no network. What the verifier knows is never older than its hard bound (30 s by default)
// without it saying so: beyond it, it asks the server, or answers that it cannot know.
//
// There are three answers, and they stay apart up to the caller of the service: good (claims), bad (*Refusal: 401, 403)
// and "cannot know" (*Unavailable: 503). UnaryServerInterceptor, StreamServerInterceptor and Middleware say them in gRPC
// and net/http; FromContext gives the claims to handlers.
//
// AuthClient calls the service's RPCs. Package authsvctest has what tests need.
package authsvc
