"""The revocation log as tailers read it, and its incarnations (DESIGN section 5)."""

from collections.abc import Sequence

from sqlalchemy import or_

from authsvc.domain.revocations import Fact, LogHead
from authsvc.storage.rows import FACTS, to_fact
from authsvc.storage.schema import revocations
from authsvc.storage.tx import Tx, View, read_head

# What a BIGINT holds; a forged or foreign place above it is simply above everything.
_LARGEST = 2**63 - 1


def read_from(view: View, position: int, *, limit: int) -> tuple[LogHead, Sequence[Fact]]:
    """See ports.RevocationLog.read_from."""
    head = read_head(view.connection)
    rows = view.connection.execute(
        FACTS.where(revocations.c.position >= min(position, _LARGEST)).limit(limit)
    )
    return head, [to_fact(row) for row in rows]


def read_live(view: View, *, after: int, limit: int) -> tuple[LogHead, Sequence[Fact]]:
    """See ports.RevocationLog.read_live."""
    head = read_head(view.connection)
    rows = view.connection.execute(
        FACTS.where(
            revocations.c.position > min(after, _LARGEST),
            or_(revocations.c.useful_until.is_(None), revocations.c.useful_until > view.now),
        ).limit(limit)
    )
    return head, [to_fact(row) for row in rows]


def begin_incarnation(tx: Tx, *, above: int) -> LogHead:
    """See ports.RevocationLog.begin_incarnation."""
    return tx.ledger.restart(incarnation=tx.fresh_incarnation(), above=above)
