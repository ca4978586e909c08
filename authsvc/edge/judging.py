"""
Whether a token is good: by what is known here, with keys and revocations pushed to this edge, or by the server's word.

Here nothing is decided by a rule of our own: `authsvc_client` judges as every service that uses it does.
"""

from collections.abc import Sequence
from datetime import timedelta
from typing import Protocol

from authapi.v1 import InactiveReason as Reason
from authapi.v1 import VerifyTokenRequest
from authsvc.edge.backend import Backend
from authsvc.edge.correlation import Correlation
from authsvc.edge.failures import Refused, token_insufficient, token_invalid
from authsvc.edge.reading import Demand
from authsvc.status import BY_REASON
from authsvc_client import Active, CannotKnow, Cause, Inactive, InactiveReason, Verifier
from authsvc_client.asking import read_active

_REACH = timedelta(seconds=1)
# The token is good, it just does not allow what was asked: 403. Everything else, new reasons included, is 401.
_INSUFFICIENT = frozenset(
    {
        Reason.INACTIVE_REASON_WRONG_AUDIENCE,
        Reason.INACTIVE_REASON_MISSING_SCOPE,
        Reason.INACTIVE_REASON_MISSING_ROLE,
    }
)
# No token that we ever made is one of these; a key may just be long gone.
_FORGED = frozenset(
    {
        Reason.INACTIVE_REASON_MALFORMED,
        Reason.INACTIVE_REASON_WRONG_TYPE,
        Reason.INACTIVE_REASON_BAD_SIGNATURE,
        Reason.INACTIVE_REASON_WRONG_ISSUER,
    }
)


class Judge(Protocol):
    """Answers for tokens, and waits for what it must not miss."""

    async def active(self, token: str, demand: Demand, correlation: Correlation) -> Active:
        """
        Return what a good token says. A demand without an audience is judged against this edge's own.

        Raises:
            Refused: TOKEN_INVALID, TOKEN_INSUFFICIENT, or that it cannot be known.

        """
        ...

    async def reach(self, position: bytes) -> None:
        """Return once revocations up to this position are known here, or after a second; never raises."""
        ...


class RemoteJudge:
    """Asks the server every time, which judges a demand without an audience against those of the edge's principal."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend

    async def active(self, token: str, demand: Demand, correlation: Correlation) -> Active:
        """See Judge.active; errors of the call come as they are."""
        response = await self._backend.auth.VerifyToken(
            VerifyTokenRequest(
                access_token=token,
                audience=demand.audience,
                required_scopes=demand.scopes,
                required_roles=demand.roles,
            ),
            metadata=correlation.metadata,
            timeout=self._backend.timeout,
        )
        outcome = response.WhichOneof("outcome")
        if outcome == "active":
            return read_active(response.active)
        if outcome == "inactive":
            raise _refusal(response.inactive.reason)
        raise Refused(BY_REASON["NOT_FRESH"], cause="the server answered without an outcome")

    async def reach(self, position: bytes) -> None:
        """See Judge.reach: the server has it."""


class LocalJudge:
    """
    Judges here, in microseconds, while the server may be away for as long as the verifier's hard bound.

    *audiences* are this edge's own; without any, a demand that names none is put to *remote*.
    """

    def __init__(self, verifier: Verifier, *, audiences: Sequence[str], remote: RemoteJudge) -> None:
        self._verifier = verifier
        self._audiences = tuple(audiences)
        self._remote = remote

    async def active(self, token: str, demand: Demand, correlation: Correlation) -> Active:
        """See Judge.active."""
        audiences = (demand.audience,) if demand.audience else self._audiences
        if not audiences:
            return await self._remote.active(token, demand, correlation)
        refusal = token_insufficient()
        for audience in audiences:
            verdict = await self._verdict(token, demand, audience)
            if verdict is None:
                return await self._remote.active(token, demand, correlation)
            if isinstance(verdict, Active):
                return verdict
            if verdict.reason is not InactiveReason.WRONG_AUDIENCE:
                refusal = _refusal(Reason.ValueType(verdict.reason.value))
                break
        raise refusal

    async def reach(self, position: bytes) -> None:
        """See Judge.reach."""
        await self._verifier.wait_for(position, timeout=_REACH)

    async def _verdict(self, token: str, demand: Demand, audience: str) -> Active | Inactive | None:
        """Return the verdict; None if the token's key is not known here, where the server can say that it is nobody's."""
        try:
            return await self._verifier.verify(
                token, scopes=demand.scopes, roles=demand.roles, audience=audience
            )
        except CannotKnow as unknown:
            if unknown.cause is Cause.UNKNOWN_KEY:
                # A phone with a token of a key that is long gone must hear 401 and log in, not 503 and wait.
                return None
            raise Refused(
                BY_REASON["NOT_FRESH"],
                retry_after=max(1, round(unknown.retry_after.total_seconds())),
                cause=unknown.cause.value,
            ) from None


def _refusal(reason: Reason.ValueType) -> Refused:
    return token_insufficient() if reason in _INSUFFICIENT else token_invalid(is_forgery=reason in _FORGED)
