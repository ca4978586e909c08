"""The chain of the audit trail: what it is made of, and that no single change of it passes."""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from authsvc.domain.audit import (
    GENESIS,
    AuditRow,
    Checkpoint,
    chain,
    commit_to,
    frame,
    from_microseconds,
    hash_row,
    hash_rows,
    microseconds,
    signing_input,
)
from authsvc.domain.audit_verification import Defect, Finding, KeptCheckpoint, TrailVerifier

START = datetime(2026, 1, 1, tzinfo=UTC)
DAY = timedelta(days=1)


def sign(signed: bytes, *, kid: str = "k1") -> bytes:
    """A stand-in for a signature: who does not call this cannot make one in these tests."""
    return hashlib.sha256(b"private half of " + kid.encode() + signed).digest()


def check(kid: str, signed: bytes, signature: bytes) -> bool | None:
    return sign(signed, kid=kid) == signature if kid in ("k1", "k2") else None


def row(number: int, **changes: object) -> AuditRow:
    whole = AuditRow(
        audit_id=f"id{number:020d}",
        at=START + timedelta(seconds=number),
        by="edge",
        event="session.opened",
        user_id=f"user{number % 3}",
        app_id="wxa",
        session_id=f"session{number}",
        request_id="r",
        trace_id="t",
        details='{"new_user": false}',
        ip="203.0.113.7",
        reason="",
        salt=number.to_bytes(16, "big"),
    )
    return replace(whole, **changes)  # type: ignore[arg-type]


@dataclass
class Trail:
    """A trail as it lies somewhere, where anybody may change anything."""

    batches: list[tuple[Checkpoint, list[AuditRow]]] = field(default_factory=list)
    unsealed: list[AuditRow] = field(default_factory=list)

    def close(self, rows: Sequence[AuditRow], *, at: datetime, kid: str = "k1") -> None:
        last = self.batches[-1][0] if self.batches else None
        number = 1 if last is None else last.batch + 1
        rows_hash = hash_rows(rows)
        chain_hash = chain(
            GENESIS if last is None else last.chain_hash,
            batch=number,
            sealed_at=at,
            rows=len(rows),
            rows_hash=rows_hash,
        )
        signature = sign(signing_input(number, chain_hash), kid=kid)
        checkpoint = Checkpoint(number, at, len(rows), rows_hash, chain_hash, kid, signature)
        self.batches.append((checkpoint, [replace(each, batch=number) for each in rows]))

    def kept(self) -> list[KeptCheckpoint]:
        return [KeptCheckpoint(batch.batch, batch.chain_hash) for batch, _ in self.batches]

    def judge(
        self,
        *,
        kept: Sequence[KeptCheckpoint] = (),
        now: datetime = START + DAY,
        retention: timedelta | None = None,
        withdrawn: dict[str, datetime] | None = None,
        start: int = 1,
    ) -> list[Finding]:
        verifier = TrailVerifier(
            check,
            expired_before=None if retention is None else now - retention,
            withdrawn=withdrawn or {},
            kept=kept,
            start=start,
        )
        for checkpoint, rows in self.batches:
            if checkpoint.batch >= start:
                verifier.take(checkpoint, rows)
        return verifier.finish(self.unsealed, now=now)


def trail(*sizes: int) -> Trail:
    """A sound trail of batches with so many rows."""
    made, number = Trail(), 0
    for place, size in enumerate(sizes):
        rows = [row(number + each) for each in range(size)]
        number += size
        made.close(rows, at=START + timedelta(minutes=place + 1))
    return made


def test_the_canonical_forms_are_pinned() -> None:
    """
    Whoever verifies with other tools computes these very hashes (docs/operations/audit.md).
    """
    one = row(1)
    commitment = commit_to(one.salt or b"", ip=one.ip, reason=one.reason)
    texts = (
        "authsvc-audit-row-1", one.audit_id, "1767225601000000", "edge", "session.opened", "user1", "wxa", "session1",
        "r", "t", '{"new_user": false}',
    )  # fmt: skip
    canonical = b"".join(len(text).to_bytes(4, "big") + text.encode() for text in texts)
    canonical += (32).to_bytes(4, "big") + commitment
    assert hash_row(one) == hashlib.sha256(canonical).digest()
    assert hash_rows([row(2), one]) == hashlib.sha256(hash_row(one) + hash_row(row(2))).digest()
    chained = chain(GENESIS, batch=1, sealed_at=START, rows=2, rows_hash=b"h" * 32)
    assert (
        chained
        == hashlib.sha256(
            frame(b"authsvc-audit-chain-1", GENESIS, b"1", b"1767225600000000", b"2", b"h" * 32)
        ).digest()
    )
    assert signing_input(7, b"\xab" * 32) == b"authsvc-audit-checkpoint:1\n7\n" + b"ab" * 32 + b"\n"


