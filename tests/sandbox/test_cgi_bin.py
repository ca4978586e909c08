"""
The token endpoints on the wire: which credentials, in which form, get which answer.
"""

import json
import re
from datetime import timedelta
from urllib.parse import urlencode

import pytest

from authsvc.sandbox import SandboxServer
from tests.sandbox.wire import D1, D2, SECRETS, Dropped, WatchedClock, Wire

REFUSALS = [
    ({"appid": None}, 41002),
    ({"appid": ""}, 41002),
    ({"appid": "wx00000000000000d9"}, 40013),
    ({"secret": None}, 41004),
    ({"secret": SECRETS[D2]}, 40125),
    ({"grant_type": None}, 40002),
    ({"grant_type": "authorization_code"}, 40002),
]


@pytest.mark.parametrize("kind", ["token", "stable"])
async def test_a_success_has_two_fields_and_no_errcode(wire: Wire, kind: str) -> None:
    """
    200, application/json, the token and its seconds, nothing else.
    """
    answer = await getattr(wire, kind)()
    assert (answer.status, answer.headers["content-type"]) == (200, "application/json")
    assert {"access_token", "expires_in"} == set(answer.fields)
    assert answer.fields["expires_in"] == 7200


@pytest.mark.parametrize("kind", ["token", "stable"])
@pytest.mark.parametrize(("changes", "errcode"), REFUSALS)
async def test_bad_credentials_are_told_apart(
    wire: Wire, kind: str, changes: dict[str, object], errcode: int
) -> None:
    """
    The first thing wrong decides; a refusal is 200 with a rid behind a space.
    """
    answer = await getattr(wire, kind)(**changes)
    assert (200, errcode) == (answer.status, answer.errcode)
    assert answer.headers["content-type"] == "application/json"
    message = str(answer.fields["errmsg"])
    assert re.fullmatch(r"[^,]+ rid: [0-9a-f]{8}-[0-9a-f]{8}-[0-9a-f]{8}", message), message


async def test_the_stable_token_takes_post_only(wire: Wire) -> None:
    """
    GET with proper parameters is 43002; POST to the ordinary one is 43001.
    """
    query = {"appid": D1, "secret": SECRETS[D1], "grant_type": "client_credential"}
    assert (await wire.api("GET", "/cgi-bin/stable_token", query=query)).errcode == 43002
    assert (await wire.api("POST", "/cgi-bin/token", query=query)).errcode == 43001


@pytest.mark.parametrize("raw", [b"form", b"", b"[]", b"{", b"\xff", b"null", b"[" * 60_000])
async def test_what_is_not_json_counts_as_missing(wire: Wire, raw: bytes) -> None:
    """
    A form, an array, broken or no JSON: the fields were not sent, wherever else they stand.
    """
    query = {"appid": D1, "secret": SECRETS[D1], "grant_type": "client_credential"}
    body = urlencode(query).encode() if raw == b"form" else raw
    answer = await wire.send(f"/cgi-bin/stable_token?{urlencode(query)}", method="POST", body=body)
    assert answer.errcode == 41002


@pytest.mark.parametrize("force", ["true", 1, None, "yes"])
async def test_only_true_forces(wire: Wire, force: object) -> None:
    """
    A force_refresh that is not the JSON value true refreshes nothing.
    """
    first = await wire.access_token()
    assert (await wire.stable(force_refresh=force)).fields["access_token"] == first
    assert (await wire.stable(force_refresh=True)).fields["access_token"] != first


async def test_the_clock_of_the_control_api_moves_tokens(wire: Wire) -> None:
    """
    Two hours on, the token has expired, and nobody waited.
    """
    token = await wire.access_token()
    moved = await wire.control("POST", "/clock", {"seconds": 7200})
    assert moved.fields["ahead_seconds"] == 7200
    answer = await wire.api("GET", "/wxa/checksession", query={"access_token": token})
    assert answer.errcode == 42001


async def test_a_changed_secret_refuses_the_old_one(wire: Wire, server: SandboxServer) -> None:
    """
    The old secret is 40125 everywhere, the new one works, tokens live on, and neither shows in the log.
    """
    token = await wire.access_token()
    code = server.mint(D1, "ann")
    told = (await wire.control("POST", f"/apps/{D1}/secret")).fields
    fresh = str(told["secret"])
    assert re.fullmatch("5a4d0000[0-9a-f]{24}", fresh)
    assert (await wire.token()).errcode == 40125
    assert (await wire.stable()).errcode == 40125
    assert (await wire.login(code)).errcode == 40125
    assert "openid" in (await wire.login(code, secret=fresh)).fields
    assert (await wire.stable(secret=fresh)).fields["access_token"] == token
    await wire.login(fresh, secret=None)
    assert fresh not in (await wire.control("GET", "/requests")).body.decode()


