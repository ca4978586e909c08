"""What the endpoints beside code2Session say on success (facts page 2.2, 3.1 to 3.3): fields to values. No I/O."""

import hmac
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Final

import orjson

from authsvc.ports import NewSessionKey, PhoneNumber
from authsvc.wechat.replies import Fields, Unreadable, is_id, read_errcode

# WeChat asks to reserve 512 characters (facts page 1.1); beyond this it is something else.
_TOKEN: Final = re.compile(r"[!-~]{1,4096}")
_BARE_TOKEN: Final = re.compile(rb"[A-Za-z0-9._~+/=-]{1,4096}")
_SECONDS: Final = re.compile(r"-?[0-9]{1,10}")
_PHONE: Final = re.compile(r"[+0-9][0-9 -]{2,31}")
_COUNTRY: Final = re.compile(r"\+?[0-9]{1,6}")
# A central token server that does not say how long its token lives: what WeChat's plan gives a worker (2.1).
_UNSTATED: Final = timedelta(minutes=1)
_LONGEST: Final = timedelta(hours=2)
_SHORTEST: Final = timedelta(seconds=10)


@dataclass(frozen=True, slots=True)
class FetchedToken:
    """An access_token and how long it may be kept, counted from before it was asked for; always positive."""

    text: str = field(repr=False)
    lifetime: timedelta


def read_stable_token(answer: Fields) -> FetchedToken | Unreadable:
    """Return the token of stable_token. A lifetime of zero or less becomes a short one, never none."""
    lifetime = _lifetime(answer.get("expires_in"))
    return Unreadable("odd_expires_in") if lifetime is None else _token(answer, lifetime)


def read_kept_token(answer: Fields) -> FetchedToken | Unreadable:
    """Return the token of a company's own token server, which need not say how long it lives."""
    if answer.get("expires_in") is None:
        return _token(answer, _UNSTATED)
    return read_stable_token(answer)


def read_printed_token(output: bytes) -> FetchedToken | Unreadable:
    """Return the token that a command printed, bare or as JSON."""
    output = output.strip()
    if _BARE_TOKEN.fullmatch(output):
        return FetchedToken(output.decode("ascii"), _UNSTATED)
    try:
        answer: object = orjson.loads(output)
    except orjson.JSONDecodeError:
        return Unreadable("no_token")
    return read_kept_token(answer) if isinstance(answer, dict) else Unreadable("no_token")


def phone_reader(app_id: str) -> Callable[[Fields], PhoneNumber | Unreadable]:
    """Return the reader of getuserphonenumber for this app: the watermark has to name it (3.1)."""

    def read(answer: Fields) -> PhoneNumber | Unreadable:
        info = answer.get("phone_info")
        if not isinstance(info, dict):
            return Unreadable("no_phone_info")
        watermark = info.get("watermark")
        owner = watermark.get("appid") if isinstance(watermark, dict) else None
        if not isinstance(owner, str) or not hmac.compare_digest(_bytes(owner), _bytes(app_id)):
            return Unreadable("foreign_watermark")
        number, pure, country = (info.get(key) for key in ("phoneNumber", "purePhoneNumber", "countryCode"))
        # The page types it as a string and shows a number.
        country = str(country) if isinstance(country, int) and not isinstance(country, bool) else country
        if not (_matches(_PHONE, number) and _matches(_PHONE, pure) and _matches(_COUNTRY, country)):
            return Unreadable("odd_phone_number")
        return PhoneNumber(number=str(number), pure_number=str(pure), country_code=str(country))

    return read


def read_confirmation(answer: Fields) -> bool | Unreadable:
    """Return True for checksession's `errcode` 0, which has to be there: nothing else says yes."""
    said = answer.get("errcode")
    return True if said is not None and read_errcode(said) == 0 else Unreadable("no_errcode")


def new_key_reader(openid: str) -> Callable[[Fields], NewSessionKey | Unreadable]:
    """Return the reader of resetusersessionkey for this user, who has to be named in the answer."""

    def read(answer: Fields) -> NewSessionKey | Unreadable:
        owner, session_key = answer.get("openid"), answer.get("session_key")
        if not isinstance(owner, str) or not hmac.compare_digest(_bytes(owner), _bytes(openid)):
            return Unreadable("foreign_openid")
        return NewSessionKey(session_key) if is_id(session_key) else Unreadable("no_session_key")

    return read


def _token(answer: Fields, lifetime: timedelta) -> FetchedToken | Unreadable:
    text = answer.get("access_token")
    if not isinstance(text, str) or not _TOKEN.fullmatch(text):
        return Unreadable("no_token")
    return FetchedToken(text, lifetime)


def _lifetime(value: object) -> timedelta | None:
    if isinstance(value, str) and _SECONDS.fullmatch(value):
        value = int(value)
    if not isinstance(value, int | float) or isinstance(value, bool):
        return None
    seconds = min(max(value, _SHORTEST.total_seconds()), _LONGEST.total_seconds())
    return timedelta(seconds=seconds)


def _matches(pattern: re.Pattern[str], value: object) -> bool:
    return isinstance(value, str) and pattern.fullmatch(value) is not None


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")
