"""Every row of CONTRACT.md's table that these RPCs can produce, produced over gRPC."""

from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Any

import grpc
import pytest

from authapi.v1 import auth_service_pb2 as pb
from authapi.v1 import error_reason_pb2, session_service_pb2, types_pb2, wechat_service_pb2
from authapi.v1 import user_service_pb2 as users_pb
from authsvc.domain.cursors import Cursor, seal_cursor
from authsvc.domain.limits import Rate
from authsvc.domain.login_code import hash_code
from authsvc.domain.users import Block
from tests.contract import pinned
from tests.support.core import D1, D3, OFF
from tests.support.server import CALLER, ROLES, Running, refused

# What tests of their own prove: slow watchers.
NOT_YET_PRODUCED = {"WATCHER_TOO_SLOW"}
# No RPC says so, only HTTP: a good token that lacks what `/verify` asks for (tests/edge/test_verify.py).
OF_THE_EDGE = {"TOKEN_INSUFFICIENT"}
SECOND = timedelta(seconds=1)
Produce = Callable[[Running], Awaitable[Awaitable[Any]]]


@dataclass(frozen=True)
class Case:
    """How a row comes about: `produce` sets the scene and returns the call that is refused."""

    reason: str
    produce: Produce
    metadata: dict[str, str] = field(default_factory=dict)
    retry: timedelta | None = None
    fields: tuple[str, ...] = ()


def login(running: Running, code: str, app_id: str = D1) -> Awaitable[Any]:
    return running.auth.Login(pb.LoginRequest(app_id=app_id, mini_program_code=code))


def faulty(fault: str) -> Produce:
    """A login whose exchange meets this fault."""

    async def produce(running: Running) -> Awaitable[Any]:
        return login(running, running.core.code(fault=fault))

    return produce


def plain(app_id: str, code: str) -> Produce:
    """A login with this app and code."""

    async def produce(running: Running) -> Awaitable[Any]:
        return login(running, code, app_id)

    return produce


async def claimed_elsewhere(running: Running) -> Awaitable[Any]:
    code = running.core.code()
    await running.core.store.real.claim_code(app_id=D1, code_hash=hash_code(code), ttl=timedelta(minutes=10))
    return login(running, code)


async def not_stored(running: Running) -> Awaitable[Any]:
    running.core.store.fail("open_session")
    return login(running, running.core.code())


async def unreachable(running: Running) -> Awaitable[Any]:
    await running.core.sandbox.refuse()
    return login(running, running.core.code())


async def store_down(running: Running) -> Awaitable[Any]:
    running.core.store.down = True
    return login(running, running.core.code())


async def blocked(running: Running) -> Awaitable[Any]:
    core = running.core
    user = (await core.login()).opened.user
    await core.store.real.block_user(user.user_id, block=Block(reason="x", by="op", at=core.clock.now()))
    return login(running, core.code())


async def blocked_refresh(running: Running) -> Awaitable[Any]:
    core = running.core
    made = await core.login()
    await core.store.real.block_user(
        made.opened.user.user_id, block=Block(reason="x", by="op", at=core.clock.now())
    )
    return running.auth.RefreshToken(pb.RefreshTokenRequest(refresh_token=made.tokens.refresh_token))


async def stale(running: Running) -> Awaitable[Any]:
    core = running.core
    token = (await core.login()).tokens.access_token
    core.store.down = True
    core.clock.advance(timedelta(seconds=31))
    return running.auth.VerifyToken(pb.VerifyTokenRequest(access_token=token))


async def forged_refresh(running: Running) -> Awaitable[Any]:
    return running.auth.RefreshToken(pb.RefreshTokenRequest(refresh_token="wxr1.junk"))


def over(reason: str) -> Produce:
    """A refresh of a session that is over for this reason."""

    async def produce(running: Running) -> Awaitable[Any]:
        core = running.core
        text = (await core.login()).tokens.refresh_token
        if reason == "LOGOUT":
            await running.auth.Revoke(pb.RevokeRequest(refresh_token=text))
        elif reason == "EXPIRED":
            core.clock.advance(timedelta(days=8))
        else:
            successor = await core.refresh(text)
            if reason == "REFRESH_REUSE":
                await core.refresh(successor.tokens.refresh_token)
            else:
                core.clock.advance(31 * SECOND)
        return running.auth.RefreshToken(pb.RefreshTokenRequest(refresh_token=text))

    return produce


