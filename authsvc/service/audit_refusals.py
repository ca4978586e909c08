"""
Refusals in the audit trail, bounded: a flood of them must fill neither the disk nor the queue of writes.

The first few of a kind in a minute get a row each; the rest are counted, and the minute's end writes the count. A kind
is (event, app, refusal, caller): the apps are configured, the refusals and callers are closed sets. They are written in
transactions of their own some seconds later: a refusal changes nothing that a row could be written together with.
"""

import asyncio
from dataclasses import dataclass, replace
from datetime import timedelta

from authsvc.domain.errors import (
    AppDisabled,
    AuthError,
    LoginCodeInvalid,
    LoginCodeUsed,
    RateLimited,
    RefreshTokenInvalid,
    StoreUnavailable,
    UnknownApp,
    WeChatThrottled,
    WeChatUserBlocked,
)
from authsvc.domain.sessions import ClientInfo
from authsvc.ports import AuditEntry, AuditTrail, CallRecord, Clock, Event, Observer, current_origin

# Rows of one kind in one minute, without the one that counts the rest.
SAMPLE = 5
MINUTE = timedelta(minutes=1)
FLUSH_EVERY = timedelta(seconds=5)
# Kinds told apart in one minute; what comes beyond is counted together.
MAX_KINDS = 200
# What says "no" to somebody; failures of ours and of WeChat's are not refusals. A blocked person's is told where their
# row is held (storage.audit_sessions), and counted with `recorded`.
_REFUSALS = (
    AppDisabled,
    LoginCodeInvalid,
    LoginCodeUsed,
    RateLimited,
    RefreshTokenInvalid,
    UnknownApp,
    WeChatThrottled,
    WeChatUserBlocked,
)
_OTHERS = "others"
# A caller that was not identified; a reserved name.
_NOBODY = "anonymous"
_CALLER_REFUSALS = frozenset({"CALLER_UNAUTHENTICATED", "CALLER_FORBIDDEN"})


@dataclass(frozen=True, slots=True)
class _Kind:
    event: str
    app_id: str
    refusal: str
    by: str


class Refusals:
    """
    Takes note of refusals and writes them down in the background.

    `start` begins the task; `stop` writes what is left, as far as the record answers. What a killed process had noted
    within the last `FLUSH_EVERY` is lost; the metrics and log lines of the calls have it.
    """

    def __init__(self, *, trail: AuditTrail, clock: Clock, observer: Observer) -> None:
        self._trail = trail
        self._clock = clock
        self._observer = observer
        self._began = clock.elapsed()
        self._counts: dict[_Kind, int] = {}
        self._samples: dict[_Kind, int] = {}
        self._waiting: list[AuditEntry] = []
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to write."""
        self._task = asyncio.create_task(self._run())

    async def stop(self) -> None:
        """Write what is left and end the task. Idempotent."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
            self._task = None
            self._close_minute()
            await self._flush()

    def note(
        self, event: str, *, refusal: str, app_id: str = "", session_id: str = "", user_id: str = "",
        ip: str = "", by: str = "", recorded: bool = False,
    ) -> None:  # fmt: skip
        """
        Count a refusal, and let it have a row if it is one of the first of its kind in this minute.

        *recorded*: some transaction wrote its row already, so it needs neither.
        """
        if recorded:
            return
        origin = current_origin.get()
        kind = _Kind(event, app_id, refusal, by or origin.caller)
        if kind not in self._counts and len(self._counts) >= MAX_KINDS:
            kind = _Kind(event, "", _OTHERS, "")
        self._counts[kind] = self._counts.get(kind, 0) + 1
        if self._samples.get(kind, 0) >= SAMPLE or kind.refusal == _OTHERS:
            return
        self._samples[kind] = self._samples.get(kind, 0) + 1
        address = ip or origin.address()
        entry = AuditEntry(
            event,
            kind.by or "service",
            user_id=user_id,
            app_id=app_id,
            session_id=session_id,
            ip=address,
            origin=replace(origin, address=lambda: address),
            details={"refusal": refusal},
        )
        self._waiting.append(entry)

    def note_error(self, event: str, error: AuthError, *, client: ClientInfo, app_id: str = "") -> None:
        """Take note of *error* if it is a refusal. *app_id* is one that is configured, or empty."""
        if isinstance(error, _REFUSALS):
            self.note(event, refusal=type(error).__name__, app_id=app_id, ip=client.ip)

    def note_call(self, record: CallRecord) -> None:
        """Take note of a finished call if its caller was refused."""
        if record.reason in _CALLER_REFUSALS:
            by = record.principal or _NOBODY
            self.note("caller.refused", refusal=f"{record.reason} {record.method}", by=by)

    async def _run(self) -> None:
        while True:
            await self._clock.sleep(FLUSH_EVERY)
            if self._clock.elapsed() - self._began >= MINUTE.total_seconds():
                self._close_minute()
            await self._flush()

    def _close_minute(self) -> None:
        """Turn what was counted and got no row of its own into a row per kind, and begin the next minute."""
        for kind, count in self._counts.items():
            told = self._samples.get(kind, 0)
            if count > told:
                details: dict[str, str | int | bool | list[str]] = {
                    "refusal": kind.refusal,
                    "count": count,
                    "told": told,
                }
                entry = AuditEntry(
                    f"{kind.event}_often", kind.by or "service", app_id=kind.app_id, ip="", details=details
                )
                self._waiting.append(entry)
        self._counts.clear()
        self._samples.clear()
        self._began = self._clock.elapsed()

    async def _flush(self) -> None:
        waiting, self._waiting = self._waiting, []
        if not waiting:
            return
        try:
            await self._trail.record_audit(waiting)
        except StoreUnavailable:
            # Kept for the next time, as far as a minute's worth of all kinds goes; the oldest are what is kept.
            self._waiting = (waiting + self._waiting)[: MAX_KINDS * (SAMPLE + 1)]
            error = "StoreUnavailable"
        except Exception as surprise:  # noqa: BLE001 - one row that cannot be written must not stop the others
            error = type(surprise).__name__
        else:
            return
        fields: dict[str, str | int | float | bool] = {"error": error, "rows": len(waiting)}
        self._observer.event(Event("audit.not_recorded", level="warning", fields=fields))
