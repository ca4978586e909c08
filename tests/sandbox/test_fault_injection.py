"""
Every fault does on the wire what the catalogue says, and leaves the code as it says.
"""

import asyncio
import json
import re
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta

import aiohttp
import pytest

from authsvc.sandbox import FAULTS, SandboxServer
from tests.sandbox.wire import (
    D1,
    D2,
    Answer,
    Dropped,
    WatchedClock,
    Wire,
    hang_up,
    login_query,
    raw_request,
    read_answer,
)

TEXT = "text/plain"


def errcode(number: int, *, quoted: bool = False) -> Callable[[Answer], bool]:
    wanted: object = str(number) if quoted else number
    return lambda answer: (
        answer.status == 200
        and answer.headers["content-type"] == TEXT
        and answer.fields["errcode"] == wanted
        and type(answer.fields["errcode"]) is type(wanted)
    )


def gateway(status: int) -> Callable[[Answer], bool]:
    return lambda answer: (
        answer.status == status
        and answer.headers["content-type"] == "text/html"
        and answer.body.startswith(b"<html>")
    )


def is_gbk(answer: Answer) -> bool:
    return (
        answer.status == 200
        and "系统繁忙" in answer.body.decode("gbk")
        and answer.headers["content-type"] == "text/html; charset=gbk"
    )


def is_empty(answer: Answer) -> bool:
    return (
        answer.status == 200
        and answer.body == b""
        and answer.headers["content-type"] == "text/html; charset=gbk"
    )


def is_cut_json(answer: Answer) -> bool:
    try:
        json.loads(answer.body)
    except ValueError:
        return answer.body.startswith(b'{"session_key":"') and len(answer.body) == int(
            answer.headers["content-length"]
        )
    return False


def stops_halfway(answer: Answer) -> bool:
    return len(answer.body) == int(answer.headers["content-length"]) // 2 > 0


def is_array(answer: Answer) -> bool:
    (inner,) = json.loads(answer.body)
    return "openid" in inner


def has_bom(answer: Answer) -> bool:
    return answer.body.startswith(b"\xef\xbb\xbf{") and "openid" in json.loads(answer.body[3:])


def is_big(size: int) -> Callable[[Answer], bool]:
    return lambda answer: (
        len(answer.body) == size == int(answer.headers["content-length"]) and "openid" in answer.fields
    )


def is_session(answer: Answer) -> bool:
    return {"session_key", "openid", "unionid"} == set(answer.fields)


@dataclass(frozen=True)
class Case:
    """
    A fault on a good code: what the client sees (None: nothing), and whether the code is used then.
    """

    fault: str
    sees: Callable[[Answer], bool] | None
    used: bool


CASES = [
    Case("system-error", errcode(-1), used=False),
    Case("system-error-consumed", errcode(-1), used=True),
    Case("minute-quota", errcode(45011), used=False),
    Case("daily-quota", errcode(45009), used=False),
    Case("errcode;48001", errcode(48001), used=False),
    Case("errcode;99999", errcode(99999), used=False),
    Case("errcode-consumed;-1000", errcode(-1000), used=True),
    Case("quoted-errcode", errcode(40029, quoted=True), used=False),
    Case("quoted-errcode;-1", errcode(-1, quoted=True), used=False),
    Case("drop", None, used=False),
    Case("drop-consumed", None, used=True),
    Case("http", gateway(502), used=False),
    Case("http;503", gateway(503), used=False),
    Case("http-consumed", gateway(502), used=True),
    Case("http-consumed;503", gateway(503), used=True),
    Case("empty-body", is_empty, used=False),
    Case("empty-body-consumed", is_empty, used=True),
    Case("gbk", is_gbk, used=False),
    Case(
        "errcode-zero",
        lambda a: a.fields["errcode"] == 0 and a.fields["errmsg"] == "ok" and "openid" in a.fields,
        used=True,
    ),
    Case("old-expires-in", lambda a: a.fields["expires_in"] == 7200 and "openid" in a.fields, used=True),
    Case("missing-session-key", lambda a: set(a.fields) == {"openid", "unionid"}, used=True),
    Case("empty-openid", lambda a: a.fields["openid"] == "" and bool(a.fields["session_key"]), used=True),
    Case("old-hints", is_session, used=True),
    Case("truncated", is_cut_json, used=True),
    Case("cut-body", stops_halfway, used=True),
    Case("array", is_array, used=True),
    Case("bom", has_bom, used=True),
    Case("huge;200000", is_big(200_000), used=True),
    Case("huge", is_big(10 * 1024 * 1024), used=True),
    Case("close-idle", is_session, used=True),
]
WITH_THEIR_OWN_TEST = {"delay", "delay-consumed", "trickle"}


