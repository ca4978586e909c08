"""The ASGI and the aiohttp middleware on real sockets: who passes, who does not, and every byte of what is said."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from datetime import timedelta
from typing import Any

import pytest

from authsvc.edge.language import choose_language
from authsvc.status import BY_REASON
from authsvc_client import (
    AuthMiddleware,
    CannotKnow,
    Cause,
    InactiveReason,
    Require,
    Verifier,
    auth_middleware,
    require,
)
from authsvc_client import requiring as shared
from authsvc_client.http_refusals import HttpRefusals, Paths, _choose
from authsvc_client.testing import FakeAuthsvc, FakeVerifier
from tests.client.conftest import AUDIENCE
from tests.client.http_service import Answer, Client, aiohttp_service, asgi_app, asgi_service

RULES: dict[str, Any] = {
    "routes": {"/admin": Require(roles=["admin"])},
    "public": ["/healthz"],
}
Serve = Callable[..., AbstractAsyncContextManager[Client]]


def bearer(token: str) -> tuple[str, str]:
    return ("Authorization", f"Bearer {token}")


@pytest.fixture(params=["asgi", "aiohttp"])
def serve(request: pytest.FixtureRequest) -> Serve:
    """Make a guarded application of either kind."""

    def made(verifier: Any, **rules: Any) -> AbstractAsyncContextManager[Client]:
        if request.param == "asgi":
            return asgi_service(AuthMiddleware(asgi_app, verifier=verifier, **rules))
        return aiohttp_service(auth_middleware(verifier, **rules))

    return made


@pytest.fixture
def fake() -> FakeVerifier:
    return FakeVerifier(audience=AUDIENCE)


@pytest.fixture
async def get(serve: Serve, fake: FakeVerifier) -> AsyncIterator[Client]:
    async with serve(fake, **RULES) as client:
        yield client


async def test_a_good_token_passes_and_is_current(get: Client, fake: FakeVerifier) -> None:
    """
    The handler finds its own caller's claims, however many there are at once.
    """
    for n in range(30):
        fake.accept(f"t{n}", user_id=f"user-{n}")
    answers = await asyncio.gather(*(get("/", bearer(f"t{n}")) for n in range(30)))

    assert [(one.status, one.body) for one in answers] == [(200, b"user-%d" % n) for n in range(30)]


REFUSALS = {
    "bad": (401, "UNAUTHENTICATED", "TOKEN_INVALID", 'Bearer error="invalid_token"', None),
    "": (401, "UNAUTHENTICATED", "TOKEN_INVALID", "Bearer", None),
    "poor": (403, "PERMISSION_DENIED", "TOKEN_INSUFFICIENT", 'Bearer error="insufficient_scope"', None),
    "unknown": (503, "UNAVAILABLE", "NOT_FRESH", None, "1"),
}


@pytest.mark.parametrize("token", REFUSALS, ids=lambda token: token or "none")
@pytest.mark.parametrize("language", ["zh-CN,en;q=0.5", "en", ""])
async def test_every_refusal_says_exactly_this(
    get: Client, fake: FakeVerifier, token: str, language: str
) -> None:
    """
    Status, JSON, challenge, Retry-After, in either language, with the server's own public texts; nothing finer.
    """
    fake.refuse("bad", InactiveReason.SESSION_REVOKED)
    fake.refuse("poor", InactiveReason.MISSING_SCOPE)
    fake.cause = Cause.STALE if token == "unknown" else None
    headers = [("Accept-Language", language)] if language else []
    if token:
        headers.append(bearer(token))
    answer: Answer = await get("/", ("X-Request-Id", "req-1"), *headers)

    status, code, reason, challenge, retry = REFUSALS[token]
    text = BY_REASON[reason].text("en" if language == "en" else "zh")
    assert (BY_REASON[reason].http, BY_REASON[reason].code.name) == (status, code)
    assert answer.status == status
    assert json.loads(answer.body) == {
        "error": {"code": code, "reason": reason, "message": text, "request_id": "req-1"}
    }
    assert (answer.header("www-authenticate"), answer.header("retry-after")) == (challenge, retry)
    assert answer.header("content-type") == "application/json; charset=utf-8"
    assert answer.header("content-length") == str(len(answer.body))
    assert answer.header("cache-control") == "no-store"
    assert answer.header("x-content-type-options") == "nosniff"
    assert answer.header("x-request-id") == "req-1"
    assert b"REVOKED" not in answer.body
    assert b"SCOPE" not in answer.body


async def test_a_request_id_that_is_not_safe_is_replaced(get: Client) -> None:
    """
    None, too long or with odd letters: a fresh one, the same in header and body, another for every request.
    """
    found = [
        await get("/", *headers)
        for headers in ((), (("X-Request-Id", "a" * 65),), (("X-Request-Id", "<b>"),))
    ]

    ids = [one.error["request_id"] for one in found]
    assert [one.header("x-request-id") for one in found] == ids
    assert all(len(one) == 32 and one.isalnum() for one in ids)
    assert len(set(ids)) == 3


async def test_each_path_asks_for_its_own(get: Client, fake: FakeVerifier) -> None:
    """
    A name is itself and what is below it, not what begins like it; public paths need nothing and judge nothing.
    """
    fake.accept("plain")
    fake.accept("admin", roles=["admin"], user_id="root")
    statuses = {
        (path, token): (await get(path, bearer(token))).status
        for path in ("/", "/admin/users", "/administrator")
        for token in ("plain", "admin")
    }
    assert statuses == {
        ("/", "plain"): 200,
        ("/", "admin"): 200,
        ("/admin/users", "plain"): 403,
        ("/admin/users", "admin"): 200,
        ("/administrator", "plain"): 200,
        ("/administrator", "admin"): 200,
    }
    fake.asked.clear()
    for path in ("/healthz", "/healthz/deep"):
        answer = await get(path, bearer("junk"))
        assert (answer.status, answer.body) == (200, b"nobody")
    assert fake.asked == []


async def test_a_handler_asks_for_more(get: Client, fake: FakeVerifier) -> None:
    """
    A scope or a role that only this handler wants: 403 without, 200 with; 401 on a public path without a token.
    """
    fake.accept("plain")
    fake.accept("writer", scopes=["write"], user_id="bob")
    fake.accept("admin", roles=["admin"], user_id="root")
    for path, token, status in (
        ("/more", "plain", 403),
        ("/more", "writer", 200),
        ("/view", "writer", 403),
        ("/view", "admin", 200),
        ("/more", "junk", 401),
    ):
        assert (await get(path, bearer(token))).status == status, (path, token)
    assert (await get("/more", bearer("writer"))).body == b"bob bob"
    refused = await get("/more", bearer("plain"))
    assert refused.error["reason"] == "TOKEN_INSUFFICIENT"
    assert (await get("/healthz/more")).status == 401


@pytest.mark.parametrize(
    "headers",
    [
        [("Authorization", "")],
        [("Authorization", "Bearer")],
        [("Authorization", "good")],
        [("Authorization", "Basic good")],
        [("Authorization", "Bearer good junk")],
        [("Authorization", "Bearer good, Bearer good")],
        [("Authorization", "Bearer good"), ("authorization", "Bearer good")],
        [("Authorization", "Bearer good"), ("Authorization", "Basic x")],
        [("X-Authorization", "Bearer good")],
        [("Cookie", "access_token=good")],
    ],
    ids=str,
)
async def test_only_one_clean_bearer_header_counts(
    get: Client, fake: FakeVerifier, headers: list[tuple[str, str]]
) -> None:
    """
    Whatever else is sent, the token is not even judged; nor is one in the query.
    """
    fake.accept("good")
    answer = await get("/?access_token=good", *headers)

    assert (answer.status, answer.error["reason"], fake.asked) == (401, "TOKEN_INVALID", [])
    assert (await get("/", ("authorization", "bearer   good"))).status == 200


async def test_what_a_handler_says_itself_passes_untouched(get: Client, fake: FakeVerifier) -> None:
    """
    Its own error answer, and its exception.
    """
    fake.accept("good")
    own = await get("/fails", bearer("good"))
    assert (own.status, own.body) == (409, b"own")
    assert (await get("/fails?boom", bearer("good"))).status == 500


async def test_the_status_of_a_bad_token_can_be_chosen(serve: Serve, fake: FakeVerifier) -> None:
    """
    For front ends that take 401 for something else; only that number changes. The default language too.
    """
    fake.refuse("poor", InactiveReason.MISSING_ROLE)
    async with serve(fake, invalid_status=440, language="en") as get:
        assert [(await get("/", *headers)).status for headers in ((), (bearer("x"),), (bearer("poor"),))] == [
            440,
            440,
            403,
        ]
        answer = await get("/")
    assert (answer.error["code"], answer.error["message"]) == (
        "UNAUTHENTICATED",
        "The access token is not valid.",
    )


async def test_retry_after_is_whole_seconds_upwards(serve: Serve, fake: FakeVerifier) -> None:
    """
    What the verifier says, rounded up, and at least one.
    """
    for wait, said in ((0.01, "1"), (7.2, "8"), (10.0, "10")):

        def unknown(token: str, *, wait: float = wait, **_: Any) -> Any:
            raise CannotKnow(Cause.UNKNOWN_KEY, retry_after=timedelta(seconds=wait))

        fake.check = unknown  # type: ignore[method-assign]
        async with serve(fake) as get:
            assert (await get("/", bearer("x"))).header("retry-after") == said


async def test_with_a_real_verifier_a_logout_is_seen(serve: Serve) -> None:
    """
    Good until the session is revoked, refused right afterwards.
    """
    async with (
        FakeAuthsvc() as server,
        Verifier(server.target, audience=AUDIENCE) as verifier,
        serve(verifier) as get,
    ):
        session_id = server.mint.new_id()
        token = server.mint.token("bob", audience=AUDIENCE, session_id=session_id)
        assert (await get("/", bearer(token))).body == b"bob"
        assert await verifier.wait_for(server.revoke_session(session_id), timeout=timedelta(seconds=30))
        assert (await get("/", bearer(token))).status == 401


@pytest.mark.parametrize(
    "wrong",
    [
        {"public": "/x"},
        {"public": ["x"]},
        {"routes": {"x": Require()}},
        {"invalid_status": 200},
        {"language": "fr"},
        {"public": ["/a/"], "routes": {"/a": Require()}},
    ],
    ids=str,
)
def test_mistakes_in_its_rules_are_told_at_once(wrong: dict[str, Any], fake: FakeVerifier) -> None:
    """
    A path without a slash, one text instead of several, a path that is both public and not, numbers and languages.
    """
    with pytest.raises(ValueError, match=r"\w"):
        AuthMiddleware(asgi_app, verifier=fake, **wrong)
    with pytest.raises(ValueError, match=r"\w"):
        auth_middleware(fake, **wrong)


def test_the_longest_name_decides() -> None:
    """
    Public below guarded below public; the root is every path.
    """
    inner, outer = Require(roles=["x"]), Require(scopes=["y"])
    paths = Paths(require=outer, routes={"/a/b": inner, "/d": outer}, public=["/a", "/a/b/c", "/d/e/"])
    found = [
        paths.needs(path)
        for path in ("/a", "/a/", "/a/x", "/a/b", "/a/b/x", "/a/b/c/x", "/d", "/d/e", "/z", "/")
    ]
    assert found == [None, None, None, inner, inner, None, outer, None, outer, outer]
    assert Paths(require=outer, routes={}, public=["/"]).needs("/any/thing") is None


async def test_an_encoded_slash_is_part_of_its_segment(fake: FakeVerifier) -> None:
    """
    The handler is found by aiohttp by the path as it was sent: what it takes for one segment is below no name of ours.
    """
    async with aiohttp_service(auth_middleware(fake, **RULES)) as get:
        for path in ("/healthz%2Fx", "/healthz%2fx", "/%68ealthz%2Fx"):
            assert (await get(path)).status == 401, path
        fake.accept("plain")
        assert (await get("/admin%2Fusers", bearer("plain"))).body == b"alice"
        assert (await get("/%61dmin/users", bearer("plain"))).status == 403
        assert (await get("/%68ealthz")).body == b"nobody"


@pytest.mark.parametrize(
    "path",
    [
        "/healthz/../admin/users",
        "/healthz/./deep",
        "/healthz/%2e%2E/admin/users",
        "/healthz/..%2fadmin",
        "/x/../admin/users",
        "/healthz/..",
    ],
)
async def test_dots_find_no_way_around_a_rule(path: str, serve: Serve, fake: FakeVerifier) -> None:
    """
    Whoever is behind the guard may resolve them; the guard lets them pass nowhere, with whatever token.
    """
    fake.accept("all", roles=["admin"])
    async with serve(fake, **RULES) as get:
        for headers in ([], [bearer("all")]):
            answer = await get(path, *headers)
            assert (answer.status, answer.error["reason"]) == (403, "TOKEN_INSUFFICIENT")


def test_doubled_slashes_make_a_path_no_easier() -> None:
    """
    Whether or not the application takes `//` for `/`, the rule of the name holds, and nothing is public by it.
    """
    inner, outer = Require(roles=["x"]), Require(scopes=["y"])
    paths = Paths(require=outer, routes={"/a": inner}, public=["/p"])
    found = [paths.needs(path) for path in ("//a", "/a//b", "//p", "/p//x", "/p//", "//", "/p/")]
    assert found == [inner, inner, outer, outer, None, outer, None]
    assert Paths(require=outer, routes={}, public=()).needs("/a/../b") is outer


@pytest.mark.parametrize(
    "accept",
    ["zh", "en", "EN-us", "fr", "fr, zh;q=0.1", "en;q=0.5, zh;q=0.9", "zh;q=0", "zh;q=x, en;q=0.1", "en, zh", "zh-Hant;q=1.0;x=y", "*", ";;,", "zh;q=2", "en;q=0.5,zh;q=0.5", "z" * 300],
)  # fmt: skip
def test_languages_are_chosen_as_the_edge_chooses_them(accept: str) -> None:
    """
    One rule for both.
    """
    for default in ("zh", "en"):
        assert (_choose(accept) or default) == choose_language(accept, default=default)


def test_refusals_are_the_contracts() -> None:
    """
    Codes, numbers, statuses and texts of the one table.
    """
    for one in (shared.INVALID, shared.MISSING, shared.INSUFFICIENT, shared.UNKNOWABLE):
        row = BY_REASON[one.reason]
        assert (one.code, one.number, one.http, one.en, one.zh) == (
            row.code.name,
            int(row.code),
            row.http,
            row.en,
            row.zh,
        )
    with pytest.raises(ValueError, match="invalid_status"):
        HttpRefusals(invalid_status=500, language="zh")


def test_require_needs_its_middleware() -> None:
    """
    Without one it is a mistake of the application, not an open door.
    """
    with pytest.raises(LookupError):
        require({"type": "http"})
