/** What tests of services need that verify authsvc's tokens. */
export { FakeClock } from "./clock.js";
export { Issuer, keySet, newId } from "./issuer.js";
export { FakeVerifier } from "./verifier.js";