@given(st.lists(st.binary(max_size=5), max_size=4), st.lists(st.binary(max_size=5), max_size=4))
def test_no_text_moves_a_boundary(one: list[bytes], other: list[bytes]) -> None:
    """
    Two lists of parts have one frame only if they are the same list.
    """
    assert (frame(*one) == frame(*other)) == (one == other)


@given(st.datetimes(min_value=datetime(1971, 1, 1), max_value=datetime(9000, 1, 1), timezones=st.just(UTC)))  # noqa: DTZ001 - bounds of a strategy are naive
def test_instants_are_exact(instant: datetime) -> None:
    """
    The record's number of microseconds and back.
    """
    assert from_microseconds(microseconds(instant)) == instant


def test_an_erased_row_keeps_its_hash_and_nothing_else() -> None:
    """
    Address, reason and salt are gone, the hash stands; without the salt no guess of the address can be tried.
    """
    whole = row(1, ip="203.0.113.9", reason="wrote that he is Li Lei")
    erased = whole.erased()
    assert hash_row(erased) == hash_row(whole)
    assert (erased.ip, erased.reason, erased.salt, erased.is_erased) == ("", "", None, True)
    assert erased.erased() == erased
    assert "203.0.113.9" not in repr(whole)


def test_a_sound_trail_has_no_findings() -> None:
    """
    Whole, empty, with unsealed rows of this moment, and held to its own checkpoints.
    """
    sound = trail(3, 1, 5)
    sound.unsealed = [row(50, at=START + DAY)]
    assert sound.judge(kept=sound.kept()) == []
    assert sound.judge(retention=timedelta(days=180)) == []
    assert Trail().judge() == []


def test_the_order_of_rows_in_a_batch_is_theirs() -> None:
    """
    A database hands rows out in whatever order; the batch is the same.
    """
    sound = trail(4)
    sound.batches[0][1].reverse()
    assert sound.judge() == []


FIELDS = (
    "audit_id", "by", "event", "user_id", "app_id", "session_id", "request_id", "trace_id", "details", "ip", "reason",
)  # fmt: skip


def _resign(checkpoint: Checkpoint, **changes: object) -> Checkpoint:
    """What somebody without the private key can do: everything but the signature."""
    return replace(checkpoint, **changes)  # type: ignore[arg-type]


def _change_a_text(draw: st.DrawFn, forged: Trail, place: int, at: int) -> None:
    rows = forged.batches[place][1]
    name = draw(st.sampled_from(FIELDS))
    was = getattr(rows[at], name)
    changes: dict[str, Any] = {name: draw(st.text(max_size=8).filter(lambda text: text != was))}
    rows[at] = replace(rows[at], **changes)


def _change_the_instant(draw: st.DrawFn, forged: Trail, place: int, at: int) -> None:
    rows = forged.batches[place][1]
    rows[at] = replace(rows[at], at=rows[at].at + timedelta(microseconds=draw(st.integers(1, 10**6))))


def _change_the_salt(draw: st.DrawFn, forged: Trail, place: int, at: int) -> None:
    rows = forged.batches[place][1]
    was = rows[at].salt
    rows[at] = replace(rows[at], salt=draw(st.binary(max_size=16).filter(lambda salt: salt != was)))


def _remove_a_row(draw: st.DrawFn, forged: Trail, place: int, at: int) -> None:
    del forged.batches[place][1][at]


def _add_a_row(draw: st.DrawFn, forged: Trail, place: int, at: int) -> None:
    forged.batches[place][1].append(row(99))


def _swap_rows(draw: st.DrawFn, forged: Trail, place: int, at: int) -> None:
    rows = forged.batches[place][1]
    other = forged.batches[draw(st.integers(0, len(forged.batches) - 1))][1]
    if other is rows:
        rows[at] = row(98)
    else:
        rows[at], other[0] = other[0], rows[at]


def _drop_a_batch(draw: st.DrawFn, forged: Trail, place: int, at: int) -> None:
    del forged.batches[place]


def _cut_the_end(draw: st.DrawFn, forged: Trail, place: int, at: int) -> None:
    del forged.batches[place:]


def _renumber(draw: st.DrawFn, forged: Trail, place: int, at: int) -> None:
    checkpoint, rows = forged.batches[place]
    forged.batches[place] = (replace(checkpoint, batch=checkpoint.batch + draw(st.integers(1, 3))), rows)


