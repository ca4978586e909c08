"""Whom a call about one user means, where that is not plain: several identities, merged users, apps that are gone."""

from datetime import timedelta

import pytest

from authsvc.domain.errors import AppDisabled, NotFound, TokenInvalid, UnknownApp
from authsvc.service.subjects import Subjects, TokenSubject, UserSubject
from tests.support.core import D1, D2, D3, OFF, Core, sandbox_apps


@pytest.fixture
def subjects(core: Core) -> Subjects:
    record = core.store.as_store()
    return Subjects(
        apps=core.apps, people=record, sessions=record, verifier=core.verifier, sealer=core.sealer
    )


async def test_of_two_identities_in_one_app_the_tokens_own_is_meant(core: Core, subjects: Subjects) -> None:
    """
    Two users became one, each with an identity in d1. A token means the identity that logged in, whether it carries the
    openid or only the session's row has it; by user id, either of the two ids, it is the one that came last.
    """
    core.apps.replace(sandbox_apps(openid_in_token=True))
    old, young = await core.login("alice"), await core.login("bob")
    await core.store.real.merge_users(
        survivor_id=old.opened.user.user_id, moved_id=young.opened.user.user_id, by="operator", reason=""
    )
    for with_openid in (True, False):
        core.apps.replace(sandbox_apps(openid_in_token=with_openid))
        made = []
        for user in ("alice", "bob"):
            core.clock.advance(timedelta(seconds=1))
            made.append(await core.login(user))
        for login in made:  # also the one that is not the last
            token = TokenSubject(login.tokens.access_token, frozenset({D1}))
            assert (await subjects.find(token)).identity.openid == login.openid
        for user_id in (old.opened.user.user_id, young.opened.user.user_id):
            assert (await subjects.find(UserSubject(user_id, D1))).identity.openid == made[-1].openid


async def test_who_has_no_identity_in_the_app_is_not_found(core: Core, subjects: Subjects) -> None:
    """An unknown user and a known one in another app are told alike."""
    user_id = (await core.login()).opened.user.user_id
    for user, app_id in ((user_id, D3), ("A" * 22, D1), ("no id at all", D1)):
        with pytest.raises(NotFound):
            await subjects.find(UserSubject(user, app_id))


async def test_the_app_has_to_be_there_and_on(core: Core, subjects: Subjects) -> None:
    """Named or by a token of it: an app that was removed or switched off serves nobody, at once."""
    made = await core.login()
    token = TokenSubject(made.tokens.access_token, frozenset({D1}))
    with pytest.raises(UnknownApp):
        await subjects.find(UserSubject(made.opened.user.user_id, "wx-none"))
    with pytest.raises(AppDisabled):
        await subjects.find(UserSubject(made.opened.user.user_id, OFF))
    core.apps.replace({app_id: app for app_id, app in sandbox_apps().items() if app_id != D1})
    with pytest.raises(UnknownApp):
        await subjects.find(token)
    core.apps.replace(sandbox_apps(enabled=False))
    with pytest.raises(AppDisabled):
        await subjects.find(token)


async def test_a_token_is_judged_for_its_caller(core: Core, subjects: Subjects) -> None:
    """Not for these audiences, or of an ended session: TOKEN_INVALID, and the record is not asked for anybody."""
    made = await core.login()
    asked = core.store.calls["find_identities"]
    for token, audiences in (
        (made.tokens.access_token, frozenset({D2})),
        (made.tokens.access_token, frozenset[str]()),
        (made.tokens.refresh_token, frozenset({D1})),
        ("", frozenset({D1})),
    ):
        with pytest.raises(TokenInvalid):
            await subjects.find(TokenSubject(token, audiences))
    assert core.store.calls["find_identities"] == asked
