"""The Python client's live program: speaks the lines of the README, "The live part", over stdin and stdout."""

import argparse
import asyncio
import json
import sys
import time
from datetime import timedelta

from authsvc_client import Active, CannotKnow, Settings, Verdict, Verifier

_LOOK_EVERY_S = 0.003
_START_WAIT = timedelta(seconds=30)


def say(*words: object) -> None:
    """Print one line at once."""
    sys.stdout.write(" ".join(map(str, words)) + "\n")
    sys.stdout.flush()


class Program:
    """What the lines ask for."""

    def __init__(self, verifier: Verifier) -> None:
        self._verifier = verifier
        self._watched: dict[str, str] = {}
        self._verdicts = 0

    async def serve(self, lines: asyncio.StreamReader) -> None:
        """Answer every line until there is none."""
        looking = asyncio.ensure_future(self._look())
        try:
            while line := (await lines.readline()).decode().strip():
                verb, *rest = line.split(" ")
                if verb == "quit":
                    return
                await self._answer(verb, rest)
        finally:
            looking.cancel()

    async def _answer(self, verb: str, rest: list[str]) -> None:
        match verb, rest:
            case "verify", [token]:
                say(await self._judge(token))
            case "watch", [number, token]:
                verdict = await self._judge(token)
                if verdict == "active":
                    self._watched[number] = token
                    verdict = f"watching {number}"
                say(verdict)
            case "age", []:
                age = self._verifier.age
                say("age", -1 if age is None else round(age.total_seconds() * 1000, 3))
            case "stats", []:
                say("stats", json.dumps({"verdicts": self._verdicts, "watched": len(self._watched)}))
            case _:
                say("error unknown line")

    async def _judge(self, token: str) -> str:
        self._verdicts += 1
        try:
            return _word(await self._verifier.verify(token))
        except CannotKnow:
            return "unavailable"

    async def _look(self) -> None:
        """Judge every watched token again and again, until it is refused."""
        while True:
            for number, token in list(self._watched.items()):
                verdict = await self._judge(token)
                if verdict.startswith("inactive "):
                    del self._watched[number]
                    at_ms = time.time() * 1000  # noqa: TID251 - what is measured is real time
                    say("refused", number, verdict.removeprefix("inactive "), round(at_ms, 3))
            await asyncio.sleep(_LOOK_EVERY_S)  # noqa: TID251 - as above


def _word(verdict: Verdict) -> str:
    return "active" if isinstance(verdict, Active) else f"inactive {verdict.reason.name}"


async def main() -> None:
    """Run until stdin ends."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--target", required=True)
    parser.add_argument("--audience", required=True)
    given = parser.parse_args()
    lines = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(lines), sys.stdin)
    verifier = Verifier(given.target, audience=given.audience, settings=Settings(when_stale="unavailable"))
    try:
        if not await verifier.start(wait=_START_WAIT):
            raise SystemExit("not ready in time")
        say("ready")
        await Program(verifier).serve(lines)
    finally:
        await verifier.aclose()


if __name__ == "__main__":
    asyncio.run(main())
