"""The operations listener by itself: readiness is every part's own word, and no part can hold it up."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest

from authsvc.ops import OpsServer
from tests.e2e.wire import Answer, http_call

CANARY = "canary-0123456789"
Ask = Callable[..., Awaitable[Answer]]


async def exposition() -> tuple[bytes, str]:
    return b"authsvc_x 1\n", "text/plain; version=0.0.4"


@asynccontextmanager
async def listening(*, check_host: bool = True, **probes: Callable[[], Awaitable[str]]) -> AsyncIterator[Ask]:
    server = OpsServer(host="127.0.0.1", port=0, exposition=exposition, probes=probes, check_host=check_host)
    url = await server.start()

    async def ask(path: str, method: str = "GET", **headers: str) -> Answer:
        return await asyncio.to_thread(http_call, method, url + path, headers=headers)

    try:
        yield ask
    finally:
        await server.stop()


async def well() -> str:
    return ""


async def ill() -> str:
    return "not today"


async def broken() -> str:
    raise RuntimeError(CANARY)


async def silent() -> str:
    await asyncio.Event().wait()
    return "never"


async def test_a_notice_is_told_and_takes_nobody_out_of_service() -> None:
    """
    What a process does not do while the rest works is in the answer, ready or not; one that says nothing is not.
    """
    answers = []
    for probe in (well, ill):
        server = OpsServer(
            host="127.0.0.1",
            port=0,
            exposition=exposition,
            probes={"store": probe},
            check_host=True,
            notices={"issuing": ill, "other": well},
        )
        url = await server.start()
        try:
            answer = await asyncio.to_thread(http_call, "GET", url + "/readyz")
        finally:
            await server.stop()
        answers.append((answer.status, answer.json["degraded"]))

    assert answers == [(200, {"issuing": "not today"}), (503, {"issuing": "not today"})]


async def test_ready_when_every_part_says_so() -> None:
    """
    200 with all well, also with no part at all.
    """
    async with listening(store=well, grpc=well) as ask:
        answer = await ask("/readyz")
    async with listening() as ask:
        empty = await ask("/readyz")

    assert (answer.status, answer.json) == (200, {"status": "ready"})
    assert empty.status == 200


async def test_not_ready_names_each_part_that_is_not() -> None:
    """
    A part that is not ready, breaks or says nothing is named; what broke it is not told; the process is alive.
    """
    async with listening(good=well, store=ill, log=broken, grpc=silent) as ask:
        answer = await ask("/readyz")
        alive = await ask("/healthz")

    assert (answer.status, answer.json["status"]) == (503, "not ready")
    assert answer.json["missing"] == {
        "store": "not today",
        "log": "cannot be asked: RuntimeError",
        "grpc": "no answer in time",
    }
    assert CANARY not in answer.body.decode()
    assert (alive.status, alive.json) == (200, {"status": "alive"})


@pytest.mark.parametrize("path", ["/metrics", "/healthz", "/readyz"])
async def test_answers_are_not_kept_and_not_sniffed(path: str) -> None:
    """
    Every answer says no-store and nosniff; only reading is possible.
    """
    async with listening() as ask:
        answer, posted = await ask(path), await ask(path, "POST")

    assert answer.headers["cache-control"] == "no-store"
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert posted.status == 405


@pytest.mark.parametrize(("check_host", "status"), [(True, 421), (False, 200)])
async def test_the_host_is_checked_where_asked_for(check_host: bool, status: int) -> None:
    """
    On loopback only local names are answered; a listener for a network answers to any.
    """
    async with listening(check_host=check_host) as ask:
        assert (await ask("/metrics", Host="metrics.example:9464")).status == status
        assert (await ask("/metrics", Host="localhost:9464")).status == 200
        for odd in ("127.0.0.1:evil.com", "evil@127.0.0.1", "[::1"):
            assert (await ask("/metrics", Host=odd)).status == status


async def test_a_taken_port_is_an_error_and_stopping_twice_is_none() -> None:
    """
    The second listener on a port does not start; stop is idempotent.
    """
    first = OpsServer(host="127.0.0.1", port=0, exposition=exposition, probes={}, check_host=True)
    port = int((await first.start()).rpartition(":")[2])
    second = OpsServer(host="127.0.0.1", port=port, exposition=exposition, probes={}, check_host=True)

    with pytest.raises(OSError, match="in use"):
        await second.start()
    await second.stop()
    await first.stop()
    await first.stop()
