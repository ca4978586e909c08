"""A pooler as LISTEN finds it: everything passes, but notifications do not."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass
from urllib.parse import urlsplit, urlunsplit

_HEADER = 5  # a message of the server: its kind, and a length that counts itself
_NOTIFICATION = b"A"


@dataclass
class Pooler:
    server_port: int
    port: int = 0
    dropped: int = 0

    def url(self, direct: str) -> str:
        """The address of the same database, through here."""
        return urlunsplit(urlsplit(direct)._replace(netloc=f"postgres@127.0.0.1:{self.port}"))

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there_reader, there_writer = await asyncio.open_connection("127.0.0.1", self.server_port)
        answers = asyncio.ensure_future(self._answers(there_reader, writer))
        with contextlib.suppress(OSError, asyncio.CancelledError):
            while piece := await reader.read(65536):
                there_writer.write(piece)
        answers.cancel()
        await asyncio.gather(answers, return_exceptions=True)
        for each in (writer, there_writer):
            each.transport.abort()

    async def _answers(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        # The first byte answers the request for TLS, if the client made one, and is no message.
        first = await reader.readexactly(1)
        writer.write(first)
        if first not in (b"N", b"S"):
            length = await reader.readexactly(4)
            writer.write(length + await reader.readexactly(int.from_bytes(length) - 4))
        while True:
            head = await reader.readexactly(_HEADER)
            body = await reader.readexactly(int.from_bytes(head[1:]) - 4)
            if head[:1] == _NOTIFICATION:
                self.dropped += 1
            else:
                writer.write(head + body)


@contextlib.asynccontextmanager
async def pooler_to(server_port: int) -> AsyncIterator[Pooler]:
    pooler = Pooler(server_port)
    server = await asyncio.start_server(pooler.serve, "127.0.0.1", 0)
    pooler.port = server.sockets[0].getsockname()[1]
    try:
        yield pooler
    finally:
        server.close()