async def test_a_secret_of_ones_own_choice(wire: Wire) -> None:
    """
    The next secret can be named, so that a service can know it beforehand; a real-looking one is refused.
    """
    told = await wire.control("POST", f"/apps/{D1}/secret", {"secret": "5a4d0000next"})
    assert told.fields == {"app_id": D1, "secret": "5a4d0000next"}
    assert "access_token" in (await wire.stable(secret="5a4d0000next")).fields
    real = "0123456789abcdef0123456789abcdef"
    refused = await wire.control("POST", f"/apps/{D1}/secret", {"secret": real})
    assert refused.status == 400
    assert real not in refused.body.decode()
    assert "access_token" in (await wire.stable(secret="5a4d0000next")).fields


async def test_a_frozen_secret(wire: Wire, server: SandboxServer) -> None:
    """
    Frozen, the secret is 40243 for tokens and logins of this app alone.
    """
    await wire.control("PUT", f"/apps/{D1}", {"frozen": True})
    code = server.mint(D1, "ann")
    assert [(await wire.token()).errcode, (await wire.stable()).errcode] == [40243, 40243]
    assert (await wire.login(code)).errcode == 40243
    assert "access_token" in (await wire.stable(D2)).fields
    await wire.control("PUT", f"/apps/{D1}", {"frozen": False})
    assert "openid" in (await wire.login(code)).fields


@pytest.mark.parametrize("path", ["/cgi-bin/token", "/cgi-bin/stable_token"])
@pytest.mark.parametrize("errcode", [40164, 50004, 50007, 89503, 89506, 89507, 45009, 40243])
async def test_any_documented_error_can_be_chosen(wire: Wire, path: str, errcode: int) -> None:
    """
    A rule for the path makes it answer that error with its own text; logins and the other path go on.
    """
    await wire.control("PUT", "/faults", {"fault": f"errcode;{errcode}", "path": path})
    answers = {"/cgi-bin/token": await wire.token(), "/cgi-bin/stable_token": await wire.stable()}
    struck = answers.pop(path)
    assert struck.errcode == errcode
    assert "unknown" not in str(struck.fields["errmsg"])
    assert "access_token" in answers.popitem()[1].fields
    assert (await wire.login("never")).errcode == 40029


async def test_a_rule_of_another_app_spares_the_token(wire: Wire) -> None:
    """
    The app of a token call is known from its parameters or body.
    """
    await wire.control("PUT", "/faults", {"fault": "system-error", "app_id": D2})
    assert "access_token" in (await wire.stable(D1)).fields
    assert "access_token" in (await wire.token(D1)).fields
    assert [(await wire.stable(D2)).errcode, (await wire.token(D2)).errcode] == [-1, -1]


async def test_a_reply_can_be_lost_after_the_token_was_made(wire: Wire, clock: WatchedClock) -> None:
    """
    A dropped answer of the ordinary endpoint has retired the token before all the same.
    """
    first = str((await wire.token()).fields["access_token"])
    query = {"appid": D1, "secret": SECRETS[D1], "grant_type": "client_credential"}
    with pytest.raises(Dropped):
        await wire.api("GET", "/cgi-bin/token", query=query, fault="drop-consumed")
    clock.advance(timedelta(seconds=301))
    assert (await wire.api("GET", "/wxa/checksession", query={"access_token": first})).errcode == 40001


async def test_tokens_and_secrets_are_masked_in_the_log(wire: Wire) -> None:
    """
    What arrived is listed without the values that would be secrets elsewhere.
    """
    token = await wire.access_token()
    await wire.token()
    await wire.api("GET", "/wxa/checksession", query={"access_token": token, "signature": "5165"})
    log = (await wire.control("GET", "/requests")).body.decode()
    assert token not in log
    assert SECRETS[D1] not in log
    assert "signature=***" in log
    targets = [json.loads(log)["requests"][number]["app_id"] for number in range(3)]
    assert targets == [D1, D1, D1]