def _change_the_checkpoint(draw: st.DrawFn, forged: Trail, place: int, at: int) -> None:
    checkpoint, rows = forged.batches[place]
    changes: list[dict[str, Any]] = [
        {"sealed_at": checkpoint.sealed_at + timedelta(microseconds=1)},
        {"rows": checkpoint.rows + 1},
        {"rows_hash": b"x" * 32},
        {"chain_hash": b"y" * 32},
        {"kid": "k2"},
        {"kid": "nobody's"},
        {"signature": b"z" * 32},
    ]
    forged.batches[place] = (replace(checkpoint, **draw(st.sampled_from(changes))), rows)


def _erase_a_row(draw: st.DrawFn, forged: Trail, place: int, at: int) -> None:
    rows = forged.batches[place][1]
    rows[at] = rows[at].erased()


def _build_anew(draw: st.DrawFn, forged: Trail, place: int, at: int) -> None:
    """The whole chain from a changed row on, by somebody who lacks the key."""
    rows = forged.batches[place][1]
    rows[at] = replace(rows[at], by="somebody else")
    kept, forged.batches = forged.batches, forged.batches[:place]
    for old, found in kept[place:]:
        forged.close(found, at=old.sealed_at)
        made, stored = forged.batches[-1]
        forged.batches[-1] = (replace(made, signature=old.signature), stored)


HARMS: tuple[Callable[[st.DrawFn, Trail, int, int], None], ...] = (
    _change_a_text, _change_the_instant, _change_the_salt, _remove_a_row, _add_a_row, _swap_rows, _drop_a_batch,
    _cut_the_end, _renumber, _change_the_checkpoint, _erase_a_row, _build_anew,
)  # fmt: skip


@st.composite
def forgeries(draw: st.DrawFn) -> tuple[Trail, Trail]:
    """A sound trail and the same one with a single change of a kind that a database's owner can make."""
    sizes = draw(st.lists(st.integers(1, 4), min_size=1, max_size=5))
    sound, forged = trail(*sizes), trail(*sizes)
    place = draw(st.integers(0, len(sizes) - 1))
    draw(st.sampled_from(HARMS))(draw, forged, place, draw(st.integers(0, sizes[place] - 1)))
    return sound, forged


@settings(max_examples=600)
@given(forgeries())
def test_any_single_change_is_found(pair: tuple[Trail, Trail]) -> None:
    """
    One field, row or batch changed, removed, added, swapped or cut off, against the checkpoints that the log has.
    """
    sound, forged = pair
    assert sound.judge(kept=sound.kept()) == []
    assert forged.judge(kept=sound.kept()) != []


@given(st.lists(st.integers(1, 3), min_size=2, max_size=5), st.data())
def test_only_a_cut_end_needs_the_log(sizes: list[int], data: st.DataObject) -> None:
    """
    Newest batches that are gone whole leave a sound trail; each checkpoint of theirs that was kept tells.
    """
    sound, cut = trail(*sizes), trail(*sizes)
    left = data.draw(st.integers(0, len(sizes) - 1))
    del cut.batches[left:]
    assert cut.judge() == []
    missing = sound.kept()[left:]
    assert {(found.defect, found.batch) for found in cut.judge(kept=missing)} == {
        (Defect.TRUNCATED, each.batch) for each in missing
    }


def test_a_trail_that_grew_again_after_a_cut_is_found() -> None:
    """
    The service went on sealing after somebody took batches away: its new batch 2 is another than the log's.
    """
    sound, cut = trail(1, 1), trail(1)
    cut.close([row(77)], at=START + timedelta(hours=1))
    [found] = cut.judge(kept=sound.kept())
    assert (found.defect, found.batch) == (Defect.CHECKPOINT_DIFFERS, 2)


@pytest.mark.parametrize(
    ("harm", "defect", "batch"),
    [
        (lambda t: t.batches[1][1].pop(), Defect.ROWS_MISSING, 2),
        (lambda t: t.batches[1][1].append(row(99)), Defect.ROWS_ADDED, 2),
        (lambda t: t.batches[1][1].__setitem__(0, row(99)), Defect.ROWS_CHANGED, 2),
        (lambda t: t.batches.pop(1), Defect.BATCH_MISSING, 2),
        (lambda t: t.batches.pop(0), Defect.BATCH_MISSING, 1),
        (lambda t: t.batches.reverse(), Defect.BATCH_MISSING, 2),
        (lambda t: t.unsealed.append(row(99)), Defect.NOT_SEALED, 0),
    ],
)
def test_the_place_is_told(harm: Callable[[Trail], object], defect: Defect, batch: int) -> None:
    """
    What was done, and to which batch.
    """
    harmed = trail(2, 2, 2)
    harm(harmed)
    assert (defect, batch) in {(found.defect, found.batch) for found in harmed.judge()}


