"""
What a mini-program gets from ``wx.getUserInfo`` and its kin: rawData with its signature, encryptedData with its iv;
faithful, or broken in one of the ways a server must refuse.

The rules are those of facts/wechat-api.md section 4. Hostile ones come from the same key and text as the faithful
one, so nothing but the named flaw tells them apart.
"""

import base64
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final, Literal
from urllib.parse import quote

from authsvc.sandbox import crypto
from authsvc.sandbox.identity import Identity
from authsvc.sandbox.outcomes import BadInput
from authsvc.sandbox.world import World

Kind = Literal["user", "phone", "run"]
KINDS: Final[tuple[Kind, ...]] = ("user", "phone", "run")
_OLD: Final = timedelta(days=1)

VARIANTS: Final[Mapping[str, str]] = {
    "faithful": "as WeChat sends it",
    "wrong-app": "the watermark names another app",
    "no-watermark": "there is no watermark",
    "old": "the watermark is a day old",
    "previous-key": "encrypted with the session_key before the latest (a replaced key: stale, not hostile)",
    "wrong-key": "encrypted with a key that was never the user's",
    "wrong-iv": "sent with another iv than was used",
    "short-iv": "an iv of 15 bytes",
    "flipped-bit": "one bit of the ciphertext is flipped",
    "bad-padding": "the last padding byte is right and another one is not",
    "zero-padding": "the last padding byte is 0",
    "long-padding": "the last padding byte is 17",
    "no-padding": "whole blocks without any padding",
    "truncated": "the last bytes of the ciphertext are missing",
    "lost-block": "the last block of the ciphertext is missing",
    "empty": "no ciphertext at all",
    "not-json": "the text inside is no JSON",
    "array": "the text inside is a JSON array",
    "not-utf8": "the text inside is no UTF-8",
    "spaces": "every + became a space on the way",
    "percent": "percent-encoded once too often",
    "not-base64": "a character that is not base64's",
    "raw-reserialised": "rawData with spaces after its commas, signed as it was without",
    "raw-signature": "a signature made with another key",
}
"""Every variant by name, with its flaw."""


@dataclass(frozen=True, slots=True)
class UserData:
    """
    The four values a mini-program passes to its server.
    """

    encrypted_data: str = field(repr=False)
    iv: str = field(repr=False)
    raw_data: str = field(repr=False)
    signature: str = field(repr=False)


def make_user_data(
    world: World,
    app_id: str,
    *,
    user: str,
    now: datetime,
    kind: Kind = "user",
    variant: str = "faithful",
    extra: Mapping[str, object] | None = None,
) -> UserData:
    """
    Data of this user in this app under the current session_key; ``extra`` adds or replaces fields of the
    encrypted text.

    Raises:
        UnknownApp: no such app.
        BadInput: no such variant or kind, or the user has no session_key (or no previous one) yet.
    """
    if variant not in VARIANTS:
        raise BadInput(f"no such variant; there are {sorted(VARIANTS)}")
    identity = world.meet(app_id, user=user)
    key = world.keys.current(app_id, user=user)
    if key is None:
        raise BadInput("the user has no session_key in this app: mint a login code first")
    profile = _profile(user)
    fields = _fields(world, identity, user=user, kind=kind, now=now)
    stamp = now - _OLD if variant == "old" else now
    watermark = {
        "timestamp": int(stamp.timestamp()),
        "appid": app_id if variant != "wrong-app" else _other(app_id),
    }
    if variant != "no-watermark":
        fields["watermark"] = watermark
    fields |= extra or {}
    raw = _dump(profile)
    signature = crypto.sign_raw_data(raw, session_key=_wrong(world) if variant == "raw-signature" else key)
    if variant == "raw-reserialised":
        raw = json.dumps(profile, ensure_ascii=False)
    encrypted, iv = _seal(world, _plain(variant, _dump(fields)), _key(world, app_id, user, variant), variant)
    return UserData(encrypted, iv, raw, signature)


