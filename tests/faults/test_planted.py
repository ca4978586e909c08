"""The planted bugs: each still fits the code, and (in the long run) each is caught."""

import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from tests.faults.planted.bugs import BUGS, Bug, Change
from tests.faults.planted.trial import ROOT, Verdict, apply, judge, run


@pytest.mark.parametrize("bug", BUGS, ids=lambda bug: bug.name)
def test_every_change_applies_exactly_once(bug: Bug, tmp_path: Path) -> None:
    """
    Where code is moved, its bug moves with it: the changes apply in turn, and what comes of them compiles.
    """
    for path in {change.path for change in bug.changes}:
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_bytes((ROOT / path).read_bytes())
    for change in bug.changes:
        apply(change, tmp_path)
    for path in {change.path for change in bug.changes}:
        compile((tmp_path / path).read_text("utf-8"), path, "exec")
        assert (tmp_path / path).read_bytes() != (ROOT / path).read_bytes()
    for test in bug.tests:
        if test.startswith("tests/"):
            assert (ROOT / test.partition("::")[0]).exists()


def test_there_are_enough_and_each_has_a_name() -> None:
    """
    At least a dozen, and no two alike.
    """
    assert len({bug.name for bug in BUGS}) == len(BUGS) >= 12


@pytest.mark.parametrize(("text", "count"), [("no such text", 0), ("import", 2)])
def test_a_change_that_does_not_fit_is_refused(tmp_path: Path, text: str, count: int) -> None:
    """
    A text that occurs not at all, or more than once, changes nothing.
    """
    (tmp_path / "file.py").write_text("import a\nimport b\n")
    with pytest.raises(ValueError, match=f"occurs {count} times"):
        apply(Change("file.py", text, "x"), tmp_path)
    assert (tmp_path / "file.py").read_text() == "import a\nimport b\n"


def test_the_copys_code_is_what_runs(tmp_path: Path) -> None:
    """
    Tests in a copy import the copy's modules, not the installed ones; passing and failing are told apart.
    """
    (tmp_path / "authsvc").mkdir()
    (tmp_path / "authsvc" / "__init__.py").write_text("PLANTED = True\n")
    (tmp_path / "test_it.py").write_text(
        "import authsvc\ndef test_one(): assert authsvc.PLANTED\ndef test_two(): assert False\n"
    )
    assert run(["test_it.py::test_one"], tmp_path)[0] == 0
    assert run(["test_it.py::test_two"], tmp_path)[0] == 1
    assert run(["test_it.py::test_three"], tmp_path)[0] not in (0, 1)


@pytest.mark.long
@pytest.mark.timeout(300)
def test_what_no_test_touches_is_missed() -> None:
    """
    The trial can say so: a change of a comment is caught by nothing.
    """
    harmless = Bug(
        "harmless",
        "nothing",
        [Change("authsvc/domain/sessions.py", "    if behind > 1:\n", "    if behind > 1:  # planted\n")],
        ["tests/domain/test_sessions.py"],
    )
    assert judge(harmless)[0] is Verdict.MISSED


@pytest.mark.long
@pytest.mark.timeout(300)
@pytest.mark.parametrize(
    "name", ["at_least does not wait", "reuse check off by one", "a second successor for a replay"]
)
def test_the_drill_itself_catches_some(name: str) -> None:
    """
    Bugs that do not wait for a rare moment are found by the kills under load too, from the recorded history alone.
    """
    (bug,) = (bug for bug in BUGS if bug.name == name)
    verdict, said = judge(replace(bug, tests=["tests/faults/test_kills.py", "-k", "sqlite"]))
    assert verdict is Verdict.CAUGHT
    assert re.search(r"^E +(AssertionError: )?I\d: ", said, re.MULTILINE), said


@pytest.mark.long
@pytest.mark.timeout(1800)
def test_every_bug_is_caught() -> None:
    """
    `python -m tests.faults.planted` finds nothing to complain about.
    """
    done = subprocess.run(
        [sys.executable, "-m", "tests.faults.planted"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-2000:]
