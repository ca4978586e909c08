"""A database that is stopped or frozen, a replica that is suspended or cut off: what the ladder says, and no more."""

import asyncio
import os
from pathlib import Path

import pytest

from tests.faults import real
from tests.faults.checker import check
from tests.faults.cluster import Cluster, Plan, cluster
from tests.faults.history import Call, History, Interval, Kind, Outcome, Rules
from tests.faults.ladder import RECOVERED_WITHIN_S, judge_outage, recovery_s
from tests.faults.scene import assert_kept, under_load

# 60 is what a release is tried with.
OUTAGE_S = float(os.environ.get("AUTHSVC_TEST_OUTAGE_S", "20"))
PAIR = Plan(replicas=2, workers=1, postgres=True, rules=Rules(hard_bound_s=5, grace_s=5, max_sessions=3))


async def outage(whole: Cluster, how: str, seconds: float) -> tuple[float, Interval]:
    """Stop or freeze PostgreSQL for so long; return when it began to go, and when it was away altogether."""
    assert whole.postgres is not None
    server = whole.postgres
    async with whole.disturbed():
        going = real.now()
        await asyncio.to_thread(server.kill if how == "stopped" else server.freeze)
        start = real.now()
        await real.pause(seconds)
        end = real.now()
        await asyncio.to_thread(server.start if how == "stopped" else server.thaw)
        whole.guard_postgres()
        # A stopped server is away until it accepts connections again: its own recovery is not ours.
        return going, Interval(start, end if how == "frozen" else real.now())


@pytest.mark.long
@pytest.mark.timeout(400)
@pytest.mark.parametrize("how", ["stopped", "frozen"])
async def test_without_the_database(tmp_path: Path, how: str) -> None:
    """
    Writes are refused with RetryInfo in less than a second and spend no code; VerifyToken goes on from memory up to
    the hard bound; nothing revoked is accepted; all is well within five seconds of its return.
    """
    async with cluster(tmp_path, PAIR, history=History()) as whole:
        async with under_load(whole, seed=1, people=4, settle_s=2, retries=False):
            going, away = await outage(whole, how, OUTAGE_S)
        report = assert_kept(whole, least=5)
        history = whole.history
    found = list(judge_outage(history, away, PAIR.rules, heard_until=going))
    assert not found, "\n".join(map(str, found[:5])) + f"\n{len(found)} in all; {report}"
    within = [call for call in history.calls if call.start > away.start and call.end < away.end]
    assert {call.kind for call in within} >= {Kind.LOGIN, Kind.REFRESH, Kind.REVOKE, Kind.VERIFY}
    assert [call for call in within if call.active], "nothing was answered from memory"
    assert [call for call in within if call.reason == "NOT_FRESH"], "nobody asked beyond the hard bound"
    recovered = recovery_s(history, away)
    print(f"{how} for {OUTAGE_S:.0f} s: recovered after {recovered:.2f} s")  # noqa: T201 - as in scene
    assert recovered < RECOVERED_WITHIN_S


@pytest.mark.long
@pytest.mark.timeout(200)
@pytest.mark.parametrize("postgres", [False, True], ids=["sqlite", "postgres"])
async def test_a_replica_that_was_suspended(tmp_path: Path, *, postgres: bool) -> None:
    """
    It slept for five seconds beyond its hard bound of one, with calls waiting at its door: when it wakes it accepts
    nothing that was revoked meanwhile, because its age counts the sleep.
    """
    rules = Rules(hard_bound_s=1, grace_s=5, max_sessions=3)
    plan = Plan(replicas=2, workers=1, postgres=postgres, rules=rules)
    async with cluster(tmp_path, plan, history=History()) as whole:
        async with under_load(whole, seed=2, people=4, timeout_s=8):
            for _ in range(3):
                await whole.suspend(whole.replicas[1], 5)
                await real.pause(1)
        assert_kept(whole, least=5)
        asleep = [one for one in whole.history.disturbances if one.prefix == "r1"]
    assert len(asleep) == 3
    waited = [call for one in asleep for call in _waiting(whole.history, one)]
    assert waited, "nobody stood at its door"


@pytest.mark.long
@pytest.mark.timeout(200)
async def test_a_replica_cut_off_from_the_database(tmp_path: Path) -> None:
    """
    The other one goes on and revokes; the one that cannot hear decides nothing beyond its hard bound, and says so.
    """
    rules = Rules(hard_bound_s=2, grace_s=5, max_sessions=3)
    plan = Plan(replicas=2, workers=1, postgres=True, rules=rules)
    async with cluster(tmp_path, plan, history=History()) as whole:
        async with under_load(whole, seed=3, people=4):
            await whole.partition(0, 6)
        assert_kept(whole, least=5)
        (cut,) = whole.history.disturbances
    refused = [
        call
        for call in whole.history.of(Kind.VERIFY)
        if call.target.startswith("r0") and call.outcome is Outcome.UNAVAILABLE and call.reason == "NOT_FRESH"
    ]
    assert refused
    assert {cut.prefix} == {"r0"}
    assert check(whole.history, rules) == []


def _waiting(history: History, asleep: Interval) -> list[Call]:
    """Calls that were sent to the sleeper and answered when it woke."""
    return [
        call
        for call in history.of(Kind.VERIFY)
        if call.target.startswith(asleep.prefix) and asleep.start < call.start and call.end - call.start > 1
    ]
