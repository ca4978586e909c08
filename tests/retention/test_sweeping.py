"""The background task: when it sweeps, how small its steps are, what stops it and what does not."""

import asyncio
from datetime import timedelta
from itertools import pairwise

import pytest

from authsvc.domain.errors import StoreUnavailable
from authsvc.domain.sessions import EndReason
from authsvc.service.retention import BATCH, INTERVAL, PAUSE, Retention, Swept
from tests.fakes import FakeClock, RecordingObserver, SeededEntropy
from tests.support.core import Core

MONTH = timedelta(days=30)
HALF_YEAR = timedelta(days=180)


class Rows:
    """Implements ports.Housekeeping over four numbers; `log` is what was asked, and when."""

    def __init__(
        self,
        clock: FakeClock,
        *,
        sessions: int = 0,
        codes: int = 0,
        facts: int = 0,
        audit: int = 0,
        takes: timedelta = timedelta(0),
    ) -> None:
        self._takes = takes
        self.left = {"sessions": sessions, "codes": codes, "facts": facts, "audit": audit}
        self.log: list[tuple[str, float]] = []
        self.errors: list[Exception] = []
        self._clock = clock

    async def purge_sessions(self, *, retention: timedelta, limit: int) -> int:
        assert retention == MONTH
        return self._take("sessions", limit)

    async def purge_codes(self, *, limit: int) -> int:
        return self._take("codes", limit)

    async def compact_log(self, *, limit: int) -> int:
        return self._take("facts", limit)

    async def purge_audit(self, *, retention: timedelta, limit: int) -> int:
        assert retention == HALF_YEAR
        return self._take("audit", limit)

    async def count_rows(self) -> dict[str, int]:
        return self.left

    def _take(self, kind: str, limit: int) -> int:
        self.log.append((kind, self._clock.elapsed()))
        if self.errors:
            raise self.errors.pop()
        self._clock.advance(self._takes)
        taken = min(limit, self.left[kind])
        self.left[kind] -= taken
        return taken


def sweeper(rows: Rows, clock: FakeClock, *, seed: int = 1) -> tuple[Retention, RecordingObserver]:
    observer = RecordingObserver()
    entropy = SeededEntropy(seed)
    return Retention(
        store=rows,
        clock=clock,
        entropy=entropy,
        observer=observer,
        session_retention=MONTH,
        audit_retention=HALF_YEAR,
    ), observer


