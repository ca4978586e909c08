"""A phone code that comes with a login: never at the login's expense, and not waited for without end."""

import asyncio
from datetime import timedelta

import pytest

from authsvc.domain.apps import PhonePolicy
from authsvc.domain.errors import LoginCodeInvalid, LoginCodeSpent, StoreUnavailable, WeChatUnavailable
from authsvc.domain.sessions import ClientInfo
from authsvc.service.login import PHONE_PATIENCE
from authsvc.service.phone import KnownNumber
from authsvc.service.subjects import UserSubject
from tests.support.core import D1, Core, sandbox_apps

_NOBODY = ClientInfo()


async def test_a_number_that_takes_too_long_is_not_waited_for(core: Core) -> None:
    """
    The login is answered when its patience is over, with WECHAT_UNAVAILABLE for the phone; the number is bound all the
    same once it comes.
    """
    core.apps.replace(sandbox_apps(phone=PhonePolicy.BIND))
    gate = core.store.hold("bind_phone")
    login = asyncio.ensure_future(core.login(phone_code=core.sandbox.mint_phone(D1, "alice")))
    await gate.reached.wait()
    assert not login.done()
    core.clock.advance(PHONE_PATIENCE + timedelta(seconds=1))
    made = await login
    assert isinstance(made.phone, WeChatUnavailable)
    gate.open()
    await core.unbroken.drained()
    [identity] = await core.store.real.find_identities(made.opened.user.user_id, app_id=D1)
    assert identity.sealed_phone is not None


async def test_a_number_that_cannot_be_bound_leaves_the_login(core: Core) -> None:
    """The session is there; the phone says that the record was away."""
    core.apps.replace(sandbox_apps(phone=PhonePolicy.BIND))
    core.store.fail("bind_phone")
    made = await core.login(phone_code=core.sandbox.mint_phone(D1, "alice"))
    assert isinstance(made.phone, StoreUnavailable)
    assert await core.store.real.get_session(made.opened.session.session_id) is not None


async def test_a_failed_login_does_not_touch_the_phone_code(core: Core) -> None:
    """It stays good for the login that follows."""
    phone_code = core.sandbox.mint_phone(D1, "alice")
    for fault in ("errcode;40029", "drop"):
        code = core.code("alice", fault=fault)
        with pytest.raises((LoginCodeInvalid, LoginCodeSpent)):
            await core.logins.login(app_id=D1, code=code, client=_NOBODY, phone_code=phone_code)
    assert core.sandbox.requests_for(phone_code) == 0
    made = await core.login(phone_code=phone_code)
    assert isinstance(made.phone, KnownNumber)


async def test_twins_of_one_login_share_its_phone(core: Core) -> None:
    """Concurrent duplicates join one exchange: both codes reach WeChat once, both answers carry the number."""
    code, phone_code = core.code("alice"), core.sandbox.mint_phone(D1, "alice")
    twins = await asyncio.gather(
        *(core.logins.login(app_id=D1, code=code, client=_NOBODY, phone_code=phone_code) for _ in range(5))
    )
    assert core.sandbox.requests_for(phone_code) == 1
    assert len({twin.opened.session.session_id for twin in twins}) == 1
    assert all(isinstance(twin.phone, KnownNumber) for twin in twins)


async def test_who_leaves_in_the_middle_does_not_lose_the_number(core: Core) -> None:
    """A caller that is cancelled after the code was spent: the number is bound all the same, and a new key is kept."""
    core.apps.replace(sandbox_apps(phone=PhonePolicy.BIND))
    made = await core.login()
    subject = UserSubject(made.opened.user.user_id, D1)
    bind, keep = core.store.hold("bind_phone"), core.store.hold("keep_session_key")
    core.clock.advance(timedelta(seconds=1))
    for gate, work in (
        (bind, core.phones.get(subject, code=core.sandbox.mint_phone(D1, "alice"), by="shop")),
        (keep, core.session_keys.reset(subject)),
    ):
        call = asyncio.ensure_future(work)
        await gate.reached.wait()
        call.cancel()
        assert isinstance((await asyncio.gather(call, return_exceptions=True))[0], asyncio.CancelledError)
        gate.open()
        await core.unbroken.drained()
    [identity] = await core.store.real.find_identities(made.opened.user.user_id, app_id=D1)
    assert identity.sealed_phone is not None
    assert len(identity.session_keys) == 2
    assert await core.session_keys.check(subject)
