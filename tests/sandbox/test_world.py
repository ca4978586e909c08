"""
Codes, identities and session keys behave as WeChat's do, at any instant.
"""

import base64
import re
from datetime import UTC, datetime, timedelta

import pytest

from authsvc.sandbox import (
    BadInput,
    CodeTaken,
    Refusal,
    SandboxApp,
    Session,
    UnknownApp,
    World,
)
from tests.fakes import SeededEntropy
from tests.sandbox.wire import D1, D2, D3, SECRETS

T0 = datetime(2026, 1, 1, tzinfo=UTC)
SECOND = timedelta(seconds=1)
MICROSECOND = timedelta(microseconds=1)


def exchange(world: World, code: str | None, *, now: datetime = T0, app_id: str = D1) -> Session | Refusal:
    return world.exchange(
        app_id=app_id,
        secret=SECRETS[app_id],
        grant_type="authorization_code",
        code=code,
        now=now,
    )


def test_a_code_is_32_alphanumerics_and_never_the_same() -> None:
    """
    Codes have WeChat's shape and differ, even where entropy repeats itself.
    """

    class Stuck:
        def token_bytes(self, n: int) -> bytes:
            return bytes(n)

    world = World(entropy=Stuck())
    codes = [world.mint(D1, user="ann", now=T0) for _ in range(200)]
    assert all(re.fullmatch("[A-Za-z0-9]{32}", code) for code in codes)
    assert len(set(codes)) == 200


@pytest.mark.parametrize("app_id", [D1, D2, D3])
def test_identities_have_the_real_shape(world: World, app_id: str) -> None:
    """
    Both are 28 characters of base64url; the unbound app sees no unionid.
    """
    identity = world.identity(app_id, user="ann")
    assert re.fullmatch("[A-Za-z0-9_-]{28}", identity.openid)
    if app_id == D3:
        assert identity.unionid is None
    else:
        assert identity.unionid is not None
        assert re.fullmatch("[A-Za-z0-9_-]{28}", identity.unionid)


def test_identities_survive_restarts() -> None:
    """
    Another world, with other dice, knows the same people: pinned, so that no release changes them.
    """
    for seed in (1, 2):
        identity = World(entropy=SeededEntropy(seed)).identity(D1, user="ann")
        assert (
            identity.openid,
            identity.unionid,
        ) == ("oG9-y4zoGhjaE11AcGyfuut6mhBh", "oY6TJirSHEG3-dbQQzjkiRUGiedD")


def test_unionid_joins_the_apps_of_one_account_only(world: World) -> None:
    """
    One user has one unionid over d1 and d2 and three openids; two users share nothing.
    """
    ann = [world.identity(app_id, user="ann") for app_id in (D1, D2, D3)]
    assert ann[0].unionid == ann[1].unionid
    assert len({identity.openid for identity in ann}) == 3
    bob = world.identity(D1, user="bob")
    assert bob.openid != ann[0].openid
    assert bob.unionid != ann[0].unionid


def test_two_accounts_see_two_unionids() -> None:
    """
    A unionid belongs to one open-platform account.
    """
    apps = [
        SandboxApp("wx00000000000000f1", "5a4d0000f1", open_platform="a"),
        SandboxApp("wx00000000000000f2", "5a4d0000f2", open_platform="b"),
    ]
    world = World(apps, entropy=SeededEntropy())
    first, second = (world.identity(app.app_id, user="ann").unionid for app in apps)
    assert first != second


@pytest.mark.parametrize(
    ("fault", "errcode"),
    [
        ({"app_id": None}, 41002),
        ({"app_id": ""}, 41002),
        ({"app_id": "wx00000000000000d9"}, 40013),
        ({"app_id": D1.upper()}, 40013),
        ({"secret": None}, 41004),
        ({"secret": ""}, 41004),
        ({"secret": SECRETS[D2]}, 40125),
        ({"grant_type": None}, 40002),
        ({"grant_type": "client_credential"}, 40002),
        ({"code": None}, 41008),
        ({"code": ""}, 41008),
        ({"code": "neverminted"}, 40029),
    ],
)
def test_each_check_has_its_number(world: World, fault: dict[str, str | None], errcode: int) -> None:
    """
    One wrong parameter gives its errcode and leaves the code usable.
    """
    code = world.mint(D1, user="ann", now=T0)
    call: dict[str, str | None] = {
        "app_id": D1,
        "secret": SECRETS[D1],
        "grant_type": "authorization_code",
        "code": code,
    }
    assert Refusal(errcode) == world.exchange(**{**call, **fault}, now=T0)
    assert isinstance(exchange(world, code), Session)


