"""An AuthService on a real socket that does as it is told, and the statuses it can be told to end with."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

import grpc
import grpc.aio
from google.protobuf import any_pb2
from google.rpc import error_details_pb2, status_pb2

from authapi import v1 as pb
from authsvc_client.rpc_details import DETAILS_KEY

LONG = timedelta(seconds=30)


class Scripted:
    """An AuthService that counts its calls; every RPC can be told to fail."""

    def __init__(self) -> None:
        self.calls: list[str] = []
        self.metadata: list[dict[str, Any]] = []
        self.fail: tuple[grpc.StatusCode, str, Any] | None = None
        self.hold = asyncio.Event()
        self.hold.set()
        self.reached = 0

    async def serve(self, details: Any, context: Any) -> None:
        self.metadata.append(dict(context.invocation_metadata()))
        self.reached += 1
        await self.hold.wait()
        if self.fail is not None:
            await context.abort(*self.fail)

    def handler(self) -> Any:
        scripted = self

        class Everything(grpc.GenericRpcHandler):  # type: ignore[type-arg]  # generic in its stubs alone
            def service(self, handler_call_details: Any) -> Any:
                name = handler_call_details.method.rpartition("/")[2]
                if name == "Watch":
                    return None

                async def behave(raw: bytes, context: Any) -> bytes:
                    scripted.calls.append(name)
                    await scripted.serve(handler_call_details, context)
                    return scripted.reply(name, raw)

                return grpc.unary_unary_rpc_method_handler(behave)

        return Everything()

    def reply(self, name: str, raw: bytes) -> bytes:
        if name == "VerifyToken":
            return self._judge(pb.VerifyTokenRequest.FromString(raw)).SerializeToString()
        if name == "BatchVerifyTokens":
            asked = pb.BatchVerifyTokensRequest.FromString(raw).requests
            return pb.BatchVerifyTokensResponse(responses=map(self._judge, asked)).SerializeToString()
        return b""

    @staticmethod
    def _judge(request: pb.VerifyTokenRequest) -> pb.VerifyTokenResponse:
        response = pb.VerifyTokenResponse()
        response.active.user_id = f"user of {request.access_token}"
        response.active.scopes.extend(request.required_scopes)
        return response


@asynccontextmanager
async def scripted_service() -> AsyncIterator[tuple[Scripted, str]]:
    """The script and the address."""
    scripted = Scripted()
    server = grpc.aio.server(options=[("grpc.so_reuseport", 0)])
    server.add_generic_rpc_handlers((scripted.handler(),))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    yield scripted, f"127.0.0.1:{port}"
    scripted.hold.set()
    await server.stop(None)


def error_info(reason: str, domain: str = "authsvc", **metadata: str) -> any_pb2.Any:
    packed = any_pb2.Any()
    packed.Pack(error_details_pb2.ErrorInfo(reason=reason, domain=domain, metadata=metadata))
    return packed


def refusing(code: grpc.StatusCode, *details: any_pb2.Any) -> tuple[grpc.StatusCode, str, Any]:
    status = status_pb2.Status(code=code.value[0], message="said", details=details)
    return code, "said", ((DETAILS_KEY, status.SerializeToString()),)