async def too_often(running: Running) -> Awaitable[Any]:
    core = running.core
    rule = replace(core.limiter._rules, login_app=Rate(per_second=0.1, burst=1))
    core.limiter._rules = rule
    await core.login("alice")
    return login(running, core.code("bob"))


async def bad_subject(running: Running) -> Awaitable[Any]:
    return running.sessions.GetSession(session_service_pb2.GetSessionRequest(access_token="junk"))


async def nobody(running: Running) -> Awaitable[Any]:
    return running.auth.Login(pb.LoginRequest(), metadata=((CALLER, "nobody"),))


async def forbidden(running: Running) -> Awaitable[Any]:
    return running.auth.Revoke(pb.RevokeRequest(app_id=D1), metadata=((ROLES, "edge"),))


async def no_session(running: Running) -> Awaitable[Any]:
    return running.sessions.GetSession(session_service_pb2.GetSessionRequest(session_id="A" * 22))


async def no_user(running: Running) -> Awaitable[Any]:
    return running.auth.Revoke(pb.RevokeRequest(user=pb.UserTarget(user_id="A" * 22)))


async def taken_external_id(running: Running) -> Awaitable[Any]:
    core = running.core
    first = (await core.login("alice")).opened.user.user_id
    other = (await core.login("bob")).opened.user.user_id
    await core.people.set_external_id(first, "crm-1", by="op")
    return running.users.SetExternalId(users_pb.SetExternalIdRequest(user_id=other, external_id="crm-1"))


async def merge_with_oneself(running: Running) -> Awaitable[Any]:
    core = running.core
    first = (await core.login("alice")).opened.user.user_id
    return running.users.SplitUser(users_pb.SplitUserRequest(merged_user_id=first))


async def old_cursor(running: Running) -> Awaitable[Any]:
    value = seal_cursor(Cursor(b"12345678", 0), ring=running.core.rings.cursor)
    return running.auth.VerifyToken(pb.VerifyTokenRequest(at_least=types_pb2.Cursor(value=value)))


async def no_field(running: Running) -> Awaitable[Any]:
    return running.auth.RefreshToken(pb.RefreshTokenRequest())


def user_data(variant: str) -> Produce:
    """The decryption of user data with this flaw."""

    async def produce(running: Running) -> Awaitable[Any]:
        made = await running.core.login()
        data = running.core.sandbox.user_data(D1, "alice", variant=variant)
        return running.wechat.DecryptUserData(
            wechat_service_pb2.DecryptUserDataRequest(
                access_token=made.tokens.access_token, encrypted_data=data.encrypted_data, iv=data.iv
            )
        )

    return produce


async def anothers_phone(running: Running) -> Awaitable[Any]:
    made = await running.core.login("alice")
    code = running.core.sandbox.mint_phone(D1, "bob")
    return running.wechat.GetPhoneNumber(
        wechat_service_pb2.GetPhoneNumberRequest(access_token=made.tokens.access_token, code=code)
    )


async def stranger_in_the_app(running: Running) -> Awaitable[Any]:
    user = pb.UserTarget(user_id=(await running.core.login()).opened.user.user_id, app_id=D3)
    return running.wechat.CheckSessionKey(wechat_service_pb2.CheckSessionKeyRequest(user=user))


async def bad_wechat_subject(running: Running) -> Awaitable[Any]:
    return running.wechat.CheckSessionKey(wechat_service_pb2.CheckSessionKeyRequest(access_token="junk"))


def wechat_says(errcode: int) -> dict[str, str]:
    return {"app_id": D1, "errcode": str(errcode)}


