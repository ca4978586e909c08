/**
 * What tests of services need that verify authsvc's tokens: an issuer that mints them, a verifier without a server, and a clock
 * that is moved by hand.
 */
package io.authsvc.client.testing;
