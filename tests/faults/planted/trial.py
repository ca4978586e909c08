"""Plants a bug into a private copy of the tree, and tells whether the tests that must catch it do."""

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path

from tests.faults.planted.bugs import Bug, Change

ROOT = Path(__file__).parents[3]
# What the tests need of the tree.
_COPIED = ("authsvc", "clients", "protos", "tests", "pyproject.toml")
_PASSED, _FAILED = 0, 1  # pytest's exit statuses; others mean that it could not run the tests
_PATIENCE_S = 300


class Verdict(StrEnum):
    """What came of a trial. `BROKEN`: the tests did not run, so nothing is proven."""

    CAUGHT = "caught"
    MISSED = "missed"
    BROKEN = "BROKEN"


@contextmanager
def tree() -> Iterator[Path]:
    """Give a copy of the tree that is nobody else's, and remove it."""
    folder = Path(tempfile.mkdtemp(prefix="authsvc-planted-"))
    try:
        for name in _COPIED:
            source = ROOT / name
            if source.is_dir():
                ignored = shutil.ignore_patterns("__pycache__", "node_modules", ".hypothesis")
                shutil.copytree(source, folder / name, ignore=ignored)
            else:
                shutil.copy(source, folder / name)
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def apply(change: Change, folder: Path) -> None:
    """
    Make the change in the tree at *folder*.

    Raises:
        ValueError: its text does not occur exactly once.

    """
    path = folder / change.path
    text = path.read_text("utf-8")
    count = text.count(change.search)
    if count != 1:
        raise ValueError(f"{change.path}: occurs {count} times: {change.search.strip()!r}")
    path.write_text(text.replace(change.search, change.replace), "utf-8")


def judge(bug: Bug) -> tuple[Verdict, str]:
    """Plant the bug into a copy and run its tests there; the second value is the end of what pytest said."""
    with tree() as folder:
        for change in bug.changes:
            apply(change, folder)
            compile((folder / change.path).read_text("utf-8"), change.path, "exec")
        status, said = run(bug.tests, folder)
    verdict = {_PASSED: Verdict.MISSED, _FAILED: Verdict.CAUGHT}.get(status, Verdict.BROKEN)
    return verdict, said


def run(tests: Sequence[str], folder: Path) -> tuple[int, str]:
    """Run these tests with the code in *folder*; return pytest's exit status and the end of its output."""
    env = {name: value for name, value in os.environ.items() if not name.startswith(("PYTEST", "AUTHSVC"))}
    # Before the installed distributions, which lead to the shared tree.
    env["PYTHONPATH"] = os.pathsep.join([str(folder), str(folder / "clients" / "python")])
    env["PYTHONDONTWRITEBYTECODE"] = "1"
    done = subprocess.run(  # noqa: S603 - our own interpreter and words
        [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", *tests],
        cwd=folder,
        env=env,
        capture_output=True,
        text=True,
        check=False,
        timeout=_PATIENCE_S,
    )
    return done.returncode, (done.stdout + done.stderr)[-1500:]