async def run_for(clock: FakeClock, duration: timedelta) -> None:
    """Let whoever sleeps sleep and wake until *duration* has passed, in steps of a pause."""
    for _ in range(duration // PAUSE):
        await clock.until_sleeping()
        clock.advance(PAUSE)
        await clock.sleep(timedelta(0))


async def test_a_round_takes_everything_in_batches_with_the_writer_free_between_them() -> None:
    """No batch above the limit, a pause after each, and the round says what it removed."""
    clock = FakeClock()
    rows = Rows(clock, sessions=2 * BATCH, codes=1, facts=BATCH + 7, audit=3)
    retention, observer = sweeper(rows, clock)
    sweeping = asyncio.create_task(retention.sweep())
    while not sweeping.done():
        await clock.until_sleeping()
        clock.advance(PAUSE)
        await clock.sleep(timedelta(0))
    assert await sweeping == Swept(sessions=2 * BATCH, login_codes=1, facts=BATCH + 7, audit=3)
    assert set(rows.left.values()) == {0}
    assert [kind for kind, _ in rows.log] == ["sessions"] * 3 + ["codes"] + ["facts"] * 2 + ["audit"]
    times = [at for _, at in rows.log]
    assert all(later - earlier >= PAUSE.total_seconds() for earlier, later in pairwise(times))
    (event,) = observer.named("retention.swept")
    assert dict(event.fields) == {"sessions": 2 * BATCH, "login_codes": 1, "facts": BATCH + 7, "audit": 3}


async def test_a_slow_record_gets_longer_pauses() -> None:
    """After a batch that took a second the writer is left alone for four."""
    clock = FakeClock()
    rows = Rows(clock, sessions=BATCH, takes=timedelta(seconds=1))
    retention, _ = sweeper(rows, clock)
    sweeping = asyncio.create_task(retention.sweep())
    await run_for(clock, timedelta(seconds=10))
    first, second = [at for kind, at in rows.log if kind == "sessions"]
    assert second - first >= 5
    sweeping.cancel()
    await asyncio.gather(sweeping, return_exceptions=True)


async def test_a_round_that_found_nothing_says_nothing() -> None:
    """An idle service fills no log."""
    clock = FakeClock()
    retention, observer = sweeper(Rows(clock), clock)
    sweeping = asyncio.create_task(retention.sweep())
    await run_for(clock, 4 * PAUSE)
    assert await sweeping == Swept(0, 0, 0, 0)
    assert observer.events == []


async def test_rounds_come_at_moments_of_their_own() -> None:
    """The first within an interval, the next ones near it; two processes do not fall into step."""
    firsts = set()
    for seed in range(4):
        clock = FakeClock()
        rows = Rows(clock)
        began = clock.elapsed()
        retention, _ = sweeper(rows, clock, seed=seed)
        retention.start()
        await run_for(clock, 3 * INTERVAL)
        await retention.stop()
        rounds = [at - began for kind, at in rows.log if kind == "sessions"]
        gaps = [later - earlier for earlier, later in pairwise(rounds)]
        assert rounds[0] <= INTERVAL.total_seconds() + PAUSE.total_seconds()
        assert len(rounds) >= 2
        assert all(0.75 <= gap / INTERVAL.total_seconds() <= 1.26 for gap in gaps)
        firsts.add(round(rounds[0]))
    assert len(firsts) == 4


@pytest.mark.parametrize("error", [StoreUnavailable("scripted"), RuntimeError("scripted")])
async def test_a_failure_costs_a_round_and_no_more(error: Exception) -> None:
    """It is told by its kind alone, and the next round goes on."""
    clock = FakeClock()
    rows = Rows(clock, sessions=3)
    rows.errors.append(error)
    retention, observer = sweeper(rows, clock)
    retention.start()
    await run_for(clock, 3 * INTERVAL)
    await retention.stop()
    (event,) = observer.named("retention.failed")
    assert dict(event.fields) == {"error": type(error).__name__}
    assert rows.left["sessions"] == 0


async def test_stop_ends_it_and_twice_is_once() -> None:
    """No sleeper is left behind, whether or not it was started."""
    clock = FakeClock()
    retention, _ = sweeper(Rows(clock), clock)
    await retention.stop()
    retention.start()
    await clock.until_sleeping()
    await retention.stop()
    await retention.stop()
    assert clock.sleeping == 0


async def test_over_the_real_store_everything_old_goes_and_logins_go_on(core: Core) -> None:
    """Sessions, claims and facts of a month ago are gone; the user who comes back is the same."""
    before = await core.login("alice")
    gone = await core.login("bob")
    for login in (gone, await core.login("carol")):
        await core.store.real.end_session(login.opened.session.session_id, reason=EndReason.ADMIN, by="op")
    core.clock.advance(timedelta(days=90))
    retention = Retention(
        store=core.store.real,
        clock=core.clock,
        entropy=core.entropy,
        observer=core.observer,
        session_retention=MONTH,
        audit_retention=HALF_YEAR,
    )
    sweeping = asyncio.create_task(retention.sweep())
    while not sweeping.done():
        core.clock.advance(PAUSE)
        await core.clock.sleep(timedelta(0))
    assert await sweeping == Swept(sessions=3, login_codes=3, facts=1, audit=0)
    counted = await core.store.real.count_rows()
    assert (counted["sessions"], counted["login_codes"], counted["revocations"]) == (0, 0, 1)
    after = await core.login("alice")
    assert (after.opened.user.user_id, after.opened.is_new_user) == (before.opened.user.user_id, False)