def _fields(world: World, identity: Identity, *, user: str, kind: Kind, now: datetime) -> dict[str, object]:
    match kind:
        case "user":
            unionid = {} if identity.unionid is None else {"unionId": identity.unionid}
            return {"openId": identity.openid, **_profile(user), **unionid}
        case "phone":
            return _phone(world, user)
        case "run":
            midnight = int(now.timestamp()) // 86_400 * 86_400
            return {"stepInfoList": [{"timestamp": midnight, "step": 8848}]}


def _seal(world: World, plain: bytes, session_key: str, variant: str) -> tuple[str, str]:
    iv = world.dice.roll(16)
    padded = _PADDINGS.get(variant, crypto.pad)(plain)
    sealed = crypto.encrypt_blocks(padded, key=base64.b64decode(session_key), iv=iv)
    text = base64.b64encode(_CIPHERTEXTS.get(variant, bytes)(sealed)).decode("ascii")
    if variant == "spaces" and "+" not in text:  # one text in a thousand has none
        return _seal(world, plain, session_key, variant)
    text = _TEXTS.get(variant, str)(text)
    sent = {"wrong-iv": world.dice.roll(16), "short-iv": iv[:15]}.get(variant, iv)
    return text, base64.b64encode(sent).decode("ascii")


def _key(world: World, app_id: str, user: str, variant: str) -> str:
    if variant == "wrong-key":
        return _wrong(world)
    key = (world.keys.previous if variant == "previous-key" else world.keys.current)(app_id, user=user)
    if key is None:
        raise BadInput("the user's session_key was never replaced: there is no previous one")
    return key


def _wrong(world: World) -> str:
    return base64.b64encode(world.dice.roll(16)).decode("ascii")


def _plain(variant: str, text: str) -> bytes:
    match variant:
        case "not-json":
            return text[:-1].encode()
        case "array":
            return f"[{text}]".encode()
        case "not-utf8":
            return text.encode()[:-1] + b',"x":"\xff\xfe"}'
        case _:
            return text.encode()


def _with_tail(plain: bytes, tail: bytes) -> bytes:
    # Spaces before the end keep the JSON whole and leave exactly the tail to be filled.
    missing = -(len(plain) + len(tail)) % crypto.BLOCK
    return plain + b" " * missing + tail


_PADDINGS: Final[Mapping[str, Callable[[bytes], bytes]]] = {
    "bad-padding": lambda plain: _with_tail(plain, b"\x04\x04\x03\x04"),
    "zero-padding": lambda plain: _with_tail(plain, b"\x00"),
    "long-padding": lambda plain: _with_tail(plain, b"\x11" * 17),
    "no-padding": lambda plain: _with_tail(plain, b""),
}

_CIPHERTEXTS: Final[Mapping[str, Callable[[bytes], bytes]]] = {
    "flipped-bit": lambda sealed: sealed[:5] + bytes([sealed[5] ^ 0x10]) + sealed[6:],
    "truncated": lambda sealed: sealed[:-5],
    "lost-block": lambda sealed: sealed[: -crypto.BLOCK],
    "empty": lambda _: b"",
}

_TEXTS: Final[Mapping[str, Callable[[str], str]]] = {
    "spaces": lambda text: text.replace("+", " "),
    "percent": lambda text: quote(text, safe=""),
    "not-base64": lambda text: text[:7] + "!" + text[8:],
}


def _profile(user: str) -> dict[str, object]:
    return {
        "nickName": user,
        "gender": 0,
        "language": "zh_CN",
        "city": "",
        "province": "",
        "country": "",
        "avatarUrl": "https://thirdwx.qlogo.cn/mmopen/vi_32/sandbox/132",
    }


def _phone(world: World, user: str) -> dict[str, object]:
    number = world.phones.of(user)
    country: object = int(number.country) if world.switches.country_code_as_number else number.country
    return {"phoneNumber": number.full, "purePhoneNumber": number.pure, "countryCode": country}


def _other(app_id: str) -> str:
    return app_id[:-1] + ("0" if app_id[-1] != "0" else "1")


def _dump(fields: Mapping[str, object]) -> str:
    return json.dumps(fields, ensure_ascii=False, separators=(",", ":"))
