"""
Revocation facts: what died, from which position on, why, and how long anyone needs to remember.

A session or key fact names its target outright. A user or app fact kills tokens whose session was created below its
position: positions, not clocks (DESIGN section 3).
"""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from authsvc.domain.sessions import EndReason

FACT_ID_BYTES = 8


class FactKind(StrEnum):
    """What kind of thing died. Principal facts never leave the servers."""

    SESSION = "session"
    USER = "user"
    APP = "app"
    KEY = "key"
    PRINCIPAL = "principal"


@dataclass(frozen=True, slots=True)
class Fact:
    """
    One entry of the durable, totally ordered log.

    `useful_until` None means for ever (key withdrawals). `app_filter` narrows a user fact to one app. `fact_id` is
    random and tells one incarnation's fact at a position from another's.
    """

    position: int
    kind: FactKind
    target: str
    reason: EndReason
    useful_until: datetime | None
    app_filter: str = ""
    fact_id: bytes = b""

    def is_useful(self, *, now: datetime) -> bool:
        """Tell whether some token it could kill may still be accepted at *now*."""
        return self.useful_until is None or now < self.useful_until


@dataclass(frozen=True, slots=True)
class LogHead:
    """Where the log stands: its incarnation, the largest position, and that below which facts may be gone."""

    incarnation: bytes
    position: int
    compacted_through: int = 0
