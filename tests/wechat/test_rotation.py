"""Two secrets per app: the other one is found out and used when WeChat stops taking the one in use."""

import asyncio
import itertools
import json
from collections.abc import Callable
from dataclasses import dataclass, field, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from authsvc.domain import errors
from authsvc.wechat import WeChatApp
from authsvc.wechat.app_secrets import AppSecrets
from tests.wechat.platform import (
    CHECK,
    LOGIN,
    TOKEN,
    Answer,
    Platform,
    app_on,
    check,
    connected,
    dropping,
    hanging,
    refusing,
)
from tests.wechat.wire import APP_ID, CODE, LATER, OPENID, SECRET, SESSION_KEY, Rig, Visit

NEXT = "canarynextcanarynextcanarynext00"


@dataclass(slots=True)
class Console:
    """WeChat's opinion about secrets and codes: `valid` may be changed at any time; a code is good once."""

    valid: set[str]
    used: set[str] = field(default_factory=set)
    busy: asyncio.Event = field(default_factory=asyncio.Event)

    def install(self, stage: Platform) -> None:
        """Let it answer for *stage*."""
        stage.scripts[LOGIN] = self._login
        stage.scripts[TOKEN] = lambda visit: self._token(stage, visit)

    def _login(self, visit: Visit) -> Answer:
        code = visit.query["js_code"]
        spent = code in self.used
        self.used.add(code)
        if len(self.used) >= 40:
            self.busy.set()
        if visit.query["secret"] not in self.valid:
            return {"errcode": 40125, "errmsg": "invalid appsecret"}
        if spent:
            return {"errcode": 40163, "errmsg": "code been used"}
        return {"openid": OPENID, "session_key": SESSION_KEY}

    def _token(self, stage: Platform, visit: Visit) -> Answer:
        if json.loads(visit.body)["secret"] not in self.valid:
            return {"errcode": 40125, "errmsg": "invalid appsecret"}
        return stage.grant()


def both(app: WeChatApp) -> WeChatApp:
    return replace(app, next_secret=NEXT)


async def login(rig: Rig, code: str) -> str:
    return (await rig.client.code_to_session(app_id=APP_ID, code=code)).openid


async def test_rotated_secret_under_load_costs_one_code_each() -> None:
    """While current is replaced by next under load, every user is logged in with at most one new code."""
    async with connected(both) as (stage, rig):
        console = Console({SECRET})
        console.install(stage)
        codes_used: dict[int, int] = {}

        async def user(number: int) -> None:
            for attempt in range(10):
                codes_used[number] = attempt + 1
                try:
                    await login(rig, f"code-{number}-{attempt}")
                except errors.LoginCodeSpent:
                    continue
                return

        first = [asyncio.create_task(user(number)) for number in range(120)]
        await console.busy.wait()
        console.valid = {NEXT}
        await asyncio.gather(*first)
        await asyncio.gather(*(user(number) for number in range(120, 200)))

        assert len(codes_used) == 200
        assert max(codes_used.values()) == 2  # somebody was hit, and nobody twice
        assert all(codes_used[number] == 1 for number in range(120, 200))
        assert stage.count(TOKEN) == 1
        [event] = rig.observer.named("wechat.secret_switched")
        assert (event.level, event.fields) == (
            "warning",
            {"app_id": APP_ID, "to": "next", "because": "probe"},
        )
        assert rig.observer.named("wechat.misconfigured") == []


async def test_probe_that_is_refused_switches_nothing() -> None:
    """With both secrets refused the app stays with its current one, and operators are told."""
    async with connected(both) as (stage, rig):
        console = Console({"neither"})
        console.install(stage)
        with pytest.raises(errors.WeChatMisconfigured):
            await login(rig, CODE)
        console.valid = {SECRET}
        assert await login(rig, "new") == OPENID
        assert [visit.query["secret"] for visit in stage.visits(LOGIN)] == [SECRET, SECRET]
        assert rig.observer.named("wechat.secret_switched") == []
        assert len(rig.observer.named("wechat.misconfigured")) == 1


@pytest.mark.parametrize(
    "script", [refusing(40164), refusing(45009), refusing(-1), dropping], ids=["ip", "quota", "busy", "drop"]
)
async def test_undecided_probe_lets_the_next_login_find_out(script: Callable[[Visit], Answer]) -> None:
    """Any other answer puts next on trial: the next login carries it, and its success ends the trial."""
    async with connected(both) as (stage, rig):
        Console({NEXT}).install(stage)
        stage.scripts[TOKEN] = script
        with pytest.raises(errors.LoginCodeSpent):
            await login(rig, CODE)
        assert rig.observer.named("wechat.secret_switched") == []
        assert await login(rig, "new") == OPENID
        assert stage.visits(LOGIN)[-1].query["secret"] == NEXT
        [event] = rig.observer.named("wechat.secret_switched")
        assert event.fields["because"] == "login"
        assert await login(rig, "newer") == OPENID
        assert len(rig.observer.named("wechat.secret_switched")) == 1


async def test_trial_that_fails_goes_back() -> None:
    """When next is refused too, the trial is over: misconfigured, and current is used again."""
    async with connected(both) as (stage, rig):
        console = Console({"neither"})
        console.install(stage)
        stage.scripts[TOKEN] = refusing(40164)
        with pytest.raises(errors.LoginCodeSpent):
            await login(rig, "first")
        with pytest.raises(errors.WeChatMisconfigured):
            await login(rig, "second")
        console.valid = {SECRET}
        assert await login(rig, "third") == OPENID
        assert [visit.query["secret"] for visit in stage.visits(LOGIN)] == [SECRET, NEXT, SECRET]


