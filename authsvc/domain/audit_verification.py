"""
Judging an audit trail: rows and batches as they lie there, against the chain, the signatures and kept checkpoints.

What each finding means, and what cannot be found (rows of the last seconds, not sealed yet), is in
docs/operations/audit.md. No I/O: whoever reads rows, from a database or a file, feeds them in.
"""

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum

from authsvc.domain.audit import GENESIS, AuditRow, Checkpoint, chain, hash_rows, signing_input

ERASED = "user.erased"
# A replica may sign once more before it hears that its key was withdrawn.
WITHDRAWAL_MARGIN = timedelta(minutes=1)
# Rows wait for the sealer this long at most while any replica that can sign is alive and the record answers.
SEALED_WITHIN = timedelta(minutes=5)

# Tells whether the signature of the key `kid` holds; None if no such key is known.
CheckSignature = Callable[[str, bytes, bytes], bool | None]


class Defect(StrEnum):
    """What is wrong with a place of the trail."""

    ROWS_CHANGED = "rows changed"  # as many as were sealed, but not these
    ROWS_MISSING = "rows missing"
    ROWS_ADDED = "rows added"
    BATCH_MISSING = "batch missing"
    BATCH_UNKNOWN = "rows of a batch that is not there"
    CHAIN_BROKEN = "chain broken"  # the batch is not what its chain hash was made of
    ORDER_WRONG = "sealed earlier than the batch before"
    SIGNATURE_WRONG = "signature wrong"
    KEY_UNKNOWN = "signing key unknown"
    KEY_WITHDRAWN = "signed after its key was withdrawn"
    ERASED_WITHOUT_ERASURE = "erased though the person was not"
    CHECKPOINT_DIFFERS = "not what the checkpoint says"
    TRUNCATED = "ends before a checkpoint that was kept"
    NOT_SEALED = "rows that nobody seals"


@dataclass(frozen=True, slots=True)
class Finding:
    """A defect and its place: the batch (0: not sealed), and what more is known."""

    defect: Defect
    batch: int
    detail: str = ""

    def __str__(self) -> str:
        place = f"batch {self.batch}" if self.batch else "unsealed rows"
        return f"{place}: {self.defect.value}" + (f" ({self.detail})" if self.detail else "")


@dataclass(frozen=True, slots=True)
class KeptCheckpoint:
    """What was kept outside the record: of a log line, or noted by hand."""

    batch: int
    chain_hash: bytes


