"""The encoded VerifyTokenResponse against the same message built the ordinary way; and batches."""

import asyncio
import math
from dataclasses import replace
from datetime import timedelta

import pytest
from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp

from authapi.v1 import auth_service_pb2 as pb
from authapi.v1 import types_pb2
from authsvc.domain.access_token import Claims, InactiveReason
from authsvc.domain.cursors import seal_cursor
from authsvc.domain.sessions import EndReason
from authsvc.rpc.convert import Cursors
from authsvc.rpc.verdicts import VerdictEncoder, encode_batch
from authsvc.service.revoke import SessionTarget
from authsvc.service.verify import Refusal, VerifiedToken
from tests.support.core import D1, Core
from tests.support.server import Running, refused
from tests.support.tokens import claims_of, resign

FULL = Claims(
    issuer="authsvc",
    user_id="user",
    audiences=("a", "b"),
    app_id="app",
    expires_at=1_800_000_000,
    issued_at=1_700_000_000,
    not_before=0,
    token_id="jti",
    session_id="sid",
    position=2**63,
    scopes=("读", "write"),
    roles=("staff",),
    openid="openid",
    external_id="",
    previous_user_ids=("old1", "old2"),
)
BARE = replace(FULL, scopes=(), roles=(), openid=None, external_id=None, previous_user_ids=(), expires_at=0)


def knowledge(core: Core) -> pb.VerifyTokenResponse:
    assert core.view.known is not None
    # Rounded up to the millisecond: never fresher than it is.
    age = Duration()
    age.FromMilliseconds(math.ceil(core.tail.age() / timedelta(milliseconds=1)))
    return pb.VerifyTokenResponse(
        known_through=types_pb2.Cursor(value=seal_cursor(core.view.known, ring=core.rings.cursor)), age=age
    )


def active(core: Core, claims: Claims) -> pb.VerifyTokenResponse:
    made = knowledge(core)
    made.active.CopyFrom(
        pb.Active(
            user_id=claims.user_id,
            session_id=claims.session_id,
            app_id=claims.app_id,
            scopes=claims.scopes,
            roles=claims.roles,
            audiences=claims.audiences,
            token_id=claims.token_id,
            issued_at=Timestamp(seconds=claims.issued_at),
            expires_at=Timestamp(seconds=claims.expires_at),
            previous_user_ids=claims.previous_user_ids,
        )
    )
    if claims.openid is not None:
        made.active.openid = claims.openid
    if claims.external_id is not None:
        made.active.external_id = claims.external_id
    return made


@pytest.fixture
def encoder(core: Core) -> VerdictEncoder:
    return VerdictEncoder(tail=core.tail, cursors=Cursors(core.rings.cursor))


@pytest.mark.parametrize("claims", [FULL, BARE])
def test_an_active_token_field_by_field(core: Core, encoder: VerdictEncoder, claims: Claims) -> None:
    """Equal at first sight, from the cache, and later with another age; also in which optional fields are set."""
    token = VerifiedToken(claims, "kid")
    for passed in (0, 0, 1, 999_999, 2_500_000):
        core.clock.advance(timedelta(microseconds=passed))
        encoded = encoder.encode(token)
        found = pb.VerifyTokenResponse.FromString(encoded)
        assert found == active(core, claims)
        assert found.HasField("age")
        assert len(encoded) == found.ByteSize()  # nothing twice, nothing that the message does not know


def test_every_refusal_field_by_field(core: Core, encoder: VerdictEncoder) -> None:
    """Over all reasons and all ends, twice."""
    for reason in InactiveReason:
        for end in EndReason:
            made = knowledge(core)
            made.inactive.SetInParent()
            made.inactive.reason = types_pb2.InactiveReason.ValueType(reason.value)
            made.inactive.session_end_reason = types_pb2.SessionEndReason.ValueType(end.value)
            for _ in range(2):
                assert pb.VerifyTokenResponse.FromString(encoder.encode(Refusal(reason, end))) == made


