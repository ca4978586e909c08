"""AuthService's fields: what is refused, what is converted, what a cursor does."""

import asyncio
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from authapi.v1 import auth_service_pb2 as pb
from authapi.v1 import session_service_pb2, types_pb2
from authsvc.domain import access_token
from authsvc.domain.access_token import Claims
from authsvc.domain.cursors import Cursor, position_bytes, seal_cursor
from authsvc.domain.sessions import EndReason
from authsvc.service.login import LoginResult
from tests.support.core import D1, D2, build_core
from tests.support.server import Running, refused, running_server

ALL, SESSION = pb.REVOKE_SCOPE_ALL, pb.REVOKE_SCOPE_SESSION
NOBODY = "A" * 22


@pytest.mark.parametrize(
    ("request_", "field"),
    [
        (pb.LoginRequest(mini_program_code="x"), "app_id"),
        (pb.LoginRequest(app_id=D1), "credential"),
        (pb.LoginRequest(app_id=D1, mini_program_code=""), "mini_program_code"),
        (pb.LoginRequest(app_id=D1, mini_program_code="x" * 513), "mini_program_code"),
        (pb.LoginRequest(app_id=D1, mini_program_code="x", phone_code="p" * 513), "phone_code"),
        (
            pb.LoginRequest(
                app_id=D1, mini_program_code="x", client=types_pb2.ClientInfo(device_id="x" * 129)
            ),
            "client.device_id",
        ),
        (
            pb.LoginRequest(app_id=D1, mini_program_code="x", client=types_pb2.ClientInfo(ip="x" * 65)),
            "client.ip",
        ),
        *(
            (pb.LoginRequest(app_id=D1, mini_program_code="x", client=client), field)
            for client, field in (
                (types_pb2.ClientInfo(ip="1\0"), "client.ip"),
                (types_pb2.ClientInfo(user_agent="a\0"), "client.user_agent"),
                (types_pb2.ClientInfo(device_id="\0"), "client.device_id"),
                (types_pb2.ClientInfo(device_name="a\0b"), "client.device_name"),
            )
        ),
    ],
)
async def test_a_login_that_is_no_request(running: Running, request_: pb.LoginRequest, field: str) -> None:
    """INVALID_FIELD naming the field, before the code is claimed or sent."""
    told = await refused(running.auth.Login(request_))
    assert (told.reason, told.fields) == ("INVALID_FIELD", (field,))
    assert running.core.store.calls["claim_code"] == 0
    assert running.core.sandbox.requests_for("x") == 0


async def test_what_a_client_says_of_itself_is_kept(running: Running) -> None:
    """Device and address as told; a long user agent is cut rather than refused."""
    client = types_pb2.ClientInfo(
        ip="10.0.0.1", user_agent="a" * 600, device_id="phone", device_name="Mi 小米"
    )
    login = await running.auth.Login(
        pb.LoginRequest(app_id=D1, mini_program_code=running.core.code(), client=client)
    )
    session = await running.core.store.real.get_session(login.session_id)
    assert session is not None
    kept = session.client
    assert (kept.ip, kept.device_id, kept.device_name) == ("10.0.0.1", "phone", "Mi 小米")
    assert kept.user_agent == "a" * 512


