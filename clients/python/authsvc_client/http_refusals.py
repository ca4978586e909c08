"""Refusals over HTTP, in the shape of authsvc's own edge; ids of requests; which path needs what."""

import json
import math
import re
from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Literal

from authsvc_client._clock import fresh_id
from authsvc_client.requiring import INSUFFICIENT, INVALID, MISSING, Refused, Require

Language = Literal["zh", "en"]
_REQUEST_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_LONGEST_PREFERENCE = 256
_DOTS = frozenset({".", ".."})


class HttpRefusals:
    """
    Makes the answers to refused requests.

    *invalid_status* is the status for TOKEN_INVALID instead of 401, for front ends that take 401 for something else;
    *language* (`zh` or `en`) is that of the message where Accept-Language names neither.
    """

    def __init__(self, *, invalid_status: int, language: Language) -> None:
        if not 400 <= invalid_status <= 499:
            raise ValueError("invalid_status must be 400 to 499")
        if language not in {"zh", "en"}:
            raise ValueError("language must be zh or en")
        self._invalid_status = invalid_status
        self._language = language

    def answer(
        self, refused: Refused, *, accept_language: str, request_id: str
    ) -> tuple[int, list[tuple[str, str]], bytes]:
        """Return status, headers and body; *request_id* is the caller's, repeated where it is safe to."""
        refusal = refused.refusal
        if _REQUEST_ID.fullmatch(request_id) is None:
            request_id = fresh_id()
        language = _choose(accept_language[: _LONGEST_PREFERENCE + 1]) or self._language
        body = {
            "code": refusal.code,
            "reason": refusal.reason,
            "message": refusal.zh if language == "zh" else refusal.en,
            "request_id": request_id,
        }
        raw = json.dumps({"error": body}, ensure_ascii=False, separators=(",", ":")).encode()
        headers = [
            ("Content-Type", "application/json; charset=utf-8"),
            ("Content-Length", str(len(raw))),
            ("Cache-Control", "no-store"),
            ("X-Content-Type-Options", "nosniff"),
            ("X-Request-Id", request_id),
        ]
        if refusal.challenge:
            headers.append(("WWW-Authenticate", refusal.challenge))
        if refused.retry_after is not None:
            headers.append(("Retry-After", str(max(1, math.ceil(refused.retry_after.total_seconds())))))
        status = self._invalid_status if refusal in {INVALID, MISSING} else refusal.http
        return status, headers, raw


class Paths:
    """
    What the paths of an application need.

    A name in *routes* or *public* is the path itself and everything below it (`/admin` is also `/admin/users`, not
    `/administrator`); the longest that fits decides. All other paths need *require*.

    A path may be read in another way by the application, or by what it passes it on to: where there are names, one with
    a segment `.` or `..` is refused, and `//` counts as `/` where that asks for more.

    Raises:
        ValueError: a name does not begin with a slash, or is in both.

    """

    def __init__(
        self, *, require: Require | None, routes: Mapping[str, Require], public: Iterable[str]
    ) -> None:
        if isinstance(public, str):
            raise ValueError("public must be a collection, not one text")
        self._rest = require
        self._exact: dict[str, Require | None] = {_trim(path): needs for path, needs in routes.items()}
        for path in map(_trim, public):
            if path in self._exact:
                raise ValueError(f"{path or '/'} cannot be public and have a requirement")
            self._exact[path] = None

    def needs(self, path: str) -> Require | None:
        """
        Return what *path* needs, None if it is public. It is decoded; a slash within a segment is given as `%2F`.

        Raises:
            Refused: INSUFFICIENT: it has a segment of dots, and may lead elsewhere.

        """
        if not self._exact:
            return self._rest
        if "." in path and not _DOTS.isdisjoint(path.replace("%2F", "/").split("/")):
            raise Refused(INSUFFICIENT)
        path = path.rstrip("/")
        if "//" not in path:
            return self._find(path)
        needs = self._find("/" + "/".join(filter(None, path.split("/"))))
        return self._rest if needs is None else needs

    def _find(self, path: str) -> Require | None:
        while True:
            if path in self._exact:
                return self._exact[path]
            if not path:
                return self._rest
            path = path.rpartition("/")[0]


def _trim(path: str) -> str:
    if not path.startswith("/"):
        raise ValueError(f"{path!r} does not begin with a slash")
    return path.rstrip("/")


@lru_cache(maxsize=256)
def _choose(accept: str) -> str:
    """Return the language of highest weight in an Accept-Language (RFC 9110 section 12.5.4), the first of equals."""
    if len(accept) > _LONGEST_PREFERENCE:
        return ""
    best = [(0.0, "")]
    for part in accept.split(","):
        tag, *parameters = part.split(";")
        language = tag.strip().lower().split("-")[0]
        if language in {"zh", "en"}:
            best.append((_weight(parameters), language))
    return max(best, key=lambda one: one[0])[1]


def _weight(parameters: list[str]) -> float:
    name, _, number = ";".join(parameters).strip().partition("=")
    if name.strip().lower() != "q":
        return 1.0
    return float(number) if re.fullmatch(r"\s*(0(\.\d*)?|1(\.0*)?|\.\d+)\s*", number) else 0.0