def test_the_checks_come_in_order() -> None:
    """
    With everything wrong at once the answers follow facts section 10 as the mistakes are mended one by one.
    """
    world = World(entropy=SeededEntropy(), calls_per_minute=1)
    used = world.mint(D1, user="ann", now=T0)
    assert isinstance(exchange(world, used), Session)
    world.set_blocked(D1, user="ann", blocked=True)
    fresh = world.mint(D1, user="ann", now=T0)
    other = world.mint(D2, user="ann", now=T0)
    call: dict[str, str | None] = dict.fromkeys(("app_id", "secret", "grant_type", "code"))
    seen = []
    for mended in (
        {},
        {"app_id": "wx00000000000000d9"},
        {"app_id": D1},
        {"secret": "5a4d0000"},
        {"secret": SECRETS[D1]},
        {"grant_type": "authorization_code"},
        {"code": other},
        {"code": used},
        {"code": fresh},
    ):
        call |= mended
        outcome = world.exchange(**call, now=T0)
        assert isinstance(outcome, Refusal)
        seen.append(outcome.errcode)
    world.set_blocked(D1, user="ann", blocked=False)
    throttled = world.exchange(**call, now=T0)
    assert isinstance(throttled, Refusal)
    seen.append(throttled.errcode)
    later = T0 + timedelta(minutes=1)
    assert isinstance(world.exchange(**call, now=later), Session)
    assert seen == [41002, 40013, 41004, 40125, 40002, 41008, 40029, 40163, 40226, 45011]


def test_a_code_works_once(world: World) -> None:
    """
    The second use of a code answers 40163.
    """
    code = world.mint(D1, user="ann", now=T0)
    assert isinstance(exchange(world, code), Session)
    assert Refusal(40163) == exchange(world, code)


@pytest.mark.parametrize("used", [False, True])
def test_a_code_lives_300_seconds(world: World, used: bool) -> None:
    """
    A code is good until just before 300 s and unknown from then on, used or not.
    """
    code = world.mint(D1, user="ann", now=T0)
    if used:
        exchange(world, code)
    end = T0 + timedelta(seconds=300)
    assert Refusal(40029) == exchange(world, code, now=end)
    last = exchange(world, code, now=end - MICROSECOND)
    assert last == Refusal(40163) if used else isinstance(last, Session)


def test_several_codes_of_one_user_work_once_each(world: World) -> None:
    """
    A later code does not cancel an earlier one.
    """
    codes = [world.mint(D1, user="ann", now=T0) for _ in range(3)]
    assert all(isinstance(exchange(world, code), Session) for code in reversed(codes))
    assert all(Refusal(40163) == exchange(world, code) for code in codes)


@pytest.mark.parametrize(("consumes", "then"), [(True, True), (False, False)])
def test_another_apps_attempt_may_use_the_code_up(world: World, consumes: bool, then: bool) -> None:
    """
    A wrong-app attempt answers 40029 and spends the code, unless that is switched off.
    """
    assert world.switches.wrong_app_consumes is True
    world.switches.wrong_app_consumes = consumes
    code = world.mint(D1, user="ann", now=T0)
    assert Refusal(40029) == exchange(world, code, app_id=D2)
    assert then is (exchange(world, code) == Refusal(40163))


def test_a_blocked_user_is_refused_in_that_app_until_unblocked(world: World) -> None:
    """
    Blocking answers 40226 for this user and app alone, keeps the code, and can be undone.
    """
    world.set_blocked(D1, user="ann", blocked=True)
    code = world.mint(D1, user="ann", now=T0)
    assert Refusal(40226) == exchange(world, code)
    assert isinstance(exchange(world, world.mint(D1, user="bob", now=T0)), Session)
    assert isinstance(exchange(world, world.mint(D2, user="ann", now=T0), app_id=D2), Session)
    world.set_blocked(D1, user="ann", blocked=False)
    assert isinstance(exchange(world, code), Session)


