"""The Python client's verifier agrees with every vector."""

import base64
import json
from collections.abc import Awaitable, Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.conformance.python_client import Json, Subject, without_position

FOLDER = Path(__file__).parents[2] / "clients" / "conformance"
_READ_AGO_MS = 60_000
_CHUNK = 50


def load(name: str) -> Json:
    content: Json = json.loads((FOLDER / name).read_text("ascii"))
    assert content["format"] == 1
    assert len(content["cases"]) == content["count"]
    return content


TOKENS, SEQUENCES = load("tokens.json"), load("sequences.json")


async def judge_twice(case: Json) -> list[Json]:
    """The two verdicts on a token case."""
    wall_ms = case["now_ms"] - _READ_AGO_MS
    audience = case["require"]["audience"]
    async with Subject(case, key_sets=TOKENS["key_sets"], audience=audience, wall_ms=wall_ms) as subject:
        # As a machine that slept: so that the verifier has an open stream at exactly the case's time.
        await subject.clock.jump_to(_READ_AGO_MS)
        assert subject.calls.open_stream is not None
        if case["key_fetch"] == "fails":
            subject.set_keys("fails")
        else:
            assert case["key_fetch"] == "same"
        if case["view"] is not None:
            await subject.send(case["view"]["message"])
        return [await subject.verify(case["token"], case["require"]) for _ in range(2)]


@pytest.mark.parametrize("start", range(0, TOKENS["count"], _CHUNK))
async def test_every_token_case_agrees(start: int) -> None:
    """
    The verdict is the vectors' one, the second time as well, when it may come from the cache.
    """
    differing = []
    for case in TOKENS["cases"][start : start + _CHUNK]:
        expected = without_position(case["expect"])
        verdicts = await judge_twice(case)
        if expected == {"inactive": "UNKNOWN_KEY"}:
            verdicts = verdicts[:1]
        if any(verdict != expected for verdict in verdicts):
            differing.append((case["id"], expected, verdicts))

    assert differing == []


Step = Callable[[Subject, Json], Awaitable[None]]


async def message(subject: Subject, step: Json) -> None:
    if step.get("when_open"):
        await subject.until_open()
    await subject.send(step["message"])
    if "then" in step:
        await subject.end(step["then"])


async def stream(subject: Subject, step: Json) -> None:
    await subject.end(step["stream"])


async def expect_open(subject: Subject, step: Json) -> None:
    wanted = step["expect_open"]["resume_from"]
    assert len(subject.calls.streams) > getattr(subject, "streams_seen", 0)
    subject.streams_seen = len(subject.calls.streams)  # type: ignore[attr-defined]  # kept beside it by the runner
    assert subject.calls.streams[-1].resume_from == base64.b64decode(wanted or "")


async def keys(subject: Subject, step: Json) -> None:
    subject.set_keys(step["keys"])


async def expect_key_reads(subject: Subject, step: Json) -> None:
    assert subject.calls.key_reads == step["expect_key_reads"]


async def remote(subject: Subject, step: Json) -> None:
    subject.calls.remote = step["remote"]


async def verify(subject: Subject, step: Json) -> None:
    token = SEQUENCES["tokens"][step["verify"]]
    asked = subject.calls.asked
    verdict = await subject.verify(token["token"], token["require"])
    assert (verdict, subject.calls.asked > asked) == (without_position(step["expect"]), step["asked"])


async def expect_age_ms(subject: Subject, step: Json) -> None:
    freshness, wanted = subject.engine.freshness, step["expect_age_ms"]
    assert freshness.is_known is (wanted is not None)
    if wanted is not None:
        assert freshness.age_s() * 1000 == pytest.approx(wanted, abs=1)


async def expect_fresh(subject: Subject, step: Json) -> None:
    assert subject.engine.freshness.is_fresh() is step["expect_fresh"]


async def expect_position(subject: Subject, step: Json) -> None:
    wanted, freshness = step["expect_position"], subject.engine.freshness
    assert (f"{freshness.position:016x}" if freshness.is_known else None) == wanted


async def reached(subject: Subject, step: Json) -> None:
    at_once = await subject.engine.wait_for(int(step["reached"], 16), timedelta(0))
    assert at_once is step["expect"]


async def wall_jump_ms(subject: Subject, step: Json) -> None:
    subject.clock.wall_ms += step["wall_jump_ms"]


async def suspended(subject: Subject, step: Json) -> None:
    for waiting in step["buffered"]:
        subject.put(waiting)
    await subject.clock.jump_to(step["at_ms"])


STEPS: dict[str, Step] = {
    step.__name__: step
    for step in (
        message,
        stream,
        expect_open,
        keys,
        expect_key_reads,
        remote,
        verify,
        expect_age_ms,
        expect_fresh,
        expect_position,
        reached,
        wall_jump_ms,
        suspended,
    )
}


async def play(case: Json) -> None:
    subject = Subject(case, key_sets=SEQUENCES["key_sets"], audience="unused", wall_ms=case["now_ms"])
    async with subject:
        for number, step in enumerate(case["steps"]):
            kinds = STEPS.keys() & step.keys()
            assert len(kinds) == 1, f"a step of an unknown kind: {step}"
            at_ms = max(step["at_ms"], subject.clock.elapsed_ms)
            if "suspended" not in step:
                await subject.clock.hop_to(at_ms)
            try:
                await STEPS[kinds.pop()](subject, step)
            except AssertionError as error:
                raise AssertionError(f"step {number} {step}: {error}") from error


def name_of(case: Any) -> str:
    return str(case["id"])


@pytest.mark.parametrize("case", SEQUENCES["cases"], ids=name_of)
async def test_every_sequence_agrees(case: Json) -> None:
    """
    Through snapshots, breaks, silence, sleep and failing key reads the verifier answers as the vectors say.
    """
    await play(case)
