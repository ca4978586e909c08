"""
The control API mints, switches and reports, and tells mistakes in JSON.
"""

import pytest

from authsvc.sandbox import FAULTS, SANDBOX_APPS, SandboxServer
from tests.sandbox.wire import D1, D2, D3, Dropped, Wire


async def test_the_root_points_to_the_control_api(wire: Wire) -> None:
    """
    Who opens the base URL learns where to go.
    """
    answer = await wire.send("/")
    assert (answer.status, answer.fields["control"]) == (200, "/sandbox/v1")


async def test_mints_a_code_that_logs_in(wire: Wire) -> None:
    """
    A minted code is 32 alphanumerics and gives its user's session in its app.
    """
    answer = await wire.control("POST", "/codes", {"app_id": D2, "user": "ann"})
    code = str(answer.fields["code"])
    assert {"code"} == set(answer.fields)
    assert code.isalnum()
    assert len(code) == 32
    user = (await wire.control("GET", f"/users/{D2}/ann")).fields
    session = (await wire.login(code, app_id=D2)).fields
    assert (user["openid"], user["unionid"]) == (session["openid"], session["unionid"])


async def test_mints_a_given_text_and_a_fault(server: SandboxServer, wire: Wire) -> None:
    """
    The text may be given, and a fault may be bound to it for some or all of its requests.
    """
    body = {"app_id": D1, "user": "ann", "code": "a b&c", "fault": "drop", "fault_times": 2}
    assert (await wire.control("POST", "/codes", body)).fields == {"code": "a b&c"}
    for _ in range(2):
        with pytest.raises(Dropped):
            await wire.login("a b&c")
    assert "openid" in (await wire.login("a b&c")).fields
    forever = {"app_id": D1, "user": "ann", "code": "x", "fault": "system-error", "fault_times": None}
    await wire.control("POST", "/codes", forever)
    assert [(await wire.login("x")).errcode for _ in range(3)] == [-1] * 3
    assert (await wire.control("POST", "/codes", {**body, "fault": None})).status == 409


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"user": "ann"}, 400),
        ({"app_id": D1}, 400),
        ({"app_id": D1, "user": ""}, 400),
        ({"app_id": D1, "user": 7}, 400),
        ({"app_id": D1, "user": "\ud800"}, 400),
        ({"app_id": D1, "user": "ann", "nosuch": 1}, 400),
        ({"app_id": D1, "user": "ann", "fault": "nosuch"}, 400),
        ({"app_id": D1, "user": "ann", "fault": "drop", "fault_times": 0}, 400),
        ({"app_id": D1, "user": "ann", "fault": "drop", "fault_times": True}, 400),
        ({"app_id": D1, "user": "ann", "code": ""}, 400),
        ({"app_id": D1, "user": "ann", "code": 5}, 400),
        ({"app_id": "wx00000000000000d9", "user": "ann"}, 404),
        ([], 400),
        ("text", 400),
        (None, 400),
    ],
)
async def test_bad_mints_are_explained(wire: Wire, body: object, status: int) -> None:
    """
    A bad request names what is wrong and mints nothing.
    """
    answer = await wire.control("POST", "/codes", body)
    assert (status, {"error"}) == (answer.status, set(answer.fields))


@pytest.mark.parametrize("raw", [b"", b"{", b"\xff\xfe", b"[" * 60_000, b'{"a": NaN', b"1" * 10_000])
async def test_a_body_that_is_not_json_is_explained(wire: Wire, raw: bytes) -> None:
    """
    Broken, binary and bottomless bodies answer 400.
    """
    assert (await wire.control("POST", "/codes", raw=raw)).status == 400


async def test_a_body_beyond_64_kib_is_refused(wire: Wire) -> None:
    """
    Nobody fills the sandbox's memory.
    """
    assert (await wire.control("POST", "/codes", raw=b" " * 65_537)).status == 413


async def test_rules_are_put_appended_listed_and_cleared(server: SandboxServer, wire: Wire) -> None:
    """
    The list shows what is in force and how often it will still strike.
    """
    await wire.control("PUT", "/faults", {"fault": "delay;1.5"})
    await wire.control("POST", "/faults", {"app_id": D1, "fault": "drop", "times": 2})
    await wire.control("PUT", "/faults", {"fault": "errcode;45009", "times": 3})
    assert (await wire.login("x", app_id=D2)).errcode == 45009
    listed = (await wire.control("GET", "/faults")).fields
    assert set(FAULTS) == set(listed["catalogue"])  # type: ignore[call-overload]
    assert listed["faults"] == [
        {"app_id": D1, "fault": "drop", "remaining": 2, "path": None},
        {"app_id": None, "fault": "errcode;45009", "remaining": 2, "path": None},
    ]
    cleared = await wire.control("DELETE", f"/faults?app_id={D1}")
    assert cleared.fields["faults"] == [
        {"app_id": None, "fault": "errcode;45009", "remaining": 2, "path": None}
    ]
    assert (await wire.control("DELETE", "/faults")).fields["faults"] == []
    assert (await wire.login("x")).errcode == 40029


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({}, 400),
        ({"fault": "nosuch"}, 400),
        ({"fault": "drop;1"}, 400),
        ({"fault": "drop", "times": 0}, 400),
        ({"fault": "drop", "times": 1.5}, 400),
        ({"fault": "drop", "app_id": "wx00000000000000d9"}, 404),
        ({"fault": "drop", "app_id": 1}, 400),
    ],
)
async def test_bad_rules_change_nothing(server: SandboxServer, wire: Wire, body: object, status: int) -> None:
    """
    A rule that cannot be is refused and the old ones stay.
    """
    await wire.control("PUT", "/faults", {"fault": "bom"})
    assert status == (await wire.control("PUT", "/faults", body)).status
    assert [rule.fault.name for rule in server.faults.rules] == ["bom"]


