"""The bench harness: it runs, and prints every row, every process and every target."""

import asyncio
import sys
from pathlib import Path

import pytest

from bench.load import CallsFailed, H2load
from bench.measure import Results, Sample

ROOT = Path(__file__).parents[2]
ROWS = (
    "bare grpc.aio echo",
    "VerifyToken, cached",
    "bare echo + bare ES256 check",
    "VerifyToken, first seen (ES256)",
    "bare aiohttp handler",
    "edge GET /api/v1/verify",
    "edge POST /api/v1/login",
    "bare ES256 check",
)
PROCESSES = ("echo_grpc", "serve", "echo_http", "edge", "sandbox")


async def test_a_tiny_run_prints_the_whole_table() -> None:
    """Real processes, a few calls: exit 0, one line per row and process, and a judgement for every target."""
    options = ("--rounds", "1", "--calls", "40", "--starts", "1", "--facts", "2000", "--no-h2load")
    run = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "bench",
        *options,
        cwd=ROOT,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    told, progress = await run.communicate()
    lines = told.decode().splitlines()
    assert run.returncode == 0, progress.decode()
    assert any(line.startswith("gRPC load: Python (no h2load)") for line in lines)
    for name in (*ROWS, *PROCESSES):
        assert sum(line.startswith(f"{name}  ") for line in lines) == 1, name
    assert sum(line.endswith((" met", " MISSED")) for line in lines) == 8


def sample(cpu_us: float) -> Sample:
    return Sample(cpu_us=cpu_us, rate=1.0, p50_ms=1.0, p99_ms=2.0)


def test_rows_are_compared_within_a_round() -> None:
    """A drift of the machine between rounds cancels out: every difference and ratio is taken before the median."""
    results = Results({"bare": [], "row": []})
    for drift in (1, 10, 100):
        results.samples["bare"].append(sample(10 * drift))
        results.samples["row"].append(sample(20 * drift))
    assert results.ratio("row", over="bare") == 0.5
    assert results.added_us("row", over="bare") == 100
    assert (results.cpu_us("row"), results.ratio("bare", over="bare")) == (200, 1.0)


async def test_h2load_that_fails_calls_is_no_measurement(tmp_path: Path) -> None:
    """Its exit status, a missing line and a line other than HTTP 200 each end the run."""
    program = tmp_path / "h2load"
    for script in (
        "exit 3",
        "exit 0",
        'printf "1\\t200\\t5\\n1\\t502\\t5\\n" > "$LOG"',
        'printf "1\\t200\\t5\\n" > "$LOG"',
    ):
        program.write_text(f'#!/bin/sh\nLOG={tmp_path}/h2load.log\n: > "$LOG"\n{script}\n', encoding="ascii")
        program.chmod(0o700)
        load = H2load(str(program), directory=tmp_path)
        with pytest.raises(CallsFailed):
            await load.run("127.0.0.1:1", "/a/b", b"", calls=2, callers=1)
    program.write_text(
        f'#!/bin/sh\nprintf "1\\t200\\t5\\n2\\t200\\t7\\n" > {tmp_path}/h2load.log\n', encoding="ascii"
    )
    assert await H2load(str(program), directory=tmp_path).run(
        "127.0.0.1:1", "/a/b", b"", calls=2, callers=1
    ) == [5e-06, 7e-06]


def test_a_run_shorter_than_the_clocks_tick_has_a_table_all_the_same() -> None:
    """No CPU time counted is no reason to fail: the ratio is then without bound."""
    results = Results({"one": [sample(0.0)], "base": [sample(10.0)]}, [70.0])
    assert results.ratio("one", over="base") == float("inf")
