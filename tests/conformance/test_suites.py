"""`make test-clients` says loudly what it could not run, and fails for what ran and failed."""

import sys

import pytest

from clients.conformance import suites
from clients.conformance.suites import SUITES, Suite


def suite(
    name: str, *, needs: tuple[str, ...] = (), marker: str = "pyproject.toml", status: int = 0
) -> Suite:
    code = f"raise SystemExit({status})"
    return Suite(name, ".", marker, needs, ((sys.executable, "-c", code),))


def test_what_cannot_run_is_listed_and_fails_nothing(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """
    A missing toolchain or client is a line at the end with its reason; the rest decides the exit status.
    """
    no_tool = suite("cobol", needs=("no-such-compiler",))
    absent = suite("ada", marker="no-such-file")
    monkeypatch.setattr(suites, "SUITES", (suite("good"), no_tool, absent))

    assert suites.main() == 0

    assert capfd.readouterr().out.splitlines()[-3:] == [
        "SKIPPED: cobol (no-such-compiler is not on the PATH)",
        "SKIPPED: ada (there is no ./no-such-file)",
        "1 of 3 client suites passed, 2 skipped",
    ]


def test_what_fails_fails_the_whole(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """
    The others still run, and the failed one is named.
    """
    monkeypatch.setattr(suites, "SUITES", (suite("bad", status=3), suite("good")))

    assert suites.main() == 1

    assert capfd.readouterr().out.splitlines()[-2:] == [
        "FAILED: bad",
        "1 of 2 client suites passed, 0 skipped",
    ]


def test_every_client_has_a_suite() -> None:
    """
    None of the clients is left out, and vectors and live part come last.
    """
    assert [one.name for one in SUITES] == ["go", "typescript", "java", "miniprogram", "python", "live"]
