"""WeChatService over gRPC against the sandbox: what each RPC answers, for whom, and what it refuses."""

import hashlib
import json
from collections.abc import Awaitable
from datetime import timedelta
from typing import Any

import grpc
import pytest
from google.protobuf.duration_pb2 import Duration

from authapi.v1 import auth_service_pb2, error_reason_pb2
from authapi.v1 import wechat_service_pb2 as pb
from authsvc.domain.apps import PhonePolicy
from authsvc.domain.seal_contexts import phone_context
from authsvc.sandbox.user_data import VARIANTS
from authsvc.service.login import LoginResult
from tests.support.core import D1, D2, D3, Core, sandbox_apps
from tests.support.server import ROLES, Running, refused

# What the servicer or a gateway can see without a key, and what opened and is not ours. The rest could be a wrong key.
INVALID = {"wrong-app", "short-iv", "truncated", "spaces", "percent", "not-base64"}
GOOD = {"faithful", "previous-key", "old", "raw-reserialised", "raw-signature"}
FIELD = {"empty"}


def decrypt(running: Running, data: Any, **subject: Any) -> Awaitable[pb.DecryptUserDataResponse]:
    request = pb.DecryptUserDataRequest(encrypted_data=data.encrypted_data, iv=data.iv, **subject)
    return running.wechat.DecryptUserData(request)


def phone(running: Running, made: LoginResult, code: str) -> Awaitable[pb.GetPhoneNumberResponse]:
    request = pb.GetPhoneNumberRequest(access_token=made.tokens.access_token, code=code)
    return running.wechat.GetPhoneNumber(request)


def target(made: LoginResult, app_id: str = D1) -> auth_service_pb2.UserTarget:
    return auth_service_pb2.UserTarget(user_id=made.opened.user.user_id, app_id=app_id)


async def sealed_keys(core: Core, made: LoginResult) -> list[str]:
    """The session keys that the record holds of the user in d1, newest first."""
    [identity] = await core.store.real.find_identities(made.opened.user.user_id, app_id=D1)
    context = f"{D1}\0{made.openid}".encode()
    opened = [core.sealer.open(key.blob, context=context) for key in identity.session_keys]
    return [key.decode() for key in opened if key is not None]


@pytest.mark.parametrize("subject", ["access_token", "user"])
@pytest.mark.parametrize("kind", ["user", "phone", "run"])
async def test_user_data_are_answered_as_they_stood(running: Running, subject: str, kind: Any) -> None:
    """By token or by user id and app id: the text that WeChat encrypted, and when."""
    core = running.core
    made = await core.login()
    named = (
        {"access_token": made.tokens.access_token} if subject == "access_token" else {"user": target(made)}
    )
    answer = await decrypt(running, core.sandbox.user_data(D1, "alice", kind=kind), **named)
    fields = json.loads(answer.user_data_json)
    assert fields["watermark"]["appid"] == D1
    assert answer.encrypted_at.seconds == fields["watermark"]["timestamp"]
    assert fields.get("openId", made.openid) == made.openid


@pytest.mark.parametrize("variant", sorted(VARIANTS))
async def test_every_flaw_has_its_one_reason(running: Running, variant: str) -> None:
    """Damage that shows without a key is USER_DATA_INVALID, like another app's; what may be a wrong key is stale."""
    core = running.core
    made = await core.login()
    await core.login()  # a second exchange: there is a previous key
    core.sandbox.world.keys.replace(D1, user="alice", now=core.clock.now())
    await core.login()
    data = core.sandbox.user_data(D1, "alice", variant=variant)
    call = decrypt(running, data, access_token=made.tokens.access_token)
    if variant in GOOD:
        assert json.loads((await call).user_data_json)
        return
    told = await refused(call)
    if variant in FIELD:
        assert (told.reason, told.fields) == ("INVALID_FIELD", ("encrypted_data",))
    else:
        assert told.reason == ("USER_DATA_INVALID" if variant in INVALID else "SESSION_KEY_STALE")
    assert told.metadata == {}


async def test_a_key_replaced_elsewhere_is_stale_until_the_next_login(running: Running) -> None:
    """Data under a key that we never saw: SESSION_KEY_STALE; after a login they open, and the older ones still do."""
    core = running.core
    made = await core.login()
    before = core.sandbox.user_data(D1, "alice")
    core.sandbox.world.keys.replace(D1, user="alice", now=core.clock.now())
    after = core.sandbox.user_data(D1, "alice")
    token = made.tokens.access_token
    assert (await refused(decrypt(running, after, access_token=token))).reason == "SESSION_KEY_STALE"
    await core.login()
    for data in (after, before):
        assert (await decrypt(running, data, access_token=token)).user_data_json


