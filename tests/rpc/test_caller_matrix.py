"""Every RPC as every kind of caller, over real TLS, with certificates and service keys as callers have them."""

from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import pytest

from authapi.v1 import auth_service_pb2 as pb
from authapi.v1 import types_pb2
from authsvc.domain.principals import Declared, Role
from authsvc.rpc import health, wrapper
from authsvc.rpc.policy import POLICIES
from tests.rpc.matrix import CALLS, GARBAGE, PATHS, Values, cases, filled, may_call
from tests.support.callers import Guarded, bearer, by_file, guarded_server, spiffe
from tests.support.certificates import Authority
from tests.support.core import D1, D2, Core
from tests.support.server import PATIENCE_S, read_refusal

VERDICTS = {"VerifyToken", "BatchVerifyTokens"}
ABOUT_NO_APP = {"GetJwks", "WatchRevocations"}
# Of what is about persons as a whole, what a caller may still do who is limited to an app.
WITHIN_AN_APP = {"EraseUser.code"}


@pytest.fixture
async def guarded(core: Core, tmp_path: Path) -> AsyncIterator[Guarded]:
    async with guarded_server(core, tmp_path / "trust") as served:
        yield served


async def called(channel: grpc.aio.Channel, path: str, request: bytes, metadata: Any = ()) -> str:
    """`OK`, or the reason of the refusal. Streams are read no further than their first message."""
    raw: Any = channel
    try:
        if path.endswith("WatchRevocations"):
            call = raw.unary_stream(path)(request, metadata=metadata, timeout=PATIENCE_S)
            await call.read()
            call.cancel()
        else:
            await raw.unary_unary(path)(request, metadata=metadata, timeout=PATIENCE_S)
    except grpc.aio.AioRpcError as error:
        return read_refusal(error).reason
    return "OK"


async def wrongly_judged(channel: grpc.aio.Channel, role: Role, metadata: Any = ()) -> list[tuple[str, ...]]:
    """The calls whose outcome is not what the contract says of this role."""
    wrong: list[tuple[str, ...]] = []
    for path, name, case, request in CALLS:
        found = await called(channel, path, request.SerializeToString(), metadata)
        forbidden = found == "CALLER_FORBIDDEN"
        if found == "CALLER_UNAUTHENTICATED" or forbidden == may_call(role.value, name, case):
            wrong.append((name, case, found))
    return wrong


@pytest.mark.parametrize("role", list(Role))
async def test_a_certificate_may_what_its_role_may(guarded: Guarded, role: Role) -> None:
    """The SPIFFE id of a certificate names the principal; every RPC and case as the contract says."""
    channel = guarded.channel(certificate=guarded.authority.issue(uris=(spiffe(role),)))
    assert await wrongly_judged(channel, role) == []


@pytest.mark.parametrize("role", list(Role))
async def test_a_service_key_may_what_its_role_may(guarded: Guarded, role: Role) -> None:
    """The same for a key, on the port that asks for no certificate."""
    key = await guarded.new_key(f"by-key-{role.value}", role, audiences=(D1,))
    assert await wrongly_judged(guarded.channel(), role, bearer(key)) == []


async def test_a_removed_row_is_noticed(guarded: Guarded, monkeypatch: pytest.MonkeyPatch) -> None:
    """An RPC without a row is refused to everybody, which this matrix takes for an error, whatever the RPC."""
    monkeypatch.setattr(
        wrapper, "POLICIES", {path: row for path, row in POLICIES.items() if "GetJwks" not in path}
    )
    async with guarded_server(guarded.core, guarded.authority.file.parent / "again") as again:
        channel = again.channel(certificate=again.authority.issue(uris=(spiffe(Role.VERIFIER),)))
        assert await wrongly_judged(channel, Role.VERIFIER) == [("GetJwks", "", "CALLER_FORBIDDEN")]


