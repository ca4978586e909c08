"""
``/sns/jscode2session`` answers on the wire as WeChat does.
"""

import asyncio
import json
import re
from datetime import timedelta
from typing import Any

import pytest

from authsvc.sandbox import SandboxServer, World
from tests.sandbox.wire import D1, D2, D3, SECRETS, WatchedClock, Wire, login_query


async def test_a_session_looks_like_wechats(server: SandboxServer, wire: Wire) -> None:
    """
    200, text/plain without a charset, and the session's fields with no errcode.
    """
    answer = await wire.login(server.mint(D1, "ann"))
    identity = server.world.identity(D1, user="ann")
    assert answer.status == 200
    assert answer.headers["content-type"] == "text/plain"
    assert {
        "session_key": server.world.session_key(D1, user="ann"),
        "openid": identity.openid,
        "unionid": identity.unionid,
    } == answer.fields


async def test_no_unionid_for_an_unbound_app(server: SandboxServer, wire: Wire) -> None:
    """
    An app without an open-platform account gets no unionid field at all.
    """
    answer = await wire.login(server.mint(D3, "ann"), app_id=D3)
    assert {"session_key", "openid"} == set(answer.fields)


async def test_slashes_are_escaped(server: SandboxServer, wire: Wire) -> None:
    r"""
    A session_key with a slash arrives with ``\/`` and reads back as itself.
    """
    for number in range(100):
        user = f"user{number}"
        code = server.mint(D1, user)
        key = server.world.session_key(D1, user=user)
        assert key is not None
        if "/" in key:
            break
    else:
        pytest.fail("a hundred keys without a slash")
    answer = await wire.login(code)
    assert key.replace("/", "\\/").encode() in answer.body
    assert key == answer.fields["session_key"]


async def test_an_error_is_200_with_a_rid_of_now(
    server: SandboxServer, wire: Wire, clock: WatchedClock
) -> None:
    """
    A business error is HTTP 200 and text/plain; the message ends in a rid whose first group is the time.
    """
    answer = await wire.login("neverminted")
    assert (answer.status, answer.headers["content-type"]) == (200, "text/plain")
    assert {"errcode", "errmsg"} == set(answer.fields)
    assert answer.errcode == 40029
    found = re.fullmatch(
        "invalid code, rid: ([0-9a-f]{8})-[0-9a-f]{8}-[0-9a-f]{8}", str(answer.fields["errmsg"])
    )
    assert found is not None
    assert int(clock.now().timestamp()) == int(found[1], 16)


@pytest.mark.parametrize(
    ("changes", "errcode"),
    [
        ({"appid": None}, 41002),
        ({"appid": "wx00000000000000d9"}, 40013),
        ({"secret": None}, 41004),
        ({"secret": SECRETS[D2]}, 40125),
        ({"grant_type": "password"}, 40002),
        ({"js_code": None}, 41008),
        ({"js_code": ""}, 41008),
        ({"js_code": "no"}, 40029),
    ],
)
async def test_parameters_are_checked(
    server: SandboxServer, wire: Wire, changes: dict[str, Any], errcode: int
) -> None:
    """
    Each parameter, wrong or left out, gives its number on the wire and leaves the code alone.
    """
    code = server.mint(D1, "ann")
    assert (await wire.send(login_query(code, **changes))).errcode == errcode
    assert "openid" in (await wire.login(code)).fields


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "HEAD"])
async def test_a_wrong_verb_is_a_missing_appid(server: SandboxServer, wire: Wire, method: str) -> None:
    """
    Only GET exchanges; another verb answers 41002, is counted, and leaves the code usable.
    """
    code = server.mint(D1, "ann")
    body = json.dumps({"appid": D1}).encode()
    answer = await wire.send(login_query(code), method=method, body=body if method == "POST" else b"")
    assert answer.status == 200
    if method != "HEAD":
        assert answer.errcode == 41002
    assert server.requests_for(code) == 1
    assert "openid" in (await wire.login(code)).fields


