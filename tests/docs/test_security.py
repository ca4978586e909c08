"""SECURITY.md keeps its word: every place in its threat model exists, and every attack has a test that is collected."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "SECURITY.md"
QUOTED = re.compile(r"`([^`]+)`")
# The attacks that have to be there by name; each word has to be in one row.
NAMED = (
    "SQL metacharacters in every string field", "stored XSS through client info, app names", "CSRF", "on every page",
    "plaintext login in prod", "sandbox in prod", "restored backup", "stolen MAC key",
    "forged payload with a cached signature", "algorithm confusion", "key confusion", "kid injection", "path traversal",
    "jku", "SSRF", "token replay after logout", "refresh theft", "code replay", "phone code of another user",
    "session_key leak", "openid injection", "X-Forwarded-For", "X-WX-*", "slowloris", "login flood",
    "junk service keys flood", "random-kid flood", "log injection", "audit truncation", "compromised edge",
    "compromised verifier principal", "supply chain", "timing",
)  # fmt: skip


def rows(heading: str) -> list[list[str]]:
    """The cells of the table below a heading."""
    section = PAGE.read_text("utf-8").partition(f"### {heading}\n")[2].partition("\n### ")[0]
    lines = [line for line in section.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines[2:]]


ATTACKS = rows("Attacks")
TESTS = sorted({name for row in ATTACKS for name in QUOTED.findall(row[2])})


@pytest.mark.parametrize("row", ATTACKS, ids=lambda row: row[0][:40])
def test_every_attack_is_stopped_somewhere_and_proved(row: list[str]) -> None:
    """Each row has three cells, names files that exist, and at least one test."""
    attack, stopped, proved = row
    assert attack
    places = QUOTED.findall(stopped)
    assert places
    assert [place for place in places if not (ROOT / place).exists()] == []
    assert QUOTED.findall(proved)
    assert all(
        name.startswith("tests/") and "::test_" in name.replace("::Test", "")
        for name in QUOTED.findall(proved)
    )


def test_the_attacks_that_have_to_be_there_are() -> None:
    """None of them was left out."""
    told = "\n".join(row[0] for row in ATTACKS)
    assert [name for name in NAMED if name not in told] == []


def test_every_named_test_is_collected() -> None:
    """Each of them is found by pytest itself: a test that was renamed, moved or never ran proves nothing."""
    suites = {"tests/storage/conformance/": "tests/storage/test_sqlite.py"}
    wanted = set()
    for name in TESTS:
        path, _, rest = name.partition("::")
        collector = next((where for prefix, where in suites.items() if path.startswith(prefix)), path)
        if collector != path:
            last = rest.rpartition("::")[2]
            assert f"def {last}(" in (ROOT / path).read_text("utf-8"), name
        wanted.add(f"{collector}::{rest}")
    collected = subprocess.run(  # noqa: S603 - the arguments are our own
        [
            sys.executable, "-m", "pytest", "--collect-only", "-q", "-p", "no:cacheprovider", "-m", "long or not long",
            *sorted({name.partition("::")[0] for name in wanted}),
        ],
        cwd=ROOT,
        # Options of whoever runs this run would change what that one prints.
        env={name: value for name, value in os.environ.items() if name != "PYTEST_ADDOPTS"},
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )  # fmt: skip
    found = {line.partition("[")[0] for line in collected.stdout.splitlines()}
    assert wanted - found == set(), collected.stdout[-2000:]


@pytest.mark.parametrize("heading", ["Assets", "Actors", "Not defended"])
def test_the_model_says_what_is_at_stake_and_who_comes(heading: str) -> None:
    """The tables around the attacks are there and filled."""
    found = rows(heading)
    assert len(found) >= 4
    assert all(all(cells) for cells in found)