async def test_the_cursor_moves_with_the_log(core: Core, encoder: VerdictEncoder) -> None:
    """After a revocation the same token's answer is complete through a later cursor."""
    token = VerifiedToken(FULL, "kid")
    before = pb.VerifyTokenResponse.FromString(encoder.encode(token)).known_through
    login = await core.login()
    await core.revocations.revoke(
        SessionTarget(login.opened.session.session_id), reason=EndReason.ADMIN, by="x"
    )
    await core.polled()
    after = pb.VerifyTokenResponse.FromString(encoder.encode(token))
    assert after == active(core, FULL)
    assert after.known_through != before


def test_a_batch_is_the_message_of_its_parts() -> None:
    """Over every length at which the length prefix grows."""
    for sizes in ([], [0], [1, 127, 128, 129], [16_383, 16_384], [2_097_152]):
        parts = [
            pb.VerifyTokenResponse(active=pb.Active(user_id="x" * size)) if size else pb.VerifyTokenResponse()
            for size in sizes
        ]
        encoded = encode_batch([part.SerializeToString() for part in parts])
        assert encoded == pb.BatchVerifyTokensResponse(responses=parts).SerializeToString()


async def test_a_batch_answers_in_order_what_single_calls_answer(running: Running) -> None:
    """Good, bad and for another audience, each as VerifyToken says; each judged by its own demand."""
    core = running.core
    login = await core.login()
    token = login.tokens.access_token
    expired = await resign(token, signer=core.signer, expires_at=claims_of(token).issued_at - 10)
    requests = [
        pb.VerifyTokenRequest(access_token=token),
        pb.VerifyTokenRequest(access_token="junk"),
        pb.VerifyTokenRequest(access_token=token, audience="other"),
        pb.VerifyTokenRequest(access_token=expired),
        pb.VerifyTokenRequest(access_token=token, required_scopes=["profile"]),
        pb.VerifyTokenRequest(access_token=token, required_scopes=["none"]),
        pb.VerifyTokenRequest(access_token=token, required_roles=["none"]),
    ]
    batch = await running.auth.BatchVerifyTokens(pb.BatchVerifyTokensRequest(requests=requests))
    singles = [await running.auth.VerifyToken(request) for request in requests]
    assert list(batch.responses) == singles
    assert [one.WhichOneof("outcome") for one in singles] == [
        "active",
        "inactive",
        "inactive",
        "inactive",
        "active",
        "inactive",
        "inactive",
    ]


async def test_a_batch_is_bounded_and_whole(running: Running) -> None:
    """1,000 are answered, 1,001 refused, none answered with none; one that cannot be decided fails all."""
    core = running.core
    junk = pb.VerifyTokenRequest(access_token="junk")
    full = await running.auth.BatchVerifyTokens(pb.BatchVerifyTokensRequest(requests=[junk] * 1000))
    assert len(full.responses) == 1000
    assert not (await running.auth.BatchVerifyTokens(pb.BatchVerifyTokensRequest())).responses
    told = await refused(running.auth.BatchVerifyTokens(pb.BatchVerifyTokensRequest(requests=[junk] * 1001)))
    assert (told.reason, told.fields) == ("INVALID_FIELD", ("requests",))
    token = (await core.login()).tokens.access_token
    core.store.down = True
    core.clock.advance(timedelta(seconds=31))
    good = pb.VerifyTokenRequest(access_token=token)
    told = await refused(
        running.auth.BatchVerifyTokens(pb.BatchVerifyTokensRequest(requests=[junk, good, junk]))
    )
    assert told.reason == "NOT_FRESH"


async def test_a_batch_lets_others_run(running: Running) -> None:
    """Between the 200 tokens of a batch another task gets its turn at least every 25."""
    login = await running.core.login()
    handler = running.services["authapi.v1.AuthService"]["BatchVerifyTokens"].handler
    turns = 0

    async def count_turns() -> None:
        nonlocal turns
        while True:
            turns += 1
            await running.core.clock.sleep(timedelta(0))

    counter = asyncio.create_task(count_turns())
    one = pb.VerifyTokenRequest(access_token=login.tokens.access_token, audience=D1)
    call = type("Call", (), {"principal": running.authenticator.identify(None, {})})()  # type: ignore[arg-type]
    await handler(pb.BatchVerifyTokensRequest(requests=[one] * 200), call)  # type: ignore[arg-type, misc]
    counter.cancel()
    assert turns >= 8
