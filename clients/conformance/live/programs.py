"""The languages' programs: which take part on this machine, how they are built, and speaking with them by lines."""

import os
import queue
import shutil
import subprocess
import sys
import threading
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

ROOT = Path(__file__).resolve().parents[3]
_TABLE = Path(__file__).with_name("programs.toml")
_BUILD_S, _START_S, _ANSWER_S, _END_S = 900.0, 60.0, 30.0, 10.0


class Broken(Exception):
    """A program was not built, did not start, died, or did not answer."""


@dataclass(frozen=True)
class Recipe:
    """One row of `programs.toml`."""

    language: str
    folder: Path
    source: Path
    needs: tuple[str, ...]
    build: tuple[tuple[str, ...], ...]
    run: tuple[str, ...]

    def missing(self) -> str:
        """Say why it cannot take part here, or nothing."""
        if not self.source.exists():
            return f"no {self.source.relative_to(ROOT)}"
        return ", ".join(f"no {tool} on the PATH" for tool in self.needs if shutil.which(tool) is None)


def recipes() -> list[Recipe]:
    """Return the rows."""
    rows: list[dict[str, Any]] = tomllib.loads(_TABLE.read_text("utf-8"))["program"]
    return [
        Recipe(
            language=row["language"],
            folder=ROOT / row["folder"],
            source=ROOT / row["folder"] / row["source"],
            needs=tuple(row["needs"]),
            build=tuple(tuple(command) for command in row["build"]),
            run=tuple(row["run"]),
        )
        for row in rows
    ]


class Program:
    """A running program; what it says is read by a thread, its stderr is in a file beside *out*."""

    def __init__(self, recipe: Recipe, *, out: Path, target: str, audience: str) -> None:
        self.language = recipe.language
        self._stderr = out / "stderr.txt"
        self._refusals: dict[str, tuple[str, float]] = {}
        self._answers: queue.Queue[str | None] = queue.Queue()
        self._news = threading.Condition()
        args = ("--target", target, "--audience", audience)
        filled = [word.format(python=sys.executable, out=out, args=" ".join(args)) for word in recipe.run]
        given = "{args}" in " ".join(recipe.run)
        with self._stderr.open("wb") as stderr:
            self.process = subprocess.Popen(  # noqa: S603 - the arguments are our own table's
                [*filled, *(() if given else args)],
                cwd=recipe.folder,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=stderr,
                text=True,
                bufsize=1,
                start_new_session=True,
                env={**os.environ, "PYTHONUNBUFFERED": "1"},
            )
        threading.Thread(target=self._read, daemon=True).start()

    def __enter__(self) -> Self:
        try:
            first = self._answer(_START_S)
            if first != "ready":
                raise Broken(f"{self.language} began with {first!r}")
        except BaseException:
            self.end()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.end()

    def end(self) -> int:
        """Ask it to quit, and return its exit status; it is killed if it does not."""
        if self.process.poll() is None:
            try:
                self._say("quit")
                self.process.wait(_END_S)
            except (OSError, subprocess.TimeoutExpired):
                self.process.kill()
        status = self.process.wait(_END_S)
        for pipe in (self.process.stdin, self.process.stdout):
            if pipe is not None:
                pipe.close()
        return status

    def ask(self, line: str) -> str:
        """Return the answer to a line."""
        self._say(line)
        return self._answer(_ANSWER_S)

    def refusal(self, number: str) -> tuple[str, float]:
        """Return the reason and the Unix time (ms) of a watched token's refusal, once it has come."""
        with self._news:
            if not self._news.wait_for(lambda: number in self._refusals, _ANSWER_S):
                raise Broken(f"{self.language} never refused token {number}: {self._log()}")
            return self._refusals[number]

    def _say(self, line: str) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(f"{line}\n")
        self.process.stdin.flush()

    def _answer(self, limit_s: float) -> str:
        try:
            answer = self._answers.get(timeout=limit_s)
        except queue.Empty:
            raise Broken(f"{self.language} did not answer in {limit_s:.0f} s: {self._log()}") from None
        if answer is None:
            raise Broken(f"{self.language} ended: {self._log()}")
        return answer

    def _read(self) -> None:
        assert self.process.stdout is not None
        for raw in self.process.stdout:
            line = raw.rstrip("\n")
            if line.startswith("refused "):
                _, number, reason, at_ms = line.split(" ")
                with self._news:
                    self._refusals[number] = (reason, float(at_ms))
                    self._news.notify_all()
            else:
                self._answers.put(line)
        self._answers.put(None)

    def _log(self) -> str:
        return self._stderr.read_text("utf-8", "replace")[-2000:]


def build(recipe: Recipe, out: Path) -> None:
    """
    Build a program.

    Raises:
        Broken: a command failed.

    """
    for command in recipe.build:
        filled = [word.format(python=sys.executable, out=out) for word in command]
        done = subprocess.run(  # noqa: S603 - the arguments are our own table's
            filled, cwd=recipe.folder, capture_output=True, text=True, check=False, timeout=_BUILD_S
        )
        if done.returncode:
            said = (done.stdout + done.stderr)[-2000:]
            raise Broken(f"{recipe.language}: {' '.join(command)} failed: {said}")
