"""Measure revoke → refusal in every language on this machine; exits with 1 if one is missing its promise."""

import argparse
import sys
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

from clients.conformance.live.outage import Survived, survive
from clients.conformance.live.programs import Broken, Program, Recipe, build, recipes
from clients.conformance.live.rounds import LIMIT_MS, Measured, play
from tests.e2e.running import dev
from tests.e2e.wire import D1

ROUNDS, QUICK_ROUNDS = 60, 5


def measure(
    chosen: Sequence[Recipe], *, rounds: int, folder: Path, with_outage: bool = False
) -> tuple[Measured, Survived | None]:
    """
    Build and start the programs beside a service of their own, play the rounds, then take the service away for a while.

    Raises:
        Broken: a program could not take part.

    """
    for recipe in chosen:
        (folder / recipe.language).mkdir()
        build(recipe, folder / recipe.language)
    (folder / "service").mkdir()
    with dev(folder / "service", "--quiet") as (process, service), ExitStack() as stack:
        programs = [
            stack.enter_context(
                Program(
                    recipe,
                    out=folder / recipe.language,
                    target=service.addresses["grpc"],
                    audience=D1,
                )
            )
            for recipe in chosen
        ]
        measured = play(service, programs, rounds=rounds)
        return measured, survive(process, service, programs) if with_outage else None


def main(*words: str) -> int:
    """Return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m clients.conformance.live", description=__doc__)
    parser.add_argument(
        "--rounds", type=int, default=ROUNDS, help=f"logins and revocations; {ROUNDS} by default"
    )
    parser.add_argument("--quick", action="store_true", help=f"{QUICK_ROUNDS} rounds and no outage")
    parser.add_argument("--only", default="", help="languages, separated by commas; all by default")
    given = parser.parse_args(words)
    wanted = [recipe for recipe in recipes() if not given.only or recipe.language in given.only.split(",")]
    chosen = [recipe for recipe in wanted if not recipe.missing()]
    skipped = [f"{recipe.language} ({recipe.missing()})" for recipe in wanted if recipe.missing()]
    say = sys.stdout.write
    with tempfile.TemporaryDirectory(prefix="authsvc-live-") as folder:
        try:
            rounds = QUICK_ROUNDS if given.quick else given.rounds
            measured, survived = measure(
                chosen, rounds=rounds, folder=Path(folder), with_outage=not given.quick
            )
        except Broken as broken:
            say(f"{broken}\n")
            return 1
    say(f"{measured.table()}\n")
    faults = measured.faults
    if survived is not None:
        say(f"{survived.table()}\n")
        faults = [*faults, *survived.faults]
    for fault in faults:
        say(f"WRONG: {fault}\n")
    for language in measured.too_slow:
        say(f"TOO SLOW: {language}: p99 is not below {LIMIT_MS:.0f} ms\n")
    for line in skipped:
        say(f"SKIPPED: {line}\n")
    return bool(faults or measured.too_slow)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
