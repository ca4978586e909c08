"""The client on the wire: what is sent, and that every way of failing is told apart by whether it was sent."""

import asyncio

import pytest

from authsvc.domain.errors import LoginCodeInvalid, LoginCodeSpent
from tests.wechat.wire import (
    APP_ID,
    CODE,
    GOOD_BODY,
    OPENID,
    SECRET,
    SESSION_KEY,
    Behaviour,
    Visit,
    app_at,
    be_good,
    drop,
    exchange,
    hang,
    impatient,
    serving,
    started,
)

MAX_BODY = 64 * 1024


async def test_good_code_is_exchanged() -> None:
    """The session comes back, and the call is reported with its outcome and nothing secret."""
    async with serving(be_good) as peer, started(app_at(peer.url)) as rig:
        session = await rig.client.code_to_session(app_id=APP_ID, code=CODE)
    assert (session.openid, session.session_key, session.unionid) == (OPENID, SESSION_KEY, None)
    assert rig.last_call == {
        "app_id": APP_ID,
        "endpoint": "jscode2session",
        "outcome": "ok",
        "errcode": 0,
        "rid": "",
        "fault": "",
        "host": "127.0.0.1",
        "hosts_tried": 1,
        "sent": True,
        "duration_ms": 0.0,
    }


@pytest.mark.parametrize(
    "code",
    [
        CODE,
        "a b",
        "a&secret=x",
        "a=b&appid=other#frag?x",
        "\"quoted\" 'quoted'",
        "a+b",
        "a%2Bb%20c%",
        "码🙂",
        "a;b/../c\\d",
        "line\r\nX-Injected: 1",
        "tab\t\x00nul",
    ],
)
async def test_request_is_exactly_four_parameters(code: str) -> None:
    """
    Whatever the code's text, the request is one GET with four parameters that decode to what was meant, no more
    (facts page 1.1): no access_token, no cookie, no injected parameter or header.
    """
    async with serving(be_good) as peer, started(app_at(peer.url)) as rig:
        await exchange(rig, code)
    [visit] = peer.visits
    assert visit.request.startswith(b"GET /sns/jscode2session?")
    assert {
        "appid": APP_ID,
        "secret": SECRET,
        "js_code": code,
        "grant_type": "authorization_code",
    } == visit.query
    lines = visit.request.decode("ascii").split("\r\n")
    names = [line.partition(":")[0].lower() for line in lines[1:] if line]
    assert {"host", "accept", "accept-encoding", "user-agent", "connection"} == set(names)


async def test_unsendable_code_is_invalid_and_not_sent() -> None:
    """A lone surrogate can't be written into a URL: it is refused like a bad code and counts as nobody's fault."""
    async with serving(be_good) as peer, started(app_at(peer.url)) as rig:
        with pytest.raises(LoginCodeInvalid):
            await exchange(rig, "\ud800")
    assert peer.visits == []


@pytest.mark.parametrize(
    "content_type",
    ["text/plain", "application/json", "text/html; charset=gbk", "junk/", "", "text/plain; charset=x"],
)
async def test_content_type_does_not_matter(content_type: str) -> None:
    """The body is parsed whatever its Content-Type says."""

    async def behave(visit: Visit) -> None:
        await visit.answer(content_type=content_type)

    async with serving(behave) as peer, started(app_at(peer.url)) as rig:
        await exchange(rig)


async def test_every_exchange_has_its_own_connection() -> None:
    """
    No login is answered on a connection that another one used, though the peer would keep it open: a stray answer
    on it would log one user in as another (test_send_once.test_pooled_connections_mix_up_answers shows it).
    """
    async with serving(be_good) as peer, started(app_at(peer.url)) as rig:
        for code in ("one", "two", "three"):
            await exchange(rig, code)
    assert [visit.connection for visit in peer.visits] == [1, 2, 3]


# What comes after the request was written: spent, and sent once.


async def reset(visit: Visit) -> None:
    visit.reset()


async def cut_head(visit: Visit) -> None:
    await visit.write(b"HTTP/1.1 200 OK\r\nContent-")
    visit.drop()


async def cut_body(visit: Visit) -> None:
    await visit.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n" + GOOD_BODY[:30])
    visit.drop()


async def cut_body_by_reset(visit: Visit) -> None:
    await visit.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n" + GOOD_BODY[:30])
    visit.reset()


async def not_http(visit: Visit) -> None:
    await visit.write(b"SSH-2.0-OpenSSH_9.2p1\r\n\r\n")
    visit.drop()


async def bad_compression(visit: Visit) -> None:
    await visit.answer(b"not gzip at all", headers="Content-Encoding: gzip\r\n")


def answering(body: bytes, status: str = "200 OK", headers: str = "") -> Behaviour:
    async def behave(visit: Visit) -> None:
        await visit.answer(body, status=status, headers=headers)

    return behave


