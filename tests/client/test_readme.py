"""The README's examples work as printed, in both languages."""

import asyncio
import re
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from authsvc_client.testing import FakeAuthsvc
from tests.client.guarded import ONE, AioGreeter, bearer, call, handlers, refusal
from tests.client.http_service import asgi_service, http_get

FOLDER = Path(__file__).parents[2] / "clients" / "python"
PAGES = [FOLDER / "README.md", FOLDER / "README.zh-CN.md"]
PYTHON = re.compile(r"^```python\n(.*?)^```", re.MULTILINE | re.DOTALL)


def examples(page: Path, address: str) -> list[dict[str, Any]]:
    """The names that each example of the page defines, talking to *address*."""
    defined = []
    for source in PYTHON.findall(page.read_text("utf-8")):
        names: dict[str, Any] = {}
        exec(compile(source.replace("127.0.0.1:50051", address), page.name, "exec"), names)  # noqa: S102 - the page's own code
        defined.append(names)
    return defined


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
async def test_every_example_of_a_verifier_does_what_it_says(page: Path) -> None:
    """
    Async, sync, settings, and the tests that it suggests.
    """
    async with FakeAuthsvc() as fake:
        asynchronous, threaded, *_, configured, suggested = examples(page, fake.target)
        good, poor = tokens(fake)
        for token, user in ((good, "bob"), (poor, None), ("junk", None)):
            assert await asynchronous["user_of"](token) == user
            assert await asyncio.to_thread(threaded["user_of"], token) == user
        assert configured["settings"].when_stale == "unavailable"
        await suggested["test_with_a_verdict"]()
        await suggested["test_with_a_server"]()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
async def test_every_example_of_a_guard_guards(page: Path) -> None:
    """
    gRPC, ASGI and aiohttp, each served on a socket as printed: a good token passes, a bad one and a poor one do not.
    """
    async with FakeAuthsvc() as fake:
        _, _, rpc, asgi, http, calls, *_ = examples(page, fake.target)
        good, poor = tokens(fake)
        wanted = {good: 200, poor: 403, "junk": 401}

        port: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        greeter = AioGreeter()
        serving = asyncio.ensure_future(
            rpc["serve"](
                lambda server: server.add_generic_rpc_handlers((handlers(greeter),)), ready=port.set_result
            )
        )
        address = f"127.0.0.1:{await port}"
        assert await call(address, ONE, metadata=bearer(good)) == [b"hi:bob"]
        assert (await refusal(address, ONE, metadata=bearer("junk"))).reason == "TOKEN_INVALID"
        serving.cancel()
        await asyncio.gather(serving, return_exceptions=True)

        async with asgi["verifier"], asgi_service(asgi["app"]) as get:
            statuses = {
                token: (await get("/", ("Authorization", f"Bearer {token}"))).status for token in wanted
            }
            assert statuses == wanted
        runner = web.AppRunner(await http["build"](), access_log=None)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        statuses = {
            token: (
                await http_get(runner.addresses[0][1], "/orders", [("Authorization", f"Bearer {token}")])
            ).status
            for token in wanted
        }
        await runner.cleanup()
        assert statuses == wanted

        active = await calls["judge"](good)
        assert active.user_id == "bob"
        assert await calls["log_out"](good) == "done"
        assert not (await calls["judge"](good)).is_active


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_a_start_is_short(page: Path) -> None:
    """
    A protected endpoint of each kind takes less than 15 lines.
    """
    starts = PYTHON.findall(page.read_text("utf-8"))[2:5]
    assert all(len([line for line in one.splitlines() if line.strip()]) < 15 for one in starts)


def tokens(fake: FakeAuthsvc) -> tuple[str, str]:
    """A token with the scope of the examples, and one without."""
    return (
        fake.mint.token("bob", audience="orders", scopes=["orders.read"]),
        fake.mint.token("bob", audience="orders"),
    )


def test_both_languages_print_the_same_code() -> None:
    """
    But for comments and docstrings.
    """

    def code(page: Path) -> list[str]:
        text = "".join(PYTHON.findall(page.read_text("utf-8")))
        return [line.split("#")[0].rstrip() for line in text.splitlines() if '"""' not in line]

    assert code(PAGES[0]) == code(PAGES[1])
