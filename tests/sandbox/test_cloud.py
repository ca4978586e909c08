"""
Cloud hosting: calls without a token, and the headers its gateway adds or leaves out.
"""

from datetime import timedelta

import pytest

from authsvc.sandbox import SandboxServer
from tests.sandbox.wire import D1, D2, D3, WatchedClock, Wire

PHONE = "/wxa/business/getuserphonenumber"


async def test_without_a_token_over_plain_http(server: SandboxServer, wire: Wire) -> None:
    """
    In cloud mode a call without a token is the named app's and carries the proof of its route; out of it, 41001.
    """
    body = {"code": server.mint_phone(D1, "ann")}
    outside = await wire.api("POST", PHONE, body=body)
    assert (outside.errcode, "x-openapi-seqid" in outside.headers) == (41001, False)
    assert (await wire.control("PUT", "/cloud", {"app_id": D1})).fields == {"app_id": D1}
    inside = await wire.api("POST", PHONE, body=body)
    assert inside.errcode == 0
    assert inside.headers["x-openapi-seqid"].isalnum()
    await wire.control("PUT", "/cloud", {"app_id": None})
    assert (await wire.api("POST", PHONE, body=body)).errcode == 41001


def test_the_side_car_is_not_on_https(server: SandboxServer) -> None:
    """
    Over TLS a call without a token is no cloud call and carries no proof.
    """
    server.cloud.switch(D1)
    now = server.clock.now()
    assert server.cloud.judge({}, secure=False, now=now) == D1
    assert server.cloud.judge({}, secure=True, now=now) is None
    assert server.cloud.marks(PHONE, {}, secure=True) == {}
    assert server.cloud.marks("/cgi-bin/token", {}, secure=False) == {}


async def test_a_token_that_is_sent_is_judged_in_cloud_mode_too(wire: Wire) -> None:
    """
    An access_token takes the ordinary route: no seqid, and a bad one is refused.
    """
    await wire.control("PUT", "/cloud", {"app_id": D1})
    answer = await wire.api("POST", PHONE, query={"access_token": "58_" + "x" * 133}, body={})
    assert (answer.errcode, "x-openapi-seqid" in answer.headers) == (40001, False)


async def test_cloudbase_tokens(server: SandboxServer, wire: Wire, clock: WatchedClock) -> None:
    """
    Good under their own name for 30 minutes; 40001 as an access_token.
    """
    assert (await wire.control("POST", "/cloud/token")).status == 400
    await wire.control("PUT", "/cloud", {"app_id": D1})
    token = str((await wire.control("POST", "/cloud/token")).fields["cloudbase_access_token"])
    await wire.control("PUT", "/cloud", {"app_id": None})
    body = {"code": server.mint_phone(D1, "ann")}
    assert (await wire.api("POST", PHONE, query={"access_token": token}, body=body)).errcode == 40001
    assert (await wire.api("POST", PHONE, query={"cloudbase_access_token": token}, body=body)).errcode == 0
    assert (await wire.api("POST", PHONE, query={"cloudbase_access_token": "no"}, body=body)).errcode == 40001
    clock.advance(timedelta(minutes=30))
    assert (
        await wire.api("POST", PHONE, query={"cloudbase_access_token": token}, body=body)
    ).errcode == 42001
    assert token not in (await wire.control("GET", "/requests")).body.decode()


async def test_code2session_knows_no_cloud(server: SandboxServer, wire: Wire) -> None:
    """
    The login still needs its secret.
    """
    await wire.control("PUT", "/cloud", {"app_id": D1})
    answer = await wire.login(server.mint(D1, "ann"), secret=None)
    assert (answer.errcode, "x-openapi-seqid" in answer.headers) == (41004, False)


async def test_the_gateways_headers(server: SandboxServer, wire: Wire) -> None:
    """
    CallContainer names app, user and source; resource sharing names the user by FROM only; the public domain adds none.
    """

    async def headers(query: str) -> dict[str, str]:
        return (await wire.control("GET", f"/cloud/headers?{query}")).fields["headers"]  # type: ignore[return-value]

    ann = server.world.identity(D1, user="ann")
    plain = await headers(f"app_id={D1}&user=ann")
    assert (D1, ann.openid, ann.unionid) == (
        plain["X-WX-APPID"],
        plain["X-WX-OPENID"],
        plain["X-WX-UNIONID"],
    )
    assert plain["X-WX-SOURCE"] == "wx_client"
    assert plain["X-WX-ENV"]
    shared = await headers(f"app_id={D1}&user=ann&shared_from={D2}&source=wx_devtools")
    theirs = server.world.identity(D2, user="ann")
    assert (D2, theirs.openid) == (shared["X-WX-FROM-APPID"], shared["X-WX-FROM-OPENID"])
    assert "X-WX-OPENID" not in shared
    assert shared["X-WX-SOURCE"] == "wx_devtools"
    assert "X-WX-UNIONID" not in await headers(f"app_id={D3}&user=ann")
    assert await headers(f"app_id={D1}&user=ann&public=1") == {}


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        ("GET", "/cloud/headers", None, 400),
        ("GET", "/cloud/headers?app_id=nosuch&user=ann", None, 404),
        ("GET", f"/cloud/headers?app_id={D1}&user=ann&shared_from=nosuch", None, 404),
        ("PUT", "/cloud", {"app_id": "nosuch"}, 404),
        ("PUT", "/cloud", {"app": D1}, 400),
    ],
)
async def test_mistakes_are_explained(wire: Wire, method: str, path: str, body: object, status: int) -> None:
    """
    An app that is not there is 404, a field that is not there 400.
    """
    answer = await wire.control(method, path, body)
    assert (status, {"error"}) == (answer.status, set(answer.fields))