async def test_refused_code_proves_the_secret_too() -> None:
    """On trial, a verdict about the code means that the secret was taken."""
    async with connected(both) as (stage, rig):
        Console({NEXT}).install(stage)
        stage.scripts[TOKEN] = dropping
        with pytest.raises(errors.LoginCodeSpent):
            await login(rig, CODE)
        with pytest.raises(errors.LoginCodeUsed):
            await login(rig, CODE)
        assert len(rig.observer.named("wechat.secret_switched")) == 1


async def test_hanging_probe_holds_no_login_beyond_its_deadline() -> None:
    """The login ends as spent by its deadline; the probe ends by its own, and next is on trial then."""
    async with connected(lambda app: replace(both(app), deadline=LATER)) as (stage, rig):
        Console({NEXT}).install(stage)
        stage.scripts[TOKEN] = hanging
        for number in itertools.count():  # on a stalled machine a login may not even reach the wire in time
            try:
                assert await login(rig, f"code-{number}") == OPENID
            except (errors.LoginCodeSpent, errors.WeChatUnavailable):
                continue
            break
        assert stage.count(TOKEN) >= 1
        assert stage.visits(LOGIN)[-1].query["secret"] == NEXT


async def test_one_secret_is_not_probed() -> None:
    """Without a next there is nothing to find out: one login request, one alarm."""
    async with connected() as (stage, rig):
        Console({NEXT}).install(stage)
        with pytest.raises(errors.WeChatMisconfigured):
            await login(rig, CODE)
        assert stage.count(TOKEN) == 0
        assert len(rig.observer.named("wechat.misconfigured")) == 1


async def test_token_request_finds_the_secret_too() -> None:
    """A call with a token goes through without anybody noticing, and logins then carry the new secret."""
    async with connected(both) as (stage, rig):
        Console({NEXT}).install(stage)
        assert await check(rig)
        assert (stage.count(TOKEN), stage.count(CHECK)) == (2, 1)
        assert await login(rig, CODE) == OPENID
        [event] = rig.observer.named("wechat.secret_switched")
        assert event.fields["to"] == "next"


async def test_switch_goes_both_ways() -> None:
    """A secret that was switched to and is refused later is left again for the other."""
    async with connected(both) as (stage, rig):
        console = Console({NEXT})
        console.install(stage)
        await check(rig)
        console.valid = {SECRET}
        with pytest.raises(errors.LoginCodeSpent):
            await login(rig, CODE)
        assert await login(rig, "new") == OPENID
        assert [e.fields["to"] for e in rig.observer.named("wechat.secret_switched")] == ["next", "current"]


async def test_new_settings_end_the_rotation() -> None:
    """Once next has become the configured secret, it is used from the first login on, and the token is kept."""
    async with connected(both) as (stage, rig):
        Console({NEXT}).install(stage)
        await check(rig)
        asked = stage.count(TOKEN)
        rig.client.reconfigure({APP_ID: replace(app_on(stage), secret=NEXT)})
        assert await login(rig, CODE) == OPENID
        assert await check(rig)
        assert stage.count(TOKEN) == asked


async def test_secrets_in_no_trace() -> None:
    """Neither secret is in an error or an event of a rotation."""
    async with connected(both) as (stage, rig):
        Console({"neither"}).install(stage)
        with pytest.raises(errors.WeChatMisconfigured) as raised:
            await login(rig, CODE)
        seen = repr(raised.value) + repr(rig.observer.events) + repr(both(app_on(stage)))
        assert SECRET not in seen
        assert NEXT not in seen


def test_switched_secret_stays_in_use_while_it_is_next() -> None:
    """New settings that still name it as next don't send the app back to a current one nobody has tried."""
    secrets = AppSecrets("a", "b")
    secrets.switch(secrets.active, trial=False)
    assert secrets.renewed("a", "b") is secrets
    assert secrets.renewed("c", "b").active.text == "b"
    assert secrets.renewed("b", "c").active.text == "b"
    assert secrets.renewed("c", None).active.text == "c"
    assert secrets.renewed("c", "d").active.text == "c"


def test_next_like_current_is_none() -> None:
    """The same secret twice is one."""
    assert AppSecrets("a", "a").other is None


@given(st.lists(st.sampled_from(["switch", "trial", "confirm", "give_up", "stale"]), max_size=30))
def test_no_secret_is_ever_lost(steps: list[str]) -> None:
    """Whatever happens in whatever order, one of the two is in use, the other one isn't, and a trial has an end."""
    secrets = AppSecrets("a", "b")
    stale = secrets.active
    for step in steps:
        before = (secrets.active, secrets.other, secrets.on_trial)
        match step:
            case "switch":
                assert secrets.switch(secrets.active, trial=False)
                assert secrets.active is before[1]
                assert not secrets.on_trial
            case "trial":
                assert secrets.switch(secrets.active, trial=True)
                assert secrets.on_trial
            case "confirm":
                assert secrets.confirm(secrets.active) == before[2]
                assert not secrets.on_trial
            case "give_up":
                secrets.give_up(secrets.active)
                assert (secrets.active is before[1]) == before[2]
                assert not secrets.on_trial
            case "stale" if stale is not secrets.active:
                assert not secrets.switch(stale, trial=False)
                assert (secrets.active, secrets.other, secrets.on_trial) == before
        assert secrets.other is not None
        assert {secrets.active.text, secrets.other.text} == {"a", "b"}
