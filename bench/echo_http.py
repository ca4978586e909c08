"""A bare aiohttp handler: what the HTTP engine costs with nothing in it."""

import argparse
import asyncio
import gc
from collections.abc import Callable
from pathlib import Path

import uvloop
from aiohttp import web


async def serve(*, ready: Callable[[str], object]) -> None:
    """Answer every GET with 200 and an empty body, until this process is ended; *ready* gets the URL."""

    async def nothing(request: web.Request) -> web.Response:
        del request
        return web.Response()

    app = web.Application()
    app.router.add_get("/", nothing)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    gc.collect()
    gc.freeze()
    port = runner.addresses[0][1]
    ready(f"http://127.0.0.1:{port}")
    await asyncio.Event().wait()


def main() -> None:
    """Serve on the loop that the service would use."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--ready-file", type=Path, required=True)
    given = parser.parse_args()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(serve(ready=given.ready_file.write_text))


if __name__ == "__main__":
    main()
