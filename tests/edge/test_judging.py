"""An edge that judges by itself: no call per check, the same answers, and nothing let through that it ended."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta

import aiohttp
import grpc
import pytest

from authapi.v1 import InactiveReason, RevokeResponse, VerifyTokenResponse
from authsvc.edge.app import create_edge
from authsvc.edge.server import EdgeServer
from authsvc.edge.settings import EdgeSettings
from authsvc_client import Settings, Verifier
from authsvc_client.testing import FakeAuthsvc, TokenMint
from tests.edge.peer import Peer
from tests.edge.wire import Answer, a_moment
from tests.fakes import FakeClock, RecordingObserver, SeededEntropy

OWN = ("shop", "orders")


@dataclass
class Scene:
    """An edge in front of a log that the test writes (`authsvc`), and of a peer that answers the rest."""

    authsvc: FakeAuthsvc
    peer: Peer
    verifier: Verifier
    url: str
    http: aiohttp.ClientSession

    async def verify(self, token: str, query: str = "") -> Answer:
        return await self.ask("GET", f"/api/v1/verify{query}", token)

    async def ask(self, method: str, path: str, token: str, **more: object) -> Answer:
        headers = {"Authorization": f"Bearer {token}"}
        async with self.http.request(method, self.url + path, headers=headers, **more) as response:  # type: ignore[arg-type]
            return Answer(response.status, response.headers, await response.read())


@asynccontextmanager
async def edge(*audiences: str, when_stale: str = "ask") -> AsyncIterator[Scene]:
    settings = EdgeSettings(audiences=audiences)
    peer = Peer()
    async with FakeAuthsvc() as authsvc, aiohttp.ClientSession() as http:
        channel = grpc.aio.insecure_channel(await peer.start())
        verifier = Verifier(
            authsvc.target,
            audience="-",
            settings=Settings(when_stale=when_stale),  # type: ignore[arg-type]
        )
        assert await verifier.start(wait=timedelta(seconds=30))
        app = create_edge(
            channel=channel,
            settings=settings,
            observer=RecordingObserver(),
            clock=FakeClock(),
            entropy=SeededEntropy(),
            verifier=verifier,
        )
        server = EdgeServer(app, host="127.0.0.1", port=0, settings=settings)
        try:
            yield Scene(authsvc, peer, verifier, await server.start(), http)
        finally:
            await server.stop(timedelta(seconds=1))
            await verifier.aclose()
            await channel.close(None)
            await peer.stop()


async def test_a_good_token_costs_no_call() -> None:
    """Neither the scripted server nor the one with the log is asked; the headers are the token's."""
    async with edge(*OWN) as scene:
        token = scene.authsvc.mint.token("alice", audience="orders", scopes=["read"])
        for query in ("", "?audience=orders&scope=read"):
            answer = await scene.verify(token, query)
            assert (answer.status, answer.headers["x-auth-user"], answer.headers["x-auth-scopes"]) == (
                200,
                "alice",
                "read",
            )
        assert scene.peer.seen == []
        assert scene.authsvc.asked == []


@pytest.mark.parametrize(
    ("query", "status"),
    [
        ("?audience=stock", 403),
        ("?audience=orders&scope=write", 403),
        ("?scope=write", 403),
        ("?role=admin", 403),
    ],
)
async def test_what_a_good_token_does_not_allow_is_403(query: str, status: int) -> None:
    """Whichever of the edge's own audiences the token is meant for."""
    async with edge(*OWN) as scene:
        token = scene.authsvc.mint.token(audience="orders", scopes=["read"])
        assert (await scene.verify(token, query)).status == status


async def test_a_token_for_others_is_403_and_a_bad_one_401() -> None:
    """By the token alone: nobody is asked."""
    async with edge(*OWN) as scene:
        mint = scene.authsvc.mint
        assert (await scene.verify(mint.token(audience="stock"))).status == 403
        expired = mint.token(audience="orders", exp=1, iat=0, nbf=0)
        assert (await scene.verify(expired)).status == 401
        assert (await scene.verify("a.b.c")).status == 401
        assert scene.peer.seen == []


async def test_without_audiences_of_its_own_the_server_is_asked() -> None:
    """Only where the request names none."""
    async with edge() as scene:
        token = scene.authsvc.mint.token(audience="orders")
        assert (await scene.verify(token, "?audience=orders")).status == 200
        assert scene.peer.seen == []
        assert (await scene.verify(token)).status == 200
        assert [name for name, _ in scene.peer.seen] == ["VerifyToken"]


async def test_a_logout_waits_until_this_edge_knows() -> None:
    """The very next check at the same edge is refused."""
    async with edge(*OWN) as scene:
        mint = scene.authsvc.mint
        session_id = mint.new_id()
        token = mint.token(audience="orders", session_id=session_id)
        assert (await scene.verify(token)).status == 200

        def revoke(_: object) -> RevokeResponse:
            position = scene.authsvc.revoke_session(session_id)
            return RevokeResponse(ended_sessions=1, position=position.to_bytes(8, "big"))

        scene.peer.answers["Revoke"] = revoke
        assert (await scene.ask("POST", "/api/v1/logout", token, json={})).status == 200
        assert (await scene.verify(token)).status == 401


async def test_a_logout_does_not_wait_for_ever() -> None:
    """A position that never comes holds the answer for a second at most, and the logout stands."""
    async with edge(*OWN) as scene:
        scene.peer.answers["Revoke"] = RevokeResponse(ended_sessions=1, position=(2**40).to_bytes(8, "big"))
        token = scene.authsvc.mint.token(audience="orders")
        answer = await scene.ask("POST", "/api/v1/logout", token, json={})
        assert (answer.status, answer.json) == (200, {"ended_sessions": 1})


async def test_a_key_that_is_unknown_here_is_put_to_the_server() -> None:
    """Who holds a token of a key that is long gone hears the server's word, not that it cannot be known."""
    async with edge(*OWN) as scene:
        scene.peer.answers["VerifyToken"] = VerifyTokenResponse(
            inactive={"reason": InactiveReason.INACTIVE_REASON_UNKNOWN_KEY}  # type: ignore[arg-type]
        )
        scene.authsvc.keys_fail = True
        for _ in range(2):
            assert (await scene.verify(TokenMint().token(audience="orders"))).status == 401
        assert len(scene.peer.requests("VerifyToken")) == 2


async def test_what_cannot_be_known_is_503() -> None:
    """Revocations that nobody has confirmed for longer than the hard bound are no verdict."""
    async with edge(*OWN, when_stale="unavailable") as scene:
        scene.authsvc.age = timedelta(minutes=5)
        scene.authsvc.new_incarnation()
        scene.authsvc.cut()
        token = scene.authsvc.mint.token(audience="orders")
        answer = await scene.verify(token)
        while answer.status == 200:  # until the stream is open again and tells its age
            await a_moment()
            answer = await scene.verify(token)
        assert (answer.status, answer.error["reason"]) == (503, "NOT_FRESH")
        assert int(answer.headers["Retry-After"]) >= 1


async def test_the_session_page_reads_the_claims_here() -> None:
    """One call remains, for the session itself."""
    async with edge(*OWN) as scene:
        token = scene.authsvc.mint.token("alice", audience="orders", roles=["vip"])
        answer = await scene.ask("GET", "/api/v1/session", token)
        assert (answer.status, answer.json["claims"]["user_id"], answer.json["claims"]["roles"]) == (
            200,
            "alice",
            ["vip"],
        )
        assert [name for name, _ in scene.peer.seen] == ["GetSession"]
