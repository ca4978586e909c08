/**
 * Verifies authsvc's access tokens inside this process, and calls authsvc.
 *
 * <p>Start with {@link io.authsvc.client.Verifier}; {@link io.authsvc.client.AuthInterceptor} guards gRPC servers, {@link
 * io.authsvc.client.AuthFilter} servlets, {@link io.authsvc.client.AuthClient} calls the RPCs.
 */
package io.authsvc.client;
