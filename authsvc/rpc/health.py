"""
Standard gRPC health (grpc.health.v1), per service.

Not the library's servicer, because its Watch streams end only when the client leaves: an open stream would hold a
stopping server for its whole grace (pitfalls page, gRPC). These end themselves once NOT_SERVING has been said.
"""

import asyncio
from collections.abc import AsyncIterator, Iterable

from grpc_health.v1 import health_pb2 as pb

from authsvc.domain.errors import NotFound
from authsvc.rpc.wrapper import Call, ServerStream, Service, Unary

NAME = "grpc.health.v1.Health"
_Status = pb.HealthCheckResponse.ServingStatus


class Health:
    """What is served; `""` is the whole server. Begins as NOT_SERVING."""

    def __init__(self, services: Iterable[str]) -> None:
        self._services = frozenset(services) | {""}
        self._serving = False
        self._draining = False
        self._changed = asyncio.Condition()

    def methods(self) -> Service:
        """Return the service's methods by name."""
        return {
            "Check": Unary(pb.HealthCheckRequest, self.check),
            "Watch": ServerStream(pb.HealthCheckRequest, self.watch),
        }

    async def set_serving(self, *, serving: bool) -> None:
        """Tell everybody whether calls are welcome; after `drain` they never are again."""
        async with self._changed:
            self._serving = serving and not self._draining
            self._changed.notify_all()

    async def drain(self) -> None:
        """Say NOT_SERVING for good and end every Watch."""
        async with self._changed:
            self._draining = True
            self._serving = False
            self._changed.notify_all()

    @property
    def serving(self) -> bool:
        """Whether calls are welcome."""
        return self._serving

    async def check(self, request: pb.HealthCheckRequest, call: Call) -> pb.HealthCheckResponse:
        """See grpc.health.v1: NOT_FOUND for a service this server does not have."""
        del call
        if request.service not in self._services:
            raise NotFound("service")
        return pb.HealthCheckResponse(status=self._status(request.service))

    async def watch(
        self, request: pb.HealthCheckRequest, call: Call
    ) -> AsyncIterator[pb.HealthCheckResponse]:
        """See grpc.health.v1: SERVICE_UNKNOWN, rather than an error, for a service that may yet come."""
        del call
        told = None
        while True:
            async with self._changed:
                while (status := self._status(request.service)) == told and not self._draining:
                    await self._changed.wait()
            if status != told:
                yield pb.HealthCheckResponse(status=status)
                told = status
            elif self._draining:
                return

    def _status(self, service: str) -> int:
        if service not in self._services:
            return int(_Status.SERVICE_UNKNOWN)
        return int(_Status.SERVING if self._serving else _Status.NOT_SERVING)
