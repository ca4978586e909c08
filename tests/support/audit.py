"""Sealing and judging a real audit trail in tests: a real key, the real sealer, the judgement that the command runs."""

import functools
import tempfile
from datetime import UTC, datetime, timedelta
from pathlib import Path

from authsvc.cli.audit_judging import Demands, Verdict, judge_store
from authsvc.domain.audit_verification import KeptCheckpoint
from authsvc.keys import DirectoryKeys, generate_signing_key, write_new
from authsvc.ports import Clock, Signer, SigningKeyRecord
from authsvc.service.audit_sealing import AuditSealer
from authsvc.storage.store import SqlStore
from tests.fakes import RecordingObserver, SeededEntropy

HALF_YEAR = timedelta(days=180)


@functools.cache
def material() -> DirectoryKeys:
    """Key material with one key, the same for a whole run."""
    with tempfile.TemporaryDirectory() as directory:
        write_new(Path(directory), generate_signing_key(), created_at=datetime(2026, 1, 1, tzinfo=UTC))
        return DirectoryKeys.load(Path(directory))


def public_key() -> SigningKeyRecord:
    """The public record of that key."""
    return material().local_keys()[0]


class OneKey:
    """Implements what a sealer asks of the key directory."""

    async def active_signer(self) -> Signer:
        signer = material().signer(public_key().kid)
        assert signer is not None
        return signer


def sealer(store: SqlStore, clock: Clock) -> tuple[AuditSealer, RecordingObserver]:
    """A sealer over this store that is driven by hand, and what it tells."""
    observer = RecordingObserver()
    made = AuditSealer(trail=store, keys=OneKey(), clock=clock, entropy=SeededEntropy(), observer=observer)
    return made, observer


async def judge(
    store: SqlStore,
    *kept: KeptCheckpoint,
    retention: timedelta = HALF_YEAR,
    key: SigningKeyRecord | None = None,
) -> Verdict:
    """The verdict on the trail in a store, signed with the key of `OneKey`."""
    demands = Demands(keys=[key or public_key()], kept=kept, start=1, retention=retention)
    return await judge_store(store, demands)
