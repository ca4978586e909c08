"""The live part of the conformance suite works: a real service, a real program, every way to revoke."""

from pathlib import Path

from clients.conformance.live.__main__ import measure
from clients.conformance.live.programs import recipes
from clients.conformance.live.rounds import KINDS


def test_the_python_client_refuses_what_is_revoked(tmp_path: Path) -> None:
    """
    In a process of its own, the Python client refuses a token soon after each kind of revocation, with its reason.
    """
    python = [recipe for recipe in recipes() if recipe.language == "python"]

    measured, _ = measure(python, rounds=len(KINDS), folder=tmp_path)

    assert measured.faults == []
    assert len(measured.took_ms["python"]) == len(KINDS)


def test_every_language_of_the_table_has_a_folder() -> None:
    """
    The table names the languages' local verifiers once each.
    """
    assert [recipe.language for recipe in recipes()] == ["python", "go", "typescript", "java"]
