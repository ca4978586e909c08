"""The files of the vectors, by name."""

import json
from collections.abc import Callable, Iterator
from itertools import chain

from tests.conformance.vectors import (
    behaviour,
    cases_claims,
    cases_keys,
    cases_order,
    cases_revocations,
    cases_shape,
    sequences,
    sequences_time,
    wire,
)
from tests.conformance.vectors.reference import Json
from tests.conformance.vectors.script import Script
from tests.conformance.vectors.token_case import KEY_SETS, TokenCase

FORMAT = 1
_TOKENS: tuple[Callable[[], Iterator[TokenCase]], ...] = (
    cases_shape.accepted,
    cases_shape.segments,
    cases_shape.headers,
    cases_shape.payloads,
    cases_claims.types,
    cases_claims.times,
    cases_claims.demands,
    cases_keys.signatures,
    cases_keys.confusions,
    cases_keys.unknown,
    cases_revocations.by_kind,
    cases_revocations.positions,
    cases_revocations.forms,
    cases_revocations.ends,
    cases_revocations.freshness,
    cases_order.order,
)


def tokens() -> Json:
    """Return `tokens.json`."""
    cases = [case.judged() for case in chain.from_iterable(make() for make in _TOKENS)]
    key_sets = {name: wire.both_forms(message) for name, message in KEY_SETS.items()}
    return {"format": FORMAT, "count": len(cases), "key_sets": key_sets, "cases": cases}


_SEQUENCES: tuple[Callable[[], Iterator[Script]], ...] = (
    sequences.snapshots,
    sequences.changes,
    sequences.breaks,
    sequences_time.ages,
    sequences_time.bounds,
    sequences_time.clocks,
    sequences_time.keys,
)


def stories() -> Json:
    """Return `sequences.json`."""
    cases = [script.case for script in chain.from_iterable(make() for make in _SEQUENCES)]
    names = {case["keys"] for case in cases} | {
        step["keys"] for case in cases for step in case["steps"] if "keys" in step
    }
    key_sets = {name: wire.both_forms(message) for name, message in KEY_SETS.items() if name in names}
    tokens = {
        name: {"token": token.token, "require": token.require} for name, token in sequences.TOKENS.items()
    }
    return {"format": FORMAT, "count": len(cases), "key_sets": key_sets, "tokens": tokens, "cases": cases}


_BEHAVIOUR: tuple[Callable[[], Iterator[Json]], ...] = (
    behaviour.logins,
    behaviour.refreshes,
    behaviour.ends,
    behaviour.others,
)


def client_behaviour() -> Json:
    """Return `client-behaviour.json`."""
    cases = list(chain.from_iterable(make() for make in _BEHAVIOUR))
    return {"format": FORMAT, "count": len(cases), "cases": cases}


FILES: dict[str, Callable[[], Json]] = {
    "tokens.json": tokens,
    "sequences.json": stories,
    "client-behaviour.json": client_behaviour,
}


def text_of(content: Json) -> str:
    """Return a file's text: one case a line, so that a change is a readable difference."""
    head = {name: value for name, value in content.items() if name != "cases"}
    lines = [f"{json.dumps(name)}: {json.dumps(value)}," for name, value in head.items()]
    cases = ",\n".join(json.dumps(case) for case in content["cases"])
    return "{\n" + "\n".join(lines) + '\n"cases": [\n' + cases + "\n]\n}\n"
