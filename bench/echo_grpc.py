"""
A bare grpc.aio echo: what the engine costs with nothing in it.

Started as a script, it needs only grpcio (and takes uvloop where it is there), so that one harness can measure several
versions of grpcio, each in an environment of its own. A second method does the bare ES256 check and echoes: what the
check costs between two calls, with the caches that the engine leaves it.
"""

import argparse
import asyncio
import gc
import json
from collections.abc import Callable, Sequence
from itertools import cycle
from pathlib import Path
from typing import Any

import grpc
import grpc.aio

METHOD = "/bench.Echo/Echo"
CHECKED = "/bench.Echo/Checked"


async def serve(
    *,
    options: list[tuple[str, int]],
    reply_bytes: int,
    ready: Callable[[str], object],
    interceptors: Sequence[Any] = (),
) -> None:
    """Answer every call with the first *reply_bytes* of its request, until this process is ended; *ready* gets the address."""

    async def echo(raw: bytes, context: Any) -> bytes:
        del context
        return raw[:reply_bytes]

    check = _next_check()

    async def checked(raw: bytes, context: Any) -> bytes:
        del context
        check()
        return raw[:reply_bytes]

    server = grpc.aio.server(options=options, interceptors=interceptors)
    service = METHOD.split("/")[1]
    handlers = {
        "Echo": grpc.unary_unary_rpc_method_handler(echo),
        "Checked": grpc.unary_unary_rpc_method_handler(checked),
    }
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(service, handlers),))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    gc.collect()
    gc.freeze()
    ready(f"127.0.0.1:{port}")
    await server.wait_for_termination()


def _next_check() -> Callable[[], None]:
    """Return the bare ES256 check of one of some signatures; nothing where `cryptography` is not installed."""
    try:
        from bench.signature import signature_checks
    except ImportError:
        return lambda: None
    checks = cycle(signature_checks(signed_bytes=500))

    def check() -> None:
        next(checks)()

    return check


def main() -> None:
    """Serve with the channel options given as JSON, on the loop that the service would use."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--options", default="[]", help="channel options as JSON: [[name, number], ...]")
    parser.add_argument("--reply-bytes", type=int, default=256)
    parser.add_argument("--ready-file", type=Path, required=True)
    given = parser.parse_args()
    try:
        import uvloop
    except ImportError:
        factory = None
    else:
        factory = uvloop.new_event_loop
    options = [(str(name), int(number)) for name, number in json.loads(given.options)]
    with asyncio.Runner(loop_factory=factory) as runner:
        runner.run(serve(options=options, reply_bytes=given.reply_bytes, ready=given.ready_file.write_text))


if __name__ == "__main__":
    main()
