"""
Asking the server about tokens that cannot be judged here: coalesced into batches, capped, never remembered.

Callers with the same question share the answer. A call that fails leaves all of its questions unanswered.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC
from typing import TypeAlias

from authapi.v1 import Active as ActiveMessage
from authapi.v1 import BatchVerifyTokensResponse, VerifyTokenRequest, VerifyTokenResponse
from authsvc_client._clock import Clock
from authsvc_client.coalescing import Coalescer
from authsvc_client.connection import Calls, Unanswered
from authsvc_client.hooks import Hooks
from authsvc_client.judgement import Demand
from authsvc_client.verdicts import Active, Inactive, InactiveReason, SessionEndReason, Verdict

# Smaller than the contract allows: the server is asked by many at once when this happens.
_BATCH = 256


@dataclass(frozen=True, slots=True)
class Answer:
    """What the server says, and how old its knowledge was (seconds; infinite where it does not say)."""

    verdict: Verdict
    age_s: float


_Question: TypeAlias = tuple[str, Demand]
_Waiting: TypeAlias = "asyncio.Task[Answer | None]"


class Asker:
    """Puts questions; those that come while a call is on its way gather for the next one."""

    def __init__(
        self, *, calls: Calls, clock: Clock, hooks: Hooks, timeout_s: float, most_waiting: int
    ) -> None:
        self._calls = calls
        self._clock = clock
        self._hooks = hooks
        self._timeout_s = timeout_s
        self._most_waiting = most_waiting
        self._callers = 0
        self._asked: dict[_Question, _Waiting] = {}
        self._coalescer = Coalescer(many=self._send, failure=Unanswered, clock=clock, most_in_batch=_BATCH)

    async def ask(self, token: str, demand: Demand) -> Answer | None:
        """Return the server's answer, or None if there is none: too many wait, or the call failed."""
        if self._callers >= self._most_waiting:
            return None
        question = (token, demand)
        waiting = self._asked.get(question)
        if waiting is None:
            waiting = self._asked[question] = asyncio.ensure_future(self._answer(token, demand))
            waiting.add_done_callback(lambda _: self._asked.pop(question))
        self._callers += 1
        try:
            return await asyncio.shield(waiting)
        finally:
            self._callers -= 1

    def close(self) -> None:
        """Give up all calls; whoever waits is left without an answer."""
        self._coalescer.abandon()

    async def _answer(self, token: str, demand: Demand) -> Answer | None:
        request = VerifyTokenRequest(
            access_token=token,
            audience=demand.audience,
            required_scopes=demand.scopes,
            required_roles=demand.roles,
        )
        asked_at = self._clock.elapsed_s()
        try:
            response = await self._coalescer.ask(request, timeout_s=self._timeout_s)
        except Unanswered:
            return None
        return read_answer(response, took_s=self._clock.elapsed_s() - asked_at)

    async def _send(
        self, requests: Sequence[VerifyTokenRequest], timeout_s: float
    ) -> BatchVerifyTokensResponse:
        try:
            reply = await self._calls.verify(requests, timeout_s=timeout_s)
        except Unanswered:
            self._hooks.asked(len(requests), ok=False)
            raise
        self._hooks.asked(len(requests), ok=len(reply.responses) == len(requests))
        return reply


def read_answer(response: VerifyTokenResponse, *, took_s: float) -> Answer | None:
    """Return what a response says, its age counted until now; None if it holds no outcome that is known here."""
    age_s = float("inf")
    if response.HasField("age"):
        age_s = response.age.seconds + response.age.nanos / 1e9 + took_s
    match response.WhichOneof("outcome"):
        case "active":
            return Answer(read_active(response.active), age_s)
        case "inactive":
            inactive = response.inactive
            return Answer(
                Inactive(InactiveReason(inactive.reason), SessionEndReason(inactive.session_end_reason)),
                age_s,
            )
    return None


def verdict_of(response: VerifyTokenResponse) -> Verdict | None:
    """Return what a response of VerifyToken says as a verdict; None if it holds no outcome that is known here."""
    answer = read_answer(response, took_s=0)
    return None if answer is None else answer.verdict


def read_active(message: ActiveMessage) -> Active:
    """Return the contract's Active as ours."""
    return Active(
        user_id=message.user_id,
        session_id=message.session_id,
        app_id=message.app_id,
        openid=message.openid if message.HasField("openid") else None,
        scopes=tuple(message.scopes),
        roles=tuple(message.roles),
        audiences=tuple(message.audiences),
        token_id=message.token_id,
        issued_at=message.issued_at.ToDatetime(UTC),
        expires_at=message.expires_at.ToDatetime(UTC),
        previous_user_ids=tuple(message.previous_user_ids),
        external_id=message.external_id if message.HasField("external_id") else None,
    )
