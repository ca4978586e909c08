"""A TCP proxy between a replica and its database, that can be cut: nothing passes, nobody is told."""

import asyncio
import contextlib
from typing import Self


class Proxy:
    """
    Forwards connections from a free port of 127.0.0.1 to *port*; runs in the loop that entered it.

    While cut, bytes stop in both directions and new connections are accepted and never carried on, as behind a
    broken switch. Mending ends the connections that were cut, as the other side's keep-alive would in time.
    """

    def __init__(self, port: int) -> None:
        self._to = port
        self._open = asyncio.Event()
        self._open.set()
        self._pairs: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._server is not None
        self._server.close()
        await self._drop()

    @property
    def port(self) -> int:
        assert self._server is not None
        return int(self._server.sockets[0].getsockname()[1])

    def cut(self) -> None:
        """From now on nothing passes."""
        self._open.clear()

    async def mend(self) -> None:
        """Let new connections through; those that were cut are ended."""
        await self._drop()
        self._open.set()

    async def _drop(self) -> None:
        pairs, self._pairs = self._pairs, set()
        for pair in pairs:
            pair.cancel()
        await asyncio.gather(*pairs, return_exceptions=True)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._pairs.add(task)
        with contextlib.suppress(OSError, asyncio.CancelledError):
            await self._carry(reader, writer)
        writer.transport.abort()
        self._pairs.discard(task)

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await self._open.wait()
        onward_reader, onward_writer = await asyncio.open_connection("127.0.0.1", self._to)
        ways = [
            asyncio.ensure_future(self._pump(reader, onward_writer)),
            asyncio.ensure_future(self._pump(onward_reader, writer)),
        ]
        try:
            await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for way in ways:
                way.cancel()
            await asyncio.gather(*ways, return_exceptions=True)
            onward_writer.transport.abort()

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(65536):
            await self._open.wait()
            writer.write(data)
            await writer.drain()
