"""A company's own keeper of tokens: a server that is asked, or a command that is run."""

import asyncio
import json
import sys
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import psutil
import pytest

from authsvc.domain import errors
from authsvc.wechat import TokenCommand, TokenSource, TokenUrl, WeChatApp
from tests.wechat.platform import CHECK, PHONE, TOKEN, check, connected, phone, refusing
from tests.wechat.test_secrecy import text_of
from tests.wechat.wire import NEVER, Behaviour, Visit, app_at, be_good, drop, hang, refused_url, serving

KEPT = "77_canarykepttoken"
CREDENTIAL = "Bearer canarycredential"
CANARIES = (KEPT, "canarycredential", "canaryquery", "canaryargument")


def with_source(source: TokenSource) -> Callable[[WeChatApp], WeChatApp]:
    return lambda app: replace(app, token_source=source)


def answering(body: bytes, status: str = "200 OK") -> Behaviour:
    async def behave(visit: Visit) -> None:
        await visit.answer(body, status=status, content_type="application/json")

    return behave


def printing(text: str) -> TokenCommand:
    return TokenCommand(f"{sys.executable} -c \"print('{text}')\"", timeout=NEVER)


async def test_server_is_asked_once_and_as_told() -> None:
    """One GET with the authorization it wants, for a crowd; WeChat's own token endpoint is left alone."""
    body = json.dumps({"access_token": KEPT, "expires_in": 600}).encode()
    async with serving(answering(body)) as keeper:
        source = TokenUrl(keeper.url + "/token?app=1", authorization=CREDENTIAL, timeout=NEVER)
        async with connected(with_source(source)) as (stage, rig):
            await asyncio.gather(*(check(rig) for _ in range(200)))
            assert set(stage.tokens_used(CHECK)) == {KEPT}
            assert stage.count(TOKEN) == 0
    [visit] = keeper.visits
    assert visit.target == "/token?app=1"
    assert b"GET " in visit.request
    assert f"Authorization: {CREDENTIAL}\r\n".encode() in visit.request


async def test_refused_token_is_asked_for_again_once() -> None:
    """Compare-then-expire, one refresh and one retry hold for a token server too."""
    asked = 0

    async def numbered(visit: Visit) -> None:
        nonlocal asked
        asked += 1
        await visit.answer(json.dumps({"access_token": f"{asked}_kept"}).encode())

    async with serving(numbered) as keeper, connected(with_source(TokenUrl(keeper.url))) as (stage, rig):
        stage.scripts[PHONE] = refusing(42001)
        with pytest.raises(errors.WeChatMisconfigured):
            await phone(rig)
        assert stage.tokens_used(PHONE) == ["1_kept", "2_kept"]


async def test_unstated_lifetime_is_a_minute() -> None:
    """A server that doesn't say how long its token lives is asked again after a minute at the latest."""
    async with (
        serving(answering(json.dumps({"access_token": KEPT}).encode())) as keeper,
        connected(with_source(TokenUrl(keeper.url))) as (_, rig),
    ):
        await check(rig)
        rig.clock.advance(timedelta(seconds=29))
        await check(rig)
        assert len(keeper.visits) == 1
        rig.clock.advance(timedelta(seconds=31))
        await check(rig)
        assert len(keeper.visits) == 2


@pytest.mark.parametrize(
    "behave",
    [
        answering(b""),
        answering(b"<html></html>"),
        answering(b'"bare"'),
        answering(b'{"access_token":"a","expires_in":"x"}'),
        answering(b'{"errcode":40001,"errmsg":"x"}'),
        answering(b"{}", "500 Oops"),
        answering(b"{}", "401 Unauthorized"),
        answering(b"x" * 100_000),
        drop,
    ],
    ids=["empty", "html", "bare", "odd life", "errcode", "500", "401", "huge", "drop"],
)
async def test_server_in_trouble_is_unavailable(behave: Behaviour) -> None:
    """Whatever it answers, without a token nothing is sent to WeChat, and the caller may try again."""
    async with serving(behave) as keeper, connected(with_source(TokenUrl(keeper.url))) as (stage, rig):
        with pytest.raises(errors.WeChatUnavailable):
            await phone(rig)
        assert stage.count(PHONE) == 0


async def test_server_that_hangs_is_left_in_time() -> None:
    """Its own timeout ends the wait."""
    async with serving(hang) as keeper:
        source = TokenUrl(keeper.url, timeout=timedelta(milliseconds=50))
        async with connected(with_source(source)) as (_, rig):
            with pytest.raises(errors.WeChatUnavailable):
                await phone(rig)
            assert rig.last_call["fault"] == "deadline"


@pytest.mark.parametrize(
    "text", [KEPT, '{\\"access_token\\": \\"77_canarykepttoken\\", \\"expires_in\\": 60}']
)
async def test_command_prints_a_token(text: str) -> None:
    """Bare or as JSON; it runs once for a crowd."""
    async with connected(with_source(printing(text))) as (stage, rig):
        await asyncio.gather(*(check(rig) for _ in range(50)))
        assert set(stage.tokens_used(CHECK)) == {KEPT}
        assert (
            len([e for e in rig.observer.named("wechat.call") if e.fields["endpoint"] == "token_command"])
            == 1
        )