async def test_fifty_logins_and_refreshes_over_the_wire(
    running: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One code: WeChat saw one request and all have one session. One refresh token: one successor."""
    core = running.core
    request = pb.LoginRequest(app_id=D1, mini_program_code=core.code())
    gate = core.store.hold("open_session")
    arrived = 0
    real = core.logins.login

    async def counted(**given: Any) -> LoginResult:
        nonlocal arrived
        arrived += 1
        if arrived == 50:
            gate.open()  # not before: whoever comes after the exchange is LOGIN_CODE_USED, by contract
        return await real(**given)

    monkeypatch.setattr(core.logins, "login", counted)
    logins = await asyncio.gather(*(running.auth.Login(request) for _ in range(50)))
    assert len({login.session_id for login in logins}) == 1
    assert core.sandbox.requests_for(request.mini_program_code) == 1
    assert (await refused(running.auth.Login(request))).reason == "LOGIN_CODE_USED"
    refresh = pb.RefreshTokenRequest(refresh_token=logins[0].tokens.refresh_token)
    answers = await asyncio.gather(*(running.auth.RefreshToken(refresh) for _ in range(50)))
    assert len({answer.tokens.refresh_token for answer in answers}) == 1
    verdict = await running.auth.VerifyToken(
        pb.VerifyTokenRequest(access_token=answers[0].tokens.access_token)
    )
    assert verdict.HasField("active")


async def test_no_verifier_works_without_an_audience(running: Running) -> None:
    """Without one in the request the caller's own count; a caller without any is told so."""
    token = (await running.core.login()).tokens.access_token
    without = pb.VerifyTokenRequest(access_token=token)
    assert (await running.auth.VerifyToken(without)).HasField("active")
    running.authenticator.audiences = frozenset({D2})
    wrong = await running.auth.VerifyToken(without)
    assert wrong.inactive.reason == types_pb2.INACTIVE_REASON_WRONG_AUDIENCE
    named = await running.auth.VerifyToken(pb.VerifyTokenRequest(access_token=token, audience=D1))
    assert named.HasField("active")
    running.authenticator.audiences = frozenset()
    told = await refused(running.auth.VerifyToken(without))
    assert (told.reason, told.fields) == ("INVALID_FIELD", ("audience",))


async def test_at_least(running: Running, tmp_path: Path) -> None:
    """Empty is none; junk is INVALID_FIELD; another incarnation CURSOR_EXPIRED; ahead NOT_FRESH within 500 ms."""
    core, ring = running.core, running.core.rings.cursor
    assert core.view.known is not None

    def ask(value: bytes) -> pb.VerifyTokenRequest:
        return pb.VerifyTokenRequest(access_token="junk", at_least=types_pb2.Cursor(value=value))

    for good in (b"", seal_cursor(core.view.known, ring=ring)):
        assert (await running.auth.VerifyToken(ask(good))).HasField("inactive")
    for junk in (b"junk", seal_cursor(core.view.known, ring=ring)[:-1] + b"x", b"\x00" * 37):
        told = await refused(running.auth.VerifyToken(ask(junk)))
        assert (told.reason, told.fields) == ("INVALID_FIELD", ("at_least",))
    other = seal_cursor(Cursor(b"12345678", 0), ring=ring)
    assert (await refused(running.auth.VerifyToken(ask(other)))).reason == "CURSOR_EXPIRED"
    ahead = Cursor(core.view.known.incarnation, core.view.known.position + 1)
    sleepers = core.clock.sleeping
    asking = asyncio.ensure_future(refused(running.auth.VerifyToken(ask(seal_cursor(ahead, ring=ring)))))
    await core.clock.until_sleeping(sleepers + 1)
    core.clock.advance(timedelta(milliseconds=500))
    assert (await asking).reason == "NOT_FRESH"


async def test_read_your_writes_over_replicas(running: Running, tmp_path: Path) -> None:
    """Revoked at one server, verified at another with the cursor: dead."""
    core = running.core
    async with (
        build_core(tmp_path, clock=core.clock, seed=2) as replica,
        running_server(replica) as other,
    ):
        token = (await core.login()).tokens.access_token
        assert (await other.auth.VerifyToken(pb.VerifyTokenRequest(access_token=token))).HasField("active")
        revoked = await running.auth.Revoke(pb.RevokeRequest(access_token=token))
        verdict = await other.auth.VerifyToken(
            pb.VerifyTokenRequest(access_token=token, at_least=revoked.cursor)
        )
        assert verdict.inactive.reason == types_pb2.INACTIVE_REASON_SESSION_REVOKED
        assert verdict.known_through == revoked.cursor


@pytest.mark.parametrize(
    ("request_", "reason", "fields"),
    [
        (pb.RevokeRequest(), "INVALID_FIELD", ("target",)),
        (pb.RevokeRequest(session_id=""), "INVALID_FIELD", ("session_id",)),
        (pb.RevokeRequest(app_id=""), "INVALID_FIELD", ("app_id",)),
        (pb.RevokeRequest(user=pb.UserTarget()), "INVALID_FIELD", ("user.user_id",)),
        (pb.RevokeRequest(user=pb.UserTarget(app_id=D1)), "INVALID_FIELD", ("user.user_id",)),
        (pb.RevokeRequest(user=pb.UserTarget(user_id=NOBODY), scope=SESSION), "INVALID_FIELD", ("scope",)),
        (pb.RevokeRequest(app_id=D1, scope=SESSION), "INVALID_FIELD", ("scope",)),
        (pb.RevokeRequest(access_token="x", scope=7), "INVALID_FIELD", ("scope",)),  # type: ignore[arg-type]
        *(
            (pb.RevokeRequest(access_token="x", reason=reason.value), "INVALID_FIELD", ("reason",))  # type: ignore[arg-type]
            for reason in EndReason
            if reason not in (EndReason.UNSPECIFIED, EndReason.LOGOUT, EndReason.ADMIN)
        ),
        (pb.RevokeRequest(access_token="x", reason=99), "INVALID_FIELD", ("reason",)),  # type: ignore[arg-type]
        (pb.RevokeRequest(session_id=NOBODY), "NOT_FOUND", ()),
        (pb.RevokeRequest(user=pb.UserTarget(user_id=NOBODY)), "NOT_FOUND", ()),
        (pb.RevokeRequest(app_id="wx-unknown", scope=ALL), "UNKNOWN_APP", ()),
        (pb.RevokeRequest(user=pb.UserTarget(user_id=NOBODY, app_id="wx-unknown")), "UNKNOWN_APP", ()),
    ],
)
async def test_a_revoke_that_is_refused(
    running: Running, request_: pb.RevokeRequest, reason: str, fields: tuple[str, ...]
) -> None:
    """Each with its reason, and nothing is written."""
    head = await running.core.store.real.read_head()
    told = await refused(running.auth.Revoke(request_))
    assert (told.reason, told.fields) == (reason, fields)
    assert await running.core.store.real.read_head() == head


@pytest.mark.parametrize(
    ("kind", "scope"),
    [
        (kind, scope)
        for kind in ("access_token", "refresh_token", "session_id", "user", "app_id")
        for scope in (pb.REVOKE_SCOPE_UNSPECIFIED, SESSION, ALL)
        if not (kind in ("user", "app_id") and scope == SESSION)
    ],
)
@pytest.mark.parametrize("reason", [EndReason.UNSPECIFIED, EndReason.LOGOUT, EndReason.ADMIN])
async def test_targets_scopes_and_reasons(
    running: Running, kind: str, scope: pb.RevokeScope.ValueType, reason: EndReason
) -> None:
    """Every allowed combination ends what it names, no more, with the reason asked for or the target's own."""
    core = running.core
    mine, second, shop, bob = [
        await core.login(user, app_id=app_id)
        for user, app_id in (("alice", D1), ("alice", D1), ("alice", D2), ("bob", D1))
    ]
    request = pb.RevokeRequest(scope=scope, reason=types_pb2.SessionEndReason.ValueType(reason.value))
    match kind:
        case "access_token":
            request.access_token = mine.tokens.access_token
        case "refresh_token":
            request.refresh_token = mine.tokens.refresh_token
        case "session_id":
            request.session_id = mine.opened.session.session_id
        case "user":
            request.user.user_id = mine.opened.user.user_id
        case _:
            request.app_id = D1
    answer = await running.auth.Revoke(request)
    if kind == "app_id":
        expected = [True, True, False, True]
    elif kind == "user" or scope == ALL:
        expected = [True, True, True, False]
    else:
        expected = [True, False, False, False]
    verdicts = await running.auth.BatchVerifyTokens(
        pb.BatchVerifyTokensRequest(
            requests=[
                pb.VerifyTokenRequest(access_token=login.tokens.access_token, at_least=answer.cursor)
                for login in (mine, second, shop, bob)
            ]
        )
    )
    assert [verdict.HasField("inactive") for verdict in verdicts.responses] == expected
    assert answer.ended_sessions == sum(expected)
    head = await core.store.real.read_head()
    assert answer.position == position_bytes(head.position)
    by_token = kind in ("access_token", "refresh_token")
    own = EndReason.LOGOUT if by_token else EndReason.ADMIN
    told = verdicts.responses[0].inactive.session_end_reason
    assert EndReason(told) is (reason or own)
    session = await core.store.real.get_session(mine.opened.session.session_id)
    assert session is not None
    assert session.ended is not None
    assert session.ended.by == "tester"


async def test_a_user_narrowed_to_one_app(running: Running) -> None:
    """The user's sessions there, and nothing else."""
    core = running.core
    here, there = await core.login(), await core.login(app_id=D2)
    target = pb.UserTarget(user_id=here.opened.user.user_id, app_id=D2)
    assert (await running.auth.Revoke(pb.RevokeRequest(user=target, scope=ALL))).ended_sessions == 1
    verdicts = [
        await running.auth.VerifyToken(pb.VerifyTokenRequest(access_token=login.tokens.access_token))
        for login in (here, there)
    ]
    assert [verdict.HasField("active") for verdict in verdicts] == [True, False]


async def test_the_jwks_with_what_a_verifier_must_know(running: Running) -> None:
    """Keys, issuer, the largest lifetime, and withdrawn keys as soon as the log tells of them."""
    from authapi.v1 import key_service_pb2

    core = running.core
    answer = await running.keys.GetJwks(key_service_pb2.GetJwksRequest())
    kid = core.signer.header.kid
    assert answer.jwks_json == core.keys.jwks_json
    assert kid in answer.jwks_json
    assert answer.issuer == "authsvc"
    assert answer.max_token_lifetime.ToTimedelta() == timedelta(hours=2)
    assert answer.max_age.ToTimedelta() > timedelta(0)
    assert list(answer.withdrawn_key_ids) == []
    await core.store.real.write_key_withdrawal(kid, by="operator")
    await core.polled()
    answer = await running.keys.GetJwks(key_service_pb2.GetJwksRequest())
    assert list(answer.withdrawn_key_ids) == [kid]


async def test_a_batch_of_unknown_keys_reads_them_once(running: Running) -> None:
    """The tokens of a batch came together: junk key ids cost one read of the keys, not one each, and no wait each."""
    good = await running.core.login()
    strangers = [foreign_token(number) for number in range(40)]
    running.core.clock.advance(timedelta(seconds=1))  # the keys were read before the tokens came
    before = running.core.store.calls["list_signing_keys"]
    batch = await running.auth.BatchVerifyTokens(
        pb.BatchVerifyTokensRequest(
            requests=[
                pb.VerifyTokenRequest(access_token=token) for token in (*strangers, good.tokens.access_token)
            ]
        )
    )
    *unknown, known = batch.responses
    assert {answer.inactive.reason for answer in unknown} == {types_pb2.INACTIVE_REASON_UNKNOWN_KEY}
    assert known.HasField("active")
    assert running.core.store.calls["list_signing_keys"] == before + 1


def foreign_token(number: int) -> str:
    """A well-formed token of a key that nobody knows."""
    claims = Claims(
        issuer="authsvc",
        user_id=NOBODY,
        audiences=(D1,),
        app_id=D1,
        expires_at=2_000_000_000,
        issued_at=1_999_999_000,
        not_before=1_999_999_000,
        token_id=NOBODY,
        session_id=NOBODY,
        position=0,
    )
    header = access_token.header_segment(kid=f"stranger-{number}", alg="ES256")
    return access_token.join(access_token.signing_input(claims, header=header), b"s" * 64)


async def test_nul_is_no_part_of_a_name(running: Running) -> None:
    """Refused before any I/O: one database would take it, another would not."""
    revoke = pb.RevokeRequest(user=pb.UserTarget(user_id="a\0"))
    assert (await refused(running.auth.Revoke(revoke))).fields == ("user.user_id",)
    for request, field in (
        (session_service_pb2.ListSessionsRequest(user_id="a\0"), "user_id"),
        (session_service_pb2.ListSessionsRequest(app_id="a\0"), "app_id"),
    ):
        assert (await refused(running.sessions.ListSessions(request))).fields == (field,)
