"""A fake authsvc: a real gRPC server in the test's process, with a revocation log that the test writes."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from datetime import timedelta
from types import TracebackType
from typing import Any, Self

import grpc
import grpc.aio

from authapi import v1 as pb
from authsvc_client._clock import Clock, SystemClock
from authsvc_client.judgement import Demand, judge
from authsvc_client.revocations import RevocationView
from authsvc_client.signatures import read_key_set
from authsvc_client.testing.minting import TokenMint
from authsvc_client.tokens import parse, session_id_bytes
from authsvc_client.verdicts import Active, SessionEndReason, Verdict
from authsvc_client.watching import read_fact

_LONGEST_LIFETIME = timedelta(hours=24)


class FakeAuthsvc:
    """
    Serves GetJwks, WatchRevocations, VerifyToken, BatchVerifyTokens and Revoke on a free port of 127.0.0.1.

    Script: `revoke_*` and `withdraw_key` write facts, which reach open streams at once; `heartbeat`, `send`, `go_away`
    and `cut` act on open streams; `expire_cursors` and `new_incarnation` make resumption impossible; `age` is told with
    every message and answer; `keys_fail` and `ask_fails` answer UNAVAILABLE; `refuse` is the status of new streams;
    `snapshot_ends` False keeps the last part of snapshots back; `answer` replaces the judgement of VerifyToken; `stop` and `start` again keep the port and the log.

    What came: `key_reads`, `watched` (the cursor of every stream, None for a snapshot), `asked` (tokens).
    """

    def __init__(
        self,
        *,
        mint: TokenMint | None = None,
        heartbeats: timedelta | None = timedelta(milliseconds=200),
        clock: Clock | None = None,
    ) -> None:
        """*heartbeats* None sends none but on demand; they and judged times are of *clock*."""
        self._clock = clock or SystemClock()
        self.mint = mint or TokenMint(clock=self._clock)
        self.mints = [self.mint]
        self.age = timedelta(0)
        self.max_age = timedelta(minutes=5)
        self.keys_fail = False
        self.ask_fails = False
        self.refuse: grpc.StatusCode | None = None
        self.snapshot_ends = True
        self.answer: Callable[[pb.VerifyTokenRequest], pb.VerifyTokenResponse] | None = None
        self.key_reads = 0
        self.watched: list[bytes | None] = []
        self.asked: list[str] = []
        self._heartbeats = heartbeats
        self._facts: list[pb.Revocation] = []
        self._incarnation = 1
        self._position = 0
        self._oldest = 0
        self._streams: set[_Open] = set()
        self._server: grpc.aio.Server | None = None
        self._port = 0
        self._beating: asyncio.Task[None] | None = None

    @property
    def target(self) -> str:
        """Where it listens."""
        return f"127.0.0.1:{self._port}"

    @property
    def position(self) -> int:
        """The newest position of its log."""
        return self._position

    @property
    def streams(self) -> int:
        """How many streams are open."""
        return len(self._streams)

    async def start(self) -> None:
        """Listen, on the same port as before."""
        self._server = grpc.aio.server(options=[("grpc.so_reuseport", 0)])
        pb.add_KeyServiceServicer_to_server(_Keys(self), self._server)
        pb.add_RevocationServiceServicer_to_server(_Revocations(self), self._server)
        pb.add_AuthServiceServicer_to_server(_Auth(self), self._server)  # type: ignore[abstract]
        self._gone = asyncio.Event()
        self._server.add_generic_rpc_handlers((_health(self._gone),))
        self._port = self._server.add_insecure_port(f"127.0.0.1:{self._port}")
        await self._server.start()
        if self._heartbeats is not None:
            self._beating = asyncio.ensure_future(self._beat(self._heartbeats.total_seconds()))

    async def stop(self) -> None:
        """Be gone at once, as if killed."""
        if self._beating is not None:
            self._beating.cancel()
            with suppress(asyncio.CancelledError):
                await self._beating
        if self._server is not None:
            self._gone.set()
            await self._server.stop(None)
            self._server = None

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()

    # -- the log ---------------------------------------------------------------------------------------------------

    def revoke_session(self, session_id: str, reason: SessionEndReason = SessionEndReason.ADMIN) -> int:
        """End a session, by the claim `sid`; return the fact's position."""
        return self._write(pb.Revocation(session_id=session_id_bytes(session_id) or b"", reason=int(reason)))  # type: ignore[arg-type]

    def revoke_user(self, user_id: str, *, app_id: str = "") -> int:
        """End what a user has, in one app or all; return the fact's position."""
        return self._write(pb.Revocation(user_id=user_id, app_filter=app_id, reason=4))  # type: ignore[arg-type]

    def revoke_app(self, app_id: str) -> int:
        """End everything of an app; return the fact's position."""
        return self._write(pb.Revocation(app_id=app_id, reason=4))  # type: ignore[arg-type]

    def revoke(self, request: pb.RevokeRequest) -> pb.RevokeResponse:
        """Return what Revoke answers; a token's session is ended whatever else the token is."""
        match request.WhichOneof("target"):
            case "user":
                position = self.revoke_user(request.user.user_id, app_id=request.user.app_id)
            case "app_id":
                position = self.revoke_app(request.app_id)
            case "access_token":
                parsed = parse(request.access_token.encode(), {})
                position = self.revoke_session(parsed.claims.session_id) if parsed else 0
            case _:
                position = self.revoke_session(request.session_id)
        return pb.RevokeResponse(
            cursor=pb.Cursor(value=self._cursor()), position=position.to_bytes(8, "big"), ended_sessions=1
        )

    def withdraw_key(self, kid: str) -> int:
        """Withdraw a key for good; return the fact's position."""
        return self._write(pb.Revocation(key_id=kid))

    def _write(self, fact: pb.Revocation) -> int:
        self._position += 1
        fact.position = self._position.to_bytes(8, "big")
        self._facts.append(fact)
        self.send(pb.WatchRevocationsResponse(changes=pb.Changes(revocations=[fact])))
        return self._position

    def expire_cursors(self) -> None:
        """Refuse every cursor given out so far as too old."""
        self._oldest = self._position + 1
        self._position += 1

    def new_incarnation(self, *, forgetting: bool = False) -> None:
        """Be another log from now on, as after a restored backup; *forgetting* loses its facts."""
        self._incarnation += 1
        self._position += 2**32
        if forgetting:
            self._facts.clear()

    # -- the streams -----------------------------------------------------------------------------------------------

    def send(self, message: pb.WatchRevocationsResponse, *, complete: bool = True) -> None:
        """Send a message on every open stream; *complete* adds cursor, position and age where they are missing."""
        if complete and not message.complete_through.value:
            message.MergeFrom(self._completion())
        for stream in self._streams:
            stream.items.put_nowait(message)

    def heartbeat(self) -> None:
        """Send one."""
        self.send(pb.WatchRevocationsResponse(heartbeat=pb.Heartbeat()))

    def go_away(self) -> None:
        """Drain: say GoAway on every open stream and end it."""
        self.send(pb.WatchRevocationsResponse(go_away=pb.GoAway()))
        self._end(None)

    def cut(self, code: grpc.StatusCode = grpc.StatusCode.UNAVAILABLE) -> None:
        """End every open stream with this status."""
        self._end(code)

    def _end(self, code: grpc.StatusCode | None) -> None:
        for stream in list(self._streams):
            stream.items.put_nowait(code)
            self._streams.discard(stream)

    async def _beat(self, every_s: float) -> None:
        while True:
            await self._clock.sleep(every_s)
            self.heartbeat()

    def _completion(self) -> pb.WatchRevocationsResponse:
        completion = pb.WatchRevocationsResponse(
            complete_through=pb.Cursor(value=self._cursor()),
            position_through=self._position.to_bytes(8, "big"),
        )
        completion.age.FromTimedelta(self.age)
        return completion

    def _cursor(self) -> bytes:
        return self._incarnation.to_bytes(4, "big") + self._position.to_bytes(8, "big")

    async def watch(self, request: pb.WatchRevocationsRequest, context: Any) -> AsyncIterator[Any]:
        """Answer a WatchRevocations."""
        cursor = request.resume_from.value
        self.watched.append(cursor or None)
        if self.refuse is not None:
            await context.abort(self.refuse, "scripted")
        position = int.from_bytes(cursor[4:], "big")
        if cursor and (cursor[:4] != self._cursor()[:4] or position < self._oldest):
            await context.abort(grpc.StatusCode.OUT_OF_RANGE, "take a snapshot")
        stream = _Open()
        for message in self._missed(position) if cursor else self._snapshot():
            stream.items.put_nowait(message)
        self._streams.add(stream)
        try:
            while True:
                item = await stream.items.get()
                if item is None:
                    return
                if isinstance(item, grpc.StatusCode):
                    await context.abort(item, "scripted")
                yield item
        finally:
            self._streams.discard(stream)

    def _snapshot(self) -> list[pb.WatchRevocationsResponse]:
        """Sessions packed in one part, everything else in another: a snapshot has parts."""
        first, last = pb.WatchRevocationsResponse(), self._completion()
        for fact in self._facts:
            if fact.WhichOneof("target") == "session_id":
                first.snapshot_part.sessions.add(ids=fact.session_id, reason=fact.reason)
            else:
                last.snapshot_part.revocations.append(fact)
        first.snapshot_part.SetInParent()
        last.snapshot_part.last = True
        return [first, last] if self.snapshot_ends else [first]

    def _missed(self, position: int) -> list[pb.WatchRevocationsResponse]:
        facts = [fact for fact in self._facts if int.from_bytes(fact.position, "big") > position]
        message = self._completion()
        if facts:
            message.changes.revocations.extend(facts)
        else:
            message.heartbeat.SetInParent()
        return [message]

    # -- questions -------------------------------------------------------------------------------------------------

    def jwks(self) -> pb.GetJwksResponse:
        """Return what GetJwks answers: the keys of all `mints` but the withdrawn ones."""
        withdrawn = [fact.key_id for fact in self._facts if fact.key_id]
        keys = ",".join(
            mint.jwks_json[len('{"keys": [') : -len("]}")] for mint in self.mints if mint.kid not in withdrawn
        )
        response = pb.GetJwksResponse(
            jwks_json='{"keys":[' + keys + "]}", issuer=self.mint.issuer, withdrawn_key_ids=withdrawn
        )
        response.max_age.FromTimedelta(self.max_age)
        response.max_token_lifetime.FromTimedelta(_LONGEST_LIFETIME)
        return response

    def judge(self, request: pb.VerifyTokenRequest) -> pb.VerifyTokenResponse:
        """Return what VerifyToken answers unless `answer` says otherwise: the judgement by keys and log."""
        jwks, view = self.jwks(), RevocationView()
        view.apply(map(read_fact, self._facts))
        verdict = judge(
            request.access_token,
            keys=read_key_set(
                jwks.jwks_json,
                issuer=jwks.issuer,
                max_lifetime_s=_LONGEST_LIFETIME.total_seconds(),
                withdrawn=jwks.withdrawn_key_ids,
            ),
            view=view,
            now_s=self._clock.now_s(),
            demand=Demand(request.audience, tuple(request.required_scopes), tuple(request.required_roles)),
        )
        response = _response(verdict)
        response.age.FromTimedelta(self.age)
        response.known_through.value = self._cursor()
        return response


