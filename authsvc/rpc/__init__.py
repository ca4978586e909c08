"""
The gRPC transport: one server, one wrapper around every method, one policy row per RPC.

Servicers convert, call a use case, convert. Refusals are domain exceptions until the wrapper maps them, once.
Imports: service, status, ports, domain, authapi, grpc. Adapters reach it only through `app`.
"""
