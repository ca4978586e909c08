"""A TCP proxy in front of PostgreSQL that cuts a connection at a COMMIT, before or after passing it on."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass
from enum import Enum, auto

_PIECE = 65536


class Cut(Enum):
    """What happens to the next COMMIT."""

    NOT = auto()
    BEFORE = auto()  # it never reaches the server
    AFTER = auto()  # it does, and the answer is thrown away


@dataclass
class Proxy:
    server_port: int
    port: int = 0
    cut: Cut = Cut.NOT
    cuts: int = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there_reader, there_writer = await asyncio.open_connection("127.0.0.1", self.server_port)
        deaf = asyncio.Event()
        answers = asyncio.ensure_future(self._answers(there_reader, writer, deaf))
        try:
            while piece := await reader.read(_PIECE):
                if self.cut is not Cut.NOT and b"COMMIT\0" in piece:
                    after, self.cut = self.cut is Cut.AFTER, Cut.NOT
                    self.cuts += 1
                    if after:
                        deaf.set()
                        there_writer.write(piece)
                        await answers  # until the server has said what became of it
                    return
                there_writer.write(piece)
                await there_writer.drain()
        except OSError:
            pass
        finally:
            answers.cancel()
            await asyncio.gather(answers, return_exceptions=True)
            for each in (writer, there_writer):
                each.transport.abort()

    async def _answers(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, deaf: asyncio.Event
    ) -> None:
        with contextlib.suppress(OSError):
            while piece := await reader.read(_PIECE):
                if deaf.is_set():
                    return
                writer.write(piece)


@contextlib.asynccontextmanager
async def proxy_to(server_port: int) -> AsyncIterator[Proxy]:
    proxy = Proxy(server_port)
    server = await asyncio.start_server(proxy.serve, "127.0.0.1", 0)
    proxy.port = server.sockets[0].getsockname()[1]
    try:
        yield proxy
    finally:
        server.close()
