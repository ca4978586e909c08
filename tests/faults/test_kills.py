"""SIGKILL at random under load: no invariant is broken, and nothing acknowledged is lost."""

import asyncio
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults import real
from tests.faults.cluster import Cluster, Plan, cluster, left_behind
from tests.faults.history import History
from tests.faults.scene import assert_kept, under_load

# Repeats the choices of victims and people, if not the machine's.
SEED = int(os.environ.get("AUTHSVC_TEST_SEED", "20260"))


async def kill_often(cluster: Cluster, *, kills: int, pause_s: float) -> None:
    """SIGKILL so often, at random."""
    dice = real.dice(SEED)
    while cluster.kills < kills:
        cluster.kills += await kill_one(cluster, dice)
        await real.pause(dice.uniform(0.5, 1.5) * pause_s)


async def kill_one(cluster: Cluster, dice: real.Dice) -> bool:
    """
    SIGKILL a worker, a whole replica, or (seldom) the database, and start again what nobody else would.

    False if nobody was killed: the chosen one was dead already, or (seldom too) was asked by SIGTERM to stop.
    """
    if cluster.postgres is not None and dice.random() < 0.1:
        async with cluster.disturbed():
            await asyncio.to_thread(cluster.postgres.kill)
            await asyncio.to_thread(cluster.postgres.start)
            cluster.guard_postgres()
        return True
    replica = dice.choice(cluster.replicas)
    if dice.random() < 0.1 and replica.is_up:
        await asyncio.to_thread(replica.stop)
        replica.start_again()
        return False
    if dice.random() < 0.7 and replica.kill_worker(dice):
        return True
    killed = await asyncio.to_thread(replica.kill)
    replica.start_again()
    return killed


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """A place for a cluster, of which nothing must run afterwards."""
    yield tmp_path
    assert left_behind(tmp_path) == []


@pytest.mark.parametrize(
    "plan",
    [Plan(replicas=1, workers=2), Plan(replicas=2, workers=1, postgres=True)],
    ids=["sqlite", "postgres"],
)
async def test_few_kills(folder: Path, plan: Plan) -> None:
    """
    The short form: six kills, no violation of I1 to I8.
    """
    async with cluster(folder, plan, history=History()) as whole:
        async with under_load(whole, seed=SEED, people=3):
            await kill_often(whole, kills=6, pause_s=0.7)
        assert_kept(whole, least=3)


@pytest.mark.long
@pytest.mark.timeout(600)
async def test_fifty_kills(folder: Path) -> None:
    """
    Two replicas of two workers on PostgreSQL, fifty kills at random: no violation.
    """
    plan = Plan(replicas=2, workers=2, postgres=True)
    async with cluster(folder, plan, history=History()) as whole:
        async with under_load(whole, seed=SEED, people=5):
            await kill_often(whole, kills=50, pause_s=1.0)
        report = assert_kept(whole, least=50)
    assert report.kills == 50
