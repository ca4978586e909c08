"""No header of a token makes the judge reach for a file or an address (RFC 8725 sections 3.9 and 3.10)."""

import base64
import json
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from authsvc.service.verify import Refusal, VerifiedToken
from tests.support.core import Core, build_core

_WATCHED = {"open", "socket.connect", "socket.getaddrinfo", "os.listdir", "os.open", "subprocess.Popen"}
_seen: list[str] | None = None


def _hook(event: str, args: tuple[Any, ...]) -> None:
    if _seen is not None and event in _WATCHED:
        _seen.append(f"{event} {args!r}")


sys.addaudithook(_hook)  # it cannot be taken away again, so it looks only while a test asks it to


def _part(content: object) -> str:
    return base64.urlsafe_b64encode(json.dumps(content).encode()).rstrip(b"=").decode()


KIDS = [
    "../../../../etc/passwd", "/dev/null", "file:///etc/passwd", "http://127.0.0.1:1/k", "x' UNION SELECT 1 --", "| id",
    "%2e%2e%2f", "..\\..\\boot.ini", "a" * 5000, "\u0000", "{}",
]  # fmt: skip
HEADERS = [
    *({"kid": kid} for kid in KIDS),
    {"jku": "http://127.0.0.1:1/jwks.json"},
    {"x5u": "file:///etc/passwd"},
    {"jwk": {"kty": "oct", "k": "AAAA"}},
    {"x5c": ["AAAA"]},
    {"crit": ["b64"], "b64": False},
    {"typ": "at+jwt", "cty": "http://127.0.0.1:1/"},
]


@pytest.fixture
async def core(tmp_path: Path) -> AsyncIterator[Core]:
    async with build_core(tmp_path) as built:
        yield built


@pytest.mark.parametrize("changes", HEADERS, ids=lambda changes: str(changes)[:40])
async def test_a_header_opens_no_file_and_no_connection(core: Core, changes: dict[str, Any]) -> None:
    """The token is refused, or its key unknown; the process opens nothing, and a good token stays good."""
    global _seen  # noqa: PLW0603 - the hook has no other way to know
    good = (await core.login("headers")).tokens.access_token
    header, payload, signature = good.split(".")
    known = json.loads(base64.urlsafe_b64decode(header + "=" * (-len(header) % 4)))
    forged = f"{_part({**known, **changes})}.{payload}.{signature}"
    assert isinstance(await core.judge(good), VerifiedToken)
    _seen = []
    verdict = await core.judge(forged)
    seen, _seen = _seen, None
    assert seen == []
    assert isinstance(verdict, Refusal)
    assert isinstance(await core.judge(good), VerifiedToken)


def test_the_watch_sees_what_it_looks_for(tmp_path: Path) -> None:
    """The hook notices a file that is opened."""
    global _seen  # noqa: PLW0603 - as above
    _seen = []
    (tmp_path / "x").write_text("y")
    seen, _seen = _seen, None
    assert any("x" in event for event in seen)