async def unauthenticated_everywhere(channel: grpc.aio.Channel, metadata: Any = ()) -> bool:
    """Whether every RPC says so, whatever the request, and health answers all the same."""
    told = {await called(channel, path, GARBAGE, metadata) for path in PATHS}
    assert await called(channel, f"/{health.NAME}/Check", b"", metadata) == "OK"
    return told == {"CALLER_UNAUTHENTICATED"}


async def test_who_proves_nothing_is_unauthenticated(guarded: Guarded) -> None:
    """No key; somebody else's bearer token; junk in every shape of a key; a key of nobody."""
    stranger, _ = guarded.fresh_key("nobody")
    for text in ("", "eyJhbGciOiJub25lIn0.e30.", "wxk1.", f"{stranger}x", stranger[:-1], stranger):
        assert await unauthenticated_everywhere(guarded.channel(), bearer(text))
    assert await unauthenticated_everywhere(guarded.channel())


async def test_a_key_that_is_over_proves_nothing(guarded: Guarded) -> None:
    """Expired, revoked, or of a principal that was withdrawn."""
    core = guarded.core
    expiring = await guarded.new_key("expiring", Role.OPERATOR, lasts=timedelta(hours=1))
    revoked = await guarded.new_key("revoked", Role.OPERATOR)
    withdrawn = await guarded.new_key("withdrawn", Role.OPERATOR)
    assert await called(guarded.channel(), "/authapi.v1.KeyService/GetJwks", b"", bearer(expiring)) == "OK"
    core.clock.advance(timedelta(hours=1))
    await core.store.real.revoke_service_key(revoked.split(".")[1], by="test")
    await core.store.real.withdraw_principal("withdrawn", by="test")
    await guarded.caught_up(lambda: not guarded.callers.key_ids)
    for key in (expiring, revoked, withdrawn):
        assert await unauthenticated_everywhere(guarded.channel(), bearer(key))


async def test_a_key_that_was_revoked_is_revoked_in_the_file_too(guarded: Guarded) -> None:
    """A key of the record that somebody also put into the principals file: OK to its revocation means that it is over."""
    core = guarded.core
    text, record = guarded.fresh_key("both")
    both = Declared("both", frozenset({Role.OPERATOR}), keys=(record,))
    guarded.callers.declare((*by_file(), both))
    await core.store.real.add_service_key(record, principal=replace(both, keys=()), by="test")
    assert await called(guarded.channel(), "/authapi.v1.KeyService/GetJwks", b"", bearer(text)) == "OK"
    assert (await core.store.real.revoke_service_key(record.key_id, by="test")).value
    await guarded.caught_up(lambda: record.key_id not in guarded.callers.key_ids)
    assert await unauthenticated_everywhere(guarded.channel(), bearer(text))
    guarded.callers.declare(by_file())
    guarded.callers.declare((*by_file(), both))
    assert await unauthenticated_everywhere(guarded.channel(), bearer(text))


async def test_a_bad_key_never_falls_back_to_a_good_certificate(guarded: Guarded) -> None:
    """And a good key is what counts beside a certificate that names nobody."""
    good = guarded.channel(certificate=guarded.authority.issue(uris=(spiffe(Role.OPERATOR),)))
    stranger, _ = guarded.fresh_key("nobody")
    assert await unauthenticated_everywhere(good, bearer(stranger))
    nobody = guarded.channel(certificate=guarded.authority.issue(uris=("spiffe://example.org/nobody",)))
    assert await unauthenticated_everywhere(nobody)
    key = await guarded.new_key("by-key", Role.VERIFIER, audiences=(D1,))
    assert await wrongly_judged(nobody, Role.VERIFIER, bearer(key)) == []


