"""Driving the judgement of an audit trail over a database or an exported file."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from authsvc.cli.audit_files import TrailFile
from authsvc.domain.audit import AuditRow, Checkpoint
from authsvc.domain.audit_verification import CheckSignature, Finding, KeptCheckpoint, TrailVerifier
from authsvc.keys import verification_key
from authsvc.ports import SigningKeyRecord, Store, Unsealed, VerificationKey

# Batches read at a time: some ten thousand rows.
_PAGE = 20
_ALL = 2**63 - 1
# So many rows that nobody seals are looked at; more are the same finding.
_UNSEALED = 100_000


@dataclass(frozen=True, slots=True)
class Verdict:
    """What was judged, and what was found."""

    findings: Sequence[Finding]
    batches: int
    rows: int
    unsealed: int
    first_batch: int
    last_batch: int


@dataclass(frozen=True, slots=True)
class Demands:
    """
    What a trail is held to beside its own chain.

    *start*: the number of a batch that is trusted because its checkpoint was kept; earlier ones are not looked at.
    """

    keys: Sequence[SigningKeyRecord] | None
    kept: Sequence[KeptCheckpoint]
    start: int
    retention: timedelta


def signature_check(keys: Iterable[SigningKeyRecord]) -> CheckSignature:
    """Return a check by key id over these keys; an unreadable one is as good as unknown."""
    checks: dict[str, VerificationKey] = {}
    for record in keys:
        try:
            checks[record.kid] = verification_key(record)
        except ValueError:
            continue

    def check(kid: str, signed: bytes, signature: bytes) -> bool | None:
        key = checks.get(kid)
        return None if key is None else key.verify(signed, signature)

    return check


def withdrawals(keys: Iterable[SigningKeyRecord]) -> dict[str, datetime]:
    """Return when the withdrawn ones of these keys were withdrawn."""
    return {key.kid: key.withdrawn_at for key in keys if key.withdrawn_at is not None}


async def judge_store(store: Store, demands: Demands) -> Verdict:
    """Judge the trail in the record, also while servers go on writing and sealing it."""
    known = await store.list_signing_keys()
    now = (await store.read_unsealed(grace=timedelta(0), limit=0)).now
    verifier = _verifier(demands, known, withdrawals(known), now=now)

    def take(number: int, checkpoint: Checkpoint | None, rows: Sequence[AuditRow]) -> None:
        if checkpoint is None:
            verifier.take_stray(number, rows)
        else:
            verifier.take(checkpoint, rows)

    rest = await read_all(store, take, after=demands.start - 1)
    findings = verifier.finish(rest.rows, now=rest.now)
    last = 0 if rest.last is None else rest.last.batch
    return _verdict(verifier, findings, unsealed=len(rest.rows), last=last)


async def read_all(
    store: Store, take: Callable[[int, Checkpoint | None, Sequence[AuditRow]], None], *, after: int
) -> Unsealed:
    """Hand every batch above *after* to *take*, in order, and return the rest; each row once, whatever is sealed."""
    while True:
        while page := await store.read_batches(after=after, through=_ALL, limit=_PAGE):
            for number, checkpoint, rows in page:
                take(number, checkpoint, rows)
                after = number
        rest = await store.read_unsealed(grace=timedelta(0), limit=_UNSEALED)
        if rest.last is None or rest.last.batch <= after:
            return rest


def judge_file(trail: TrailFile, demands: Demands, *, now: datetime) -> Verdict:
    """Judge an exported trail as of its export, which is not believed to be in the future."""
    as_of = min(trail.exported_at, now)
    verifier = _verifier(demands, trail.keys, trail.withdrawn, now=as_of)
    last = 0
    for checkpoint, rows in trail.batches:
        if checkpoint is None:
            verifier.take_stray(rows[0].batch or 0, rows)
        elif checkpoint.batch >= demands.start:
            verifier.take(checkpoint, rows)
            last = max(last, checkpoint.batch)
    findings = verifier.finish(trail.unsealed, now=as_of)
    return _verdict(verifier, findings, unsealed=len(trail.unsealed), last=last)


def _verifier(
    demands: Demands, known: Sequence[SigningKeyRecord], withdrawn: Mapping[str, datetime], *, now: datetime
) -> TrailVerifier:
    return TrailVerifier(
        check_signature=signature_check(known if demands.keys is None else demands.keys),
        start=demands.start,
        expired_before=now - demands.retention,
        withdrawn=withdrawn,
        kept=demands.kept,
    )


def _verdict(verifier: TrailVerifier, findings: Sequence[Finding], *, unsealed: int, last: int) -> Verdict:
    return Verdict(
        findings=findings,
        batches=verifier.batches,
        rows=verifier.rows,
        unsealed=unsealed,
        first_batch=verifier.anchor,
        last_batch=last,
    )