async def test_requests_are_listed_counted_and_cleared(server: SandboxServer, wire: Wire) -> None:
    """
    The log answers how often a code was sent and what became of each; control calls are not in it.
    """
    code = server.mint(D1, "ann")
    await wire.login(code)
    await wire.login(code, fault="http;503")
    await wire.login("other", app_id=D2)
    one = (await wire.control("GET", f"/requests?code={code}")).fields
    assert (2, {code: 2}, 0) == (one["count"], one["counts"], one["forgotten"])
    requests = one["requests"]
    assert isinstance(requests, list)
    assert [(D1, code, None, "session"), (D1, code, "http;503", "http 503")] == [
        (r["app_id"], r["code"], r["fault"], r["outcome"]) for r in requests
    ]
    everything = (await wire.control("GET", "/requests")).fields
    assert (3, {code: 2, "other": 1}) == (everything["count"], everything["counts"])
    none = (await wire.control("GET", "/requests?code=never")).fields
    assert (none["count"], none["counts"], none["requests"]) == (0, {"never": 0}, [])
    await wire.control("DELETE", "/requests")
    assert (await wire.control("GET", "/requests")).fields["count"] == 0
    assert server.requests_for(code) == 0


async def test_apps_are_listed_without_secrets(wire: Wire) -> None:
    """
    The list names the apps and their accounts and holds no secret.
    """
    answer = await wire.control("GET", "/apps")
    assert [
        {
            "app_id": app.app_id,
            "open_platform": app.open_platform,
            "frozen": False,
            "tokens_stuck": False,
            "token_length": 136,
        }
        for app in SANDBOX_APPS
    ] == answer.fields["apps"]
    assert not any(app.secret.encode() in answer.body for app in SANDBOX_APPS)


async def test_users_are_shown_and_blocked(server: SandboxServer, wire: Wire) -> None:
    """
    A user's identity and block can be looked up and the block switched.
    """
    identity = server.world.identity(D3, user="a/b c")
    path = f"/users/{D3}/a%2Fb%20c"
    assert {
        "openid": identity.openid,
        "unionid": None,
        "blocked": False,
        "phone": server.world.phones.of("a/b c").pure,
        "country_code": "86",
        "session_key": None,
    } == (await wire.control("GET", path)).fields
    assert True is (await wire.control("PUT", path, {"blocked": True})).fields["blocked"]
    code = server.mint(D3, "a/b c")
    assert (await wire.login(code, app_id=D3)).errcode == 40226
    assert False is (await wire.control("PUT", path, {"blocked": False})).fields["blocked"]
    assert "openid" in (await wire.login(code, app_id=D3)).fields


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        ("GET", "/users/wx00000000000000d9/ann", None, 404),
        ("PUT", "/users/wx00000000000000d9/ann", {"blocked": True}, 404),
        ("PUT", f"/users/{D1}/ann", {"blocked": 1}, 400),
        ("PUT", f"/users/{D1}/ann", {}, 400),
        ("GET", f"/users/{D1}/" + "x" * 129, None, 400),
        ("PUT", "/settings", {"wrong_app_consumes": "no"}, 400),
        ("POST", "/refuse", {}, 400),
        ("POST", "/refuse", {"seconds": 0}, 400),
        ("POST", "/refuse", {"seconds": True}, 400),
        ("POST", "/refuse", {"seconds": 1e400}, 400),
        ("GET", "/nosuch", None, 404),
        ("DELETE", "/codes", None, 404),
    ],
)
async def test_mistakes_are_json(
    server: SandboxServer, wire: Wire, *, method: str, path: str, body: object, status: int
) -> None:
    """
    Every mistake answers its status with an ``error`` text, and none of it counts as WeChat traffic.
    """
    answer = await wire.control(method, path, body)
    assert (status, {"error"}) == (answer.status, set(answer.fields))
    assert server.arrivals.select() == []


async def test_the_wrong_app_switch(server: SandboxServer, wire: Wire) -> None:
    """
    Switched off, another app's attempt leaves the code usable.
    """
    assert (await wire.control("GET", "/settings")).fields == {
        "wrong_app_consumes": True,
        "old_hints": False,
        "country_code_as_number": False,
        "phone_wrong_app_errcode": 40029,
        "openid_mismatch_errcode": 40003,
    }
    await wire.control("PUT", "/settings", {"wrong_app_consumes": False})
    code = server.mint(D1, "ann")
    assert (await wire.login(code, app_id=D2)).errcode == 40029
    assert "openid" in (await wire.login(code)).fields