class _Open:
    """An open stream and what is on its way: messages, then a status, or None for a good end."""

    def __init__(self) -> None:
        self.items: asyncio.Queue[pb.WatchRevocationsResponse | grpc.StatusCode | None] = asyncio.Queue()


def _response(verdict: Verdict) -> pb.VerifyTokenResponse:
    response = pb.VerifyTokenResponse()
    if not isinstance(verdict, Active):
        response.inactive.reason = int(verdict.reason)  # type: ignore[assignment]  # the same numbers
        response.inactive.session_end_reason = int(verdict.session_end_reason)  # type: ignore[assignment]
        return response
    active = response.active
    active.user_id, active.session_id, active.app_id = verdict.user_id, verdict.session_id, verdict.app_id
    active.token_id = verdict.token_id
    active.scopes.extend(verdict.scopes)
    active.roles.extend(verdict.roles)
    active.audiences.extend(verdict.audiences)
    active.previous_user_ids.extend(verdict.previous_user_ids)
    active.issued_at.FromDatetime(verdict.issued_at)
    active.expires_at.FromDatetime(verdict.expires_at)
    if verdict.openid is not None:
        active.openid = verdict.openid
    if verdict.external_id is not None:
        active.external_id = verdict.external_id
    return response


def _health(gone: asyncio.Event) -> Any:
    """Answer the health checks that the clients' service config asks for; by hand: a client needs no health library."""

    async def watch(request: bytes, context: Any) -> AsyncIterator[bytes]:
        del request, context
        yield b"\x08\x01"  # grpc.health.v1.HealthCheckResponse with status SERVING
        await gone.wait()

    handlers = {"Watch": grpc.unary_stream_rpc_method_handler(watch)}
    return grpc.method_handlers_generic_handler("grpc.health.v1.Health", handlers)


