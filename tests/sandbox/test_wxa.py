"""
The endpoints behind an access token: phone number, session keys, plug-in ids, unionid after a payment.
"""

import asyncio
import base64
import hmac
from datetime import timedelta

import pytest

from authsvc.sandbox import SandboxServer
from tests.sandbox.wire import D1, D2, D3, Dropped, WatchedClock, Wire

PHONE = "/wxa/business/getuserphonenumber"
CHECK = "/wxa/checksession"
RESET = "/wxa/resetusersessionkey"
PLUGIN = "/wxa/getpluginopenpid"
PAID = "/wxa/getpaidunionid"
PATHS = {PHONE: "POST", CHECK: "GET", RESET: "GET", PLUGIN: "POST", PAID: "GET"}


async def phone(
    wire: Wire, code: object, *, app_id: str = D1, fault: str | None = None, **more: object
) -> dict[str, object]:
    query = {"access_token": await wire.access_token(app_id)}
    answer = await wire.api("POST", PHONE, query=query, body={"code": code, **more}, fault=fault)
    assert (answer.status, answer.headers["content-type"]) == (200, "application/json")
    return answer.fields


async def session(
    wire: Wire, path: str, openid: str, key: str, /, **changes: str | None
) -> dict[str, object]:
    query: dict[str, str | None] = {
        "access_token": await wire.access_token(),
        "openid": openid,
        "signature": hmac.new(key.encode(), b"", "sha256").hexdigest(),
        "sig_method": "hmac_sha256",
        **changes,
    }
    present = {name: value for name, value in query.items() if value is not None}
    return (await wire.api("GET", path, query=present)).fields


async def logged_in(server: SandboxServer, wire: Wire, user: str = "ann") -> tuple[str, str]:
    """
    The user's openid and session_key.
    """
    fields = (await wire.login(server.mint(D1, user))).fields
    return str(fields["openid"]), str(fields["session_key"])


# --- the token


@pytest.mark.parametrize(("path", "method"), PATHS.items())
async def test_every_endpoint_judges_the_token_first(wire: Wire, path: str, method: str) -> None:
    """
    Missing, malformed, unknown, revoked and stuck tokens are refused everywhere; so is the wrong verb.
    """
    good = await wire.access_token()
    for token, errcode in [(None, 41001), ("junk", 40014), ("58_" + "x" * 133, 40001)]:
        query = {} if token is None else {"access_token": token}
        assert (await wire.api(method, path, query=query)).errcode == errcode
    other = "POST" if method == "GET" else "GET"
    wrong = await wire.api(other, path, query={"access_token": good})
    assert wrong.errcode == (43001 if method == "GET" else 43002)
    await wire.control("PUT", f"/apps/{D1}", {"tokens_stuck": True})
    assert (await wire.api(method, path, query={"access_token": good})).errcode == 40001
    await wire.control("PUT", f"/apps/{D1}", {"tokens_stuck": False})
    assert (await wire.control("POST", f"/apps/{D1}/revoke-tokens")).fields == {"revoked": 1}
    assert (await wire.api(method, path, query={"access_token": good})).errcode == 40001


# --- phone numbers


async def test_a_phone_code_gives_the_users_number_once(server: SandboxServer, wire: Wire) -> None:
    """
    64 hexadecimals, one use; the watermark names the app and the time; a second use is 40029.
    """
    code = server.mint_phone(D1, "ann")
    assert len(code) == 64
    assert set(code) <= set("0123456789abcdef")
    number = server.world.phones.of("ann").pure
    found = await phone(wire, code)
    assert found == {
        "errcode": 0,
        "errmsg": "ok",
        "phone_info": {
            "phoneNumber": number,
            "purePhoneNumber": number,
            "countryCode": "86",
            "watermark": {"timestamp": int(server.clock.now().timestamp()), "appid": D1},
        },
    }
    assert (await phone(wire, code))["errcode"] == 40029
    assert server.requests_for(code) == 2


async def test_a_phone_code_lives_five_minutes(
    server: SandboxServer, wire: Wire, clock: WatchedClock
) -> None:
    """
    At 300 s it is unknown.
    """
    first, second = server.mint_phone(D1, "ann"), server.mint_phone(D1, "ann")
    clock.advance(timedelta(seconds=299))
    assert (await phone(wire, first))["errcode"] == 0
    clock.advance(timedelta(seconds=1))
    assert (await phone(wire, second))["errcode"] == 40029


