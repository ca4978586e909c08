"""
A headless Chromium, driven over its DevTools protocol: what a person at the control page does and sees.
"""

import asyncio
import base64
import json
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import aiohttp

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
NO_CHROMIUM = "chromium is not on the PATH: the sandbox's control page was NOT tried in a browser"
_PATIENCE = 40


class Browser:
    """
    One tab.
    """

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self._socket = socket
        self._serial = 0
        self._loads = 0
        self.complaints: list[str] = []

    async def command(self, method: str, **params: Any) -> dict[str, Any]:
        """
        The result of one DevTools command; what the page complains of meanwhile is kept.
        """
        self._serial += 1
        await self._socket.send_json({"id": self._serial, "method": method, "params": params})
        while True:
            message = await self._receive()
            if message.get("id") == self._serial:
                assert "error" not in message, message
                result: dict[str, Any] = message["result"]
                return result
            self._note(message)

    async def evaluate(self, expression: str) -> Any:
        """
        The value of an expression in the page; a promise's once it is kept.
        """
        result = await self.command(
            "Runtime.evaluate", expression=expression, awaitPromise=True, returnByValue=True
        )
        assert "exceptionDetails" not in result, result
        return result["result"].get("value")

    async def until(self, expression: str) -> Any:
        """
        The expression's value as soon as it is true; fails after a generous time.
        """
        value = await self.evaluate(
            f"""new Promise((resolve) => {{
                const end = Date.now() + {_PATIENCE // 2 * 1000};
                const look = () => {{
                    const value = {expression};
                    if (value || Date.now() > end) resolve(value || null); else setTimeout(look, 20);
                }};
                look();
            }})"""
        )
        assert value is not None, f"never came true: {expression}; complaints: {self.complaints}"
        return value

    async def open(self, url: str, *, language: str = "en") -> None:
        """
        The page is there and has loaded what it shows.
        """
        before = self._loads
        await self.command("Page.navigate", url=f"{url}?lang={language}")
        while self._loads == before:  # until then the old document may still answer
            self._note(await self._receive())
        await self.until("document.documentElement.dataset.ready === 'yes'")

    async def click(self, selector: str) -> None:
        """
        The mouse pressed and released in the middle of an element.
        """
        box = await self.evaluate(
            f"""(() => {{
                const found = document.querySelector({json.dumps(selector)});
                found.scrollIntoView({{block: 'center'}});
                const box = found.getBoundingClientRect();
                return {{x: box.x + box.width / 2, y: box.y + box.height / 2}};
            }})()"""
        )
        for kind in ("mousePressed", "mouseReleased"):
            await self.command("Input.dispatchMouseEvent", type=kind, button="left", clickCount=1, **box)

    async def enter(self, selector: str, value: str) -> None:
        """
        A field or list has this value, as if typed or chosen.
        """
        await self.evaluate(
            f"""(() => {{
                const field = document.querySelector({json.dumps(selector)});
                field.value = {json.dumps(value)};
                field.dispatchEvent(new Event('input', {{bubbles: true}}));
                field.dispatchEvent(new Event('change', {{bubbles: true}}));
            }})()"""
        )

    async def resize(self, width: int, height: int) -> None:
        """
        The window has this size.
        """
        await self.command(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=1,
            mobile=False,
        )

    async def screenshot(self) -> bytes:
        """
        What it looks like, as PNG.
        """
        shot = await self.command("Page.captureScreenshot", captureBeyondViewport=True)
        return base64.b64decode(shot["data"])

    async def _receive(self) -> dict[str, Any]:
        message: dict[str, Any] = json.loads((await self._socket.receive(timeout=_PATIENCE)).data)
        return message

    def _note(self, message: dict[str, Any]) -> None:
        params = message.get("params", {})
        match message.get("method"):
            case "Page.loadEventFired":
                self._loads += 1
            case "Runtime.exceptionThrown":
                self.complaints.append(str(params["exceptionDetails"]))
            case "Log.entryAdded" if params["entry"]["level"] == "error":
                self.complaints.append(str(params["entry"].get("text")))


@asynccontextmanager
async def browsing(folder: Path) -> AsyncIterator[Browser]:
    """
    A browser of its own for the block; its profile lies in the folder.
    """
    assert CHROMIUM is not None, NO_CHROMIUM
    process = await asyncio.create_subprocess_exec(
        CHROMIUM,
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--disable-dev-shm-usage",
        "--no-first-run",
        "--disable-background-networking",
        "--remote-debugging-port=0",
        f"--user-data-dir={folder}",
        "about:blank",
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
    )
    drain: asyncio.Task[bytes] | None = None
    try:
        port = await _port(process)
        assert process.stderr is not None
        drain = asyncio.create_task(process.stderr.read())  # a full pipe would stop it
        async with aiohttp.ClientSession(f"http://127.0.0.1:{port}") as http:
            async with http.get("/json/list") as listed:
                url = next(tab for tab in await listed.json() if tab["type"] == "page")[
                    "webSocketDebuggerUrl"
                ]
            async with http.ws_connect(url, max_msg_size=0) as socket:
                browser = Browser(socket)
                for domain in ("Page", "Runtime", "Log"):
                    await browser.command(f"{domain}.enable")
                yield browser
    finally:
        with suppress(ProcessLookupError):
            process.kill()
        await process.wait()
        if drain is not None:
            await drain


async def _port(process: asyncio.subprocess.Process) -> int:
    assert process.stderr is not None
    async with asyncio.timeout(_PATIENCE):
        while line := await process.stderr.readline():
            if line.startswith(b"DevTools listening on ws://"):
                return int(line.split(b"/")[2].rpartition(b":")[2])
    raise AssertionError("chromium ended before it listened")
