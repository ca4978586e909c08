/** The contract's services over @grpc/grpc-js: promises for unary calls, and definitions for servers. */
import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import type { DescMessage, DescMethod, DescService, MessageInitShape, MessageShape } from "@bufbuild/protobuf";
import { Metadata, type Client, type MethodDefinition, type ServiceDefinition } from "@grpc/grpc-js";

export interface CallOptions {
  /** Replaces the timeout of the service config, in milliseconds. */
  readonly timeoutMs?: number;
  /** Cancels the call. */
  readonly signal?: AbortSignal;
}

/** The unary methods of a service. A call that fails rejects with grpc-js's ServiceError: see `errorInfo`. */
export type Calls<S extends DescService> = {
  readonly [M in keyof S["method"] as S["method"][M]["methodKind"] extends "unary" ? M : never]: (
    request: MessageInitShape<S["method"][M]["input"]>,
    options?: CallOptions,
  ) => Promise<MessageShape<S["method"][M]["output"]>>;
};

/** What a gRPC server of this service needs beside its implementation: `server.addService(serviceDefinition(S), …)`. */
export function serviceDefinition(service: DescService): ServiceDefinition {
  return Object.fromEntries(service.methods.map((method) => [method.localName, definitionOf(method)]));
}

export function definitionOf<I extends DescMessage, O extends DescMessage>(
  method: DescMethod & { input: I; output: O },
): MethodDefinition<MessageShape<I>, MessageShape<O>> {
  return {
    path: `/${method.parent.typeName}/${method.name}`,
    originalName: method.localName,
    requestStream: method.methodKind === "client_streaming" || method.methodKind === "bidi_streaming",
    responseStream: method.methodKind === "server_streaming" || method.methodKind === "bidi_streaming",
    requestSerialize: (message) => Buffer.from(toBinary(method.input, message)),
    requestDeserialize: (bytes) => fromBinary(method.input, bytes),
    responseSerialize: (message) => Buffer.from(toBinary(method.output, message)),
    responseDeserialize: (bytes) => fromBinary(method.output, bytes),
  };
}

/** Makes the calls of a service; `metadata` is asked for what goes with each. */
export function callsOf<S extends DescService>(client: Client, service: S, metadata: () => Metadata): Calls<S> {
  const unary = service.methods.filter((method) => method.methodKind === "unary");
  const calls = unary.map((method) => [method.localName, callOf(client, method, metadata)]);
  return Object.fromEntries(calls) as Calls<S>;
}

function callOf(client: Client, method: DescMethod, metadata: () => Metadata) {
  const { path, requestSerialize, responseDeserialize } = definitionOf(method);
  return (request: MessageInitShape<DescMessage>, { timeoutMs, signal }: CallOptions = {}): Promise<unknown> =>
    new Promise((resolve, reject) => {
      signal?.throwIfAborted();
      const options = timeoutMs === undefined ? {} : { deadline: Date.now() + timeoutMs };
      const message = create(method.input, request);
      const call = client.makeUnaryRequest(path, requestSerialize, responseDeserialize, message, metadata(), options, (error, response) => {
        signal?.removeEventListener("abort", cancel);
        if (error) reject(error);
        else resolve(response);
      });
      const cancel = () => call.cancel();
      signal?.addEventListener("abort", cancel, { once: true });
    });
}
