"""Both interceptors in front of real servers: who passes, who does not, and exactly what is said."""

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import grpc
import pytest

from authsvc_client import (
    HEALTH,
    AuthInterceptor,
    CannotKnow,
    Cause,
    Inactive,
    InactiveReason,
    Require,
    SyncAuthInterceptor,
)
from authsvc_client.testing import FakeSyncVerifier, FakeVerifier
from tests.client.conftest import AUDIENCE
from tests.client.guarded import (
    BOTH,
    DOWN,
    FAILS,
    KINDS,
    ONE,
    PUBLIC,
    RAISES,
    UP,
    AioGreeter,
    SyncGreeter,
    aio_service,
    bearer,
    call,
    failure,
    refusal,
    sync_service,
)

RULES: dict[str, Any] = {
    "requirements": {
        UP: Require(scopes=["up"]),
        DOWN: Require(roles=["admin"]),
        BOTH: Require(audience="elsewhere"),
    },
    "public": [PUBLIC],
}
HEALTH_CHECK = "/grpc.health.v1.Health/Check"


class Guarded:
    """A guarded service of either kind, with the verifier in its guard."""

    def __init__(self, verifier: Any, greeter: Any, address: str) -> None:
        self.verifier = verifier
        self.greeter = greeter
        self.address = address


@pytest.fixture(params=["aio", "sync"])
async def guarded(request: pytest.FixtureRequest) -> AsyncIterator[Guarded]:
    if request.param == "aio":
        fake, greeter = FakeVerifier(audience=AUDIENCE), AioGreeter()
        async with aio_service(AuthInterceptor(fake, **RULES), greeter) as address:
            yield Guarded(fake, greeter, address)
    else:
        threaded, plain = FakeSyncVerifier(audience=AUDIENCE), SyncGreeter()
        with sync_service(SyncAuthInterceptor(threaded, **RULES), plain) as address:
            yield Guarded(threaded, plain, address)


async def test_a_good_token_passes_and_is_current(guarded: Guarded) -> None:
    """
    All four kinds: the handler runs, `current()` is the caller's token, and parallel callers don't see each other's.
    """
    for n in range(20):
        guarded.verifier.accept(
            f"t{n}", user_id=f"user-{n}", scopes=["up"], roles=["admin"], audiences=[AUDIENCE, "elsewhere"]
        )
    found = await asyncio.gather(
        *(
            call(guarded.address, method, metadata=bearer(f"t{n}"))
            for n in range(20)
            for method in (ONE, DOWN, UP, BOTH)
        )
    )

    for n in range(20):
        user = b"user-%d" % n
        one, down, up, both = found[4 * n : 4 * n + 4]
        assert one == [b"hi:" + user]
        assert down == [b"0:" + user, b"1:" + user]
        assert up == [b"hi,again:" + user]
        assert both == [b"hi:" + user, b"again:" + user]


@pytest.mark.parametrize("method", KINDS)
async def test_every_refusal_says_exactly_this(guarded: Guarded, method: str) -> None:
    """
    Bad, insufficient and unknowable, for every kind of RPC: code, text, one ErrorInfo, RetryInfo only where it helps,
    nothing finer, and the handler never ran.
    """
    guarded.verifier.refuse("bad", InactiveReason.SESSION_REVOKED)
    bad = await refusal(guarded.address, method, metadata=bearer("bad"))
    missing = await refusal(guarded.address, method)
    guarded.verifier.refuse("poor", InactiveReason.MISSING_SCOPE)
    poor = await refusal(guarded.address, method, metadata=bearer("poor"))
    guarded.verifier.cause = Cause.STALE
    unknown = await refusal(guarded.address, method, metadata=bearer("any"))

    for one in (bad, missing):
        assert (one.code, one.reason, one.text) == (
            grpc.StatusCode.UNAUTHENTICATED,
            "TOKEN_INVALID",
            "The access token is not valid.",
        )
        assert (one.metadata, one.retry, one.fields) == ({}, None, ())
        assert b"REVOKED" not in one.raw
    assert (poor.code, poor.reason, poor.text, poor.retry) == (
        grpc.StatusCode.PERMISSION_DENIED,
        "TOKEN_INSUFFICIENT",
        "The access token does not allow this.",
        None,
    )
    assert (unknown.code, unknown.reason, unknown.retry) == (
        grpc.StatusCode.UNAVAILABLE,
        "NOT_FRESH",
        timedelta(seconds=1),
    )
    assert b"stale" not in unknown.raw
    assert guarded.greeter.handled == 0


async def test_each_method_asks_for_its_own(guarded: Guarded) -> None:
    """
    Scopes, roles, another audience by method name; the other methods take any good token.
    """
    guarded.verifier.accept("plain")
    guarded.verifier.accept("up", scopes=["up", "more"])
    guarded.verifier.accept("admin", roles=["admin"])
    guarded.verifier.accept("elsewhere", audiences=["elsewhere"])
    allowed = {"plain": {ONE}, "up": {ONE, UP}, "admin": {ONE, DOWN}, "elsewhere": {BOTH}}
    for token, passing in allowed.items():
        for method in KINDS:
            if method in passing:
                assert await call(guarded.address, method, metadata=bearer(token))
            else:
                refused = await refusal(guarded.address, method, metadata=bearer(token))
                assert (refused.code, refused.reason) == (
                    grpc.StatusCode.PERMISSION_DENIED,
                    "TOKEN_INSUFFICIENT",
                )


