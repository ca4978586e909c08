"""
Following WatchRevocations for ever: snapshot, changes, heartbeats; resume where it broke, start over where it must.

An age that a message tells is worth what is known of how long the message waited here. A reader that was stalled or
suspended finds young ages in its buffers: such a message counts from when the buffer was last seen empty, and after a
stall the stream is opened again.
"""

import asyncio
import logging
from enum import Enum
from typing import Any

from authapi.v1 import PackedSessions, Revocation, WatchRevocationsResponse
from authsvc_client._clock import Clock
from authsvc_client.connection import Calls, Stream, Unanswered
from authsvc_client.freshness import Freshness
from authsvc_client.hooks import Hooks
from authsvc_client.packed import FOR_EVER_S
from authsvc_client.revocations import Fact, Kind, RevocationView, Snapshot
from authsvc_client.tokens import ID_BYTES, encode_base64url
from authsvc_client.verdicts import SessionEndReason

_log = logging.getLogger("authsvc_client")
# The server promises a message a second.
SILENCE_S = 3.0
_FIRST_BACKOFF_S, _LONGEST_BACKOFF_S = 0.1, 5.0
# A message that is there within the first look may have waited; one that comes later has not.
_FIRST_LOOK_S, _NEXT_LOOK_S = 0.005, 0.25
_PROMPT_S = 0.5
_STALL_S = 2.0
# So long without once seeing the buffer empty: it grows faster than it is read, and a new stream starts at its end.
_BEHIND_S = 10.0
_POSITION_BYTES = 8


class Ended(Enum):
    """Why a stream was left."""

    GO_AWAY = "go_away"
    DONE = "done"
    SILENT = "silent"
    STALLED = "stalled"
    BEHIND = "behind"
    TOO_OLD = "too_old"
    BROKEN = "broken"


_AT_ONCE = frozenset({Ended.GO_AWAY, Ended.STALLED, Ended.BEHIND, Ended.TOO_OLD})
_KINDS = {"user_id": Kind.USER, "app_id": Kind.APP, "key_id": Kind.KEY}


class _Broken(Exception):
    """The server does not keep to the contract."""