class _Keys(pb.KeyServiceServicer):
    def __init__(self, fake: FakeAuthsvc) -> None:
        self._fake = fake

    async def GetJwks(self, request: pb.GetJwksRequest, context: Any) -> pb.GetJwksResponse:  # noqa: N802 - the contract's name
        del request
        self._fake.key_reads += 1
        if self._fake.keys_fail:
            await context.abort(grpc.StatusCode.UNAVAILABLE, "scripted")
        return self._fake.jwks()


class _Revocations(pb.RevocationServiceServicer):
    def __init__(self, fake: FakeAuthsvc) -> None:
        self._fake = fake

    async def WatchRevocations(self, request: pb.WatchRevocationsRequest, context: Any) -> AsyncIterator[Any]:  # noqa: N802 - the contract's name
        async for message in self._fake.watch(request, context):
            yield message


class _Auth(pb.AuthServiceServicer):
    def __init__(self, fake: FakeAuthsvc) -> None:
        self._fake = fake

    async def VerifyToken(self, request: pb.VerifyTokenRequest, context: Any) -> pb.VerifyTokenResponse:  # noqa: N802 - the contract's name
        self._fake.asked.append(request.access_token)
        if self._fake.ask_fails:
            await context.abort(grpc.StatusCode.UNAVAILABLE, "scripted")
        return (self._fake.answer or self._fake.judge)(request)

    async def Revoke(self, request: pb.RevokeRequest, context: Any) -> pb.RevokeResponse:  # noqa: N802 - the contract's name
        del context
        return self._fake.revoke(request)

    async def BatchVerifyTokens(  # noqa: N802 - the contract's name
        self, request: pb.BatchVerifyTokensRequest, context: Any
    ) -> pb.BatchVerifyTokensResponse:
        return pb.BatchVerifyTokensResponse(
            responses=[await self.VerifyToken(question, context) for question in request.requests]
        )
