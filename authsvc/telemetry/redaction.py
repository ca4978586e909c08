"""
What never reaches a log: secrets by the name of their field, and by what they look like.

Redaction is the second line of defence: code does not log secrets in the first place. It errs on the side of hiding,
and anything that is not plain data is shown as its type only, since a `repr` may hold anything.
"""

import re
from collections.abc import Collection, Mapping, Sequence
from collections.abc import Set as AbstractSet
from datetime import date, timedelta
from enum import Enum
from functools import lru_cache
from itertools import islice
from types import TracebackType
from typing import Any

from authsvc.domain.errors import AuthError

REDACTED = "[redacted]"
MAX_DEPTH = 6
MAX_ITEMS = 100
MAX_TEXT = 4000
_MAX_FRAMES = 40
_MAX_CHAIN = 5
_ORJSON_INTEGERS = 2**63

# Compared without case and punctuation, so js_code, jsCode and X-JS-Code are one name.
_SECRET_NAMES = frozenset(
    {
        "code", "codes", "key", "jscode", "logincode", "phonecode", "miniprogramcode", "authorizationcode",
        "iv", "encrypteddata", "nonce", "signature", "rawdata", "cookies", "setcookie", "body", "payload",
        "purephonenumber", "phone", "mobile",
    }
)  # fmt: skip
_SECRET_ENDINGS = (
    "token", "tokens", "secret", "secrets", "password", "passwd", "authorization", "cookie", "credential",
    "credentials", "sessionkey", "masterkey", "masterkeys", "privatekey", "apikey", "servicekey", "openid",
    "openids", "unionid", "unionids", "phonenumber",
)  # fmt: skip
_PUNCTUATION = re.compile(r"[^a-z0-9]+")

_B64 = r"[A-Za-z0-9_-]"
_START = rf"(?<!{_B64})"  # a rule tried once per run of characters is linear in the length of the text
# Ids, codes and names: nothing below can match them, and they are most of what is logged.
_HARMLESS = re.compile(r"(?!eyJ)[A-Za-z0-9_-]{0,27}|[0-9a-f]{32}|/authapi\.v1\.[A-Za-z]{1,40}/[A-Za-z]{1,40}")
_DOTTED = re.compile(
    rf"wx[rk]\d*\.{_B64}*(?:\.{_B64}*)*"  # refresh tokens and service keys of this and later versions
    rf"|{_START}e[w-z0-9_-]{_B64}{{10,}}\.{_B64}{{4,}}\.{_B64}*"  # a JWT: its header spells `{{`, then anything
    rf"|{_START}{_B64}{{16,}}\.{_B64}{{16,}}\.{_B64}{{16,}}"  # anything else in three long parts
)
_JOSE = re.compile(
    rf"{_START}eyJ{_B64}{{6,}}(?:\.{_B64}*)*"
)  # a header or payload, alone or with what follows
_OPENID = re.compile(
    rf"{_START}o{_B64}{{27}}(?!{_B64})"
)  # openids and unionids (facts page 1.2): `o` and 27 more
_SESSION_KEY = re.compile(r"[A-Za-z0-9+/]{22}==")  # 16 bytes of base64
_PEM = re.compile(r"-----BEGIN[^-]*-----[^-]*(?:-----END[^-]*-----)?")
_PAIR = re.compile(
    r"""(?ix) (?<![a-z0-9_-])
    (?:
        [a-z0-9_-]* (?: token | secret | password | session_?key | (?: open | union ) id | phone | phone_?number
            | (?<![a-z]) code | js_?code | cookie ) (?: ["']? \s* (?: = | %3d ) \s* | ["'] \s* : \s* | : )
        (?! \[redacted ) (?: "[^"]*" | '[^']*' | [^\s&,;"'<>)}\]]+ )
    |   [a-z0-9_-]* (?: secret | password | session_?key | (?: open | union ) id | js_?code | phone | number ) : \s+
        (?! \[redacted ) [^\s&,;"'<>)}\]]+
    |   [a-z0-9_-]* (?: token | key | code | cookie ) : \s+ (?! \[redacted ) [^\s&,;"'<>)}\]]{12,}
    )
    """
)
_PAIR_SEPARATOR = re.compile(r"(=|:|%3[dD])")
_AUTHORIZATION = re.compile(
    r"(?i)(authorization[\"']?\s*(?:[:=]|%3d)|\bbearer\s|\bbasic\s)(?!\s*\[redacted).*", re.DOTALL
)


@lru_cache(maxsize=1024)
def is_secret_name(name: str) -> bool:
    """Tell whether a field of this name is never shown."""
    plain = _PUNCTUATION.sub("", name.lower())
    return plain in _SECRET_NAMES or plain.endswith(_SECRET_ENDINGS)