def test_every_fault_is_tried() -> None:
    """
    A fault added to the catalogue needs a case here.
    """
    tried = {case.fault.partition(";")[0] for case in CASES} | WITH_THEIR_OWN_TEST
    assert set(FAULTS) == tried


async def check(wire: Wire, case: Case, code: str, header: str | None) -> None:
    if case.sees is None:
        with pytest.raises(Dropped):
            await wire.login(code, fault=header)
    else:
        answer = await wire.login(code, fault=header)
        assert case.sees(answer), (answer.status, answer.headers, answer.body[:200])


async def check_used(wire: Wire, case: Case, code: str) -> None:
    after = await wire.login(code)
    assert (40163 if case.used else None) == after.errcode


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.fault)
async def test_by_header(server: SandboxServer, wire: Wire, case: Case) -> None:
    """
    The header makes this request fail and no other; both are counted.
    """
    code = server.mint(D1, "ann")
    await check(wire, case, code, case.fault)
    await check_used(wire, case, code)
    assert server.requests_for(code) == 2


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.fault)
async def test_by_code(server: SandboxServer, wire: Wire, case: Case) -> None:
    """
    A fault minted into a code strikes its first request.
    """
    code = server.mint(D1, "ann", fault=case.fault)
    other = server.mint(D1, "ann")
    assert is_session(await wire.login(other))
    await check(wire, case, code, None)
    await check_used(wire, case, code)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.fault)
async def test_by_admin(server: SandboxServer, wire: Wire, case: Case) -> None:
    """
    A rule of the control API strikes its app's next requests, as many as it says.
    """
    rule = {"app_id": D1, "fault": case.fault, "times": 1}
    assert (await wire.control("PUT", "/faults", rule)).status == 200
    assert is_session(await wire.login(server.mint(D2, "ann"), app_id=D2))
    code = server.mint(D1, "ann")
    await check(wire, case, code, None)
    await check_used(wire, case, code)


async def test_by_code_prefix(server: SandboxServer, wire: Wire) -> None:
    """
    A code that spells its fault fails each time it is sent, minted or not.
    """
    for _ in range(2):
        assert (await wire.login("fault:errcode;45009:1")).errcode == 45009
    code = server.mint(D1, "ann", code="fault:drop-consumed:1")
    with pytest.raises(Dropped):
        await wire.login(code)
    assert (await wire.login(code)).errcode == 40163


@pytest.mark.parametrize(
    "fault",
    [name for name, kind in FAULTS.items() if kind.moment.value in ("consumed", "success")],
)
async def test_a_refused_exchange_is_answered_as_it_is(wire: Wire, fault: str) -> None:
    """
    Faults that need a session leave refusals alone, so a resend after a drop meets its 40163.
    """
    suffix = {"delay-consumed": ";5", "errcode-consumed": ";45009"}.get(fault, "")
    assert (await wire.login("neverminted", fault=fault + suffix)).errcode == 40029


async def test_old_hints_on_an_error(wire: Wire) -> None:
    """
    Error texts can end as they did before 2020.
    """
    answer = await wire.login("neverminted", fault="old-hints")
    assert re.fullmatch(r"invalid code, hints: \[ req_id: \w+ \]", str(answer.fields["errmsg"])), answer.body


async def test_a_misspelt_fault_is_loud(server: SandboxServer, wire: Wire) -> None:
    """
    An unknown fault answers 400, and the code stays usable.
    """
    code = server.mint(D1, "ann")
    assert (await wire.login(code, fault="nosuch")).status == 400
    assert is_session(await wire.login(code))


@pytest.mark.parametrize(("fault", "used_meanwhile"), [("delay;30", False), ("delay-consumed;30", True)])
async def test_delay_waits_on_the_clock(
    server: SandboxServer, wire: Wire, clock: WatchedClock, fault: str, used_meanwhile: bool
) -> None:
    """
    A delayed answer comes when its time has passed; the code is used after the wait or before it.
    """
    code = server.mint(D1, "ann")
    delayed = asyncio.create_task(wire.login(code, fault=fault))
    await clock.until_sleeping()
    assert server.requests_for(code) == 1
    meanwhile = await wire.login(code)
    clock.advance(timedelta(seconds=30))
    later = await delayed
    first, second = (later, meanwhile) if used_meanwhile else (meanwhile, later)
    assert is_session(first)
    assert second.errcode == 40163


