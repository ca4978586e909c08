"""
The control page works in a real browser: what a person clicks happens, and what strangers send stays text.
"""

import json
import re
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from authsvc.sandbox import FAULTS, VARIANTS, SandboxApp, SandboxServer, World
from authsvc.sandbox.page import FOLDER
from tests.fakes import SeededEntropy
from tests.sandbox.browser import CHROMIUM, NO_CHROMIUM, Browser, browsing
from tests.sandbox.wire import D1, SECRETS, WatchedClock, Wire, login_query

TEXTS = json.loads((FOLDER / "texts.json").read_text("utf-8"))
HTML = (FOLDER / "index.html").read_text("utf-8")
SCRIPT = (FOLDER / "page.js").read_text("utf-8")
in_a_browser = pytest.mark.skipif(CHROMIUM is None, reason=NO_CHROMIUM)
HOSTILE = "<img src=x onerror=\"document.title='owned'\">"


@pytest.fixture
async def browser(tmp_path: Path) -> AsyncIterator[Browser]:
    async with browsing(tmp_path) as running:
        yield running


# --- the files


def test_both_languages_say_everything() -> None:
    """
    Every text the page or its script names, every fault and every variant is there in English and Chinese.
    """
    named = set(re.findall(r'data-text="(\w+)"', HTML))
    named |= set(re.findall(r"(?:text|button|cell)\('(\w+)'", SCRIPT))
    named |= {f"fault_{name}" for name in FAULTS} | {f"variant_{name}" for name in VARIANTS}
    named |= {f"parameter_{kind.param.value}" for kind in FAULTS.values() if kind.param.value != "none"}
    named |= {"login_code", "phone_code", "encrypted_data"}
    named |= {f"setting_{name}" for name in ("wrong_app_consumes", "old_hints", "country_code_as_number")}
    assert named == set(TEXTS["en"]) == set(TEXTS["zh"])
    assert all(text.strip() for texts in TEXTS.values() for text in texts.values())


