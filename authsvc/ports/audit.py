"""The audit trail: where a call came from, what is written of what it did, and how the trail is sealed and read."""

from collections.abc import Callable, Sequence
from contextvars import ContextVar
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Protocol

from authsvc.domain.audit import AuditRow, Checkpoint

# The metadata of a call that says why an operator makes it: percent-encoded UTF-8, because metadata are ASCII.
REASON_KEY = "x-audit-reason"


def _nowhere() -> str:
    return ""


@dataclass(frozen=True, slots=True)
class Origin:
    """
    Who asks, from where and why, as far as the transport knows.

    `caller` is the principal's name. `address` gives the client's or else the caller's IP address, and is asked only by
    a call that writes. `reason` is what an operator gave for the call.
    """

    caller: str = ""
    request_id: str = ""
    trace_id: str = ""
    reason: str = field(default="", repr=False)
    address: Callable[[], str] = field(default=_nowhere, repr=False)


NO_ORIGIN = Origin()
# Set by the transport for the call being served; every unit of work that the call begins carries it.
current_origin: ContextVar[Origin] = ContextVar("authsvc_current_origin", default=NO_ORIGIN)


@dataclass(frozen=True, slots=True)
class AuditEntry:
    """
    What a row is to say; the transaction adds its id, its instant and the call's ids.

    `by` empty is the calling principal; `ip` None is where the call came from. `origin` is the call that the row tells of, where another one writes it.
    `details` hold ids of ours, app ids, counts and names; never openids, unionids, external ids, codes, tokens or phone
    numbers. What may name a person goes into `reason` and `ip`, which an erasure takes out.
    """

    event: str
    by: str = ""
    user_id: str = ""
    app_id: str = ""
    session_id: str = ""
    ip: str | None = field(default=None, repr=False)
    reason: str = field(default="", repr=False)
    origin: Origin | None = None
    details: dict[str, str | int | bool | list[str]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Unsealed:
    """
    What a sealer needs, from one snapshot.

    `rows` are the oldest ones that may be sealed; `last` is the newest closed batch; `now` is the record's instant, and
    `oldest_at` when the oldest row was written that waits, whether or not it may be sealed yet.
    """

    rows: Sequence[AuditRow]
    last: Checkpoint | None
    now: datetime
    oldest_at: datetime | None


@dataclass(frozen=True, slots=True)
class AuditQuery:
    """
    Which rows to list: oldest first, at most `limit`, strictly after the place `after` (instant, id).

    An empty text means any. `user_id` means every id of the person. `event` may end in `*`. With `newest` the last ones
    are listed, still oldest first.
    """

    user_id: str = ""
    event: str = ""
    by: str = ""
    since: datetime | None = None
    after: tuple[datetime, str] | None = None
    limit: int = 100
    newest: bool = False


class AuditTrail(Protocol):
    """
    The trail in the record. Rows of what a transaction did are written by that transaction, not here.

    A row never changes but by being sealed once, and by an erasure, which leaves its hash as it is.
    """

    async def record_audit(self, entries: Sequence[AuditEntry]) -> None:
        """Write rows of their own, in one transaction; for what changes nothing else in the record."""
        ...

    async def read_unsealed(self, *, grace: timedelta, limit: int) -> Unsealed:
        """
        Return the oldest rows without a batch, at most *limit*, that were written longer than *grace* ago.

        A transaction takes its instant when it begins: with a grace beyond the longest one, batches follow time.
        """
        ...

    async def seal_batch(self, checkpoint: Checkpoint, audit_ids: Sequence[str]) -> bool:
        """
        Close a batch over exactly these rows; False, with nothing changed, if that is no longer right.

        That is: another sealer was faster, a row is being erased this moment, or the key was withdrawn.
        """
        ...

    async def list_audit(self, query: AuditQuery) -> Sequence[AuditRow]:
        """Return rows; see AuditQuery."""
        ...

    async def list_checkpoints(self, *, after: int, limit: int) -> Sequence[Checkpoint]:
        """Return closed batches with a number above *after*, ascending."""
        ...

    async def read_batches(
        self, *, after: int, through: int, limit: int
    ) -> Sequence[tuple[int, Checkpoint | None, Sequence[AuditRow]]]:
        """
        Return from one snapshot what there is of the next *limit* batch numbers above *after*, up to *through*.

        A number is told if it has a batch, rows, or both; ascending.
        """
        ...
