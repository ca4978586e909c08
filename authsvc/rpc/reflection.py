"""Server reflection, for operators' tools: the library's servicer behind our wrapper."""

from collections.abc import AsyncIterator, Iterable

from grpc_reflection.v1alpha import reflection_pb2 as pb
from grpc_reflection.v1alpha._async import ReflectionServicer

from authsvc.rpc.wrapper import BidiStream, Call, Service

NAME = "grpc.reflection.v1alpha.ServerReflection"


def methods(services: Iterable[str]) -> Service:
    """Return the reflection service's methods, answering for *services*."""
    servicer = ReflectionServicer(service_names=tuple(services))

    async def info(
        requests: AsyncIterator[pb.ServerReflectionRequest], call: Call
    ) -> AsyncIterator[pb.ServerReflectionResponse]:
        del call
        async for response in servicer.ServerReflectionInfo(requests, None):
            yield response

    return {"ServerReflectionInfo": BidiStream(pb.ServerReflectionRequest, info)}
