"""
The audit trail as values: a row, what of it can be erased, and how closed batches of rows form a chain.

The canonical forms below are the definition; docs/operations/audit.md repeats them for whoever verifies with other
tools. `frame` makes them unambiguous: no text can move a boundary between two fields. Judging a whole trail is in
`audit_verification`; nothing here signs or stores.
"""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta

SALT_BYTES = 16
GENESIS = bytes(32)
# Reads from the record are cut to these; every text that a caller chooses is bounded here, whatever its source.
MAX_REASON = 1000
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_TICK = timedelta(microseconds=1)
_ROW, _ERASABLE, _CHAIN = b"authsvc-audit-row-1", b"authsvc-audit-erasable-1", b"authsvc-audit-chain-1"
# Of no JWT: a JWS signing input has neither a colon nor a line feed.
_CHECKPOINT = b"authsvc-audit-checkpoint:1\n"


def frame(*parts: bytes) -> bytes:
    """Return the parts one after another, each behind its length as four bytes, big-endian."""
    return b"".join(len(part).to_bytes(4, "big") + part for part in parts)


def microseconds(instant: datetime) -> int:
    """Return an instant as the record keeps it: microseconds since 1970."""
    return (instant - _EPOCH) // _TICK


def from_microseconds(number: int) -> datetime:
    """
    Return the instant of which `microseconds` makes *number*.

    Raises:
        OverflowError: beyond the years 1 to 9999.

    """
    return _EPOCH + number * _TICK


@dataclass(frozen=True, slots=True)
class AuditRow:
    """
    Who did what to whom, from where, why.

    `details` is a JSON object as text. `ip` and `reason` can be erased: then they are empty, `salt` is None and
    `commitment` is what stood for them. `batch` is None until the row is sealed.
    """

    audit_id: str
    at: datetime
    by: str
    event: str
    user_id: str
    app_id: str
    session_id: str
    request_id: str
    trace_id: str
    details: str
    ip: str = field(repr=False)
    reason: str = field(repr=False)
    salt: bytes | None = field(repr=False)
    commitment: bytes | None = None
    batch: int | None = None

    @property
    def is_erased(self) -> bool:
        """Whether address and reason were taken out, which only an erasure of the person may do."""
        return self.commitment is not None

    def erased(self) -> "AuditRow":
        """Return the row without what can be erased; its hash is the same."""
        return replace(self, ip="", reason="", salt=None, commitment=_commitment(self))


def commit_to(salt: bytes, *, ip: str, reason: str) -> bytes:
    """
    Return what stands for address and reason in a row's hash: SHA-256 of them with the row's own random salt.

    Without the salt nobody can try out the four thousand million addresses.
    """
    return hashlib.sha256(frame(_ERASABLE, salt, ip.encode(), reason.encode())).digest()


def _commitment(row: AuditRow) -> bytes:
    if row.commitment is not None:
        return row.commitment
    return commit_to(row.salt or b"", ip=row.ip, reason=row.reason)


def hash_row(row: AuditRow) -> bytes:
    """Return SHA-256 of the row's canonical form, which its batch is no part of."""
    texts = (
        row.audit_id,
        str(microseconds(row.at)),
        row.by,
        row.event,
        row.user_id,
        row.app_id,
        row.session_id,
        row.request_id,
        row.trace_id,
        row.details,
    )
    return hashlib.sha256(frame(_ROW, *(text.encode() for text in texts), _commitment(row))).digest()


def hash_rows(rows: Iterable[AuditRow]) -> bytes:
    """Return SHA-256 over the rows' hashes, in the order of their ids as bytes."""
    joined = hashlib.sha256()
    for row in sorted(rows, key=lambda row: row.audit_id.encode()):
        joined.update(hash_row(row))
    return joined.digest()


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A closed batch: how many rows, their hash, chained to the batch before and signed with the key `kid`."""

    batch: int
    sealed_at: datetime
    rows: int
    rows_hash: bytes
    chain_hash: bytes
    kid: str
    signature: bytes = field(repr=False)


def chain(previous: bytes, *, batch: int, sealed_at: datetime, rows: int, rows_hash: bytes) -> bytes:
    """Return the chain hash of a batch after the one with the chain hash *previous* (`GENESIS` before the first)."""
    numbers = (batch, microseconds(sealed_at), rows)
    return hashlib.sha256(
        frame(_CHAIN, previous, *(str(number).encode() for number in numbers), rows_hash)
    ).digest()


def signing_input(batch: int, chain_hash: bytes) -> bytes:
    """Return the bytes that a checkpoint's signature is over; no token's signing input can be equal to them."""
    return _CHECKPOINT + f"{batch}\n{chain_hash.hex()}\n".encode()