@pytest.mark.parametrize(
    "metadata",
    [
        (("authorization", ""),),
        (("authorization", "Bearer"),),
        (("authorization", "Bearer "),),
        (("authorization", "good"),),
        (("authorization", "Basic good"),),
        (("authorization", "Bearer good junk"),),
        (("authorization", "Bearer good, Bearer good"),),
        (("authorization", "Bearer good"), ("authorization", "Bearer good")),
        (("authorization", "Bearer good"), ("authorization", "Basic x")),
        (("authorization", "Bearer " + "a" * 8193),),
        (("x-authorization", "Bearer good"),),
        (("authorization-bin", b"Bearer good"),),
    ],
    ids=lambda metadata: " + ".join(str(value)[:20] for _, value in metadata) or "empty",
)
async def test_only_one_clean_bearer_header_counts(guarded: Guarded, metadata: Any) -> None:
    """
    Whatever else is sent, the token is not even judged.
    """
    guarded.verifier.accept("good")
    refused = await refusal(guarded.address, ONE, metadata=metadata)

    assert (refused.code, refused.reason) == (grpc.StatusCode.UNAUTHENTICATED, "TOKEN_INVALID")
    assert guarded.verifier.asked == []


async def test_the_scheme_is_read_in_any_case(guarded: Guarded) -> None:
    """
    RFC 9110 section 11.1: the name of the scheme has no case; spaces before the token may be several.
    """
    guarded.verifier.accept("good")
    for value in ("bearer good", "BEARER good", "Bearer   good"):
        assert await call(guarded.address, ONE, metadata=(("authorization", value),)) == [b"hi:alice"]


async def test_public_methods_are_not_looked_at(guarded: Guarded) -> None:
    """
    A public method and the health service answer without a token and with a bad one; nobody is current there.
    """
    for method in (PUBLIC, HEALTH_CHECK):
        for metadata in ((), bearer("junk")):
            assert await call(guarded.address, method, metadata=metadata) == [b"nobody"]
    assert guarded.verifier.asked == []


async def test_an_unknown_method_is_unimplemented(guarded: Guarded) -> None:
    """
    With or without a token: the guard makes nothing of it.
    """
    for metadata in ((), bearer("junk")):
        error = await failure(guarded.address, "/demo.Greeter/Nothing", metadata=metadata)
        assert error.code() is grpc.StatusCode.UNIMPLEMENTED


async def test_what_a_handler_says_itself_passes_untouched(guarded: Guarded) -> None:
    """
    Its abort with its own trailers, and its exception, are as they would be without a guard.
    """
    guarded.verifier.accept("good")
    aborted = await failure(guarded.address, FAILS, metadata=bearer("good"))
    assert (aborted.code(), aborted.details()) == (grpc.StatusCode.NOT_FOUND, "no such thing")
    assert dict(aborted.trailing_metadata()) == {"x-own": "kept"}
    raised = await failure(guarded.address, RAISES, metadata=bearer("good"))
    assert raised.code() is grpc.StatusCode.UNKNOWN
    assert "of the handler" in raised.details()


async def test_the_retry_delay_is_the_verifiers(guarded: Guarded) -> None:
    """
    A flood of unknown keys says when the keys may be read again; RetryInfo repeats it to the caller.
    """
    wait = timedelta(seconds=7, milliseconds=250)

    def unknown(token: str, **_: Any) -> Any:
        raise CannotKnow(Cause.UNKNOWN_KEY, retry_after=wait)

    guarded.verifier.check = unknown
    assert (await refusal(guarded.address, ONE, metadata=bearer("x"))).retry == wait


@pytest.mark.parametrize("kind", [AuthInterceptor, SyncAuthInterceptor])
def test_mistakes_in_its_rules_are_told_at_once(kind: Any) -> None:
    """
    A name that no method has, one text instead of several, a method that is both public and not.
    """
    fake = FakeVerifier(audience=AUDIENCE)
    for wrong in (
        {"requirements": {"Greeter/One": Require()}},
        {"requirements": {"/demo.Greeter": Require()}},
        {"public": "/demo.Greeter/One"},
        {"public": ["/demo.Greeter/One/"]},
        {"public": [ONE], "requirements": {ONE: Require()}},
        {"recheck_streams": timedelta(0)},
    ):
        with pytest.raises(ValueError, match=r"\w"):
            kind(fake, **wrong)
    for mistake in ({"scopes": "orders.read"}, {"roles": "admin"}, {"audience": ""}):
        with pytest.raises(ValueError, match=r"\w"):
            Require(**mistake)


async def test_health_can_be_closed() -> None:
    """
    Without *always_public* the health service needs a token like everything else.
    """
    assert HEALTH_CHECK in HEALTH
    fake = FakeVerifier(audience=AUDIENCE)
    async with aio_service(AuthInterceptor(fake, always_public=()), AioGreeter()) as address:
        refused = await refusal(address, HEALTH_CHECK)
    assert refused.reason == "TOKEN_INVALID"
    assert await fake.verify("x") == Inactive(InactiveReason.MALFORMED)
