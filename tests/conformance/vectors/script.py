"""A sequence in the making: every step is played to the reference, which says what a verifier must answer."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

from authapi.v1 import revocation_service_pb2 as pb
from authsvc.domain.cursors import Cursor, position_claim
from tests.conformance.vectors import minting, wire
from tests.conformance.vectors.reference import Json, Reference
from tests.conformance.vectors.token_case import KEY_SETS

START_MS = minting.NOW_S * 1000 + 100_000
# A stream that is silent for longer than this may be closed by its reader (3 s, less the runner's hops).
_ALIVE_MS = 2500
_FAILS = "fails"


@dataclass(frozen=True)
class NamedToken:
    """A token of the sequences, and what is asked of it."""

    token: str
    audience: str = minting.AUDIENCE

    @property
    def require(self) -> Json:
        """As `verify` steps mean it."""
        return {"audience": self.audience, "scopes": [], "roles": []}


class Script:
    """
    Steps on a virtual clock; the methods of one step return the script, so that a sequence reads as a story.

    Times are milliseconds since the start and may not fall.
    """

    def __init__(
        self,
        name: str,
        description: str,
        *,
        tokens: Mapping[str, NamedToken],
        keys: str = "all",
        rules: str = "all",
        hard_bound_ms: int = 30_000,
        when_stale: str = "unavailable",
    ) -> None:
        self._tokens = tokens
        self._now_ms = 0
        self._heard_ms = 0
        self._reference = Reference(
            now_ms=START_MS,
            keys=None if keys == _FAILS else KEY_SETS[keys],
            rules=KEY_SETS[rules],
            hard_bound_ms=hard_bound_ms,
            when_stale=when_stale,
        )
        self.steps: list[Json] = []
        self.case: Json = {
            "id": name,
            "description": description,
            "now_ms": START_MS,
            "keys": keys,
            "hard_bound_ms": hard_bound_ms,
            "when_stale": when_stale,
            "steps": self.steps,
        }
        self.opened(0)

    # -- what the server does --------------------------------------------------------------------------------------

    def told(self, at_ms: int, message: pb.WatchRevocationsResponse, through: Cursor | None = None) -> Self:
        """The server sends a message that completes what is known through *through*."""
        more: Json = {}
        if at_ms - self._heard_ms > _ALIVE_MS:
            more["when_open"] = True
        self._step(at_ms, message=wire.both_forms(message), **more)
        self._heard_ms = at_ms
        self._reference.receive(message, cursor=through)
        return self

    def drained(self, at_ms: int, through: Cursor) -> Self:
        """The server says GoAway and ends the stream."""
        message = wire.go_away(through)
        self._step(at_ms, message=wire.both_forms(message), then="ok")
        self._heard_ms = at_ms
        self._reference.receive(message, cursor=through)
        self._reference.cut()
        return self

    def ended(self, at_ms: int, how: str) -> Self:
        """The stream ends: `cut`, `ok`, `out_of_range` or `too_slow`."""
        self._step(at_ms, stream=how)
        self._heard_ms = at_ms
        self._reference.cut(cursor_expired=how == "out_of_range")
        return self

    def keys(self, at_ms: int, name: str) -> Self:
        """Key reads answer otherwise from now on."""
        self._step(at_ms, keys=name)
        self._reference.source.answer = None if name == _FAILS else KEY_SETS[name]
        return self

    def remote(self, at_ms: int, answer: Any) -> Self:
        """VerifyToken answers otherwise from now on."""
        self._step(at_ms, remote=answer)
        self._reference.remote = answer
        return self

    # -- what the world does ---------------------------------------------------------------------------------------

    def wall_jump(self, at_ms: int, by_ms: int) -> Self:
        """The wall clock alone moves."""
        self._step(at_ms, wall_jump_ms=by_ms)
        self._reference.clock.wall_ms += by_ms
        return self

    def slept(
        self, at_ms: int, buffered: pb.WatchRevocationsResponse | None = None, through: Cursor | None = None
    ) -> Self:
        """The machine was suspended until now; a message may have waited in its socket."""
        messages = [] if buffered is None else [wire.both_forms(buffered)]
        self._step(at_ms, suspended=True, buffered=messages)
        if buffered is not None:
            self._reference.receive(buffered, cursor=through, trusted=False)
        return self

    # -- what the verifier must do ---------------------------------------------------------------------------------

    def opened(self, at_ms: int) -> Self:
        """A stream has been opened since the last such step."""
        self._step(at_ms, expect_open={"resume_from": wire.cursor_text(self._reference.resume_from)})
        return self

    def verify(self, at_ms: int, *names: str) -> Self:
        """Judge tokens."""
        for name in names:
            token = self._tokens[name]
            self._move(at_ms)
            verdict, asked = self._reference.verify(token.token, token.require)
            self._step(at_ms, verify=name, expect=verdict, asked=asked)
        return self

    def age(self, at_ms: int) -> Self:
        """State age, freshness and position."""
        self._move(at_ms)
        self._step(at_ms, expect_age_ms=self._reference.age_ms)
        return self.fresh(at_ms).position(at_ms)

    def fresh(self, at_ms: int) -> Self:
        """State whether it may decide."""
        self._move(at_ms)
        self._step(at_ms, expect_fresh=self._reference.is_fresh)
        return self

    def position(self, at_ms: int) -> Self:
        """State how far it is complete."""
        held = self._reference.position
        self._step(at_ms, expect_position=None if held is None else position_claim(held))
        return self

    def reached(self, at_ms: int, *positions: int) -> Self:
        """State whether it has reached positions."""
        held = self._reference.position
        for position in positions:
            reached = held is not None and held >= position
            self._step(at_ms, reached=position_claim(position), expect=reached)
        return self

    def key_reads(self, at_ms: int) -> Self:
        """State how many key reads there were."""
        self._move(at_ms)
        self._step(at_ms, expect_key_reads=self._reference.source.reads)
        return self

    def _move(self, at_ms: int) -> None:
        assert at_ms >= self._now_ms, f"{self.case['id']}: {at_ms} after {self._now_ms}"
        self._reference.clock.advance(at_ms - self._now_ms)
        self._now_ms = at_ms

    def _step(self, at_ms: int, **what: Any) -> None:
        self._move(at_ms)
        self.steps.append({"at_ms": at_ms, **what})