async def test_certificates_of_others_do_not_connect(guarded: Guarded) -> None:
    """Another authority's, an expired one, or none where one is required: no RPC is reached."""
    other = Authority(guarded.authority.file.parent / "other", "other")
    strangers = (
        guarded.channel(certificate=other.issue(uris=(spiffe(Role.OPERATOR),))),
        guarded.channel(certificate=guarded.authority.issue(uris=(spiffe(Role.OPERATOR),), expired=True)),
        guarded.channel(to=guarded.mtls),
    )
    for channel in strangers:
        raw: Any = channel
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await raw.unary_unary(f"/{health.NAME}/Check")(b"", timeout=PATIENCE_S)
        assert caught.value.code() is grpc.StatusCode.UNAVAILABLE


async def test_names_prove_by_kind(guarded: Guarded) -> None:
    """A DNS name proves as a SPIFFE id does; none of one kind passes for the other; two URIs are nobody."""
    issue = guarded.authority.issue
    known = issue(dns=("unknown.internal", "everything.internal"))
    jwks = "/authapi.v1.KeyService/GetJwks"
    assert await called(guarded.channel(certificate=known), jwks, b"") == "OK"
    for files in (
        issue(name="everything.internal"),
        issue(name="everything.internal", dns=("unknown.internal",)),
        issue(uris=(spiffe(Role.OPERATOR), spiffe(Role.EDGE))),
        issue(uris=(spiffe(Role.OPERATOR), "https://example.org/operator")),
        issue(uris=("everything.internal",)),
        issue(dns=(spiffe(Role.OPERATOR),)),
        issue(uris=("spiffe://example.org/operator/",)),
        issue(dns=("sub.everything.internal",)),
    ):
        assert await called(guarded.channel(certificate=files), jwks, b"") == "CALLER_UNAUTHENTICATED"


def naming(core: Core, app_id: str, made: dict[str, Any]) -> Values:
    """Texts for requests about one app: what is in a login of it, or ids that nothing has."""
    return {
        "app_id": lambda: app_id,
        "access_token": lambda: str(made["tokens"].access_token),
        "refresh_token": lambda: str(made["tokens"].refresh_token),
        "session_id": lambda: str(made["session_id"]),
        "user_id": lambda: str(made["user_id"]),
        "mini_program_code": lambda: core.code(app_id=app_id),
        "code": lambda: core.code(app_id=app_id),
    }


async def login(core: Core, app_id: str, user: str) -> dict[str, Any]:
    result = await core.login(user, app_id=app_id)
    return {
        "tokens": result.tokens,
        "session_id": result.opened.session.session_id,
        "user_id": result.opened.user.user_id,
    }


@pytest.mark.parametrize("by", ["certificate", "key"])
async def test_a_caller_limited_to_one_app_may_nothing_of_another(guarded: Guarded, by: str) -> None:
    """
    Every RPC about app B, its tokens, sessions and users: forbidden, and the same for what does not exist.

    About its own app it may what its roles may, except where an RPC reaches beyond the app.
    """
    core, metadata = guarded.core, ()
    if by == "certificate":
        files = guarded.authority.issue(uris=("spiffe://example.org/limited",))
        channel = guarded.channel(certificate=files)
    else:
        key = await guarded.new_key("limited-by-key", *Role, audiences=(D1,), apps=(D1,))
        channel, metadata = guarded.channel(), bearer(key)  # type: ignore[assignment]
    wrong = []
    for number, (path, name, field, kind) in enumerate(cases()):
        case = "" if field is None else field.name
        spelled = f"{name}.{case}" if case else name
        beyond = "UserService" in path and not {name, spelled} & WITHIN_AN_APP
        for app_id in (D1, D2):
            made = await login(core, app_id, f"user-{number}")
            request = filled(kind, field, naming(core, app_id, made))
            found = await called(channel, path, request.SerializeToString(), metadata)
            allowed = name in ABOUT_NO_APP | VERDICTS or (app_id == D1 and not beyond)
            if (found == "CALLER_FORBIDDEN") == allowed or found == "CALLER_UNAUTHENTICATED":
                wrong.append((name, case, app_id, found))
    assert not wrong, wrong


