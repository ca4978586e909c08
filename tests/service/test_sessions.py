"""Looking at sessions."""

import asyncio
from datetime import timedelta
from pathlib import Path

import pytest

from authsvc.domain.cursors import Cursor
from authsvc.domain.errors import CursorExpired, NotFound, NotFresh, TokenInvalid
from authsvc.domain.sessions import EndReason
from authsvc.ports import SessionQuery
from authsvc.service.revoke import SessionTarget
from tests.support.core import D1, D2, Core, build_core

AUDIENCES = frozenset({D1, D2})


async def test_one_by_id_and_by_its_token(core: Core) -> None:
    """The same session either way; an unknown or misspelt id is NotFound."""
    login = await core.login()
    session = login.opened.session
    assert await core.sessions.get(session.session_id) == session
    assert await core.sessions.get_by_token(login.tokens.access_token, audiences=AUDIENCES) == session
    for unknown in ("A" * 22, "", "no id"):
        with pytest.raises(NotFound):
            await core.sessions.get(unknown)


async def test_a_token_must_be_active_for_the_caller(core: Core) -> None:
    """Junk, another's audience, or a dead session: TokenInvalid."""
    login = await core.login()
    token = login.tokens.access_token
    for text, audiences in (("junk", AUDIENCES), (token, frozenset({D2})), (token, frozenset[str]())):
        with pytest.raises(TokenInvalid):
            await core.sessions.get_by_token(text, audiences=audiences)
    await core.revocations.revoke(
        SessionTarget(login.opened.session.session_id), reason=EndReason.LOGOUT, by="x"
    )
    with pytest.raises(TokenInvalid):
        await core.sessions.get_by_token(token, audiences=AUDIENCES)


async def test_at_least_holds_for_the_token_as_well(tmp_path: Path, core: Core) -> None:
    """Revoked through another replica: with that cursor the token is no longer good here."""
    async with build_core(tmp_path, clock=core.clock, seed=2) as other:
        login = await core.login()
        await other.sessions.get_by_token(login.tokens.access_token, audiences=AUDIENCES)
        result = await core.revocations.revoke(
            SessionTarget(login.opened.session.session_id), reason=EndReason.LOGOUT, by="x"
        )
        with pytest.raises(TokenInvalid):
            await other.sessions.get_by_token(
                login.tokens.access_token, audiences=AUDIENCES, at_least=result.head
            )


@pytest.mark.parametrize("how", ["get", "list", "token"])
async def test_at_least_that_cannot_be_had_is_no_answer(core: Core, how: str) -> None:
    """NotFresh after the wait, CursorExpired for another incarnation."""
    login = await core.login()
    assert core.view.known is not None

    async def ask(cursor: Cursor) -> object:
        if how == "get":
            return await core.sessions.get(login.opened.session.session_id, at_least=cursor)
        if how == "token":
            return await core.sessions.get_by_token(
                login.tokens.access_token, audiences=AUDIENCES, at_least=cursor
            )
        return await core.sessions.list(SessionQuery(), at_least=cursor)

    asking = asyncio.create_task(ask(Cursor(core.view.known.incarnation, core.view.known.position + 1)))
    await core.clock.until_sleeping(2)
    core.clock.advance(timedelta(milliseconds=500))
    with pytest.raises(NotFresh):
        await asking
    with pytest.raises(CursorExpired):
        await ask(Cursor(b"12345678", 0))
    assert await ask(core.view.known)


async def test_lists(core: Core) -> None:
    """Newest first, by user and app, the ended ones only if asked for."""
    logins = []
    for user, app_id in (("alice", D1), ("alice", D2), ("bob", D1)):
        core.clock.advance(timedelta(seconds=1))
        logins.append(await core.login(user, app_id=app_id))
    one, two, three = [login.opened.session.session_id for login in logins]
    alice = logins[0].opened.user.user_id

    async def listed(query: SessionQuery) -> list[str]:
        return [session.session_id for session in await core.sessions.list(query)]

    assert await listed(SessionQuery()) == [three, two, one]
    assert await listed(SessionQuery(user_id=alice)) == [two, one]
    assert await listed(SessionQuery(app_id=D1)) == [three, one]
    assert await listed(SessionQuery(user_id=alice, app_id=D2)) == [two]
    await core.revocations.revoke(SessionTarget(two), reason=EndReason.LOGOUT, by="x")
    assert await listed(SessionQuery(user_id=alice)) == [one]
    assert await listed(SessionQuery(user_id=alice, include_ended=True)) == [two, one]
