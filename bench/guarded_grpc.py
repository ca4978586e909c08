"""The bare echo with the client library's interceptor in front of it: a service that checks who calls, and nothing else."""

import argparse
import asyncio
import json
from collections.abc import Callable
from pathlib import Path

import uvloop

from authsvc_client import AuthInterceptor, Verifier
from bench import echo_grpc


async def serve(
    *,
    target: str,
    audience: str,
    options: list[tuple[str, int]],
    reply_bytes: int,
    ready: Callable[[str], object],
) -> None:
    """Answer as `echo_grpc.serve` does whoever has a good token for *audience*; *target* is the service to follow."""
    async with Verifier(target, audience=audience) as verifier:
        if not verifier.is_ready:
            raise SystemExit("the verifier did not get its keys and revocations")
        guards = [AuthInterceptor(verifier)]
        await echo_grpc.serve(options=options, reply_bytes=reply_bytes, ready=ready, interceptors=guards)


def main() -> None:
    """Serve on the loop that the bare echo uses."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--target", required=True)
    parser.add_argument("--audience", required=True)
    parser.add_argument("--options", default="[]", help="channel options as JSON: [[name, number], ...]")
    parser.add_argument("--reply-bytes", type=int, default=256)
    parser.add_argument("--ready-file", type=Path, required=True)
    given = parser.parse_args()
    options = [(str(name), int(number)) for name, number in json.loads(given.options)]
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(
            serve(
                target=given.target,
                audience=given.audience,
                options=options,
                reply_bytes=given.reply_bytes,
                ready=given.ready_file.write_text,
            )
        )


if __name__ == "__main__":
    main()
