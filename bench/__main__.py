"""`python -m bench`: one run, one table and its sections. Exits 1 if calls failed, never because of a figure."""

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
from importlib.metadata import version
from pathlib import Path

from bench import clients, isolation, languages, overload, report
from bench.alone import Effort, add_options, run, tell
from bench.measure import measure
from bench.processes import Cores
from bench.rows import CALLERS, rows
from bench.stage import Stage, dev_ready_s

# Rounds, calls, starts, facts: at most so many.
_SMALLER = {Effort.QUICK: (3, 1000, 3, 100_000), Effort.TINY: (1, 40, 1, 2000)}
_LIBRARIES = ("grpcio", "protobuf", "aiohttp", "uvloop", "cryptography")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("--rounds", type=int, default=9, help="rounds over all rows (default 9)")
    parser.add_argument("--calls", type=int, default=3000, help="calls per row and round (default 3000)")
    parser.add_argument("--starts", type=int, default=3, help="starts of `authsvc dev` (default 3)")
    parser.add_argument("--facts", type=int, default=1_000_000, help="live revocations (default 1,000,000)")
    parser.add_argument("--no-h2load", action="store_true", help="leave h2load out where it is installed")
    add_options(parser)
    given = parser.parse_args()
    effort = Effort.of(given)
    if effort in _SMALLER:
        rounds, calls, starts, facts = _SMALLER[effort]
        given.rounds, given.calls = min(given.rounds, rounds), min(given.calls, calls)
        given.starts, given.facts = min(given.starts, starts), min(given.facts, facts)
    if min(given.rounds, given.calls, given.starts) < 1:
        parser.error("counts begin at 1")
    h2load = None if given.no_h2load else shutil.which("h2load")
    run(
        _run(
            rounds=given.rounds,
            calls=given.calls,
            starts=given.starts,
            facts=given.facts,
            h2load=h2load,
            effort=effort,
        )
    )


async def _run(
    *, rounds: int, calls: int, starts: int, facts: int, h2load: str | None, effort: Effort
) -> list[str]:
    cores = Cores.of_this_machine()
    with tempfile.TemporaryDirectory(prefix="authsvc-bench-") as name:
        directory = Path(name)
        tell("starting `authsvc dev`")
        ready_s = dev_ready_s(directory, cores=cores, starts=starts)
        stage = Stage(directory, cores=cores, h2load=h2load)
        try:
            tell("starting the servers")
            stage.start()
            await stage.open()
            idle = report.Idle({process.name: process.rss_mib() for process in stage.processes()}, ready_s)
            cores.take_load_core()
            table = rows(stage)
            results = await measure(stage, table, rounds=rounds, calls=calls, tell=tell)
            lines = [
                ", ".join((f"Python {sys.version.split()[0]}", *(f"{x} {version(x)}" for x in _LIBRARIES))),
                f"{cores.describe()}; {CALLERS} calls in flight; medians of {rounds} rounds of {calls} calls",
                "gRPC load: " + ("h2load and a real client" if h2load else "Python (no h2load)"),
                "",
                *report.table(table, results),
                "",
                *report.memory(stage.processes(), idle),
                "",
                *report.targets(results, idle),
                "",
                *report.facts(_million_facts(given_facts=facts), results),
            ]
            # The overload last: it leaves the servers with memory and connections that they did not have before.
            for section in (clients.section, isolation.section, overload.section):
                lines += ["", *await section(stage, effort)]
        finally:
            await stage.close()
    lines.append("")
    if effort is Effort.FULL:
        return lines + await languages.section(effort)
    # They compile first, and take longer than everything else.
    return [*lines, "Other languages: only in a full run, or by `python -m bench.languages`"]


def _million_facts(*, given_facts: int) -> dict[str, float]:
    """Measure in a process of its own, so that its memory is nobody else's."""
    tell(f"loading {given_facts:,} live revocations")
    words = [sys.executable, "-m", "bench.facts", "--facts", str(given_facts)]
    figures: dict[str, float] = json.loads(subprocess.run(words, check=True, capture_output=True).stdout)  # noqa: S603
    return figures


if __name__ == "__main__":
    main()
