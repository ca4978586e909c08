"""AuthService: Login, RefreshToken, VerifyToken, BatchVerifyTokens, Revoke."""

import asyncio
from collections.abc import Mapping
from dataclasses import replace

from authapi.v1 import auth_service_pb2 as pb
from authapi.v1 import types_pb2
from authsvc.domain.cursors import position_bytes
from authsvc.domain.errors import InvalidField
from authsvc.domain.principals import Role
from authsvc.domain.sessions import ClientInfo, EndReason
from authsvc.ports import Clock
from authsvc.rpc.convert import Cursors, client_info, required, token_pair
from authsvc.rpc.statuses import reason_of
from authsvc.rpc.verdicts import VerdictEncoder, encode_batch
from authsvc.rpc.wrapper import Call, Service, Unary
from authsvc.service.legacy_login import LegacyLogins
from authsvc.service.limits import Limiter
from authsvc.service.login import Logins
from authsvc.service.phone import KnownNumber
from authsvc.service.refresh import Refreshes
from authsvc.service.revoke import (
    AccessTokenTarget,
    AppTarget,
    RefreshTokenTarget,
    Revocations,
    SessionTarget,
    Target,
    UserTarget,
)
from authsvc.service.verify import Demand, TokenVerifier

NAME = "authapi.v1.AuthService"
MAX_BATCH = 1000
# A signature check costs about 85 µs: a batch lets others run after this many, so that it blocks nobody for long.
_YIELD_EVERY = 25
_REASONS: Mapping[int, EndReason] = {1: EndReason.LOGOUT, 4: EndReason.ADMIN}


class AuthServicer:
    """Converts, calls the use case, converts."""

    def __init__(
        self,
        *,
        logins: Logins,
        legacy_logins: LegacyLogins,
        refreshes: Refreshes,
        verifier: TokenVerifier,
        revocations: Revocations,
        verdicts: VerdictEncoder,
        cursors: Cursors,
        clock: Clock,
        limiter: Limiter,
    ) -> None:
        self._logins = logins
        self._legacy_logins = legacy_logins
        self._refreshes = refreshes
        self._verifier = verifier
        self._revocations = revocations
        self._verdicts = verdicts
        self._cursors = cursors
        self._clock = clock
        self._limiter = limiter

    def methods(self) -> Service:
        """Return the service's methods by name."""
        return {
            "Login": Unary(pb.LoginRequest, self.login),
            "RefreshToken": Unary(pb.RefreshTokenRequest, self.refresh_token),
            "VerifyToken": Unary(pb.VerifyTokenRequest, self.verify_token),
            "BatchVerifyTokens": Unary(pb.BatchVerifyTokensRequest, self.batch_verify_tokens),
            "Revoke": Unary(pb.RevokeRequest, self.revoke),
        }

    async def login(self, request: pb.LoginRequest, call: Call) -> pb.LoginResponse:
        """See the contract."""
        if not request.app_id:
            raise InvalidField("app_id", "must not be empty")
        client = _told_by(call, request.client)
        if request.WhichOneof("credential") == "legacy_token":
            result = await self._legacy_logins.login(
                app_id=request.app_id,
                token=request.legacy_token,
                client=client,
                phone_code=request.phone_code,
            )
        else:
            result = await self._logins.login(
                app_id=request.app_id,
                code=request.mini_program_code,
                client=client,
                phone_code=request.phone_code,
            )
        opened, phone = result.opened, result.phone
        response = pb.LoginResponse(
            user_id=opened.user.user_id,
            session_id=opened.session.session_id,
            openid=result.openid,
            unionid=opened.unionid,
            tokens=token_pair(result.tokens),
            is_new_user=opened.is_new_user,
            external_id=opened.user.external_id,
            previous_user_ids=opened.user.previous_ids,
        )
        if isinstance(phone, KnownNumber):
            response.phone_number = phone.number.number
        elif phone is not None:
            response.phone_error = reason_of(phone)
        return response

    async def refresh_token(self, request: pb.RefreshTokenRequest, call: Call) -> pb.RefreshTokenResponse:
        """See the contract."""
        result = await self._refreshes.refresh(
            request.refresh_token, client=_told_by(call, request.client), within=call.principal.apps
        )
        rotation = result.rotation
        return pb.RefreshTokenResponse(
            user_id=rotation.user.user_id,
            session_id=rotation.session.session_id,
            tokens=token_pair(result.tokens),
            previous_user_ids=rotation.user.previous_ids,
        )

    async def verify_token(self, request: pb.VerifyTokenRequest, call: Call) -> bytes:
        """See the contract. The hot path: a token seen before is answered without any wait."""
        self._limiter.admit_checks(call.principal.name, now=self._clock.elapsed())
        return await self._verify(request, call)

    async def _verify(
        self, request: pb.VerifyTokenRequest, call: Call, *, arrived_at: float | None = None
    ) -> bytes:
        audience = request.audience
        audiences = frozenset((audience,)) if audience else call.principal.audiences
        if not audiences:
            raise InvalidField("audience", "is required of a caller that has none of its own")
        demand = Demand(
            audiences, tuple(request.required_scopes), tuple(request.required_roles), call.principal.apps
        )
        at_least = None
        if request.HasField("at_least"):
            at_least = self._cursors.from_message(request.at_least, field="at_least")
        verdict = await self._verifier.judge(
            request.access_token, demand, at_least=at_least, arrived_at=arrived_at
        )
        return self._verdicts.encode(verdict)

    async def batch_verify_tokens(self, request: pb.BatchVerifyTokensRequest, call: Call) -> bytes:
        """See the contract. Answered whole or not at all."""
        if len(request.requests) > MAX_BATCH:
            raise InvalidField("requests", f"must not exceed {MAX_BATCH}")
        arrived_at = self._clock.elapsed()
        self._limiter.admit_checks(call.principal.name, now=arrived_at, tokens=len(request.requests))
        responses: list[bytes] = []
        for one in request.requests:
            responses.append(await self._verify(one, call, arrived_at=arrived_at))
            if len(responses) % _YIELD_EVERY == 0:
                await asyncio.sleep(0)  # noqa: TID251 - yields, waits for nothing
        return encode_batch(responses)

    async def revoke(self, request: pb.RevokeRequest, call: Call) -> pb.RevokeResponse:
        """See the contract."""
        target = _target(request)
        result = await self._revocations.revoke(
            target, reason=_reason(request, target), by=call.principal.name, within=call.principal.apps
        )
        return pb.RevokeResponse(
            cursor=self._cursors.to_message(result.head),
            ended_sessions=result.ended_sessions,
            position=position_bytes(result.head.position),
        )


