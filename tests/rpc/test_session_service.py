"""SessionService over gRPC."""

from collections.abc import Sequence
from datetime import UTC, timedelta
from pathlib import Path

import pytest

from authapi.v1 import session_service_pb2 as pb
from authapi.v1 import types_pb2
from authsvc.domain.cursors import Cursor
from authsvc.domain.sessions import ClientInfo, EndReason, Session
from authsvc.ports import SessionQuery
from authsvc.service.revoke import AppTarget, SessionTarget
from tests.support.core import D1, D2, Core, build_core, sandbox_apps
from tests.support.server import Running, refused, running_server


async def shown(running: Running, session_id: str) -> pb.Session:
    return (await running.sessions.GetSession(pb.GetSessionRequest(session_id=session_id))).session


async def test_a_live_session_in_full(running: Running) -> None:
    """Every field, by id and by its own token."""
    core = running.core
    client = ClientInfo("10.0.0.1", "agent", "phone", "Mi")
    login = await core.login(client=client)
    core.clock.advance(timedelta(seconds=10))
    await core.tail.poll()
    await core.refresh(login.tokens.refresh_token)
    session = await shown(running, login.opened.session.session_id)
    created = login.opened.session.created_at
    assert (session.session_id, session.user_id, session.app_id) == (
        login.opened.session.session_id,
        login.opened.user.user_id,
        D1,
    )
    assert session.created_at.ToDatetime(UTC) == created
    assert session.last_refreshed_at.ToDatetime(UTC) == created + timedelta(seconds=10)
    assert session.expires_at.ToDatetime(UTC) == created + timedelta(days=7, seconds=10)
    assert session.client == types_pb2.ClientInfo(
        ip="10.0.0.1", user_agent="agent", device_id="phone", device_name="Mi"
    )
    assert session.live
    assert not session.HasField("ended_at")
    assert (session.end_reason, session.ended_by) == (0, "")
    by_token = await running.sessions.GetSession(pb.GetSessionRequest(access_token=login.tokens.access_token))
    assert by_token.session == session


async def test_a_revoked_session_says_who_and_why(running: Running) -> None:
    """Also where only the app's position killed it."""
    core = running.core
    for target, reason in ((SessionTarget, EndReason.LOGOUT), (AppTarget, EndReason.ADMIN)):
        login = await core.login()
        session_id = login.opened.session.session_id
        named = SessionTarget(session_id) if target is SessionTarget else AppTarget(D1)
        await core.revocations.revoke(named, reason=reason, by="svc-x")
        session = await shown(running, session_id)
        assert not session.live
        assert (EndReason(session.end_reason), session.ended_by) == (reason, "svc-x")
        assert session.ended_at.ToDatetime(UTC) == core.clock.now()


async def test_what_the_service_ended_by_its_own_rules_has_nobodys_name(tmp_path: Path) -> None:
    """Replaced by a login, ended by reuse: `ended_by` is empty."""
    async with (
        build_core(tmp_path, apps=sandbox_apps(max_sessions=1)) as core,
        running_server(core) as running,
    ):
        replaced = await core.login()
        reused = await core.login()
        second = await core.refresh(reused.tokens.refresh_token)
        await core.refresh(second.tokens.refresh_token)
        told = await refused(
            running.raw("/authapi.v1.AuthService/RefreshToken", _refresh(reused.tokens.refresh_token))
        )
        assert told.metadata == {"end_reason": "REFRESH_REUSE"}
        for login, reason in ((replaced, EndReason.REPLACED), (reused, EndReason.REFRESH_REUSE)):
            session = await shown(running, login.opened.session.session_id)
            assert (EndReason(session.end_reason), session.ended_by) == (reason, "")


def _refresh(text: str) -> bytes:
    from authapi.v1 import auth_service_pb2

    return auth_service_pb2.RefreshTokenRequest(refresh_token=text).SerializeToString()


async def test_an_idle_session_is_shown_as_expired(running: Running) -> None:
    """Nobody presented its token, so no row says so: it ended when it expired."""
    core = running.core
    login = await core.login()
    core.clock.advance(timedelta(days=8))
    await core.tail.poll()
    session = await shown(running, login.opened.session.session_id)
    assert not session.live
    assert (EndReason(session.end_reason), session.ended_by) == (EndReason.EXPIRED, "")
    assert session.ended_at == session.expires_at


