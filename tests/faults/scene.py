"""A cluster under load for as long as a test hurts it, then recovered and asked for everything."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from tests.faults import real
from tests.faults.calls import Recorder
from tests.faults.checker import check
from tests.faults.cluster import Cluster
from tests.faults.history import Kind
from tests.faults.load import Load
from tests.faults.report import Report, summarize


@asynccontextmanager
async def under_load(
    cluster: Cluster,
    *,
    seed: int,
    people: int,
    settle_s: float = 0.7,
    retries: bool = True,
    timeout_s: float = 3.0,
) -> AsyncIterator[Load]:
    """
    Load the cluster around the block; afterwards wait until all is ready, and audit.

    *settle_s* passes under load before and after the block; *timeout_s* is the callers' deadline; without *retries*
    the callers send each call once.
    """
    ring, doors = cluster.ring(retries=retries), cluster.doors()
    recorder = Recorder(cluster.history, timeout_s=timeout_s)
    load = Load(recorder, ring=ring, verifiers=doors, wechat=cluster.wechat, seed=seed, people=people)
    stopping = asyncio.Event()
    try:
        with real.Stalls(cluster.history.stalls):
            running = asyncio.create_task(load.run(stopping))
            try:
                await real.pause(settle_s)
                yield load
                await cluster.until_ready()
                await real.pause(settle_s)
            finally:
                stopping.set()
                await running
            await real.pause(cluster.plan.rules.target_s)
            await load.audit()
    finally:
        for door in (ring, *doors):
            await door.channel.close(None)


def assert_kept(cluster: Cluster, *, least: int) -> Report:
    """No violation, and each kind of call succeeded at least so often, or it would mean nothing."""
    report = summarize(cluster.history, kills=cluster.kills)
    print(f"\n{report}")  # noqa: T201 - the numbers are what a long run is for
    violations = check(cluster.history, cluster.plan.rules)
    assert not violations, "\n".join(map(str, violations[:5])) + f"\n{len(violations)} in all; {report}"
    for kind in Kind:
        assert report.ok(kind) >= least, f"{kind}: {report}"
    assert cluster.history.arrivals
    assert report.lags
    return report