def _told_by(call: Call, message: types_pb2.ClientInfo) -> ClientInfo:
    """Return what *call* says of the client. An address is believed of an edge only: limits hang on it."""
    client = client_info(message)
    return client if Role.EDGE in call.principal.roles else replace(client, ip="")


def _target(request: pb.RevokeRequest) -> Target:
    everything = request.scope == pb.RevokeScope.REVOKE_SCOPE_ALL
    case = request.WhichOneof("target")
    if case in ("user", "app_id") and request.scope == pb.RevokeScope.REVOKE_SCOPE_SESSION:
        raise InvalidField("scope", "user and app targets take ALL")
    if request.scope not in pb.RevokeScope.values():
        raise InvalidField("scope", "is not a scope of the contract")
    match case:
        case "access_token":
            return AccessTokenTarget(request.access_token, everything)
        case "refresh_token":
            return RefreshTokenTarget(request.refresh_token, everything)
        case "session_id":
            return SessionTarget(required(request.session_id, "session_id"), everything)
        case "user":
            return UserTarget(required(request.user.user_id, "user.user_id"), request.user.app_id)
        case _:
            return AppTarget(required(request.app_id, "app_id"))


def _reason(request: pb.RevokeRequest, target: Target) -> EndReason:
    if request.reason == 0:
        by_token = isinstance(target, AccessTokenTarget | RefreshTokenTarget)
        return EndReason.LOGOUT if by_token else EndReason.ADMIN
    reason = _REASONS.get(request.reason)
    if reason is None:
        raise InvalidField("reason", "must be LOGOUT or ADMIN")
    return reason
