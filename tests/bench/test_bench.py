"""The bench harness: it runs, and prints every row, every process and every target."""

import asyncio
import sys
from pathlib import Path

import pytest

from bench.alone import Effort
from bench.languages import LANGUAGES, Language, figures, lines_of
from bench.load import CallsFailed, H2load
from bench.measure import Results, Sample
from bench.random_keys import most_in_10_s
from bench.report import target

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
SECTIONS = (
    "local check, warm, over VerifyToken",
    "first-seen token: CPU beyond the bare check",
    "interceptor: throughput kept, same calls",
    "coalesced checks, 1 callers",
    "coalesced checks, 32 callers",
    "coalesced checks, 128 callers",
    "random keys: reads of the keys in 10 s",
    "random keys: p99 of good tokens over quiet",
    "verifier: memory for the revocations",
    "login p99 while another app hangs, over quiet",
    "VerifyToken, 960 at once: kept",
    "Login through the edge, open loop: kept",
)
PROCESSES = ("echo_grpc", "serve", "echo_http", "edge", "sandbox")


@pytest.mark.long
async def test_a_tiny_run_prints_the_whole_table() -> None:
    """Real processes, a few calls: exit 0, one line per row and process, and a judgement for every target."""
    options = ("--tiny", "--no-h2load")
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
    judged = [line for line in lines if line.endswith((" met", " MISSED"))]
    for name in SECTIONS:
        assert sum(line.startswith(f"{name} ") for line in judged) == 1, name
    assert len(judged) == 22, judged
    assert any(line.startswith("those ended: ") and "LOGIN_CODE_SPENT" in line for line in lines)


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


def test_a_target_has_a_side() -> None:
    """An upper limit is met from below, a lower one from above; both by exactly the limit."""
    verdicts = [target("x", measured, 2.0, "x").split()[-1] for measured in (1.9, 2.0, 2.1)]
    assert verdicts == ["met", "met", "MISSED"]
    verdicts = [target("x", measured, 2.0, "x", at_least=True).split()[-1] for measured in (1.9, 2.0, 2.1)]
    assert verdicts == ["MISSED", "met", "met"]


def test_the_busiest_ten_seconds_are_told() -> None:
    """Reads of keys are counted in the worst stretch of 10 s, wherever it begins."""
    assert [most_in_10_s(times) for times in ([], [3.0], [0.0, 10.0, 20.0], [0.0, 11.0, 12.0, 13.0])] == [
        0,
        1,
        1,
        3,
    ]


PRINTED = {
    "Go": (
        """
BenchmarkCheckWarm-2  581170  1712 ns/op  2133243 checks/cpu-s  584037 checks/s  0 B/op
BenchmarkMillionRevocations-2  1  366344348 ns/op  20.30 MiB-held
""",
        "2.13 M/s",
        "20.30 MiB",
    ),
    "Node": (
        "warm check, one token          1.08 M/s\n1,000,000 live session revocations   20.6 MiB, taken in 476 ms\n",
        "1.08 M/s",
        "20.60 MiB",
    ),
    "Java": (
        """
warm check, one token    523 ns CPU,   0.91 M/s (1600 ns wall)
1000000 session revocations          21.2 MiB held, taken in 0.31 s
""",
        "0.91 M/s",
        "21.20 MiB",
    ),
}


@pytest.mark.parametrize("language", LANGUAGES, ids=lambda language: language.name)
def test_the_benches_of_the_other_languages_are_understood(language: Language) -> None:
    """What each prints becomes a judged rate and a memory; what is not understood is said, not made up."""
    printed, rate, memory = PRINTED[language.name]
    first, second = lines_of(language, printed)
    assert (rate in first, first.endswith("MISSED"), memory in second) == (True, rate < "1", True)
    assert "skipped" in lines_of(language, "ok\n")[0]


async def test_a_language_without_its_toolchain_is_skipped_with_a_line() -> None:
    """A missing program, and a bench that fails, cost the run one line each."""
    missing = Language("X", "go", ("no-such-toolchain",), (), warm="", unit=1, memory="")
    assert await figures(missing, Effort.QUICK) == ["X: skipped, there is no no-such-toolchain"]
    failing = Language("X", "go", ("sh",), (("sh", "-c", "echo why; exit 3"),), warm="", unit=1, memory="")
    assert await figures(failing, Effort.QUICK) == ["X: skipped, `sh` ended with 3: why"]