async def test_nothing_comes_from_elsewhere_and_nothing_is_inline(wire: Wire) -> None:
    """
    The policy allows the sandbox's own files only; the page has no inline script, style or handler, and no foreign URL.
    """
    for path in ("", "/page.js", "/page.css", "/texts.json", "/icon.svg"):
        answer = await wire.send("/sandbox" + path)
        policy = answer.headers["content-security-policy"]
        assert answer.status == 200
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        assert "*" not in policy
        assert answer.headers["x-content-type-options"] == "nosniff"
        foreign = re.findall(rb"(?:https?:)?//[a-z0-9.-]+", answer.body, re.IGNORECASE)
        assert [url for url in foreign if url != b"http://www.w3.org"] == []
    assert not re.search(r"<style|<script(?![^>]*\bsrc=)|\son\w+=|style=", HTML)
    assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|eval\(", SCRIPT)


async def test_watching_the_page_is_no_traffic(server: SandboxServer, wire: Wire) -> None:
    """
    The page, its files and its questions are not in the log of arrivals.
    """
    for path in ("/sandbox", "/sandbox/page.js", "/sandbox/icon.svg", "/sandbox/v1/requests", "/"):
        await wire.send(path)
    assert server.arrivals.select() == []


# --- in a browser


@in_a_browser
async def test_a_person_mints_codes_and_sees_them_arrive(
    server: SandboxServer, wire: Wire, browser: Browser
) -> None:
    """
    Clicked, a login code and a phone code appear; used, the requests show up by themselves with their outcome.
    """
    await browser.open(server.base_url + "/sandbox")
    await browser.click("#mint-login")
    code = await browser.until("document.querySelector('[data-kind=login_code] code')?.textContent")
    await browser.click("#mint-phone")
    phone = await browser.until("document.querySelector('[data-kind=phone_code] code')?.textContent")
    assert (len(code), len(phone)) == (32, 64)
    assert "openid" in (await wire.login(code)).fields
    await browser.until(f"document.querySelector('#requests')?.textContent.includes('{code}')")
    row = await browser.evaluate("document.querySelector('#requests tr').textContent")
    assert "session" in row
    assert SECRETS[D1] not in row
    query = {"access_token": await wire.access_token()}
    answer = await wire.api("POST", "/wxa/business/getuserphonenumber", query=query, body={"code": phone})
    assert answer.errcode == 0
    await browser.until(f"document.querySelector('#requests')?.textContent.includes('{phone}')")
    assert browser.complaints == []


@in_a_browser
async def test_a_person_switches_faults_secrets_and_language(
    server: SandboxServer, wire: Wire, browser: Browser
) -> None:
    """
    A fault is put on one endpoint and cleared; a secret reset, a clock moved; the page speaks Chinese and fits a phone.
    """
    await browser.open(server.base_url + "/sandbox")
    await browser.enter("#fault-name", "errcode")
    await browser.enter("#fault-parameter", "40226")
    await browser.enter("#fault-path", "/sns/jscode2session")
    await browser.click("#fault-on")
    await browser.until("document.querySelector('#rules')?.textContent.includes('errcode;40226')")
    assert (await wire.login("any")).errcode == 40226
    assert "access_token" in (await wire.stable()).fields
    await browser.click("#faults-clear")
    await browser.until("document.querySelector('#rules .none')")
    assert (await wire.login("any")).errcode == 40029

    await browser.click(f"[data-app={D1}] button")
    secret = await browser.until(f"document.querySelector('[data-app={D1}] .hint code')?.textContent")
    assert (await wire.stable()).errcode == 40125
    assert "access_token" in (await wire.stable(secret=secret)).fields

    await browser.click("[data-advance='300']")
    await browser.until("document.getElementById('now').textContent.includes('00:05:00')")
    assert server.clock.ahead.total_seconds() == 300

    await browser.resize(360, 700)
    await browser.click("[data-language=zh]")
    await browser.until("document.documentElement.lang === 'zh-CN'")
    assert await browser.evaluate("document.querySelector('h1').textContent") == TEXTS["zh"]["title"]
    assert await browser.evaluate("document.documentElement.scrollWidth <= innerWidth")
    assert len(await browser.screenshot()) > 10_000
    assert browser.complaints == []


@in_a_browser
async def test_what_strangers_send_stays_text(
    clock: WatchedClock, entropy: SeededEntropy, browser: Browser
) -> None:
    """
    App ids, accounts, users, codes and query strings that are HTML are shown as they are and run nothing.
    """
    app = SandboxApp(HOSTILE, "5a4d0000f1", open_platform=HOSTILE)
    server = SandboxServer(world=World([app], entropy=entropy), clock=clock, entropy=entropy)
    await server.start()
    try:
        wire = Wire(server)
        await browser.open(server.base_url + "/sandbox")
        await browser.enter("#mint-user", HOSTILE[:50])
        await browser.click("#mint-login")
        await browser.until("document.querySelector('#minted li')")
        await wire.send(login_query(HOSTILE, app_id=HOSTILE))
        await wire.send("/<script>alert(1)</script>?x=" + HOSTILE.replace(" ", "%20"))
        await browser.until("document.querySelectorAll('#requests tr').length === 2")
        shown = await browser.evaluate("document.querySelector('#requests').textContent")
        assert HOSTILE in shown
        assert HOSTILE in await browser.evaluate("document.querySelector('#apps').textContent")
        assert await browser.evaluate("document.title") == TEXTS["en"]["title"]
        assert await browser.evaluate("document.querySelectorAll('main img, main script').length") == 0
    finally:
        await server.stop()


@in_a_browser
async def test_mistakes_and_absence_are_told(server: SandboxServer, browser: Browser) -> None:
    """
    A fault with a wrong parameter is explained; while the sandbox is away the page says so, and recovers.
    """
    await browser.open(server.base_url + "/sandbox")
    await browser.enter("#fault-name", "errcode")
    await browser.click("#fault-on")
    told = await browser.until(
        "!document.getElementById('trouble').hidden && document.getElementById('trouble').textContent"
    )
    assert "needs a parameter" in told
    await server.refuse()
    await browser.until(f"document.getElementById('trouble').textContent === '{TEXTS['en']['unreachable']}'")
    await server.accept()
    await browser.until("document.getElementById('trouble').hidden")