@pytest.mark.parametrize(
    ("command", "fault"),
    [
        ("/nonexistent/command", "command_not_started"),
        (f'{sys.executable} -c "raise SystemExit(3)"', "command_failed"),
        (f'{sys.executable} -c "pass"', "no_token"),
        (f"{sys.executable} -c \"print('two words')\"", "no_token"),
        (f"{sys.executable} -c \"print('<html>')\"", "no_token"),
        (f"{sys.executable} -c \"print('[]')\"", "no_token"),
        (f"{sys.executable} -c \"print('x' * 100000)\"", "output_too_large"),
    ],
)
async def test_command_in_trouble_is_unavailable(command: str, fault: str) -> None:
    """A command that fails, says nothing or says too much gives no token; the reason is one fixed word."""
    async with connected(with_source(TokenCommand(command, timeout=NEVER))) as (stage, rig):
        with pytest.raises(errors.WeChatUnavailable):
            await phone(rig)
        assert (rig.last_call["fault"], stage.count(PHONE)) == (fault, 0)


async def test_command_that_hangs_is_killed_with_its_children(tmp_path: Path) -> None:
    """After the timeout neither it nor what it started is there, even where a child holds the pipe."""
    pids = tmp_path / "pids"
    program = tmp_path / "program.py"
    program.write_text(
        "import os, signal, subprocess, sys\n"
        "child = subprocess.Popen([sys.executable, '-c', 'import signal; signal.pause()'])\n"
        f"open({str(pids)!r} + '.new', 'w').write(f'{{os.getpid()}} {{child.pid}}')\n"
        f"os.rename({str(pids)!r} + '.new', {str(pids)!r})\n"
        "signal.pause()\n"
    )
    source = TokenCommand(f"{sys.executable} {program}", timeout=timedelta(seconds=1))
    async with connected(with_source(source)) as (_, rig):
        while not pids.exists():  # on a stalled machine the timeout may come before the program has begun
            with pytest.raises(errors.WeChatUnavailable):
                await phone(rig)
    left = [psutil.Process(int(pid)) for pid in pids.read_text().split() if psutil.pid_exists(int(pid))]
    # The signal has been sent; dying takes the kernel a moment, and an orphan's zombie waits for its reaper.
    gone, alive = psutil.wait_procs([process for process in left if not is_dead(process)], timeout=60)
    assert [process for process in alive if not is_dead(process)] == []
    assert len(gone) <= 2


def is_dead(process: psutil.Process) -> bool:
    try:
        return bool(process.status() == psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return True


async def test_no_source_reveals_its_secrets() -> None:
    """Neither URL nor authorization nor command line nor token is in a repr, an exception or an event."""
    async with serving(answering(KEPT.encode(), "500 " + KEPT)) as keeper:
        sources: list[TokenSource] = [
            TokenUrl(keeper.url + "/?canaryquery=1", authorization=CREDENTIAL),
            TokenUrl(refused_url() + "/?canaryquery=1", authorization=CREDENTIAL),
            TokenCommand("/nonexistent canaryargument"),
            printing(KEPT + " canaryargument"),
        ]
        for source in sources:
            async with connected(with_source(source)) as (_, rig):
                with pytest.raises(errors.WeChatUnavailable) as raised:
                    await check(rig)
                seen = text_of(raised.value) + repr(rig.observer.events) + repr(source)
                assert [secret for secret in CANARIES if secret in seen] == []


@pytest.mark.parametrize(
    "url", ["", "ftp://host/", "http://", "token.example", "http://host:0/", "http://[", "http://h:99999/"]
)
def test_url_is_judged(url: str) -> None:
    """A URL that could not work is refused when it is configured, without being quoted."""
    with pytest.raises(ValueError, match="http or https URL"):
        TokenUrl(url)


def test_other_settings_are_judged() -> None:
    """So are the rest."""
    for bad in ("a\r\nX: y", "ü"):
        with pytest.raises(ValueError, match="one line of ASCII"):
            TokenUrl("http://h/", authorization=bad)
    for command in ("", "  ", "'open"):
        with pytest.raises(ValueError, match="command line"):
            TokenCommand(command)
    for make in (
        lambda: TokenUrl("http://h/", timeout=timedelta()),
        lambda: TokenCommand("x", timeout=timedelta()),
    ):
        with pytest.raises(ValueError, match="positive"):
            make()
    with pytest.raises(ValueError, match="no access_token to fetch"):
        replace(app_at("http://h"), cloud=True, token_source=TokenCommand("x"))
    with pytest.raises(ValueError, match="next_secret"):
        replace(app_at("http://h"), next_secret="")


async def test_login_is_independent_of_the_keeper() -> None:
    """A token server that is down takes no login with it."""
    async with serving(be_good) as peer:
        app = with_source(TokenUrl(refused_url()))(app_at(peer.url))
        assert app.token_source is not None
        async with connected(lambda _: app) as (_, rig):
            await rig.client.code_to_session(app_id=app.app_id, code="code")
