"""The whole story over gRPC: log in, verify, refresh, revoke, verify again."""

from authapi.v1 import auth_service_pb2 as pb
from authapi.v1 import types_pb2
from tests.support.core import D1
from tests.support.server import Running, refused


async def test_from_code_to_logout(running: Running) -> None:
    """A code becomes a pair; it verifies; it rotates; a logout kills both tokens, readable at once by its cursor."""
    core, auth = running.core, running.auth
    login = await auth.Login(
        pb.LoginRequest(
            app_id=D1, mini_program_code=core.code(), client=types_pb2.ClientInfo(device_id="phone")
        )
    )
    identity = core.sandbox.world.identity(D1, user="alice")
    assert (login.openid, login.unionid, login.is_new_user) == (identity.openid, identity.unionid, True)
    assert not login.HasField("external_id")
    assert login.tokens.server_time.ToDatetime(core.clock.now().tzinfo) == core.clock.now()

    verdict = await auth.VerifyToken(pb.VerifyTokenRequest(access_token=login.tokens.access_token))
    active = verdict.active
    assert (active.user_id, active.session_id, active.app_id) == (login.user_id, login.session_id, D1)
    assert (active.openid, list(active.scopes), list(active.audiences)) == (
        login.openid,
        ["profile", "orders"],
        [D1],
    )
    assert active.expires_at == login.tokens.access_expires_at

    refreshed = await auth.RefreshToken(pb.RefreshTokenRequest(refresh_token=login.tokens.refresh_token))
    assert (refreshed.user_id, refreshed.session_id) == (login.user_id, login.session_id)
    assert refreshed.tokens.refresh_token != login.tokens.refresh_token

    revoked = await auth.Revoke(pb.RevokeRequest(access_token=refreshed.tokens.access_token))
    assert revoked.ended_sessions == 1
    for token in (login.tokens.access_token, refreshed.tokens.access_token):
        verdict = await auth.VerifyToken(pb.VerifyTokenRequest(access_token=token, at_least=revoked.cursor))
        assert verdict.inactive == pb.Inactive(
            reason=types_pb2.INACTIVE_REASON_SESSION_REVOKED,
            session_end_reason=types_pb2.SESSION_END_REASON_LOGOUT,
        )
    over = await refused(
        auth.RefreshToken(pb.RefreshTokenRequest(refresh_token=refreshed.tokens.refresh_token))
    )
    assert (over.reason, over.metadata) == ("SESSION_ENDED", {"end_reason": "LOGOUT"})
