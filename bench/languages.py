"""
`python -m bench.languages`: the verifiers of the other languages, by the benches that lie beside them.

Each runs where its toolchain is, and is skipped with a line where it is not. Rates count the processor time of their own
process, so they are those of one core, whatever else the machine does.
"""

import argparse
import asyncio
import re
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.alone import Effort, add_options, run, tell
from bench.report import target

MILLIONS_PER_S = 1.0
_CLIENTS = Path(__file__).parents[1] / "clients"
_LIMIT_S = 300.0
_QUICK_GO = ("-benchtime", "0.3s")


@dataclass(frozen=True, slots=True)
class Language:
    """
    A verifier with a bench of its own, in a folder of `clients`.

    `needs`: programs, and paths below the folder, without which it is skipped. `commands` run one after the other;
    `{scratch}` in them is a directory of this run. What the last one prints holds the rate of warm checks (`warm`, in
    `unit` per second) and the memory of a million live revocations in MiB (`memory`).
    """

    name: str
    folder: str
    needs: tuple[str, ...]
    commands: tuple[tuple[str, ...], ...]
    warm: str
    unit: float
    memory: str


_JAVA_CLASSES = "target/test-classes:target/classes"
LANGUAGES = (
    Language(
        name="Go",
        folder="go",
        needs=("go",),
        commands=(("go", "test", "-run", "^$", "-bench", "CheckWarm$|MillionRevocations$", "./authsvc"),),
        warm=r"BenchmarkCheckWarm\S*\s.*?([\d.e+]+) checks/cpu-s",
        unit=1.0,
        memory=r"([\d.]+) MiB-held",
    ),
    Language(
        name="Node",
        folder="typescript",
        needs=("node", "npm", "node_modules"),
        commands=(("npm", "run", "--silent", "bench"),),
        warm=r"warm check, one token\s+([\d.]+) M/s",
        unit=1e6,
        memory=r"live session revocations\s+([\d.]+) MiB",
    ),
    Language(
        name="Java",
        folder="java",
        needs=("java", "mvn"),
        commands=(
            (
                "mvn", "-q", "-B", "test-compile", "dependency:build-classpath",
                "-Dmdep.includeScope=test", "-Dmdep.outputFile={scratch}/classpath",
            ),
            ("sh", "-c", f'exec java -cp "{_JAVA_CLASSES}:$(cat {{scratch}}/classpath)" io.authsvc.client.Benchmark'),
        ),
        warm=r"warm check, one token\s.*?([\d.]+) M/s",
        unit=1e6,
        memory=r"session revocations\s+([\d.]+) MiB held",
    ),
)  # fmt: skip


async def section(effort: Effort) -> list[str]:
    """Return the lines of every language: its figures, or why there are none."""
    lines = ["Other languages: a warm check on one core; 1,000,000 live revocations"]
    for language in LANGUAGES:
        tell(f"the {language.name} bench")
        lines += await figures(language, effort)
    return lines


async def figures(language: Language, effort: Effort) -> list[str]:
    """Return the lines of one language."""
    folder = _CLIENTS / language.folder
    missing = [need for need in language.needs if not (shutil.which(need) or (folder / need).exists())]
    if missing:
        return [f"{language.name}: skipped, there is no {', '.join(missing)}"]
    told = ""
    with tempfile.TemporaryDirectory(prefix="authsvc-bench-") as scratch:
        for command in language.commands:
            words = [word.replace("{scratch}", scratch) for word in command]
            if words[0] == "go" and effort is not Effort.FULL:
                words[-1:-1] = _QUICK_GO
            code, told = await _output(words, folder)
            if code:
                return [f"{language.name}: skipped, `{words[0]}` {code}: {_last_line(told)}"]
    return lines_of(language, told)


def lines_of(language: Language, told: str) -> list[str]:
    """Return the lines that a bench's output amounts to."""
    warm, memory = re.search(language.warm, told), re.search(language.memory, told)
    if warm is None or memory is None:
        return [f"{language.name}: skipped, its bench printed no figures: {_last_line(told)}"]
    rate = float(warm[1]) * language.unit / 1e6
    return [
        target(
            f"{language.name}: warm checks, millions per second", rate, MILLIONS_PER_S, "M/s", at_least=True
        ),
        f"{language.name + ': memory for the revocations':<46}{float(memory[1]):>9.2f} MiB",
    ]


async def _output(words: Sequence[str], folder: Path) -> tuple[str, str]:
    """Return why a program failed ("" if it did not), and what it printed."""
    process = await asyncio.create_subprocess_exec(
        *words, cwd=folder, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    try:
        async with asyncio.timeout(_LIMIT_S):
            told, _ = await process.communicate()
    except TimeoutError:
        process.terminate()
        await process.wait()
        return f"took longer than {_LIMIT_S:.0f} s", ""
    return (f"ended with {process.returncode}" if process.returncode else ""), told.decode(errors="replace")


def _last_line(told: str) -> str:
    lines = [line.strip() for line in told.splitlines() if line.strip()]
    return lines[-1][:200] if lines else "nothing was printed"


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m bench.languages", description=__doc__)
    add_options(parser)
    run(section(Effort.of(parser.parse_args())))
