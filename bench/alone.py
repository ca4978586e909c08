"""A section of the bench by itself, as `python -m bench.SECTION` runs it: a stage of its own, and what it prints."""

import argparse
import asyncio
import sys
import tempfile
from collections.abc import Awaitable, Callable
from enum import Enum
from pathlib import Path

import uvloop

from bench.load import CallsFailed
from bench.processes import NotStarted
from bench.stage import Stage, opened_stage


class Effort(Enum):
    """How long a section measures: for figures, for a first impression, or only to see that it works."""

    FULL = "full"
    QUICK = "quick"
    TINY = "tiny"

    @classmethod
    def of(cls, given: argparse.Namespace) -> "Effort":
        """Return what the options of `add_options` say."""
        if given.tiny:
            return cls.TINY
        return cls.QUICK if given.quick else cls.FULL


Section = Callable[[Stage, Effort], Awaitable[list[str]]]
"""Measures with the stage's processes, and returns the lines to print. Raises CallsFailed."""


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add --quick and --tiny."""
    parser.add_argument("--quick", action="store_true", help="shorter: a first impression")
    parser.add_argument("--tiny", action="store_true", help="a few calls: to see that it works")


def run_alone(name: str, about: str | None, section: Section) -> None:
    """Run *section* as a program and print its lines; exits 1 if calls failed."""
    parser = argparse.ArgumentParser(prog=f"python -m bench.{name}", description=about)
    add_options(parser)
    effort = Effort.of(parser.parse_args())
    run(_on_a_stage(section, effort))


def run(work: Awaitable[list[str]]) -> None:
    """Run *work* on the service's kind of loop and print its lines; exits 1 if calls failed or nothing started."""

    async def awaited() -> list[str]:
        return await work

    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            lines = runner.run(awaited())
    except* (CallsFailed, NotStarted) as failures:
        sys.exit("\n".join(str(failure) for failure in failures.exceptions))
    print("\n".join(lines))


async def _on_a_stage(section: Section, effort: Effort) -> list[str]:
    tell("starting the servers")
    with tempfile.TemporaryDirectory(prefix="authsvc-bench-") as name:
        async with opened_stage(Path(name)) as stage:
            return await section(stage, effort)


def tell(progress: str) -> None:
    """Write a line of progress to stderr."""
    print(progress, file=sys.stderr, flush=True)
