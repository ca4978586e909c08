"""A port that several processes will share, held for them and against everybody else."""

import contextlib
import errno
import os
import socket
from typing import Self

from authsvc.rpc.server import PortTaken

# One of a name's addresses may not exist on this machine, e.g. the ::1 of `localhost` where there is no IPv6.
_NOT_HERE = frozenset({errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT})


class Reservation:
    """
    Bound and never listening, so no connection goes here; processes of ours may listen beside it with SO_REUSEPORT.

    While it is held the number stays ours even when none of them listens, and nobody can bind the port alone.
    """

    def __init__(self, sockets: list[socket.socket], *, host: str) -> None:
        self._sockets = sockets
        self.port: int = sockets[0].getsockname()[1]
        self.address = f"[{host}]:{self.port}" if ":" in host else f"{host}:{self.port}"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Let the port go. Idempotent."""
        for held in self._sockets:
            held.close()


def reserve(host: str, port: int) -> Reservation:
    """
    Hold *port* (0: a free one) on every address of *host*.

    Raises:
        PortTaken: somebody listens there, shared or not, or holds it like this.

    """
    held: list[socket.socket] = []
    wanted, why = port, ""
    with contextlib.ExitStack() as undo:
        try:
            found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        except OSError:
            raise PortTaken(f"cannot bind {host}:{port}: no such address") from None
        for family, kind, protocol, _, where in found:
            try:
                one = undo.enter_context(socket.socket(family, kind, protocol))
                _hold(one, (where[0], wanted, *where[2:]))
            except OSError as error:
                why = os.strerror(error.errno) if error.errno else type(error).__name__
                if error.errno in _NOT_HERE:
                    continue
                raise PortTaken(f"cannot bind {host}:{port}: {why}") from None
            held.append(one)
            wanted = one.getsockname()[1]
        if not held:
            raise PortTaken(f"cannot bind {host}:{port}: {why}")
        undo.pop_all()
    return Reservation(held, host=host)


def _hold(one: socket.socket, where: tuple[object, ...]) -> None:
    # Alone first: this fails where anybody listens, also one who would share. SO_REUSEADDR only forgives what old
    # connections left behind. Sharing is allowed on the bound socket, so there is no moment between in which a
    # second start could slip in; and SO_REUSEADDR goes, or a lone listener could bind while no worker listens yet.
    one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if one.family == socket.AF_INET6:
        one.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
    one.bind(where)
    one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 0)
