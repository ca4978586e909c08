"""The contract's calls for asyncio: typed, with deadlines, retries where they are safe, and errors that say why."""

import asyncio
from collections.abc import Callable, Coroutine, Iterable, Sequence
from datetime import timedelta
from types import TracebackType
from typing import Any, Self

import grpc
import grpc.aio

from authapi import v1 as pb
from authsvc_client._clock import Clock, SystemClock
from authsvc_client.client_calls import ContractCalls
from authsvc_client.coalescing import Coalescer
from authsvc_client.connection import MetadataSource, Stubs, aio_channel, metadata_of
from authsvc_client.errors import CallFailed, LibraryError, failure_of

_VERIFY_WITHIN = timedelta(seconds=10)


class AuthClient(ContractCalls):
    """
    Calls authsvc.

    ```python
    async with AuthClient("authsvc:50051") as client:
        response = await client.revoke(RevokeRequest(session_id=session_id))
    ```

    Arguments as of Verifier. Without a *timeout* calls have the deadlines of the service config that is shipped with the
    channel (10 s; 20 s for Login). `batches` is how many coalesced checks may be on their way at once. Belongs to the
    event loop it is first used on.

    Every call raises AuthError, with a reason, where authsvc refuses, and LibraryError where gRPC itself fails.
    """

    def __init__(
        self,
        target: str | grpc.aio.Channel,
        *,
        credentials: grpc.ChannelCredentials | None = None,
        metadata: MetadataSource = (),
        batches: int = 4,
        clock: Clock | None = None,
    ) -> None:
        if batches < 1:
            raise ValueError("batches must be positive")
        self._target = target
        self._credentials = credentials
        self._metadata = metadata
        self._batches = batches
        self._clock = clock or SystemClock()
        self._own_channel: grpc.aio.Channel | None = None
        self._opened: Stubs | None = None
        self._checks: Coalescer | None = None

    async def aclose(self) -> None:
        """End all calls; who waits for one gets LibraryError CANCELLED. Idempotent; a later call opens it again."""
        checks, self._checks = self._checks, None
        channel, self._own_channel = self._own_channel, None
        self._opened = None
        if checks is not None:
            await checks.aclose()
        if channel is not None:
            await channel.close(None)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    async def verify_token(
        self,
        access_token: str,
        *,
        audience: str = "",
        scopes: Iterable[str] = (),
        roles: Iterable[str] = (),
        at_least: pb.Cursor | None = None,
        timeout: timedelta = _VERIFY_WITHIN,  # noqa: ASYNC109 - the call's deadline
    ) -> pb.VerifyTokenResponse:
        """
        Judge an access token at the server. A bad token is an answer (`inactive`), an error is no verdict.

        Concurrent checks share calls of BatchVerifyTokens; a lone one goes out at once. With *at_least*, a cursor of
        Revoke, it goes alone: the server may have to wait for it. `verdict_of` makes a Verdict of the answer.

        Raises:
            CallFailed: it could not be decided.

        """
        request = pb.VerifyTokenRequest(access_token=access_token, audience=audience)
        if scopes:
            request.required_scopes.extend(scopes)
        if roles:
            request.required_roles.extend(roles)
        timeout_s = timeout.total_seconds()
        if at_least is not None:
            request.at_least.CopyFrom(at_least)
            return await self._verify_one(request, timeout_s)
        if self._checks is None:
            self._checks = Coalescer(
                one=self._verify_one,
                many=self._verify_many,
                failure=_here,
                clock=self._clock,
                most_calls=self._batches,
            )
        return await self._checks.ask(request, timeout_s=timeout_s)

    @property
    def _stubs(self) -> Stubs:
        opened = self._opened
        if opened is None:
            channel = self._target
            if isinstance(channel, str):
                channel = self._own_channel = aio_channel(channel, self._credentials)
            opened = self._opened = Stubs(channel)
        return opened

    def _verify_one(
        self, request: pb.VerifyTokenRequest, timeout_s: float
    ) -> Coroutine[Any, Any, pb.VerifyTokenResponse]:
        return self._send(self._stubs.auth.VerifyToken, request, timeout_s)

    async def _verify_many(
        self, requests: Sequence[pb.VerifyTokenRequest], timeout_s: float
    ) -> pb.BatchVerifyTokensResponse:
        request = pb.BatchVerifyTokensRequest(requests=requests)
        response: pb.BatchVerifyTokensResponse = await self._send(
            self._stubs.auth.BatchVerifyTokens, request, timeout_s
        )
        return response

    async def _call(self, method: Callable[..., Any], request: Any, within: timedelta | None) -> Any:
        return await self._send(method, request, None if within is None else within.total_seconds())

    async def _send(self, method: Callable[..., Any], request: Any, timeout_s: float | None) -> Any:
        try:
            return await method(request, timeout=timeout_s, metadata=metadata_of(self._metadata))
        except grpc.RpcError as error:
            raise failure_of(error) from None
        except asyncio.CancelledError:
            # A closed channel cancels its calls, which is not a cancellation of who waits for them.
            task = asyncio.current_task()
            if task is not None and task.cancelling():
                raise
            raise LibraryError(grpc.StatusCode.CANCELLED) from None


def _here(code: str) -> CallFailed:
    """Return the error for what goes wrong before or after a call."""
    return LibraryError(grpc.StatusCode[code])