AFTER_WRITE: dict[str, tuple[Behaviour, str]] = {
    "drop": (drop, "disconnected"),
    "reset": (reset, "reset"),
    "cut head": (cut_head, "disconnected"),
    "cut body": (cut_body, "body_cut"),
    "cut body by reset": (cut_body_by_reset, "body_cut"),
    "not http": (not_http, "not_http"),
    "bad compression": (bad_compression, "body_cut"),
    "500": (answering(GOOD_BODY, "500 Oops"), "http_500"),
    "502 html": (answering(b"<html>", "502 Bad Gateway"), "http_502"),
    "503": (answering(b"", "503 Busy"), "http_503"),
    "403": (answering(GOOD_BODY, "403 Forbidden"), "http_403"),
    "204": (answering(b"", "204 No Content"), "http_204"),
    "empty": (answering(b""), "empty_body"),
    "html": (answering(b"<html></html>"), "not_a_json_object"),
    "truncated": (answering(GOOD_BODY[:-5]), "not_a_json_object"),
    "array": (answering(b"[" + GOOD_BODY + b"]"), "not_a_json_object"),
    "gbk": (answering('{"errmsg":"微信"}'.encode("gbk")), "not_a_json_object"),
    "no session_key": (answering(b'{"openid":"o"}'), "no_session"),
    "-1": (answering(b'{"errcode":-1,"errmsg":"system error"}'), ""),
    "too large": (answering(GOOD_BODY + b" " * MAX_BODY), "body_too_large"),
}


@pytest.mark.parametrize("name", AFTER_WRITE)
async def test_lost_after_write_is_spent_and_sent_once(name: str) -> None:
    """
    Once bytes may have left, any loss of the answer is LoginCodeSpent: one request on the wire, and no backup host
    sees the code.
    """
    behave, fault = AFTER_WRITE[name]
    async with (
        serving(behave) as peer,
        serving(be_good) as backup,
        started(app_at(peer.url, backup.url)) as rig,
    ):
        with pytest.raises(LoginCodeSpent):
            await exchange(rig)
    assert (len(peer.visits), backup.connections) == (1, 0)
    assert ("spent", fault, True) == (rig.last_call["outcome"], rig.last_call["fault"], rig.last_call["sent"])


@pytest.mark.parametrize(
    "status", ["301 Moved", "302 Found", "303 See Other", "307 Temporary", "308 Permanent"]
)
async def test_redirects_are_not_followed(status: str) -> None:
    """A redirect would carry the secret wherever it points; the code is spent instead."""
    async with serving(be_good) as elsewhere:
        behave = answering(b"", status, f"Location: {elsewhere.url}/sns/jscode2session\r\n")
        async with serving(behave) as peer, started(app_at(peer.url)) as rig:
            with pytest.raises(LoginCodeSpent):
                await exchange(rig)
        assert (len(peer.visits), elsewhere.connections) == (1, 0)
    assert rig.last_call["fault"] == f"http_{status[:3]}"


async def test_proxies_of_the_environment_are_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    """A proxy somebody set for other purposes never sees the secret."""
    async with serving(be_good) as proxy, serving(be_good) as peer, started(app_at(peer.url)) as rig:
        for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
            monkeypatch.setenv(name, proxy.url)
        for name in ("no_proxy", "NO_PROXY"):
            monkeypatch.delenv(name, raising=False)
        await exchange(rig)
    assert (len(peer.visits), proxy.connections) == (1, 0)


async def test_largest_body_is_read_and_no_more() -> None:
    """A body of exactly the limit is read; of an endless one the client takes little more, and hangs up."""
    taken = 0
    hung_up = asyncio.Event()

    async def endless(visit: Visit) -> None:
        nonlocal taken
        visit.writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
        try:
            while True:
                visit.writer.write(b" " * 4096)
                await visit.writer.drain()
                taken += 4096
        except ConnectionError:
            hung_up.set()

    async with serving(answering(GOOD_BODY.ljust(MAX_BODY))) as peer, started(app_at(peer.url)) as rig:
        await exchange(rig)
    async with serving(endless) as peer, started(app_at(peer.url)) as rig:
        with pytest.raises(LoginCodeSpent):
            await exchange(rig)
        # It never ends by itself: that the exchange is over shows that it was not read whole.
        await hung_up.wait()
    assert taken > 0


async def trickle(visit: Visit) -> None:
    await visit.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{")
    await hang(visit)


@pytest.mark.parametrize("behave", [hang, trickle])
async def test_deadline_after_write_is_spent(behave: Behaviour) -> None:
    """Who waits in vain for an answer to what was sent has spent the code; nothing is sent again."""
    async with (
        serving(behave) as peer,
        serving(be_good) as backup,
        started(impatient(app_at(peer.url, backup.url))) as rig,
    ):
        with pytest.raises(LoginCodeSpent):
            await exchange(rig)
    assert (len(peer.visits), backup.connections) == (1, 0)
    assert rig.last_call["fault"] == "deadline"


async def test_cancelled_call_is_reported_with_whether_it_was_sent() -> None:
    """A caller that goes away leaves a trace: cancelled, and that the code was sent."""
    async with serving(hang) as peer, started(app_at(peer.url)) as rig:
        call = asyncio.create_task(exchange(rig))
        await peer.arrived.wait()
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
    assert (rig.last_call["outcome"], rig.last_call["sent"]) == ("cancelled", True)


async def test_closing_the_client_ends_what_is_in_flight() -> None:
    """An exchange that the client's own closing cuts off is spent, not left hanging."""
    async with serving(hang) as peer, started(app_at(peer.url)) as rig:
        call = asyncio.create_task(exchange(rig))
        await peer.arrived.wait()
        await rig.client.close()
        with pytest.raises(LoginCodeSpent):
            await call
