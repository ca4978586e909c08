"""
Where an app's access_token comes from: WeChat's stable_token, a company's own token server, or a command.

Each ends in a verdict and never in an exception but cancellation. `force_refresh` is never asked for: it kills the
token of every other process (facts page 2.2).
"""

import asyncio
import os
import signal
from collections.abc import Awaitable, Callable
from contextlib import suppress
from functools import partial
from typing import Final

from authsvc.domain.errors import WeChatUnavailable
from authsvc.wechat.api_replies import FetchedToken, read_kept_token, read_printed_token, read_stable_token
from authsvc.wechat.app_secrets import Secret
from authsvc.wechat.errcodes import TOKEN_MEANINGS, FaultGroup
from authsvc.wechat.exchange import Fault, Outgoing
from authsvc.wechat.lane import Lane
from authsvc.wechat.replies import Unreadable
from authsvc.wechat.send_once import fault_level
from authsvc.wechat.settings import TokenCommand, TokenUrl, WeChatApp
from authsvc.wechat.verdicts import Trip, Verdict, deadline
from authsvc.wechat.wire import Request, Wire

_MAX_OUTPUT: Final = 64 * 1024


def stable_token(
    app: WeChatApp, *, lane: Lane, wire: Wire
) -> Callable[[Secret], Awaitable[Verdict[FetchedToken]]]:
    """Return what asks WeChat for the app's stable token with a given secret (facts page 2.2)."""

    async def ask(secret: Secret) -> Verdict[FetchedToken]:
        request = Request(
            endpoint="stable_token",
            urls=app.endpoint("/cgi-bin/stable_token"),
            outgoing=Outgoing(
                body={"grant_type": "client_credential", "appid": app.app_id, "secret": secret.text}
            ),
            meanings=TOKEN_MEANINGS,
            read=read_stable_token,
        )
        return await lane.run(request.endpoint, wire.attempt(app, request), until=deadline(app.deadline))

    return ask


def token_server(
    app: WeChatApp, source: TokenUrl, *, lane: Lane, wire: Wire
) -> Callable[[], Awaitable[Verdict[FetchedToken]]]:
    """Return what asks the company's token server."""

    async def ask() -> Verdict[FetchedToken]:
        request = Request(
            endpoint="token_url",
            urls=(source.url,),
            outgoing=Outgoing(
                headers={"Authorization": source.authorization} if source.authorization else {}
            ),
            meanings={},
            read=read_kept_token,
            # What its numbers mean is its own business: here there is no token, and that is all.
            unknown=lambda _app_id, errcode: WeChatUnavailable(f"token server: errcode {errcode}"),
        )
        return await lane.run(request.endpoint, wire.attempt(app, request), until=deadline(source.timeout))

    return ask


def token_command(source: TokenCommand, *, lane: Lane) -> Callable[[], Awaitable[Verdict[FetchedToken]]]:
    """Return what runs the company's command."""

    async def ask() -> Verdict[FetchedToken]:
        return await lane.run("token_command", partial(_run, source.words), until=deadline(source.timeout))

    return ask


async def _run(words: tuple[str, ...], trip: Trip) -> Verdict[FetchedToken]:
    output = await _output_of(words, until=trip.until)
    if isinstance(output, Fault):
        return _no_token(output.kind)
    reading = read_printed_token(output)
    if isinstance(reading, Unreadable):
        return _no_token(reading.why)
    return Verdict("ok", "info", healthy=True, value=reading)


def _no_token(fault: str) -> Verdict[FetchedToken]:
    return Verdict(
        FaultGroup.UNAVAILABLE.value,
        fault_level(fault),
        healthy=False,
        fail=lambda: WeChatUnavailable(f"no token from the command: {fault}"),
        fault=fault,
    )


async def _output_of(words: tuple[str, ...], *, until: float) -> bytes | Fault:
    try:
        process = await asyncio.create_subprocess_exec(
            *words,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,  # it may say anything, also what it was started with
            start_new_session=True,
        )
    except (OSError, ValueError):
        return Fault("command_not_started")
    assert process.stdout is not None, "a pipe was asked for"
    try:
        async with asyncio.timeout_at(until):
            output = await _read(process.stdout)
            status = await process.wait()
    except TimeoutError:
        return Fault("deadline")
    finally:
        # Whatever it started goes with it, or a child that holds the pipe would outlive every timeout.
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)
        await asyncio.shield(process.wait())
    if len(output) > _MAX_OUTPUT:
        return Fault("output_too_large")
    return Fault("command_failed") if status else output


async def _read(stream: asyncio.StreamReader) -> bytes:
    output = bytearray()
    while len(output) <= _MAX_OUTPUT and (chunk := await stream.read(_MAX_OUTPUT)):
        output += chunk
    return bytes(output)