CASES = [
    Case("INVALID_FIELD", no_field, fields=("refresh_token",)),
    Case("LOGIN_CODE_INVALID", plain(D1, "no such code")),
    Case("LOGIN_CODE_INVALID", plain(D1, "the code is a mock one")),
    Case("LOGIN_CODE_USED", faulty("errcode;40163")),
    Case("LOGIN_CODE_USED", claimed_elsewhere),
    *(
        Case("LOGIN_CODE_SPENT", faulty(fault))
        for fault in ("drop", "drop-consumed", "system-error", "http;502", "truncated", "empty-body")
    ),
    Case("LOGIN_CODE_SPENT", not_stored),
    Case("WECHAT_USER_BLOCKED", faulty("errcode;40226")),
    Case("USER_BLOCKED", blocked),
    Case("USER_BLOCKED", blocked_refresh),
    Case("WECHAT_THROTTLED", faulty("minute-quota"), retry=60 * SECOND),
    Case("WECHAT_THROTTLED", faulty("daily-quota"), retry=3600 * SECOND),
    Case("WECHAT_UNAVAILABLE", unreachable, retry=SECOND),
    Case("STORE_UNAVAILABLE", store_down, retry=SECOND),
    Case("NOT_FRESH", stale, retry=SECOND),
    *(
        Case("WECHAT_MISCONFIGURED", faulty(f"errcode;{errcode}"), wechat_says(errcode))
        for errcode in (40013, 40125, 40243, 40164, 48001, 50002)
    ),
    Case("UNKNOWN_APP", plain("wx-unknown", "x")),
    Case("APP_DISABLED", plain(OFF, "x")),
    Case("REFRESH_TOKEN_INVALID", forged_refresh),
    *(
        Case("SESSION_ENDED", over(reason), {"end_reason": reason})
        for reason in ("LOGOUT", "EXPIRED", "REFRESH_STALE", "REFRESH_REUSE")
    ),
    Case("RATE_LIMITED", too_often, retry=10 * SECOND),
    Case("TOKEN_INVALID", bad_subject),
    Case("TOKEN_INVALID", bad_wechat_subject),
    Case("PHONE_CODE_INVALID", anothers_phone),
    Case("SESSION_KEY_STALE", user_data("wrong-key")),
    Case("USER_DATA_INVALID", user_data("wrong-app")),
    Case("NOT_FOUND", stranger_in_the_app, {"what": "identity"}),
    Case("CALLER_UNAUTHENTICATED", nobody),
    Case("CALLER_FORBIDDEN", forbidden),
    Case("NOT_FOUND", no_session, {"what": "session"}),
    Case("NOT_FOUND", no_user, {"what": "user"}),
    Case("EXTERNAL_ID_TAKEN", taken_external_id),
    Case("MERGE_IMPOSSIBLE", merge_with_oneself),
    Case("CURSOR_EXPIRED", old_cursor),
    Case("INTERNAL", faulty("errcode;99999")),
]


@pytest.fixture
async def scene(running: Running) -> AsyncIterator[Running]:
    yield running
    running.core.store.down = False


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.reason)
async def test_the_row_is_produced(scene: Running, case: Case) -> None:
    """Its code, its reason and exactly its details; the observer saw the same; and no secret is in it."""
    told = await refused(await case.produce(scene))
    code = getattr(grpc.StatusCode, pinned.REASONS[case.reason][0])
    assert (told.reason, told.code) == (case.reason, code)
    assert (told.metadata, told.retry, told.fields) == (case.metadata, case.retry, case.fields)
    record = scene.core.observer.calls[-1]
    assert (record.code, record.reason) == (code.name, case.reason)
    secrets = [app.secret for app in scene.core.sandbox.world.apps]
    assert not [secret for secret in secrets if secret.encode() in told.raw]


def test_every_reason_is_produced_or_known_to_be_missing() -> None:
    """Produced and known to be missing are the whole enum, and nothing is both."""
    produced = {case.reason for case in CASES}
    named = {name.removeprefix("ERROR_REASON_") for name, _ in error_reason_pb2.ErrorReason.items()}
    missing = NOT_YET_PRODUCED | OF_THE_EDGE
    assert produced | missing == named - {"UNSPECIFIED"}
    assert not produced & missing
