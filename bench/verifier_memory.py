"""
What a Python verifier's memory grows by with a million live revocations: a real server's snapshot, a process of its own.

`python -m bench.verifier_memory fill PATH` makes the database, `... follow TARGET` is the verifier; both print JSON.
"""

import argparse
import asyncio
import gc
import io
import json
import subprocess
import sys
import time
from datetime import timedelta
from pathlib import Path

import uvloop

from authsvc.storage import SqliteStore, migrate
from authsvc.system import SystemClock, SystemEntropy
from authsvc.telemetry import configure_logging
from authsvc_client import Hooks, Settings, Verifier
from bench.facts import fill, rss_mib
from bench.load import CallsFailed
from bench.report import FACTS_RSS_MIB, target
from bench.stage import APP, Stage

# Sessions end at different times within the lifetime of their access tokens.
_SPREAD_S = 7200
_READY_WITHIN_S = 120.0


async def measure(stage: Stage, directory: Path, *, facts: int) -> list[str]:
    """
    Return the lines of what *facts* live revocations cost a verifier.

    Raises:
        CallsFailed: the verifier did not get them all.
        NotStarted: the server over the database did not get ready.

    """
    database = directory / "revocations.db"
    await _run("fill", str(database), "--facts", str(facts))
    server = stage.server_over(database)
    try:
        address = json.loads(server.start(within_s=_READY_WITHIN_S))["grpc"]
        figures = json.loads(await _run("follow", address, "--facts", str(facts)))
    finally:
        server.stop()
    return [
        f"{figures['facts']:,} live revocations in a snapshot, taken in {figures['ready_s']:.2f} s",
        f"memory at most while it was taken: {figures['peak_mib']:.1f} MiB",
        target("verifier: memory for the revocations", figures["added_mib"], FACTS_RSS_MIB, "MiB"),
    ]


async def _run(*words: str) -> bytes:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "bench.verifier_memory",
        *words,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    told, complaint = await process.communicate()
    if process.returncode:
        raise CallsFailed(f"bench.verifier_memory {words[0]}: {complaint.decode()[-500:]}")
    return told


async def _fill(path: Path, facts: int) -> None:
    clock = SystemClock()
    configure_logging(json=True, level="error", service="bench", stream=io.StringIO(), clock=clock)
    migrate(path)
    await (await SqliteStore.open(path, clock=clock, entropy=SystemEntropy())).close()
    fill(path, facts, spread_s=_SPREAD_S)


async def _follow(address: str, facts: int) -> dict[str, float]:
    class Snapshots(Hooks):
        taken = 0

        def snapshot(self, facts: int) -> None:
            """See Hooks."""
            self.taken = facts

    snapshots = Snapshots()
    gc.collect()
    before_mib, began = rss_mib(), time.perf_counter()
    wait = timedelta(seconds=_READY_WITHIN_S)
    async with Verifier(
        address, audience=APP, hooks=snapshots, settings=Settings(start_wait=wait)
    ) as verifier:
        ready_s = time.perf_counter() - began
        if not verifier.is_ready or snapshots.taken < facts:
            raise SystemExit(f"{snapshots.taken} of {facts} revocations are known")
        gc.collect()
        return {
            "facts": snapshots.taken,
            "ready_s": ready_s,
            "added_mib": rss_mib() - before_mib,
            "peak_mib": _peak_mib() - before_mib,
        }


def _peak_mib() -> float:
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM:")) / 1024


def main() -> None:
    """Do one of the two parts."""
    parser = argparse.ArgumentParser(prog="python -m bench.verifier_memory", description=__doc__)
    parser.add_argument("part", choices=("fill", "follow"))
    parser.add_argument("where", help="the database's path, or the server's address")
    parser.add_argument("--facts", type=int, required=True)
    given = parser.parse_args()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        if given.part == "fill":
            runner.run(_fill(Path(given.where), given.facts))
        else:
            print(json.dumps(runner.run(_follow(given.where, given.facts))))


if __name__ == "__main__":
    main()
