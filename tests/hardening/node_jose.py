"""npm's jose as a process: tokens in over stdin, verdicts out over stdout. Needs Node and npm."""

import json
import shutil
import subprocess
from collections.abc import Iterable
from pathlib import Path

import pytest

from tests.hardening.judges import Bench

_HERE = Path(__file__).parent / "jose"
_FILES = ("package.json", "package-lock.json", "judge.mjs")


def install(directory: Path) -> Path:
    """Return the installed judge, or skip the test and say loudly what was not checked."""
    missing = [tool for tool in ("node", "npm") if shutil.which(tool) is None]
    if missing:
        pytest.skip(f"NOT CHECKED against npm's jose: no {' and no '.join(missing)} on the PATH")
    directory.mkdir()
    for name in _FILES:
        shutil.copy(_HERE / name, directory)
    done = subprocess.run(
        ["npm", "ci", "--no-audit", "--no-fund"],  # noqa: S607 - whichever npm is on the PATH
        cwd=directory,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    if done.returncode:
        pytest.skip(f"NOT CHECKED against npm's jose: npm ci failed: {done.stderr.strip()[-300:]}")
    return directory / "judge.mjs"


def judge(judge_file: Path, bench: Bench, tokens: Iterable[str]) -> list[bool]:
    """Whether jose accepts each of the tokens, asked with the same rules and at the same instant as ours."""
    asked = [json.dumps(bench.jose_options()), *map(json.dumps, tokens)]
    done = subprocess.run(  # noqa: S603 - our own file
        ["node", str(judge_file)],  # noqa: S607 - whichever node is on the PATH
        input="\n".join(asked) + "\n",
        capture_output=True,
        text=True,
        timeout=1800,
        check=True,
    )
    answers = done.stdout.split()
    assert len(answers) == len(asked) - 1
    assert set(answers) <= {"0", "1"}
    return [answer == "1" for answer in answers]