async def test_data_of_another_user_never_open(running: Running) -> None:
    """Bob's data with Alice's token fit none of her keys."""
    core = running.core
    made, _ = await core.login("alice"), await core.login("bob")
    data = core.sandbox.user_data(D1, "bob")
    told = await refused(decrypt(running, data, access_token=made.tokens.access_token))
    assert told.reason == "SESSION_KEY_STALE"


async def test_old_data_are_refused_only_on_request(running: Running) -> None:
    """max_age bounds the watermark's age; a day old is fine without it; it must be positive."""
    core = running.core
    made = await core.login()
    data = core.sandbox.user_data(D1, "alice", variant="old")
    named = {"access_token": made.tokens.access_token}
    assert (await decrypt(running, data, **named)).user_data_json
    assert (await decrypt(running, data, max_age=Duration(seconds=2**40), **named)).user_data_json
    told = await refused(decrypt(running, data, max_age=Duration(seconds=3600), **named))
    assert told.reason == "USER_DATA_INVALID"
    told = await refused(decrypt(running, data, max_age=Duration(), **named))
    assert told.fields == ("max_age",)


async def test_an_unopenable_seal_is_a_stale_key(running: Running) -> None:
    """A lost master key, or a blob moved from another row, is SESSION_KEY_STALE everywhere, never INTERNAL."""
    core = running.core
    made = await core.login()
    data = core.sandbox.user_data(D1, "alice")
    for blob in (b"", b"\x01junk", core.sealer.seal(b"x" * 24, context=b"elsewhere")):
        for _ in range(2):  # the latest and the one before
            core.clock.advance(timedelta(seconds=1))
            await core.store.real.keep_session_key(
                app_id=D1, openid=made.openid, sealed=blob, exchanged_at=core.clock.now()
            )
        token = made.tokens.access_token
        signed = pb.CheckUserDataSignatureRequest(
            access_token=token, raw_data=data.raw_data, signature=data.signature
        )
        calls: list[Awaitable[Any]] = [
            decrypt(running, data, access_token=token),
            running.wechat.CheckUserDataSignature(signed),
            running.wechat.CheckSessionKey(pb.CheckSessionKeyRequest(access_token=token)),
            running.wechat.ResetSessionKey(pb.ResetSessionKeyRequest(access_token=token)),
        ]
        for call in calls:
            assert (await refused(call)).reason == "SESSION_KEY_STALE"


async def test_a_signature_holds_for_the_very_text(running: Running) -> None:
    """True for rawData as it came, under the latest key and the one before; written anew or signed otherwise: false."""
    core = running.core
    made = await core.login()

    async def valid(raw_data: str, signature: str) -> bool:
        request = pb.CheckUserDataSignatureRequest(
            access_token=made.tokens.access_token, raw_data=raw_data, signature=signature
        )
        return (await running.wechat.CheckUserDataSignature(request)).valid

    data = core.sandbox.user_data(D1, "alice")
    assert await valid(data.raw_data, data.signature)
    assert await valid(data.raw_data, data.signature.upper())
    core.sandbox.world.keys.replace(D1, user="alice", now=core.clock.now())
    await core.login()
    assert await valid(data.raw_data, data.signature)
    for variant in ("raw-reserialised", "raw-signature"):
        flawed = core.sandbox.user_data(D1, "alice", variant=variant)
        assert not await valid(flawed.raw_data, flawed.signature)
    told = await refused(valid(data.raw_data, "x" * 40))
    assert told.fields == ("signature",)


async def test_a_phone_code_is_the_users_own_and_works_once(running: Running) -> None:
    """The number comes back; the same code again, another user's, a login code, junk: one reason for all."""
    core = running.core
    made = await core.login("alice")
    code = core.sandbox.mint_phone(D1, "alice")
    number = core.sandbox.world.phones.of("alice")
    answer = await phone(running, made, code)
    assert (answer.phone_number, answer.pure_phone_number, answer.country_code, answer.bound) == (
        number.full,
        number.pure,
        number.country,
        False,
    )
    for bad in (code, core.sandbox.mint_phone(D1, "bob"), core.code("alice"), core.sandbox.mint_phone(D2, "alice"), "x"):  # fmt: skip
        assert (await refused(phone(running, made, bad))).reason == "PHONE_CODE_INVALID"
    assert (await refused(phone(running, made, ""))).fields == ("code",)
    assert (await refused(phone(running, made, "x" * 513))).fields == ("code",)


