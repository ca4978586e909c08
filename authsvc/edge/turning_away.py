"""
The cheapest possible no: a login for which there is no place is answered from its bytes, before it is a request.

To parse it, run it through its handler and make the answer costs as much as a good part of a login, and under overload
nearly every login is refused. What is said is what the handlers would say, made once by the same code, with the
request's id put in.
"""

import re
from collections.abc import Callable, Mapping
from email.utils import format_datetime

from aiohttp import web

from authsvc.edge.backpressure import LIMIT, Backpressure
from authsvc.edge.framing import Frame
from authsvc.edge.language import choose_language
from authsvc.edge.protection import Protection
from authsvc.edge.serializing import serialize
from authsvc.edge.settings import EdgeSettings
from authsvc.ports import CallRecord, Clock, Entropy, Observer

Shape = Callable[..., web.Response]
"""Makes the reply of a refusal: `replies.error_reply`, or the legacy one."""

_REQUEST_ID = re.compile(rb"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_ID_BYTES = 16
_IDS_AT_ONCE = 64
# Stands where the id will: nothing else in an answer looks like it.
_ID_HERE = "id--" * 8


class TurningAway:
    """
    Knows which requests are logins, whether there is a place for one, and what to say if not.

    *shapes* are the paths of logins, which are POSTed, each with the shape of its errors.
    """

    def __init__(
        self,
        backpressure: Backpressure,
        *,
        shapes: Mapping[str, Shape],
        settings: EdgeSettings,
        clock: Clock,
        entropy: Entropy,
        observer: Observer,
    ) -> None:
        self.backpressure = backpressure
        self._settings = settings
        self._clock = clock
        self._entropy = entropy
        self._observer = observer
        self._paths = {f"POST {path}".encode(): path for path in shapes}
        self._ids: list[bytes] = []
        self._date, self._dated_at = b"", -1
        protection = Protection(settings)
        self._answers: dict[tuple[str, str], list[bytes]] = {}
        for path, shape in shapes.items():
            for language in ("zh", "en"):
                refused = backpressure.refusal()
                answer = shape(refused, language=language, request_id=_ID_HERE)
                protection.protect_unasked(answer)
                status = f"{answer.status}"
                self._answers[path, language] = [status.encode(), *serialize(answer).split(_ID_HERE.encode())]

    def is_login(self, frame: Frame) -> bool:
        """Tell whether the request takes a place."""
        return frame.line in self._paths

    def answer(self, frame: Frame) -> bytes:
        """
        Return the whole refusal, reported, if there is no place for the login of *frame*; else nothing.

        Nothing as well where only the handlers can tell: a page of another site asks, or the body is too large.
        """
        if not self.backpressure.would_refuse():
            return b""
        if frame.rest > self._settings.max_body or (self._settings.origins and frame.field(b"origin")):
            return b""
        began = self._clock.elapsed()
        path = self._paths[frame.line]
        language = self._settings.language
        if accept := frame.field(b"accept-language"):
            language = choose_language(accept.decode("latin-1"), default=language)
        request_id = frame.field(b"x-request-id")
        if not _REQUEST_ID.fullmatch(request_id):
            request_id = self._fresh_id()
        status, *parts = self._answers[path, language]
        whole = request_id.join(parts)
        if len(request_id) != len(_ID_HERE) and len(parts) > 2:  # it stands in the body, too
            whole = _with_length(whole)
        self.backpressure.turn_away()
        self._observer.call(
            CallRecord(
                method=f"HTTP POST {path}",
                code=status.decode(),
                reason="RATE_LIMITED",
                duration_s=self._clock.elapsed() - began,
                request_id=request_id.decode(),
                error=LIMIT,
            )
        )
        return whole.replace(b"\r\n\r\n", self._dated(), 1)

    def expect(self) -> None:
        """Keep a place for a login that is on its way to its handler; tell by `arrived` when it is there, or never will be."""
        self.backpressure.expected += 1

    def arrived(self) -> None:
        """Keep it no longer."""
        self.backpressure.expected -= 1

    def _fresh_id(self) -> bytes:
        if not self._ids:
            digits = self._entropy.token_bytes(_ID_BYTES * _IDS_AT_ONCE).hex().encode()
            self._ids = [digits[at : at + 2 * _ID_BYTES] for at in range(0, len(digits), 2 * _ID_BYTES)]
        return self._ids.pop()

    def _dated(self) -> bytes:
        second = int(self._clock.elapsed())
        if second != self._dated_at:
            self._dated_at = second
            date = format_datetime(self._clock.now(), usegmt=True)
            self._date = f"\r\nDate: {date}\r\n\r\n".encode()
        return self._date


def _with_length(whole: bytes) -> bytes:
    head, _, body = whole.partition(b"\r\n\r\n")
    before, name, _ = head.partition(b"\r\nContent-Length: ")  # the last header
    return b"".join((before, name, str(len(body)).encode(), b"\r\n\r\n", body))