async def test_what_does_not_exist_is_as_forbidden_as_what_is_anothers(guarded: Guarded) -> None:
    """To the last byte of the status: a limited caller cannot tell whether an app or a session of others exists."""
    core = guarded.core
    channel: Any = guarded.channel(
        certificate=guarded.authority.issue(uris=("spiffe://example.org/limited",))
    )
    made = await login(core, D2, "somebody")
    session = "/authapi.v1.SessionService/GetSession"
    revoke = "/authapi.v1.AuthService/Revoke"
    user = pb.UserTarget(user_id=made["user_id"], app_id=D2)
    nobody = pb.UserTarget(user_id="A" * 22, app_id="wx-no-such-app")
    pairs: list[tuple[str, Any, Any]] = [
        (session, b"\x0a\x16" + made["session_id"].encode(), b"\x0a\x16" + b"A" * 22),
        (revoke, pb.RevokeRequest(session_id=made["session_id"]), pb.RevokeRequest(session_id="A" * 22)),
        (revoke, pb.RevokeRequest(app_id=D2), pb.RevokeRequest(app_id="wx-no-such-app")),
        (revoke, pb.RevokeRequest(user=user), pb.RevokeRequest(user=nobody)),
    ]
    for path, there, absent in pairs:
        told = []
        for request in (there, absent):
            raw = request if isinstance(request, bytes) else request.SerializeToString()
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await channel.unary_unary(path)(raw, timeout=PATIENCE_S)
            refusal = read_refusal(caught.value)
            told.append((refusal.code, refusal.text, refusal.reason, refusal.metadata, refusal.fields))
        assert told[0] == told[1]
        assert told[0][2] == "CALLER_FORBIDDEN"
    assert (await core.sessions.get(made["session_id"])).is_live(now=core.clock.now())


async def test_every_session_of_a_user_reaches_beyond_an_app(guarded: Guarded) -> None:
    """A limited caller may end a session of its app, and not by it those in other apps; nothing is done then."""
    core = guarded.core
    channel = guarded.channel(certificate=guarded.authority.issue(uris=("spiffe://example.org/limited",)))
    made = await login(core, D1, "somebody")
    path = "/authapi.v1.AuthService/Revoke"
    for target in ("access_token", "refresh_token"):
        request = pb.RevokeRequest(scope=pb.REVOKE_SCOPE_ALL, **{target: getattr(made["tokens"], target)})
        assert await called(channel, path, request.SerializeToString()) == "CALLER_FORBIDDEN"
    assert (await core.sessions.get(made["session_id"])).is_live(now=core.clock.now())
    one = pb.RevokeRequest(refresh_token=made["tokens"].refresh_token)
    assert await called(channel, path, one.SerializeToString()) == "OK"
    session = await core.sessions.get(made["session_id"])
    assert session.ended is not None
    assert session.ended.by == "limited"


async def test_audiences(guarded: Guarded) -> None:
    """Its own without asking; another's is forbidden, alone and in a batch, except for operators; no app but its own."""
    core = guarded.core
    verify = "/authapi.v1.AuthService/VerifyToken"
    batch = "/authapi.v1.AuthService/BatchVerifyTokens"
    verifier: Any = guarded.channel(certificate=guarded.authority.issue(uris=(spiffe(Role.VERIFIER),)))
    operator: Any = guarded.channel(certificate=guarded.authority.issue(uris=(spiffe(Role.OPERATOR),)))
    own = (await login(core, D1, "somebody"))["tokens"].access_token
    other = (await login(core, D2, "somebody"))["tokens"].access_token

    async def verdict(channel: Any, token: str, audience: str = "") -> str:
        request = pb.VerifyTokenRequest(access_token=token, audience=audience)
        raw = await channel.unary_unary(verify)(request.SerializeToString(), timeout=PATIENCE_S)
        answer = pb.VerifyTokenResponse.FromString(raw)
        return answer.active.app_id or types_pb2.InactiveReason.Name(answer.inactive.reason)

    assert await verdict(verifier, own) == D1
    assert await verdict(verifier, own, D1) == D1
    assert await verdict(verifier, other) == "INACTIVE_REASON_WRONG_AUDIENCE"
    foreign = pb.VerifyTokenRequest(access_token=other, audience=D2)
    assert await called(verifier, verify, foreign.SerializeToString()) == "CALLER_FORBIDDEN"
    several = pb.BatchVerifyTokensRequest(requests=[pb.VerifyTokenRequest(access_token=own), foreign])
    assert await called(verifier, batch, several.SerializeToString()) == "CALLER_FORBIDDEN"
    assert await verdict(operator, other, D2) == D2
    key = await guarded.new_key("free", Role.VERIFIER, Role.OPERATOR, audiences=(D2,), apps=(D1,))
    raw: Any = guarded.channel()
    request = pb.VerifyTokenRequest(access_token=other)
    answer = await raw.unary_unary(verify)(
        request.SerializeToString(), metadata=bearer(key), timeout=PATIENCE_S
    )
    assert (
        pb.VerifyTokenResponse.FromString(answer).inactive.reason == types_pb2.INACTIVE_REASON_WRONG_AUDIENCE
    )


