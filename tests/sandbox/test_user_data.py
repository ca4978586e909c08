"""
Encrypted data is what WeChat would send, and each hostile variant has its one flaw.

Judged by a strict reader written here, step by step as facts/wechat-api.md section 4.1 tells.
"""

import base64
import binascii
import hashlib
import json
from typing import Any

import pytest
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import CBC
from cryptography.hazmat.primitives.padding import PKCS7

from authsvc.sandbox import VARIANTS, BadInput, SandboxServer, UserData
from tests.sandbox.wire import D1, D3, Wire


class Refused(Exception):
    """
    The text is the step that refused.
    """


def read(data: UserData, key: str, *, app_id: str = D1, now: float) -> dict[str, Any]:
    try:
        sealed = base64.b64decode(data.encrypted_data, validate=True)
        iv = base64.b64decode(data.iv, validate=True)
    except binascii.Error:
        raise Refused("base64") from None
    if len(iv) != 16:
        raise Refused("iv")
    if not sealed or len(sealed) % 16:
        raise Refused("length")
    decryptor = Cipher(AES(base64.b64decode(key)), CBC(iv)).decryptor()
    padded = decryptor.update(sealed) + decryptor.finalize()
    unpadder = PKCS7(128).unpadder()
    try:
        plain = unpadder.update(padded) + unpadder.finalize()
    except ValueError:
        raise Refused("padding") from None
    try:
        fields = json.loads(plain.decode())
    except ValueError:
        raise Refused("json") from None
    if not isinstance(fields, dict):
        raise Refused("object")
    watermark = fields.get("watermark", {})
    if watermark.get("appid") != app_id:
        raise Refused("app")
    if now - watermark["timestamp"] > 3600:
        raise Refused("time")
    return fields


# Where the reader stops; a wrong key or iv garbles at random, so it may stop at any of several steps.
STOPS = {
    "wrong-app": {"app"},
    "no-watermark": {"app"},
    "old": {"time"},
    "wrong-key": {"padding", "json"},
    "previous-key": {"padding", "json"},
    "wrong-iv": {"json"},
    "short-iv": {"iv"},
    "flipped-bit": {"json"},
    "bad-padding": {"padding"},
    "zero-padding": {"padding"},
    "long-padding": {"padding"},
    "no-padding": {"padding"},
    "truncated": {"length"},
    "lost-block": {"padding"},
    "empty": {"length"},
    "not-json": {"json"},
    "array": {"object"},
    "not-utf8": {"json"},
    "spaces": {"base64"},
    "percent": {"base64"},
    "not-base64": {"base64"},
}
SIGNED_WRONGLY = {"raw-reserialised", "raw-signature"}


def test_every_variant_is_judged() -> None:
    """
    A variant added to the catalogue needs a row here.
    """
    assert set(VARIANTS) == {"faithful", *STOPS, *SIGNED_WRONGLY}


def session_key(server: SandboxServer, user: str = "ann", app_id: str = D1) -> str:
    server.mint(app_id, user)
    key = server.world.session_key(app_id, user=user)
    assert key is not None
    return key


def signature_holds(data: UserData, key: str) -> bool:
    return data.signature == hashlib.sha1((data.raw_data + key).encode()).hexdigest()  # noqa: S324


@pytest.mark.parametrize("name", ["ann", '安娜/+ \\"<b>'])
async def test_faithful_user_data_is_read(server: SandboxServer, name: str) -> None:
    """
    The reader finds openid, unionid, name and watermark; rawData is signed as it stands.
    """
    key = session_key(server, name)
    data = server.user_data(D1, name)
    now = server.clock.now().timestamp()
    fields = read(data, key, now=now)
    identity = server.world.identity(D1, user=name)
    assert (identity.openid, identity.unionid, name) == (
        fields["openId"],
        fields["unionId"],
        fields["nickName"],
    )
    assert fields["watermark"] == {"timestamp": int(now), "appid": D1}
    assert signature_holds(data, key)
    assert json.loads(data.raw_data)["nickName"] == name
    assert (len(key), len(data.iv)) == (24, 24)


