"""
What a unit of work sees: a connection inside a transaction, the present instant, and the log's head.

Units of work are plain synchronous functions over `View` (reads) or `Tx` (writes), in files by noun, so that every
backend runs the very same ones. How transactions begin, batch and commit is the backend's business (`writer.py`,
`sqlite.py`). Lock order: users row, apps row, session, log head last. A unit finds-or-makes by SELECT then INSERT: a
backend with concurrent writers runs a unit again whose INSERT met a unique violation; SQLite has one writer at a time.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Generic, TypeVar

from sqlalchemy import Connection, insert, select, update

from authsvc.domain.apps import LEEWAY
from authsvc.domain.cursors import INCARNATION_BYTES, INCARNATION_STEP
from authsvc.domain.errors import StoreUnavailable
from authsvc.domain.ids import ID_BYTES, encode_id
from authsvc.domain.revocations import FACT_ID_BYTES, Fact, FactKind, LogHead
from authsvc.domain.sessions import EndReason
from authsvc.ports import Entropy
from authsvc.ports.audit import NO_ORIGIN, Origin, current_origin
from authsvc.storage.schema import log_head, revocations

T = TypeVar("T")


class Overtaken(Exception):
    """
    Another transaction committed between two looks of this unit: nothing is kept, and the unit is run again, alone.

    Never raised on SQLite, where a unit that writes is alone.
    """


HEAD_ID = 1
_HEAD = select(log_head.c.incarnation, log_head.c.position, log_head.c.compacted_through).where(
    log_head.c.id == HEAD_ID
)
_HEAD_LOCKED = _HEAD.with_for_update()
_MOVE_HEAD = update(log_head).where(log_head.c.id == HEAD_ID)
_ADD_FACT = insert(revocations)


@dataclass(frozen=True, slots=True)
class View:
    """One consistent snapshot and the instant at which it is looked at."""

    connection: Connection
    now: datetime


class Ledger:
    """
    The log's head as a transaction sees and moves it; shared by all units of one batch.

    The row is read at most once and written at most once, when something moved it: a transaction without a fact
    never writes it.
    """

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._stored: LogHead | None = None
        self._head: LogHead | None = None
        self._locked = False

    @property
    def head(self) -> LogHead:
        """The head, facts of this transaction included."""
        if self._head is None:
            self._head = self._stored = read_head(self._connection)
        return self._head

    def take(self) -> int:
        """Return the next position, holding the row from now on: nobody else gets one before we commit."""
        self._lock()
        self._head = replace(self.head, position=self.head.position + 1)
        return self._head.position

    def restart(self, *, incarnation: bytes, above: int) -> LogHead:
        """Return the head of a new incarnation, a step above *above* and all that was (DESIGN section 5)."""
        self._lock()
        start = max(above, self.head.position) + INCARNATION_STEP
        self._head = replace(self.head, incarnation=incarnation, position=start)
        return self._head

    def rewind(self, head: LogHead | None) -> None:
        """Take back what a unit that failed had moved; *head* is what `peek` said before it began."""
        self._head = head or self._stored

    def peek(self) -> LogHead | None:
        """Return the head if it was read already."""
        return self._head

    def flush(self) -> LogHead:
        """Write the head if it moved; return it."""
        head = self.head
        if head != self._stored:
            self._connection.execute(_MOVE_HEAD, {"incarnation": head.incarnation, "position": head.position})
        return head

    def _lock(self) -> None:
        if not self._locked:
            # Re-read under the lock: on a backend with concurrent writers an earlier look may be old by now.
            self._head = self._stored = read_head(self._connection, lock=True)
            self._locked = True


@dataclass(frozen=True, slots=True)
class Tx(View):
    """A `View` that may write; `facts` collects what the unit added to the log, `origin` is who asked for it."""

    entropy: Entropy
    ledger: Ledger
    facts: list[Fact] = field(default_factory=list)
    origin: Origin = NO_ORIGIN

    def write_fact(
        self,
        kind: FactKind,
        target: str,
        *,
        reason: EndReason,
        useful_until: datetime | None,
        app_filter: str = "",
    ) -> Fact:
        """Add a fact to the log and return it with its position. The last thing a unit does: it locks the head."""
        fact = Fact(
            position=self.ledger.take(),
            kind=kind,
            target=target,
            reason=reason,
            useful_until=useful_until,
            app_filter=app_filter,
            fact_id=self.entropy.token_bytes(FACT_ID_BYTES),
        )
        add_facts(self.connection, [fact], written_at=self.now)
        self.facts.append(fact)
        return fact

    def need_positions(self) -> None:
        """
        Return if facts have their positions as soon as they are written.

        Raises:
            Overtaken: they have not, in a transaction that is shared; the unit is then run in one of its own.

        """

    def fresh_id(self) -> str:
        """Return a new id of ours."""
        return encode_id(self.entropy.token_bytes(ID_BYTES))

    def fresh_incarnation(self) -> bytes:
        """Return a random name for an incarnation of the log."""
        return self.entropy.token_bytes(INCARNATION_BYTES)


ReadUnit = Callable[[View], T]
WriteUnit = Callable[[Tx], T]


@dataclass(frozen=True, slots=True)
class Shared(Generic[T]):
    """
    A write unit that takes no notice of the positions of its facts.

    So a backend may run it in one transaction with others, which are assigned together, when all have run.
    """

    unit: WriteUnit[T]

    def __call__(self, tx: Tx) -> T:
        """Run the unit."""
        return self.unit(tx)


def with_origin(unit: WriteUnit[T]) -> WriteUnit[T]:
    """
    Return the unit as one that knows of the call that begins it now, wherever and with whomever it is run.

    The facts that it adds stay in the list of the `Tx` that it is given.
    """
    origin = current_origin.get()
    if origin is NO_ORIGIN:
        return unit
    address = origin.address()  # here: the unit may run in a thread that the transport must not be asked from
    origin = replace(origin, address=lambda: address)
    if isinstance(unit, Shared):
        alone = unit.unit
        return Shared(lambda tx: alone(replace(tx, origin=origin)))
    return lambda tx: unit(replace(tx, origin=origin))


def add_facts(connection: Connection, facts: Sequence[Fact], *, written_at: datetime) -> None:
    """Put facts that have their positions into the log."""
    connection.execute(
        _ADD_FACT,
        [
            {
                "position": fact.position,
                "fact_id": fact.fact_id,
                "kind": fact.kind.value,
                "target": fact.target,
                "reason": int(fact.reason),
                "useful_until": fact.useful_until,
                "app_filter": fact.app_filter,
                "written_at": written_at,
            }
            for fact in facts
        ],
    )


def read_head(connection: Connection, *, lock: bool = False) -> LogHead:
    """
    Return the log's head, holding its row if *lock*.

    Raises:
        StoreUnavailable: the row is missing; the database was never opened by a store.

    """
    row = connection.execute(_HEAD_LOCKED if lock else _HEAD).one_or_none()
    if row is None:
        raise StoreUnavailable("the log has no head")
    return LogHead(
        incarnation=row.incarnation, position=row.position, compacted_through=row.compacted_through
    )


def could_be_accepted(latest_access_expiry: datetime, *, now: datetime) -> bool:
    """Tell whether a verifier may still accept an access token with this `exp`."""
    return accepted_from(now) < latest_access_expiry


def accepted_from(now: datetime) -> datetime:
    """Return the `exp` up to which (inclusive) no verifier accepts a token any more: now less the leeway."""
    return now - LEEWAY