async def test_a_phone_code_is_no_login_code(running: Running) -> None:
    """It is refused as one, and is still good for what it is."""
    core = running.core
    made = await core.login("alice")
    code = core.sandbox.mint_phone(D1, "alice")
    request = auth_service_pb2.LoginRequest(app_id=D1, mini_program_code=code)
    assert (await refused(running.auth.Login(request))).reason == "LOGIN_CODE_INVALID"
    assert (await phone(running, made, code)).phone_number


async def test_a_login_answers_the_phone_number_too(running: Running) -> None:
    """One call, two codes; a phone code that fails leaves the login standing and says why."""
    core = running.core

    async def login(phone_code: str) -> auth_service_pb2.LoginResponse:
        request = auth_service_pb2.LoginRequest(
            app_id=D1, mini_program_code=core.code("alice"), phone_code=phone_code
        )
        response: auth_service_pb2.LoginResponse = await running.auth.Login(request)
        assert response.tokens.access_token
        return response

    good = await login(core.sandbox.mint_phone(D1, "alice"))
    assert good.phone_number == core.sandbox.world.phones.of("alice").full
    assert good.phone_error == 0
    reasons = error_reason_pb2.ErrorReason
    for code, reason in (
        (core.sandbox.mint_phone(D1, "bob"), reasons.ERROR_REASON_PHONE_CODE_INVALID),
        (core.sandbox.mint_phone(D1, "alice", fault="errcode;45011"), reasons.ERROR_REASON_WECHAT_THROTTLED),
        (core.sandbox.mint_phone(D1, "alice", fault="errcode;48001"), reasons.ERROR_REASON_WECHAT_MISCONFIGURED),
        (core.sandbox.mint_phone(D1, "alice", fault="http;502"), reasons.ERROR_REASON_WECHAT_UNAVAILABLE),
    ):  # fmt: skip
        failed = await login(code)
        assert not failed.HasField("phone_number")
        assert failed.phone_error == reason
    assert "login.phone_failed" in {event.name for event in core.observer.events}


async def test_a_check_asks_wechat_about_the_latest_key(running: Running) -> None:
    """True while WeChat takes it for the user's, false once another one is; nothing changes."""
    core = running.core
    made = await core.login()
    request = pb.CheckSessionKeyRequest(user=target(made))
    assert (await running.wechat.CheckSessionKey(request)).valid
    held = await sealed_keys(core, made)
    core.sandbox.world.keys.replace(D1, user="alice", now=core.clock.now())
    assert not (await running.wechat.CheckSessionKey(request)).valid
    assert await sealed_keys(core, made) == held


async def test_a_reset_keeps_the_new_key_and_the_old_one(running: Running) -> None:
    """The new key is held as the latest and passes the check; data of before and after open; a stale key resets nothing."""
    core = running.core
    made = await core.login()
    before = core.sandbox.user_data(D1, "alice")
    [old] = await sealed_keys(core, made)
    core.clock.advance(timedelta(seconds=1))
    answer = await running.wechat.ResetSessionKey(pb.ResetSessionKeyRequest(user=target(made)))
    assert answer.reset_at.ToDatetime(tzinfo=core.clock.now().tzinfo) == core.clock.now()
    new, previous = await sealed_keys(core, made)
    assert (previous, new != old) == (old, True)
    assert (await running.wechat.CheckSessionKey(pb.CheckSessionKeyRequest(user=target(made)))).valid
    for data in (before, core.sandbox.user_data(D1, "alice")):
        assert (await decrypt(running, data, user=target(made))).user_data_json
    core.sandbox.world.keys.replace(D1, user="alice", now=core.clock.now())
    call = running.wechat.ResetSessionKey(pb.ResetSessionKeyRequest(user=target(made)))
    assert (await refused(call)).reason == "SESSION_KEY_STALE"


async def test_a_reset_that_cannot_be_kept_says_so(running: Running) -> None:
    """The key is gone at WeChat: UNAVAILABLE, then stale, and a login mends it."""
    core = running.core
    made = await core.login()
    core.store.fail("keep_session_key")
    request = pb.ResetSessionKeyRequest(user=target(made))
    assert (await refused(running.wechat.ResetSessionKey(request))).reason == "STORE_UNAVAILABLE"
    assert (await refused(running.wechat.ResetSessionKey(request))).reason == "SESSION_KEY_STALE"
    await core.login()
    assert (await running.wechat.CheckSessionKey(pb.CheckSessionKeyRequest(user=target(made)))).valid