@pytest.mark.parametrize(
    "code", ["the code is a mock one", "a&secret=b", "q\"uo'te", "a=b;c", "100%", "码é", "+", "x" * 1024]
)
async def test_odd_codes_travel(server: SandboxServer, wire: Wire, code: str) -> None:
    """
    A properly encoded code arrives whole, whatever it holds.
    """
    assert code == server.mint(D1, "ann", code=code)
    assert "openid" in (await wire.login(code)).fields
    assert server.requests_for(code) == 1


@pytest.mark.parametrize(
    "query", ["appid=%ff&secret=%fe", "%00=%00", "&&&=", "appid&secret", "appid=a&appid=b"]
)
async def test_broken_queries_are_business_errors(server: SandboxServer, wire: Wire, query: str) -> None:
    """
    Bytes that are no text and pairs that are no pairs get an errcode, not a crash.
    """
    answer = await wire.send("/sns/jscode2session?" + query)
    assert answer.status == 200
    assert answer.errcode in (41002, 40013)


@pytest.mark.parametrize("parallel", [50])
async def test_parallel_exchanges_of_one_code_have_one_winner(
    server: SandboxServer, wire: Wire, parallel: int
) -> None:
    """
    N requests at once: one session, N-1 times 40163, N arrivals.
    """
    code = server.mint(D1, "ann")
    answers = await asyncio.gather(*(wire.login(code) for _ in range(parallel)))
    assert sum("openid" in answer.fields for answer in answers) == 1
    assert parallel - 1 == sum(answer.errcode == 40163 for answer in answers)
    assert parallel == server.requests_for(code)


async def test_a_code_expires_on_the_given_clock(
    server: SandboxServer, wire: Wire, clock: WatchedClock
) -> None:
    """
    Only the injected clock ages a code.
    """
    code, late = server.mint(D1, "ann"), server.mint(D1, "ann")
    clock.advance(timedelta(seconds=299))
    assert "openid" in (await wire.login(code)).fields
    clock.advance(timedelta(seconds=1))
    assert (await wire.login(late)).errcode == 40029


async def test_a_wrong_app_uses_the_code_up(server: SandboxServer, wire: Wire, world: World) -> None:
    """
    Another app's attempt is 40029, then the right app meets 40163.
    """
    code = server.mint(D1, "ann")
    assert (await wire.login(code, app_id=D2)).errcode == 40029
    assert (await wire.login(code)).errcode == 40163


async def test_every_answer_carries_the_marker(server: SandboxServer, wire: Wire) -> None:
    """
    A client can tell the sandbox from WeChat by any answer, whatever happened.
    """
    answers = [
        await wire.login(server.mint(D1, "ann")),
        await wire.login("no"),
        await wire.login("no", fault="http"),
        await wire.login("no", fault="empty-body"),
        await wire.login("no", fault="huge;100"),
        await wire.login("no", fault="nosuch"),
        await wire.send("/"),
        await wire.send("/cgi-bin/token"),
        await wire.send("/", headers={"Host": "evil.example"}),
        await wire.control("GET", "/apps"),
        await wire.control("POST", "/codes", raw=b"x" * 70_000),
    ]
    assert ["1"] * len(answers) == [answer.headers.get("x-authsvc-sandbox") for answer in answers]


async def test_other_paths_are_404_and_logged(server: SandboxServer, wire: Wire) -> None:
    """
    An endpoint that is not imitated says so and shows in the log with its secret masked.
    """
    answer = await wire.send(f"/cgi-bin/nosuch?appid={D1}&secret={SECRETS[D1]}")
    assert answer.status == 404
    (arrival,) = server.arrivals.select()
    assert (f"/cgi-bin/nosuch?appid={D1}&secret=***", "http 404") == (arrival.target, arrival.outcome)


async def test_no_secret_in_the_log(server: SandboxServer, wire: Wire) -> None:
    """
    The log of a login and its wrong variants, read over the control API, holds no secret.
    """
    await wire.login(server.mint(D1, "ann"))
    await wire.login("no", secret="another-secret-of-mine")
    await wire.login("no", secret=None, js_code=SECRETS[D1])
    log = (await wire.control("GET", "/requests")).body.decode()
    assert log.count("***") >= 3
    assert not any(secret in log for secret in (*SECRETS.values(), "another-secret-of-mine"))
