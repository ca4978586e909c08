"""
The address the sandbox listens on, which stays its own while it refuses connections.
"""

import asyncio
import socket
from contextlib import suppress
from typing import Final

_BIND_TURNS: Final = 1000


class Port:
    """
    A host and a port; port 0 becomes the one that the first binding gave.
    """

    def __init__(self, host: str, number: int) -> None:
        self._host = host
        self.number = number

    @property
    def authority(self) -> str:
        """
        Host and port as they stand in a URL.
        """
        host = f"[{self._host}]" if ":" in self._host else self._host
        return f"{host}:{self.number}"

    def bind(self) -> socket.socket:
        """
        A socket bound here and not listening yet.

        Raises:
            OSError: the address cannot be bound.
        """
        family = socket.AF_INET6 if ":" in self._host else socket.AF_INET
        bound = socket.socket(family, socket.SOCK_STREAM)
        try:
            bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            bound.bind((self._host, self.number))
        except BaseException:
            bound.close()
            raise
        self.number = bound.getsockname()[1]
        return bound

    async def hold(self) -> socket.socket:
        """
        The same, right after a listener was closed: the kernel refuses connections meanwhile and gives the
        port to nobody else. Some loops close the old listener a turn later, so this may wait a few.

        Raises:
            OSError: the address cannot be bound.
        """
        for _ in range(_BIND_TURNS):
            with suppress(OSError):
                return self.bind()
            await _turn()
        return self.bind()


async def _turn() -> None:
    loop = asyncio.get_running_loop()
    passed = loop.create_future()
    loop.call_soon(passed.set_result, None)
    await passed