async def test_the_subject_has_to_be_whole_and_there(running: Running) -> None:
    """Both parts of a target; a known user in a known app; a token for this caller that is alive."""
    core = running.core
    made = await core.login()
    user_id = made.opened.user.user_id

    async def told(**subject: Any) -> tuple[str, tuple[str, ...]]:
        found = await refused(running.wechat.CheckSessionKey(pb.CheckSessionKeyRequest(**subject)))
        return found.reason, found.fields

    def user(user_id: str, app_id: str) -> auth_service_pb2.UserTarget:
        return auth_service_pb2.UserTarget(user_id=user_id, app_id=app_id)

    assert await told(user=user("", D1)) == ("INVALID_FIELD", ("user.user_id",))
    assert await told(user=user(user_id, "")) == ("INVALID_FIELD", ("user.app_id",))
    assert await told(user=user("\0", D1)) == ("INVALID_FIELD", ("user.user_id",))
    assert await told(user=user("A" * 22, D1)) == ("NOT_FOUND", ())
    assert await told(user=user(user_id, D3)) == ("NOT_FOUND", ())
    assert await told(user=user(user_id, "wx-unknown")) == ("UNKNOWN_APP", ())
    running.authenticator.audiences = frozenset({D2})
    assert await told(access_token=made.tokens.access_token) == ("TOKEN_INVALID", ())
    running.authenticator.audiences = frozenset({D1})
    await running.auth.Revoke(auth_service_pb2.RevokeRequest(access_token=made.tokens.access_token))
    assert await told(access_token=made.tokens.access_token) == ("TOKEN_INVALID", ())
    core.store.down = True
    try:
        assert await told(user=target(made)) == ("STORE_UNAVAILABLE", ())
    finally:
        core.store.down = False


async def test_an_app_that_binds_keeps_the_number_sealed(running: Running) -> None:
    """`phone = "bind"`: bound by both ways, found by its blind index, nowhere in clear; nobody is merged."""
    core = running.core
    core.apps.replace(sandbox_apps(phone=PhonePolicy.BIND))
    alice, bob = await core.login("alice"), await core.login("bob")
    number = core.sandbox.world.phones.of("alice")
    core.sandbox.world.phones.set("bob", number=number.pure, country=number.country)
    answer = await phone(running, alice, core.sandbox.mint_phone(D1, "alice"))
    assert answer.bound
    again = await core.login("bob", phone_code=core.sandbox.mint_phone(D1, "bob"))
    assert again.phone is not None
    for made in (alice, bob):
        [identity] = await core.store.real.find_identities(made.opened.user.user_id, app_id=D1)
        assert identity.sealed_phone is not None
        opened = core.sealer.open(identity.sealed_phone, context=phone_context(D1, made.openid))
        assert opened == number.full.encode()
        assert core.sealer.open(identity.sealed_phone, context=f"{D1}\0{made.openid}".encode()) is None
    assert alice.opened.user.user_id != again.opened.user.user_id
    stored = b"".join(file.read_bytes() for file in core.path.parent.glob("authsvc.db*"))
    assert number.pure.encode() not in stored
    assert hashlib.sha256(number.full.encode()).digest() not in stored


async def test_a_number_that_could_not_be_bound_is_no_success(running: Running) -> None:
    """The record is away at the last moment: UNAVAILABLE; the code is spent, so the next try asks for a new one."""
    core = running.core
    core.apps.replace(sandbox_apps(phone=PhonePolicy.BIND))
    made = await core.login()
    code = core.sandbox.mint_phone(D1, "alice")
    core.store.fail("bind_phone")
    assert (await refused(phone(running, made, code))).reason == "STORE_UNAVAILABLE"
    assert (await refused(phone(running, made, code))).reason == "PHONE_CODE_INVALID"


async def test_the_edge_names_users_by_their_own_token_only(running: Running) -> None:
    """By user id it is CALLER_FORBIDDEN, whatever the rest says."""
    made = await running.core.login()
    request = pb.DecryptUserDataRequest(user=target(made))
    told = await refused(running.wechat.DecryptUserData(request, metadata=((ROLES, "edge"),)))
    assert (told.reason, told.code) == ("CALLER_FORBIDDEN", grpc.StatusCode.PERMISSION_DENIED)