async def test_an_unbound_app_gets_no_unionid(server: SandboxServer) -> None:
    """
    Encrypted user data names a unionid only where the login would.
    """
    key = session_key(server, app_id=D3)
    assert "unionId" not in read(server.user_data(D3, "ann"), key, app_id=D3, now=0)


async def test_phone_and_steps_are_encrypted_too(server: SandboxServer) -> None:
    """
    The older ways to a phone number and the daily steps.
    """
    key = session_key(server)
    number = read(server.user_data(D1, "ann", kind="phone"), key, now=0)
    assert number["purePhoneNumber"] == server.world.phones.of("ann").pure
    assert number["countryCode"] == "86"
    server.world.switches.country_code_as_number = True
    assert read(server.user_data(D1, "ann", kind="phone"), key, now=0)["countryCode"] == 86
    steps = read(server.user_data(D1, "ann", kind="run"), key, now=0)
    assert steps["stepInfoList"][0]["step"] > 0


@pytest.mark.parametrize("variant", STOPS)
async def test_a_hostile_variant_is_refused_for_its_flaw(server: SandboxServer, variant: str) -> None:
    """
    A strict reader with the user's present key stops where the flaw is, for many texts.
    """
    session_key(server)
    server.world.keys.replace(D1, user="ann", now=server.clock.now())
    key = session_key(server)
    for _ in range(30):
        data = server.user_data(D1, "ann", variant=variant)
        with pytest.raises(Refused) as stopped:
            read(data, key, now=server.clock.now().timestamp())
        assert str(stopped.value) in STOPS[variant]
        assert signature_holds(data, key)


@pytest.mark.parametrize("variant", sorted(SIGNED_WRONGLY))
async def test_a_wrong_signature_is_the_only_flaw(server: SandboxServer, variant: str) -> None:
    """
    The encrypted part is fine; rawData and its signature do not fit.
    """
    key = session_key(server)
    data = server.user_data(D1, "ann", variant=variant)
    read(data, key, now=server.clock.now().timestamp())
    assert not signature_holds(data, key)


async def test_the_previous_key_opens_what_was_encrypted_with_it(server: SandboxServer) -> None:
    """
    That variant is stale, not hostile.
    """
    old = session_key(server)
    server.world.keys.replace(D1, user="ann", now=server.clock.now())
    data = server.user_data(D1, "ann", variant="previous-key")
    assert read(data, old, now=0)["nickName"] == "ann"


async def test_data_needs_a_login_and_a_variant_that_exists(server: SandboxServer) -> None:
    """
    Before the first code there is no key to encrypt with, before the second no previous one.
    """
    for variant in ("faithful", "nosuch"):
        with pytest.raises(BadInput):
            server.user_data(D1, "ann", variant=variant)
    session_key(server)
    with pytest.raises(BadInput, match="previous"):
        server.user_data(D1, "ann", variant="previous-key")


async def test_values_stay_out_of_the_repr(server: SandboxServer) -> None:
    """
    Printing the data prints none of it.
    """
    session_key(server)
    assert repr(server.user_data(D1, "ann")) == "UserData()"


async def test_over_the_control_api(server: SandboxServer, wire: Wire) -> None:
    """
    The same by HTTP, with fields of one's own; mistakes are 400.
    """
    key = session_key(server)
    body = {"app_id": D1, "user": "ann", "extra": {"nickName": "Bob", "shareId": 7}}
    answer = await wire.control("POST", "/user-data", body)
    data = UserData(**answer.fields)  # type: ignore[arg-type]
    fields = read(data, key, now=0)
    assert (fields["nickName"], fields["shareId"]) == ("Bob", 7)
    mistakes: list[dict[str, object]] = [
        {"kind": "nosuch"},
        {"kind": 1},
        {"variant": "nosuch"},
        {"extra": []},
        {"user": "never"},
    ]
    for wrong in mistakes:
        assert (await wire.control("POST", "/user-data", {**body, **wrong})).status == 400
    listed = (await wire.send("/")).fields["user_data_variants"]
    assert dict(VARIANTS) == listed