async def test_login_and_phone_codes_are_not_each_other(server: SandboxServer, wire: Wire) -> None:
    """
    Either kind is unknown to the other's endpoint, and stays usable at its own.
    """
    login, number = server.mint(D1, "ann"), server.mint_phone(D1, "ann")
    assert (await phone(wire, login))["errcode"] == 40029
    assert (await wire.login(number)).errcode == 40029
    assert (await phone(wire, number))["errcode"] == 0
    assert "openid" in (await wire.login(login)).fields


async def test_the_openid_must_be_the_codes_users(server: SandboxServer, wire: Wire) -> None:
    """
    Somebody else's openid is refused and leaves the code; one's own, or none, is accepted.
    """
    ann, bob = (server.world.identity(D1, user=user).openid for user in ("ann", "bob"))
    code = server.mint_phone(D1, "ann")
    assert (await phone(wire, code, openid=bob))["errcode"] == 40003
    await wire.control("PUT", "/settings", {"openid_mismatch_errcode": 40029})
    assert (await phone(wire, code, openid=bob))["errcode"] == 40029
    assert (await phone(wire, code, openid=ann))["errcode"] == 0


@pytest.mark.parametrize(("consumes", "then"), [(True, 40029), (False, 0)])
async def test_another_apps_phone_code(server: SandboxServer, wire: Wire, consumes: bool, then: int) -> None:
    """
    Refused with 40029 or, if switched so, 40013; whether that uses it up is the same switch as for logins.
    """
    await wire.control("PUT", "/settings", {"wrong_app_consumes": consumes, "phone_wrong_app_errcode": 40013})
    code = server.mint_phone(D1, "ann")
    assert (await phone(wire, code, app_id=D2))["errcode"] == 40013
    assert then == (await phone(wire, code))["errcode"]
    await wire.control("PUT", "/settings", {"phone_wrong_app_errcode": 40029})
    assert (await phone(wire, server.mint_phone(D1, "ann"), app_id=D2))["errcode"] == 40029


@pytest.mark.parametrize("code", [None, "", 7, [], {"a": 1}, "nosuch", "\ud800"])
async def test_junk_for_a_phone_code(wire: Wire, code: object) -> None:
    """
    Whatever is no code is 40029.
    """
    assert (await phone(wire, code))["errcode"] == 40029


@pytest.mark.parametrize("raw", [b"", b"code=1", b"[]", b"\xff{"])
async def test_a_phone_body_that_is_no_json(wire: Wire, raw: bytes) -> None:
    """
    Anything but a JSON object is 47001.
    """
    target = f"{PHONE}?access_token={await wire.access_token()}"
    assert (await wire.send(target, method="POST", body=raw)).errcode == 47001


async def test_country_codes_as_text_or_number(server: SandboxServer, wire: Wire) -> None:
    """
    A foreign number carries its prefix; the country code is a string or, if switched so, a number.
    """
    body = {"app_id": D1, "user": "ann", "phone": "91234567", "country_code": "852"}
    code = (await wire.control("POST", "/phone-codes", body)).fields["code"]
    info = (await phone(wire, code))["phone_info"]
    assert isinstance(info, dict)
    assert (
        info["phoneNumber"],
        info["purePhoneNumber"],
        info["countryCode"],
    ) == ("+85291234567", "91234567", "852")
    await wire.control("PUT", "/settings", {"country_code_as_number": True})
    again = (await phone(wire, server.mint_phone(D2, "ann"), app_id=D2))["phone_info"]
    assert isinstance(again, dict)
    assert again["countryCode"] == 852


async def test_phone_calls_of_one_user_are_limited(server: SandboxServer, wire: Wire) -> None:
    """
    The 101st number of one user in a minute is 45011, and its code stays.
    """
    for _ in range(100):
        assert (await phone(wire, server.mint_phone(D1, "ann")))["errcode"] == 0
    last = server.mint_phone(D1, "ann")
    assert (await phone(wire, last))["errcode"] == 45011
    assert (await phone(wire, server.mint_phone(D1, "bob")))["errcode"] == 0
    server.clock.advance(timedelta(seconds=60))
    assert (await phone(wire, last))["errcode"] == 0


async def test_one_phone_code_in_many_hands(server: SandboxServer, wire: Wire) -> None:
    """
    Of thirty parallel exchanges one has the number and the rest 40029.
    """
    code = server.mint_phone(D1, "ann")
    errcodes = [found["errcode"] for found in await asyncio.gather(*(phone(wire, code) for _ in range(30)))]
    assert (errcodes.count(0), errcodes.count(40029)) == (1, 29)


