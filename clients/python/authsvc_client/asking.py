"""
Asking the server about tokens that cannot be judged here: coalesced into batches, capped, never remembered.

Callers with the same question share the answer. A call that fails leaves all of its questions unanswered.
"""

import asyncio
from collections import OrderedDict
from dataclasses import dataclass
from datetime import UTC
from typing import TypeAlias

from authapi.v1 import Active as ActiveMessage
from authapi.v1 import VerifyTokenRequest, VerifyTokenResponse
from authsvc_client._clock import Clock
from authsvc_client.connection import Calls, Unanswered
from authsvc_client.hooks import Hooks
from authsvc_client.judgement import Demand
from authsvc_client.verdicts import Active, Inactive, InactiveReason, SessionEndReason, Verdict

# 256 tokens of the greatest length stay below gRPC's 4 MB.
_BATCH = 256
_BATCHES_AT_ONCE = 4


@dataclass(frozen=True, slots=True)
class Answer:
    """What the server says, and how old its knowledge was (seconds; infinite where it does not say)."""

    verdict: Verdict
    age_s: float


_Question: TypeAlias = tuple[str, Demand]
_Waiting: TypeAlias = "asyncio.Future[Answer | None]"


class Asker:
    """Collects questions; while its calls are on their way, more gather for the next one."""

    def __init__(
        self, *, calls: Calls, clock: Clock, hooks: Hooks, timeout_s: float, most_waiting: int
    ) -> None:
        self._calls = calls
        self._clock = clock
        self._hooks = hooks
        self._timeout_s = timeout_s
        self._most_waiting = most_waiting
        self._callers = 0
        self._questions: OrderedDict[_Question, _Waiting] = OrderedDict()
        self._sent: dict[_Question, _Waiting] = {}
        self._senders: set[asyncio.Task[None]] = set()

    async def ask(self, token: str, demand: Demand) -> Answer | None:
        """Return the server's answer, or None if there is none: too many wait, or the call failed."""
        if self._callers >= self._most_waiting:
            return None
        question = (token, demand)
        waiting = self._sent.get(question) or self._questions.get(question)
        if waiting is None:
            waiting = asyncio.get_running_loop().create_future()
            self._questions[question] = waiting
            if len(self._senders) < _BATCHES_AT_ONCE:
                sender = asyncio.ensure_future(self._send_all())
                self._senders.add(sender)
                sender.add_done_callback(self._senders.discard)
        self._callers += 1
        try:
            return await asyncio.shield(waiting)
        finally:
            self._callers -= 1

    def close(self) -> None:
        """Give up all calls; whoever waits is left without an answer."""
        for sender in self._senders:
            sender.cancel()
        for waiting in (*self._questions.values(), *self._sent.values()):
            if not waiting.done():
                waiting.set_result(None)

    async def _send_all(self) -> None:
        await asyncio.sleep(0)  # noqa: TID251 - lets others of this turn come along, waits for nothing
        while self._questions:
            batch = [self._questions.popitem(last=False) for _ in range(min(_BATCH, len(self._questions)))]
            self._sent.update(batch)
            answers: list[Answer | None] = [None] * len(batch)
            try:
                answers = await self._send([question for question, _ in batch])
            finally:
                for (question, waiting), answer in zip(batch, answers, strict=True):
                    del self._sent[question]
                    if not waiting.done():
                        waiting.set_result(answer)

    async def _send(self, questions: list[_Question]) -> list[Answer | None]:
        requests = [
            VerifyTokenRequest(
                access_token=token,
                audience=demand.audience,
                required_scopes=demand.scopes,
                required_roles=demand.roles,
            )
            for token, demand in questions
        ]
        asked_at = self._clock.elapsed_s()
        try:
            reply = await self._calls.verify(requests, timeout_s=self._timeout_s)
        except Unanswered:
            self._hooks.asked(len(questions), ok=False)
            return [None] * len(questions)
        took_s = self._clock.elapsed_s() - asked_at
        if len(reply.responses) != len(questions):
            self._hooks.asked(len(questions), ok=False)
            return [None] * len(questions)
        self._hooks.asked(len(questions), ok=True)
        return [read_answer(response, took_s=took_s) for response in reply.responses]


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