@pytest.mark.parametrize(
    ("fault", "used"), [("delay;30", False), ("delay-consumed;30", True), ("trickle;30", True)]
)
async def test_a_wait_ends_with_its_client(
    server: SandboxServer, wire: Wire, clock: WatchedClock, fault: str, used: bool
) -> None:
    """
    When the client goes away nobody sleeps on, and a delay before the exchange never makes it.
    """
    code = server.mint(D1, "ann")
    _reader, writer = await wire.open()
    writer.write(raw_request(login_query(code), headers={"X-Sandbox-Fault": fault}))
    await clock.until_sleeping()
    await hang_up(writer)
    await clock.abandoned.wait()
    assert clock.sleeping == 0
    assert (40163 if used else None) == (await wire.login(code)).errcode
    assert server.arrivals.select(code=code)[0].outcome == "client gone"


async def test_trickle_sends_byte_by_byte(server: SandboxServer, wire: Wire, clock: WatchedClock) -> None:
    """
    One byte follows another only after the pause, and the whole is the session.
    """
    code = server.mint(D1, "ann")
    reader, writer = await wire.open()
    writer.write(raw_request(login_query(code), headers={"X-Sandbox-Fault": "trickle;2"}))
    head = await reader.readuntil(b"\r\n\r\n")
    length = int(re.search(rb"(?i)content-length: (\d+)", head)[1])  # type: ignore[index]
    body = b""
    for _ in range(length):
        await clock.until_sleeping()
        clock.advance(timedelta(seconds=1))
        assert clock.sleeping == 1, "half the pause must not release a byte"
        clock.advance(timedelta(seconds=1))
        body += await reader.readexactly(1)
    assert await reader.read() == b""
    await hang_up(writer)
    assert {"session_key", "openid", "unionid"} == set(json.loads(body))


async def test_a_client_that_resends_is_caught(server: SandboxServer) -> None:
    """
    Aiohttp's client repeats a dropped GET by itself: the log shows two arrivals and the caller gets 40163.
    """
    code = server.mint(D1, "ann", fault="drop-consumed")
    url = server.base_url + login_query(code)
    async with aiohttp.ClientSession() as session, session.get(url) as response:
        answer = json.loads(await response.read())
    assert answer["errcode"] == 40163
    assert server.requests_for(code) == 2
    assert [a.outcome for a in server.arrivals.select(code=code)] == ["dropped", "errcode 40163"]


async def test_close_idle_promises_keep_alive(server: SandboxServer, wire: Wire) -> None:
    """
    The answer announces no close, and then the connection ends without a further request.
    """
    reader, writer = await wire.open()
    request = raw_request(
        login_query(server.mint(D1, "ann")),
        headers={"X-Sandbox-Fault": "close-idle"},
        keep_alive=True,
    )
    writer.write(request)
    answer = await read_answer(reader)
    assert "close" not in answer.headers.get("connection", "").lower()
    assert is_session(answer)
    assert await reader.read() == b""
    await hang_up(writer)


async def test_without_a_fault_the_connection_is_kept(server: SandboxServer, wire: Wire) -> None:
    """
    Two exchanges travel on one connection.
    """
    reader, writer = await wire.open()
    for _ in range(2):
        writer.write(raw_request(login_query(server.mint(D1, "ann")), keep_alive=True))
        assert is_session(await read_answer(reader))
    await hang_up(writer)
    assert len({arrival.peer for arrival in server.arrivals.select()}) == 1


async def test_a_client_may_leave_a_huge_body(server: SandboxServer, wire: Wire) -> None:
    """
    Who stops reading a huge answer harms nobody: the next request is served.
    """
    _reader, writer = await wire.open()
    writer.write(
        raw_request(login_query(server.mint(D1, "ann")), headers={"X-Sandbox-Fault": "huge;100000000"})
    )
    with suppress(OSError):
        await writer.drain()
    writer.transport.abort()
    assert is_session(await wire.login(server.mint(D1, "ann")))