async def test_streams_end_with_their_caller(guarded: Guarded) -> None:
    """A revoked key, one that expires, a principal that the file no longer has or that loses the role; others go on."""
    core = guarded.core
    path = "/authapi.v1.RevocationService/WatchRevocations"

    async def watching(channel: Any, metadata: Any = ()) -> Any:
        call = channel.unary_stream(path)(b"", metadata=metadata)
        assert await call.read()
        return call

    revoked_key = await guarded.new_key("watcher", Role.VERIFIER, audiences=(D1,))
    expiring_key = await guarded.new_key("short", Role.VERIFIER, audiences=(D1,), lasts=timedelta(minutes=1))
    kept = await watching(guarded.channel(certificate=guarded.authority.issue(uris=(spiffe(Role.EDGE),))))
    gone = await watching(guarded.channel(certificate=guarded.authority.issue(dns=("everything.internal",))))
    lost = await watching(guarded.channel(certificate=guarded.authority.issue(uris=(spiffe(Role.OPERATOR),))))
    revoked = await watching(guarded.channel(), bearer(revoked_key))
    expiring = await watching(guarded.channel(), bearer(expiring_key))

    async def ended(call: Any) -> str:
        library: Any = grpc.aio
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            while await call.read() is not library.EOF:
                pass
        return read_refusal(caught.value).reason

    await core.store.real.revoke_service_key(revoked_key.split(".")[1], by="test")
    await guarded.caught_up(lambda: revoked_key.split(".")[1] not in guarded.callers.key_ids)
    assert await ended(revoked) == "CALLER_UNAUTHENTICATED"
    declared = {one.name: one for one in guarded.callers.declared}
    del declared["everything"]
    declared["operator"] = replace(declared["operator"], roles=frozenset({Role.USERS}))
    guarded.callers.declare(tuple(declared.values()))
    assert await ended(gone) == "CALLER_UNAUTHENTICATED"
    assert await ended(lost) == "CALLER_FORBIDDEN"
    core.clock.advance(timedelta(minutes=1))
    await guarded.caught_up(lambda: not guarded.callers.key_ids)
    assert await ended(expiring) == "CALLER_UNAUTHENTICATED"
    await core.login("somebody")
    assert not kept.done()
    assert await kept.read()
    kept.cancel()


async def test_junk_never_reaches_the_record(guarded: Guarded) -> None:
    """A thousand keys that nobody made cost no query at all."""
    channel = guarded.channel()
    before = guarded.core.store.calls["read_callers"]
    for _ in range(1000):
        key, _ = guarded.fresh_key("nobody")
        found = await called(channel, "/authapi.v1.KeyService/GetJwks", b"", bearer(key))
        assert found == "CALLER_UNAUTHENTICATED"
    assert guarded.core.store.calls["read_callers"] == before