def redact_text(text: str) -> str:
    """
    Return *text*, at most `MAX_TEXT` characters of it, without what looks like a secret.

    Doing it twice changes nothing more. Lone surrogates, which no encoder takes, become question marks.
    """
    if _HARMLESS.fullmatch(text) is not None:
        return text
    if len(text) > MAX_TEXT:
        text = text[:MAX_TEXT] + "…"
    if "." in text:
        text = _DOTTED.sub(REDACTED, text)
    if "eyJ" in text:
        text = _JOSE.sub(REDACTED, text)
    if "o" in text:
        text = _OPENID.sub(REDACTED, text)
    if "==" in text:
        text = _SESSION_KEY.sub(REDACTED, text)
    if "-----BEGIN" in text:
        text = _PEM.sub(REDACTED, text)
    if " " in text or ":" in text or "=" in text or "%" in text:
        text = _AUTHORIZATION.sub(rf"\1 {REDACTED}", text)
        text = _PAIR.sub(_keep_name, text)
    return text if text.isascii() else text.encode("utf-8", "replace").decode()


def _keep_name(pair: re.Match[str]) -> str:
    name, separator, _ = _PAIR_SEPARATOR.split(pair.group(), maxsplit=1)
    return f"{name}{separator}{REDACTED}"


def redact(value: object, *, depth: int = 0) -> Any:
    """
    Return *value* as plain JSON data: fields of secret names and text that looks like secrets replaced, at any depth.

    Bytes and objects are shown as their type; what lies deeper than `MAX_DEPTH` or beyond `MAX_ITEMS` is dropped.
    """
    match value:
        case Enum():
            return value.name
        case str():
            return redact_text(value)
        case None | bool() | float():
            return value
        case int():
            return value if abs(value) < _ORJSON_INTEGERS else "[number]"
        case bytes() | bytearray() | memoryview():
            return "[bytes]"
        case Mapping() | Sequence() | AbstractSet():
            return _redact_container(value, depth=depth)
        case _:
            return _redact_object(value)


def _redact_container(value: Mapping[Any, object] | Collection[object], *, depth: int) -> Any:
    if depth >= MAX_DEPTH:
        return "[deeper]"
    if isinstance(value, Mapping):
        return redact_fields(value, depth=depth + 1)
    return [redact(item, depth=depth + 1) for item in islice(value, MAX_ITEMS)]


def _redact_object(value: object) -> Any:
    match value:
        case date():  # and datetime
            return value.isoformat()
        case timedelta():
            return value.total_seconds()
        case BaseException():
            return describe(value)
        case _:
            return f"[{type(value).__name__}]"


def redact_fields(fields: Mapping[Any, object], *, depth: int = 0) -> dict[str, Any]:
    """Return the fields redacted, their names too (somebody's data may be a name)."""
    shown: dict[str, Any] = {}
    for name, value in islice(fields.items(), MAX_ITEMS):
        text = name if isinstance(name, str) else str(redact(name, depth=depth + 1))
        kind = type(value)
        if is_secret_name(text):
            shown[redact_text(text)] = REDACTED
        elif kind is str:
            shown[redact_text(text)] = redact_text(value)  # type: ignore[arg-type]
        elif kind is float or kind is bool:
            shown[redact_text(text)] = value
        else:
            shown[redact_text(text)] = redact(value, depth=depth)
    return shown


def describe(error: BaseException) -> str:
    """
    Return the type of *error* and, for our own errors, their text.

    The text of anybody else's exception is never shown: aiohttp's holds the URL with the AppSecret, SQLAlchemy's the
    statement's parameters (pitfalls page, aiohttp).
    """
    name = type(error).__name__
    if isinstance(error, AuthError):
        text = redact_text(str(error))
        return f"{name}: {text}" if text else name
    return name


def trace(error: BaseException) -> dict[str, Any]:
    """
    Return where *error* came from: its description, its causes' and each frame as `module:line function`.

    No source lines, no locals, no texts of foreign exceptions.
    """
    chain: list[str] = []
    current: BaseException | None = error
    while current is not None and len(chain) < _MAX_CHAIN:
        chain.append(describe(current))
        if isinstance(current, BaseExceptionGroup):
            chain.extend(describe(inner) for inner in current.exceptions[:_MAX_CHAIN])
        current = current.__cause__ or (None if current.__suppress_context__ else current.__context__)
    shown: dict[str, Any] = {"error": chain[0], "stack": _frames(error.__traceback__)}
    if len(chain) > 1:
        shown["causes"] = chain[1:]
    return shown


def _frames(traceback: TracebackType | None) -> list[str]:
    frames: list[str] = []
    while traceback is not None:
        module = traceback.tb_frame.f_globals.get("__name__", "?")
        frames.append(f"{module}:{traceback.tb_lineno} {traceback.tb_frame.f_code.co_name}")
        traceback = traceback.tb_next
    return frames[-_MAX_FRAMES:]