def test_what_retention_removed_is_no_defect_and_what_somebody_else_removed_is() -> None:
    """
    Rows of expired batches may be gone, and all batches before the newest of those; younger ones may not.
    """
    late = START + timedelta(days=200)
    old = trail(2, 2)
    old.close([row(50)], at=late)
    old.batches[0][1].clear()
    old.batches[1][1].pop()
    assert old.judge(now=late, retention=180 * DAY) == []
    del old.batches[0]
    assert old.judge(now=late, retention=180 * DAY) == []
    assert Defect.BATCH_MISSING in {found.defect for found in old.judge(now=late, retention=300 * DAY)}
    del old.batches[0]
    assert Defect.BATCH_MISSING in {found.defect for found in old.judge(now=late, retention=180 * DAY)}


def test_expired_rows_that_are_there_are_still_judged() -> None:
    """
    Being old is no licence to be changed.
    """
    old = trail(2)
    old.batches[0][1][0] = row(99)
    [found] = old.judge(now=START + 200 * DAY, retention=180 * DAY)
    assert found.defect is Defect.ROWS_CHANGED


@pytest.mark.parametrize("names", [("user1", "[]"), ("somebody", '["user1"]')])
def test_an_erasure_vouches_for_its_rows(names: tuple[str, str]) -> None:
    """
    Rows may be without address only if the trail says that the person was erased, by this or a later id.
    """
    user_id, former = names
    made = Trail()
    made.close([row(1)], at=START)
    made.batches[0][1][0] = made.batches[0][1][0].erased()
    assert [found.defect for found in made.judge()] == [Defect.ERASED_WITHOUT_ERASURE]
    made.close(
        [row(5, event="user.erased", user_id=user_id, details=f'{{"previous_user_ids": {former}}}')],
        at=START + timedelta(minutes=1),
    )
    assert made.judge() == []


@pytest.mark.parametrize(
    "details", ["", "[]", "null", '{"previous_user_ids": 3}', '{"previous_user_ids": [1]}']
)
def test_odd_details_vouch_for_nobody(details: str) -> None:
    """
    Details that are not what an erasure writes are no reason to fail.
    """
    made = Trail()
    made.close([row(1).erased(), row(5, event="user.erased", user_id="other", details=details)], at=START)
    assert [found.defect for found in made.judge()] == [Defect.ERASED_WITHOUT_ERASURE]


def test_a_withdrawn_key_closes_no_more_batches() -> None:
    """
    Batches of before stand; one long after the withdrawal was made by whoever has the key now.
    """
    made = trail(1, 1)
    assert made.judge(withdrawn={"k1": made.batches[1][0].sealed_at}) == []
    made.close([row(9)], at=START + timedelta(hours=1))
    [found] = made.judge(withdrawn={"k1": made.batches[1][0].sealed_at})
    assert (found.defect, found.batch) == (Defect.KEY_WITHDRAWN, 3)


def test_a_batch_is_not_older_than_the_one_before() -> None:
    """
    Whoever has a withdrawn key cannot date a batch back to before the withdrawal.
    """
    made = trail(1, 1)
    made.close([row(9)], at=START)
    assert [(found.defect, found.batch) for found in made.judge()] == [(Defect.ORDER_WRONG, 3)]


def test_beginning_at_a_kept_checkpoint() -> None:
    """
    What was before is not looked at; the batch itself has to be the one that was noted.
    """
    made = trail(1, 1, 1)
    noted = made.kept()[1]
    made.batches[0][1].clear()
    assert made.judge(start=2, kept=[noted]) == []
    assert made.judge(start=2, kept=[KeptCheckpoint(2, b"other")])[0].defect is Defect.CHECKPOINT_DIFFERS
    assert made.judge(start=9, kept=[KeptCheckpoint(9, b"gone")])[0].defect is Defect.TRUNCATED


def test_a_finding_reads_as_a_sentence() -> None:
    """
    The place first, then what is wrong.
    """
    assert str(Finding(Defect.ROWS_MISSING, 7, "1 of 2")) == "batch 7: rows missing (1 of 2)"
    assert str(Finding(Defect.NOT_SEALED, 0)) == "unsealed rows: rows that nobody seals"