async def test_faults_strike_phone_codes_as_they_do_login_codes(server: SandboxServer, wire: Wire) -> None:
    """
    By the code, by its prefix and by header: -1 with and without use, and a lost reply that leaves it used.
    """
    code = server.mint_phone(D1, "ann", fault="system-error")
    assert [(await phone(wire, code))["errcode"] for _ in range(2)] == [-1, 0]
    code = server.mint_phone(D1, "ann")
    assert (await phone(wire, code, fault="system-error-consumed"))["errcode"] == -1
    assert (await phone(wire, code))["errcode"] == 40029
    code = server.mint_phone(D1, "ann")
    with pytest.raises(Dropped):
        await phone(wire, code, fault="drop-consumed")
    assert (await phone(wire, code))["errcode"] == 40029
    assert (await phone(wire, "fault:errcode;45011:x"))["errcode"] == 45011
    assert (await phone(wire, server.mint_phone(D1, "ann"), fault="quoted-errcode;40013"))[
        "errcode"
    ] == "40013"


# --- session keys


@pytest.mark.parametrize("path", [CHECK, RESET])
@pytest.mark.parametrize(
    ("changes", "errcode"),
    [
        ({"openid": None}, 40097),
        ({"signature": None}, 40097),
        ({"sig_method": None}, 87008),
        ({"sig_method": "sha1"}, 87008),
        ({"openid": "o" * 28}, 87007),
        ({"signature": "0" * 64}, 87009),
    ],
)
async def test_bad_session_checks_are_told_apart(
    server: SandboxServer, wire: Wire, path: str, changes: dict[str, str | None], errcode: int
) -> None:
    """
    Missing fields, another method, an unknown user and a wrong signature each have their number.
    """
    openid, key = await logged_in(server, wire)
    assert (await session(wire, path, openid, key, **changes))["errcode"] == errcode
    assert (await session(wire, CHECK, openid, key))["errcode"] == 0


async def test_only_the_hex_hmac_of_nothing_with_the_keys_text_is_right(
    server: SandboxServer, wire: Wire
) -> None:
    """
    The usual mistakes are 87009: decoded key, signed openid, upper case, swapped arguments.
    """
    openid, key = await logged_in(server, wire)
    mistakes = [
        hmac.new(base64.b64decode(key), b"", "sha256").hexdigest(),
        hmac.new(key.encode(), openid.encode(), "sha256").hexdigest(),
        hmac.new(key.encode(), b"", "sha256").hexdigest().upper(),
        hmac.new(b"", key.encode(), "sha256").hexdigest(),
        base64.b64encode(hmac.new(key.encode(), b"", "sha256").digest()).decode(),
    ]
    for signature in mistakes:
        assert (await session(wire, CHECK, openid, key, signature=signature))["errcode"] == 87009


async def test_a_reset_replaces_the_key_and_keeps_its_end(
    server: SandboxServer, wire: Wire, clock: WatchedClock
) -> None:
    """
    The new key comes back, the old one is 87009, and three days after the login it has ended: 87007.
    """
    openid, key = await logged_in(server, wire)
    clock.advance(timedelta(days=2))
    answer = await session(wire, RESET, openid, key)
    fresh = str(answer["session_key"])
    assert (0, openid) == (answer["errcode"], answer["openid"])
    assert fresh != key
    assert (await session(wire, CHECK, openid, key))["errcode"] == 87009
    assert (await session(wire, CHECK, openid, fresh))["errcode"] == 0
    assert server.world.session_key(D1, user="ann") == fresh
    clock.advance(timedelta(days=1))
    for path in (CHECK, RESET):
        assert (await session(wire, path, openid, fresh))["errcode"] == 87007


async def test_resets_of_one_user_are_throttled(
    server: SandboxServer, wire: Wire, clock: WatchedClock
) -> None:
    """
    A second reset within a minute is 45011 and changes nothing; another user's is not affected.
    """
    openid, key = await logged_in(server, wire)
    fresh = str((await session(wire, RESET, openid, key))["session_key"])
    assert (await session(wire, RESET, openid, fresh))["errcode"] == 45011
    assert (await session(wire, CHECK, openid, fresh))["errcode"] == 0
    bob, bobs_key = await logged_in(server, wire, "bob")
    assert (await session(wire, RESET, bob, bobs_key))["errcode"] == 0
    clock.advance(timedelta(seconds=60))
    assert (await session(wire, RESET, openid, fresh))["errcode"] == 0