def test_the_101st_call_of_a_user_in_a_minute_is_too_many(world: World) -> None:
    """
    100 exchanges per user and minute pass; the next answers 45011, spends nothing and hurts no other user.
    """
    for _ in range(100):
        assert isinstance(exchange(world, world.mint(D1, user="ann", now=T0)), Session)
    code = world.mint(D1, user="ann", now=T0)
    assert Refusal(45011) == exchange(world, code, now=T0 + 59 * SECOND)
    assert isinstance(exchange(world, world.mint(D1, user="bob", now=T0)), Session)
    assert isinstance(exchange(world, code, now=T0 + 60 * SECOND), Session)


def test_a_session_key_is_16_bytes_in_base64(world: World) -> None:
    """
    The key has WeChat's shape and is the one the world holds as valid.
    """
    session = exchange(world, world.mint(D1, user="ann", now=T0))
    assert isinstance(session, Session)
    assert len(session.session_key) == 24
    assert len(base64.b64decode(session.session_key, validate=True)) == 16
    assert session.session_key == world.session_key(D1, user="ann")
    assert session.session_key not in repr(session)


def test_a_session_key_is_replaced_by_a_later_login_only(world: World) -> None:
    """
    Codes minted inside the interval keep the key; the first one after it replaces it, also for codes that
    were minted before.
    """
    early = world.mint(D1, user="ann", now=T0)
    first = world.session_key(D1, user="ann")
    world.mint(D1, user="ann", now=T0 + timedelta(seconds=60) - MICROSECOND)
    assert first == world.session_key(D1, user="ann")
    world.mint(D1, user="ann", now=T0 + timedelta(seconds=60))
    second = world.session_key(D1, user="ann")
    assert second not in (None, first)
    session = exchange(world, early)
    assert isinstance(session, Session)
    assert second == session.session_key


def test_keys_are_per_user_and_app(world: World) -> None:
    """
    No two users, and no two apps of one user, share a key.
    """
    pairs = [(D1, "ann"), (D1, "bob"), (D2, "ann")]
    for app_id, user in pairs:
        world.mint(app_id, user=user, now=T0)
    assert len({world.session_key(app_id, user=user) for app_id, user in pairs}) == 3
    assert world.session_key(D3, user="ann") is None


@pytest.mark.parametrize("text", ["the code is a mock one", "a&b=c", "q\"uo'te", "ünï码", "+%2B/\\"])
def test_a_code_may_have_any_text(world: World, text: str) -> None:
    """
    A given text is the code, whatever its characters.
    """
    assert text == world.mint(D1, user="ann", now=T0, code=text)
    assert isinstance(exchange(world, text), Session)


def test_a_live_code_is_not_minted_over(world: World) -> None:
    """
    A text in use is refused, used or not, and left as it was; once expired it may come again.
    """
    world.mint(D1, user="ann", now=T0, code="same")
    with pytest.raises(CodeTaken):
        world.mint(D1, user="bob", now=T0, code="same")
    session = exchange(world, "same")
    assert isinstance(session, Session)
    assert world.identity(D1, user="ann").openid == session.openid
    later = T0 + timedelta(seconds=300)
    world.mint(D1, user="bob", now=later, code="same")
    assert isinstance(exchange(world, "same", now=later), Session)


@pytest.mark.parametrize(
    ("user", "code"),
    [("", None), ("x" * 129, None), ("\ud800", None), ("ann", ""), ("ann", "x" * 1025), ("ann", "\udfff")],
)
def test_unusable_names_are_refused(world: World, user: str, code: str | None) -> None:
    """
    Empty, endless and non-Unicode names and codes never enter the world.
    """
    with pytest.raises(BadInput):
        world.mint(D1, user=user, now=T0, code=code)


def test_an_unknown_app_is_refused(world: World) -> None:
    """
    Nothing is minted, shown or blocked for an app that is not there.
    """
    for act in (
        lambda: world.mint("wx", user="ann", now=T0),
        lambda: world.identity("wx", user="ann"),
        lambda: world.set_blocked("wx", user="ann", blocked=True),
    ):
        with pytest.raises(UnknownApp):
            act()


def test_expired_codes_are_forgotten(world: World) -> None:
    """
    The table of codes does not grow beyond the codes that are alive.
    """
    for second in range(1000):
        world.mint(D1, user="ann", now=T0 + second * SECOND)
    assert len(world._codes._codes) == 300