@dataclass
class TrailVerifier:
    """
    Takes batches in the order of their numbers, each with its rows, then `finish`; `findings` is the verdict.

    *start* is the first batch that is judged; one above 1 is believed to follow what its chain hash says, so its
    checkpoint should be among those *kept*. *expired_before*: batches sealed earlier may have lost their rows to retention, and only the newest of those is
    then needed, as the anchor. *withdrawn* says when keys were withdrawn. *kept* are checkpoints from outside.
    """

    check_signature: CheckSignature
    expired_before: datetime | None = None
    withdrawn: Mapping[str, datetime] = field(default_factory=dict)
    kept: Iterable[KeptCheckpoint] = ()
    start: int = 1
    findings: list[Finding] = field(default_factory=list)
    batches: int = 0
    rows: int = 0
    anchor: int = 0
    _last: Checkpoint | None = None
    _kept: dict[int, set[bytes]] = field(default_factory=dict)
    _erased_rows: list[AuditRow] = field(default_factory=list)
    _erased_users: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        for checkpoint in self.kept:
            self._kept.setdefault(checkpoint.batch, set()).add(checkpoint.chain_hash)

    def take(self, checkpoint: Checkpoint, rows: Sequence[AuditRow]) -> None:
        """Judge the next batch; *rows* are those that carry its number."""
        self.batches += 1
        self.rows += len(rows)
        expired = self.expired_before is not None and checkpoint.sealed_at < self.expired_before
        self._judge_rows(checkpoint, rows, expired=expired)
        self._judge_chain(checkpoint, expired=expired)
        self._judge_signature(checkpoint)
        for chain_hash in self._kept.pop(checkpoint.batch, ()):
            if chain_hash != checkpoint.chain_hash:
                self._find(Defect.CHECKPOINT_DIFFERS, checkpoint.batch)
        self._note_erasures(rows)
        self._last = checkpoint

    def take_stray(self, batch: int, rows: Sequence[AuditRow]) -> None:
        """Judge rows that carry the number of a batch that is not there."""
        self.rows += len(rows)
        self._find(Defect.BATCH_UNKNOWN, batch, f"{len(rows)} rows")
        self._note_erasures(rows)

    def finish(self, unsealed: Sequence[AuditRow], *, now: datetime | None) -> list[Finding]:
        """Judge what is not sealed yet, and whether the trail ends where it should; return all findings."""
        self.rows += len(unsealed)
        self._note_erasures(unsealed)
        if now is not None and (late := [row for row in unsealed if row.at < now - SEALED_WITHIN]):
            since = min(row.at for row in late).isoformat()
            self._find(Defect.NOT_SEALED, 0, f"{len(late)} since {since}")
        end = self._last.batch if self._last is not None else 0
        first = max(self.anchor, self.start)
        for batch in sorted(self._kept):
            if batch > end:
                self._find(Defect.TRUNCATED, batch, f"the trail ends with batch {end}")
            elif batch > first:
                self._find(Defect.BATCH_MISSING, batch, "a checkpoint of it was kept")
        for row in self._erased_rows:
            if row.user_id not in self._erased_users:
                self._find(Defect.ERASED_WITHOUT_ERASURE, row.batch or 0, f"row {row.audit_id}")
        return self.findings

    def _judge_rows(self, checkpoint: Checkpoint, rows: Sequence[AuditRow], *, expired: bool) -> None:
        if len(rows) > checkpoint.rows:
            self._find(Defect.ROWS_ADDED, checkpoint.batch, f"{len(rows)} of {checkpoint.rows}")
        elif len(rows) < checkpoint.rows:
            if not expired:
                self._find(Defect.ROWS_MISSING, checkpoint.batch, f"{len(rows)} of {checkpoint.rows}")
        elif hash_rows(rows) != checkpoint.rows_hash:
            self._find(Defect.ROWS_CHANGED, checkpoint.batch)

    def _judge_chain(self, checkpoint: Checkpoint, *, expired: bool) -> None:
        last = self._last
        if last is None:
            self.anchor = checkpoint.batch
            if checkpoint.batch != 1:
                # The batches before are gone. Retention leaves the newest that it emptied, an expired one.
                if checkpoint.batch != self.start and not expired:
                    self._find(Defect.BATCH_MISSING, checkpoint.batch - 1, "and all before")
                return
            previous = GENESIS
        elif checkpoint.batch != last.batch + 1:
            missing = f"{checkpoint.batch - last.batch - 1} batches"
            self._find(Defect.BATCH_MISSING, last.batch + 1, missing)
            return
        else:
            previous = last.chain_hash
            if checkpoint.sealed_at < last.sealed_at:
                self._find(Defect.ORDER_WRONG, checkpoint.batch)
        made = chain(
            previous,
            batch=checkpoint.batch,
            sealed_at=checkpoint.sealed_at,
            rows=checkpoint.rows,
            rows_hash=checkpoint.rows_hash,
        )
        if made != checkpoint.chain_hash:
            self._find(Defect.CHAIN_BROKEN, checkpoint.batch)

    def _judge_signature(self, checkpoint: Checkpoint) -> None:
        signed = signing_input(checkpoint.batch, checkpoint.chain_hash)
        holds = self.check_signature(checkpoint.kid, signed, checkpoint.signature)
        if holds is None:
            self._find(Defect.KEY_UNKNOWN, checkpoint.batch, checkpoint.kid)
        elif not holds:
            self._find(Defect.SIGNATURE_WRONG, checkpoint.batch, checkpoint.kid)
        withdrawn_at = self.withdrawn.get(checkpoint.kid)
        if withdrawn_at is not None and checkpoint.sealed_at > withdrawn_at + WITHDRAWAL_MARGIN:
            self._find(Defect.KEY_WITHDRAWN, checkpoint.batch, checkpoint.kid)

    def _note_erasures(self, rows: Sequence[AuditRow]) -> None:
        self._erased_rows.extend(row for row in rows if row.is_erased)
        for row in rows:
            if row.event == ERASED:
                self._erased_users.update((row.user_id, *_former_ids(row)))

    def _find(self, defect: Defect, batch: int, detail: str = "") -> None:
        self.findings.append(Finding(defect, batch, detail))


def _former_ids(row: AuditRow) -> list[str]:
    try:
        former = json.loads(row.details)["previous_user_ids"]
    except (ValueError, KeyError, TypeError):
        return []
    return [each for each in former if isinstance(each, str)] if isinstance(former, list) else []
