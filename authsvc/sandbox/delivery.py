"""
How an answer reaches the client, or fails to: the ordinary way, in trickles, cut off, or not at all.

Works on one request's connection. Which way is due is decided by ``pipeline``.
"""

from datetime import timedelta
from typing import Final

from aiohttp import web

from authsvc.sandbox.needs import Clock
from authsvc.sandbox.replies import Reply

_CHUNK: Final = 64 * 1024


def respond(reply: Reply) -> web.Response:
    """
    The answer, delivered the ordinary way by whoever returns it.
    """
    # The header rather than the argument: given a charset-less text type as an argument, aiohttp adds one.
    return web.Response(body=reply.body, status=reply.status, headers=_headers(reply))


def drop(request: web.Request) -> web.StreamResponse:
    """
    The connection is gone and no byte of an answer was sent.
    """
    if request.transport is not None:
        request.transport.abort()
    return web.Response()  # aiohttp wants one; there is nowhere left to send it


async def cut(request: web.Request, reply: Reply) -> web.StreamResponse:
    """
    The whole length was announced, half of it sent, then the connection closed.
    """
    response = await _start(request, reply, length=len(reply.body))
    await response.write(reply.body[: len(reply.body) // 2])
    if request.transport is not None:
        request.transport.close()  # flushes the half, where abort might lose it
    return response


async def trickle(
    request: web.Request, reply: Reply, *, pause: timedelta, clock: Clock
) -> web.StreamResponse:
    """
    The answer went out byte by byte with a pause before each.
    """
    response = await _start(request, reply, length=len(reply.body))
    for index in range(len(reply.body)):
        await clock.sleep(pause)
        await response.write(reply.body[index : index + 1])
    await response.write_eof()
    return response


async def pad(request: web.Request, reply: Reply, *, size: int) -> web.StreamResponse:
    """
    The answer, a JSON object, grew by one field to at least ``size`` bytes.
    """
    head, tail = reply.body.removesuffix(b"}") + b',"padding":"', b'"}'
    missing = max(0, size - len(head) - len(tail))
    response = await _start(request, reply, length=len(head) + missing + len(tail))
    await response.write(head)
    while missing:
        chunk = min(missing, _CHUNK)
        await response.write(b"x" * chunk)
        missing -= chunk
    await response.write(tail)
    await response.write_eof()
    return response


async def hang_up_after(request: web.Request, reply: Reply) -> web.StreamResponse:
    """
    The answer is out, announced as keep-alive, and the connection is closed all the same.
    """
    response = await _start(request, reply, length=len(reply.body))
    await response.write(reply.body)
    await response.write_eof()
    if request.transport is not None:
        request.transport.close()
    return response


async def _start(request: web.Request, reply: Reply, *, length: int) -> web.StreamResponse:
    response = web.StreamResponse(status=reply.status, headers=_headers(reply))
    response.content_length = length
    await response.prepare(request)
    return response


def _headers(reply: Reply) -> dict[str, str]:
    return {**reply.headers, "Content-Type": reply.content_type}