async def test_a_new_login_may_replace_the_key(
    server: SandboxServer, wire: Wire, clock: WatchedClock
) -> None:
    """
    Within a minute a login keeps the key; after it the old key is dead.
    """
    openid, key = await logged_in(server, wire)
    clock.advance(timedelta(seconds=59))
    assert (await logged_in(server, wire))[1] == key
    clock.advance(timedelta(seconds=1))
    fresh = (await logged_in(server, wire))[1]
    assert fresh != key
    assert (await session(wire, CHECK, openid, key))["errcode"] == 87009
    assert (await session(wire, CHECK, openid, fresh))["errcode"] == 0


async def test_keys_replaced_and_ended_by_hand(server: SandboxServer, wire: Wire) -> None:
    """
    A test can replace a key without a login, or end it; the next login then has a new one.
    """
    openid, key = await logged_in(server, wire)
    path = f"/users/{D1}/ann/session-key"
    fresh = str((await wire.control("POST", path, {"action": "replace"})).fields["session_key"])
    assert (await session(wire, CHECK, openid, key))["errcode"] == 87009
    assert (await session(wire, CHECK, openid, fresh))["errcode"] == 0
    assert (await wire.control("POST", path, {"action": "expire"})).fields["session_key"] is None
    assert (await session(wire, CHECK, openid, fresh))["errcode"] == 87007
    assert (await logged_in(server, wire))[1] != fresh


# --- plug-ins and payments


async def test_a_plugin_code_gives_one_openpid_per_host_and_plugin(wire: Wire) -> None:
    """
    Once per code; the same text for the same three; a login code, a used one and junk are 1007.
    """

    async def openpid(code: object, app_id: str = D1) -> dict[str, object]:
        query = {"access_token": await wire.access_token(app_id)}
        return (await wire.api("POST", PLUGIN, query=query, body={"code": code})).fields

    async def mint(plugin: str) -> object:
        body = {"app_id": D1, "user": "ann", "plugin_app_id": plugin}
        return (await wire.control("POST", "/plugin-codes", body)).fields["code"]

    code = await mint(D2)
    first = await openpid(code, D2)
    assert first["errcode"] == 0
    assert len(str(first["openpid"])) == 28
    assert (await openpid(code, D2))["errcode"] == 1007
    assert (await openpid(await mint(D2)))["openpid"] == first["openpid"]
    assert (await openpid(await mint("wx00000000000000f9")))["openpid"] != first["openpid"]
    assert (await openpid(await mint(D2), D3))["errcode"] == 1005
    login = (await wire.control("POST", "/codes", {"app_id": D1, "user": "ann"})).fields["code"]
    assert [(await openpid(junk))["errcode"] for junk in (login, "nosuch", None, "")] == [
        1007,
        1007,
        1001,
        1001,
    ]
    target = f"{PLUGIN}?access_token={await wire.access_token()}"
    assert (await wire.send(target, method="POST", body=b"code=1")).errcode == 1022


async def test_a_payment_gives_the_unionid_for_five_minutes(
    server: SandboxServer, wire: Wire, clock: WatchedClock
) -> None:
    """
    By transaction or by merchant's order, for the payer's openid in a bound app only.
    """

    async def ask(app_id: str = D1, /, **query: str) -> dict[str, object]:
        token = await wire.access_token(app_id)
        return (await wire.api("GET", PAID, query={"access_token": token, **query})).fields

    answer = await wire.control("POST", "/payments", {"app_id": D1, "user": "ann"})
    paid = {name: str(value) for name, value in answer.fields.items()}
    ann = server.world.identity(D1, user="ann")
    for named in (
        {"transaction_id": paid["transaction_id"]},
        {"mch_id": paid["mch_id"], "out_trade_no": paid["out_trade_no"]},
    ):
        assert (await ask(openid=ann.openid, **named))["unionid"] == ann.unionid
    bob = server.world.meet(D1, user="bob").openid
    assert (await ask(openid=bob, transaction_id=paid["transaction_id"]))["errcode"] == 89300
    assert (await ask(openid=ann.openid, transaction_id="4200"))["errcode"] == 89300
    assert (await ask(openid="nobody", transaction_id=paid["transaction_id"]))["errcode"] == 40003
    unbound = server.world.meet(D3, user="ann").openid
    assert (await ask(D3, openid=unbound, transaction_id="1"))["errcode"] == 89002
    clock.advance(timedelta(seconds=301))
    assert (await ask(openid=ann.openid, transaction_id=paid["transaction_id"]))["errcode"] == 89300
