"""The Python examples of the pages work as printed, against a server that answers as the contract says."""

import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import grpc
import pytest

from authapi.v1 import (
    Active,
    AuthServiceServicer,
    AuthServiceStub,
    Cursor,
    Inactive,
    InactiveReason,
    RevokeRequest,
    RevokeResponse,
    VerifyTokenRequest,
    VerifyTokenResponse,
    add_AuthServiceServicer_to_server,
)

ROOT = Path(__file__).parents[2]
READMES = [ROOT / "README.md", ROOT / "README.zh-CN.md"]
GUIDES = [ROOT / "docs/integration.md", ROOT / "docs/integration.zh-CN.md"]
PYTHON = re.compile(r"^```python\n(.*?)^```", re.MULTILINE | re.DOTALL)
ADDRESS = "127.0.0.1:50051"
Context = grpc.ServicerContext


class Peer(AuthServiceServicer):
    """Knows one good token, `good` of `alice`, until she is revoked; `?` it cannot decide, to `!` it says nothing."""

    def __init__(self) -> None:
        self.cursor = b""

    def VerifyToken(self, request: VerifyTokenRequest, context: Context) -> VerifyTokenResponse:  # noqa: N802 - the contract's name
        """See AuthService: a verdict, for a request that names an audience."""
        assert request.audience
        if request.access_token == "?":
            context.abort(grpc.StatusCode.UNAVAILABLE, "not fresh")
        if request.access_token == "!":
            return VerifyTokenResponse()
        if request.access_token == "good" and not self.cursor:
            return VerifyTokenResponse(active=Active(user_id="alice"))
        assert self.cursor == request.at_least.value
        return VerifyTokenResponse(inactive=Inactive(reason=InactiveReason.INACTIVE_REASON_USER_REVOKED))

    def Revoke(self, request: RevokeRequest, context: Context) -> RevokeResponse:  # noqa: N802 - the contract's name
        """See AuthService: ends the sessions of `alice`."""
        del context
        assert request.user.user_id == "alice"
        self.cursor = b"\x00opaque"
        return RevokeResponse(cursor=Cursor(value=self.cursor), ended_sessions=1)


@pytest.fixture
def address() -> Iterator[str]:
    """Where a fresh Peer listens."""
    server = grpc.server(ThreadPoolExecutor(max_workers=1))
    peer = Peer()  # type: ignore[abstract]  # of its five methods the examples call two
    add_AuthServiceServicer_to_server(peer, server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    yield f"127.0.0.1:{port}"
    server.stop(None).wait()


def example(page: Path, address: str) -> dict[str, Any]:
    """The names that the page's one Python example defines, talking to *address*."""
    (source,) = PYTHON.findall(page.read_text("utf-8"))
    names: dict[str, Any] = {}
    exec(compile(source.replace(ADDRESS, address), page.name, "exec"), names)  # noqa: S102 - the page's own code
    return names


@pytest.mark.parametrize("page", READMES, ids=lambda page: page.name)
def test_the_readme_tells_a_verdict_from_an_error(page: Path, address: str) -> None:
    """
    The example answers the user for a good token, None for a bad one, and raises where there is no verdict.
    """
    user_of = example(page, address)["user_of"]

    assert user_of("good") == "alice"
    assert user_of("bad") is None
    with pytest.raises(grpc.RpcError):
        user_of("?")
    with pytest.raises(RuntimeError):
        user_of("!")


@pytest.mark.parametrize("page", GUIDES, ids=lambda page: page.name)
def test_the_guide_reads_its_own_write(page: Path, address: str) -> None:
    """
    The example hands the cursor of the revocation to the question that follows.
    """
    with grpc.insecure_channel(address) as channel:
        outcome = example(page, address)["log_out_everywhere"](AuthServiceStub(channel), "alice", "good")

    assert outcome == "inactive"