class Watcher:
    """Keeps a view and its freshness up to date; `run` never returns by itself."""

    def __init__(
        self, *, calls: Calls, view: RevocationView, freshness: Freshness, clock: Clock, hooks: Hooks
    ) -> None:
        self._calls = calls
        self._view = view
        self._freshness = freshness
        self._clock = clock
        self._hooks = hooks
        self._cursor = b""
        self._snapshot: Snapshot | None = None
        self._empty_at = 0.0
        self._alive_at = 0.0
        self._backoff_s = _FIRST_BACKOFF_S
        self._may_hurry = True
        self.told_age_s = float("inf")
        self.told_at = float("-inf")

    async def run(self) -> None:
        """Open one stream after another, until cancelled."""
        while True:
            why: Ended | str
            stream = self._calls.watch(self._cursor)
            try:
                why = await self._follow(stream)
            except Unanswered as error:
                why = Ended.TOO_OLD if error.code == "OUT_OF_RANGE" else error.code.lower()
            except Exception as error:  # noqa: BLE001 - whatever it is, the next stream may work
                if not isinstance(error, _Broken):
                    _log.exception("following the revocations failed")
                why = Ended.BROKEN
            finally:
                stream.cancel()
                self._snapshot = None
            if why is Ended.TOO_OLD:
                self._cursor = b""
            self._hooks.stream_ended(why.value if isinstance(why, Ended) else why)
            await self._pause(why)

    def server_is_stale(self, bound_s: float) -> bool:
        """Tell whether the stream lives and says itself that the server's knowledge is older than this."""
        since_s = self._clock.elapsed_s() - self.told_at
        return since_s < SILENCE_S and self.told_age_s + since_s > bound_s

    async def _pause(self, why: Ended | str) -> None:
        """Some ends mean "open the next at once", but not twice without anything learnt in between."""
        if why in _AT_ONCE and self._may_hurry:
            self._may_hurry = False
            return
        await self._clock.sleep(self._backoff_s * (0.5 + 0.5 * self._clock.fraction()))
        self._backoff_s = min(self._backoff_s * 2, _LONGEST_BACKOFF_S)

    async def _follow(self, stream: Stream) -> Ended:
        self._empty_at = self._alive_at = self._clock.elapsed_s()
        while True:
            message = await self._next(stream)
            if isinstance(message, Ended):
                return message
            now = self._clock.elapsed_s()
            stalled = now - self._alive_at > _STALL_S
            heard_at = now if now - self._empty_at <= _PROMPT_S else self._empty_at
            await self._take(message, heard_at)
            if message.WhichOneof("body") == "go_away":
                return Ended.GO_AWAY
            self._backoff_s, self._may_hurry = _FIRST_BACKOFF_S, True
            if stalled:
                return Ended.STALLED
            if now - self._empty_at > _BEHIND_S and self._snapshot is None:
                return Ended.BEHIND

    async def _next(self, stream: Stream) -> WatchRevocationsResponse | Ended:
        """
        Return the next message or why there is none; `_empty_at` is when the buffer was last seen empty.

        `_alive_at` is when this loop last had a turn that was not overdue.
        """
        asked_at = self._clock.elapsed_s()
        reading: asyncio.Future[Any] = asyncio.ensure_future(stream.read())
        look_s = _FIRST_LOOK_S
        try:
            while True:
                self._alive_at = self._clock.elapsed_s()
                looking = asyncio.ensure_future(self._clock.sleep(look_s))
                try:
                    await asyncio.wait({reading, looking}, return_when=asyncio.FIRST_COMPLETED)
                finally:
                    looking.cancel()
                if reading.done():
                    message: WatchRevocationsResponse | None = reading.result()
                    return Ended.DONE if message is None else message
                now = self._clock.elapsed_s()
                if now - self._alive_at > _STALL_S + look_s:
                    return Ended.STALLED
                self._empty_at = now
                if now - asked_at >= SILENCE_S:
                    return Ended.SILENT
                look_s = _NEXT_LOOK_S
        finally:
            reading.cancel()

    async def _take(self, message: WatchRevocationsResponse, heard_at: float) -> None:
        body = message.WhichOneof("body")
        if body == "snapshot_part":
            part = message.snapshot_part
            if self._snapshot is None:
                self._snapshot = Snapshot()
            self._snapshot.add(map(read_fact, part.revocations))
            for packed in part.sessions:
                _add_sessions(self._snapshot, packed)
            if not part.last:
                return
            if not message.complete_through.value:
                raise _Broken
            await self._complete(message, self._snapshot, heard_at)
            return
        if self._snapshot is not None or not self._freshness.is_known or not self._cursor:
            if body == "go_away":
                return  # before the snapshot was complete: there is nothing to go on from
            raise _Broken
        if body == "changes":
            self._view.apply(map(read_fact, message.changes.revocations))
        if message.complete_through.value:
            self._freshness.confirm(**self._confirmation(message, heard_at))

    async def _complete(self, message: WatchRevocationsResponse, snapshot: Snapshot, heard_at: float) -> None:
        for _ in snapshot.finish():
            await asyncio.sleep(0)  # noqa: TID251 - lets others have their turn, waits for nothing
        confirmation = self._confirmation(message, heard_at)
        self._view.replace(snapshot)
        self._snapshot = None
        self._freshness.restart(**confirmation)
        self._hooks.snapshot(len(self._view))

    def _confirmation(self, message: WatchRevocationsResponse, heard_at: float) -> dict[str, Any]:
        """Note the cursor, and return what the message says of the knowledge it completes."""
        if len(message.position_through) != _POSITION_BYTES:
            raise _Broken
        self._cursor = message.complete_through.value
        # No age is no confirmation of anything young.
        age_s = message.age.seconds + message.age.nanos / 1e9 if message.HasField("age") else float("inf")
        self.told_age_s, self.told_at = age_s, heard_at
        return {
            "heard_at": heard_at,
            "age_s": age_s,
            "position": int.from_bytes(message.position_through, "big"),
        }


def read_fact(message: Revocation) -> Fact:
    """Convert a revocation; what this release cannot read is of kind UNKNOWN."""
    name = message.WhichOneof("target")
    position = int.from_bytes(message.position, "big")
    until_s = _until_s(message)
    reason = SessionEndReason(message.reason)
    if name == "session_id":
        if len(message.session_id) != ID_BYTES:
            return Fact(Kind.UNKNOWN, "", position)
        target = encode_base64url(message.session_id).decode()
        return Fact(Kind.SESSION, target, position, reason, until_s)
    kind = _KINDS.get(name or "", Kind.UNKNOWN)
    if kind is Kind.UNKNOWN or (kind is not Kind.KEY and len(message.position) != _POSITION_BYTES):
        return Fact(Kind.UNKNOWN, "", position)
    return Fact(kind, getattr(message, name or ""), position, reason, until_s, message.app_filter)


def _add_sessions(snapshot: Snapshot, packed: PackedSessions) -> None:
    snapshot.add_sessions(packed.ids, reason=SessionEndReason(packed.reason), until_s=_until_s(packed))


def _until_s(message: Revocation | PackedSessions) -> int:
    """Rounded up: a fact is never forgotten before its time."""
    if not message.HasField("useful_until"):
        return FOR_EVER_S
    return max(message.useful_until.seconds + (message.useful_until.nanos > 0), 0)