async def test_refusals(running: Running) -> None:
    """NOT_FOUND, TOKEN_INVALID, INVALID_FIELD."""
    login = await running.core.login()
    for request, reason in (
        (pb.GetSessionRequest(session_id="A" * 22), "NOT_FOUND"),
        (pb.GetSessionRequest(session_id=""), "NOT_FOUND"),
        (pb.GetSessionRequest(access_token="junk"), "TOKEN_INVALID"),
        (pb.GetSessionRequest(), "INVALID_FIELD"),
        (
            pb.GetSessionRequest(
                session_id=login.opened.session.session_id, at_least=types_pb2.Cursor(value=b"x")
            ),
            "INVALID_FIELD",
        ),
    ):
        assert (await refused(running.sessions.GetSession(request))).reason == reason
    running.authenticator.audiences = frozenset({D2})
    own = pb.GetSessionRequest(access_token=login.tokens.access_token)
    assert (await refused(running.sessions.GetSession(own))).reason == "TOKEN_INVALID"


async def log_in_many(core: Core, count: int) -> list[str]:
    """Newest first."""
    ids = []
    for number in range(count):
        core.clock.advance(timedelta(milliseconds=number % 2))  # some share an instant
        login = await core.login(f"user{number}", app_id=(D1, D2)[number % 2])
        ids.append((login.opened.session.created_at, login.opened.session.session_id))
    return [session_id for _, session_id in sorted(ids, reverse=True)]


@pytest.mark.parametrize("size", [1, 3, 7, 8])
async def test_pages_hold_every_session_once(running: Running, size: int) -> None:
    """Newest first, none skipped, none twice, whatever the page size; the last page has no token."""
    expected = await log_in_many(running.core, 7)
    found: list[str] = []
    token = ""
    while True:
        page = await running.sessions.ListSessions(pb.ListSessionsRequest(page_size=size, page_token=token))
        assert len(page.sessions) <= size
        found += [session.session_id for session in page.sessions]
        token = page.next_page_token
        if not token:
            break
    assert sorted(found) == sorted(expected)
    assert len(found) == len(set(found))
    created = [(await shown(running, session_id)).created_at.ToDatetime() for session_id in found]
    assert created == sorted(created, reverse=True)


async def test_filters(running: Running) -> None:
    """By app, by user, with and without the ended ones."""
    core = running.core
    alice, shop, bob = [
        await core.login(user, app_id=app_id) for user, app_id in (("alice", D1), ("alice", D2), ("bob", D1))
    ]
    await core.revocations.revoke(
        SessionTarget(shop.opened.session.session_id), reason=EndReason.LOGOUT, by="x"
    )

    async def listed(**filters: object) -> set[str]:
        page = await running.sessions.ListSessions(pb.ListSessionsRequest(**filters))  # type: ignore[arg-type]
        return {session.session_id for session in page.sessions}

    one, two, three = [login.opened.session.session_id for login in (alice, shop, bob)]
    assert await listed() == {one, three}
    assert await listed(include_ended=True) == {one, two, three}
    assert await listed(user_id=alice.opened.user.user_id, include_ended=True) == {one, two}
    assert await listed(app_id=D1) == {one, three}
    assert await listed(user_id="A" * 22) == set()


async def test_page_sizes_are_coerced(running: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    """0 means 50; beyond 200 is 200; below 1 is 1. One more is read, to know of a next page."""
    limits: list[int] = []
    real = running.core.sessions.list

    async def spied(query: SessionQuery, *, at_least: Cursor | None = None) -> Sequence[Session]:
        limits.append(query.limit)
        return await real(query, at_least=at_least)

    monkeypatch.setattr(running.core.sessions, "list", spied)
    for asked in (0, 1, 200, 201, 2**31 - 1, -1, -(2**31)):
        await running.sessions.ListSessions(pb.ListSessionsRequest(page_size=asked))
    assert limits == [51, 2, 201, 201, 201, 2, 2]


async def test_a_page_token_is_good_for_its_own_list(running: Running) -> None:
    """Junk, a changed one, and one of other filters are INVALID_FIELD."""
    await log_in_many(running.core, 4)
    page = await running.sessions.ListSessions(pb.ListSessionsRequest(page_size=2))
    token = page.next_page_token
    assert token
    for request in (
        pb.ListSessionsRequest(page_token="junk"),
        pb.ListSessionsRequest(page_token=token[:-1] + ("A" if token[-1] != "A" else "B")),
        pb.ListSessionsRequest(page_token=token, app_id=D1),
        pb.ListSessionsRequest(page_token=token, include_ended=True),
    ):
        told = await refused(running.sessions.ListSessions(request))
        assert (told.reason, told.fields) == ("INVALID_FIELD", ("page_token",))
