"""A reserved port is ours alone to share."""

import socket
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from authsvc.rpc.reservation import reserve
from authsvc.rpc.server import PortTaken

HOST = "127.0.0.1"


class Sockets:
    """Plain listeners as other programs make them, closed at the end."""

    def __init__(self, stack: ExitStack) -> None:
        self._stack = stack

    def listen(self, port: int, *, shared: bool) -> int:
        """Listen like gRPC does, sharing the port or not; return the port."""
        one = self._stack.enter_context(socket.socket())
        one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, int(shared))
        one.bind((HOST, port))
        one.listen()
        return int(one.getsockname()[1])


@pytest.fixture
def sockets() -> Iterator[Sockets]:
    with ExitStack() as stack:
        yield Sockets(stack)


@pytest.mark.parametrize("shared", [True, False])
def test_a_port_somebody_listens_on_cannot_be_reserved(sockets: Sockets, *, shared: bool) -> None:
    """
    Also not where the other one would share it: the text names the address.
    """
    port = sockets.listen(0, shared=shared)

    with pytest.raises(PortTaken, match=f"{HOST}:{port}"):
        reserve(HOST, port)


def test_a_port_is_reserved_once() -> None:
    """
    A second supervisor is refused while the first holds the port, before any worker listens; later it is not.
    """
    with reserve(HOST, 0) as first, pytest.raises(PortTaken):
        reserve(HOST, first.port)
    with reserve(HOST, first.port) as again:
        assert again.port == first.port


def test_only_those_who_share_can_listen_on_a_reserved_port(sockets: Sockets) -> None:
    """
    Workers can, several of them; one who wants the port alone cannot, whether or not a worker listens.
    """
    with reserve(HOST, 0) as held:
        with pytest.raises(OSError, match="in use"):
            sockets.listen(held.port, shared=False)
        sockets.listen(held.port, shared=True)
        sockets.listen(held.port, shared=True)
        with pytest.raises(OSError, match="in use"):
            sockets.listen(held.port, shared=False)


def test_connections_go_to_workers_only(sockets: Sockets) -> None:
    """
    The reservation never swallows a connection: without a worker it is refused, with one it arrives.
    """
    with reserve(HOST, 0) as held:
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection((HOST, held.port), timeout=5)
        sockets.listen(held.port, shared=True)
        for _ in range(20):
            socket.create_connection((HOST, held.port), timeout=5).close()


def test_a_name_is_held_on_all_its_addresses(sockets: Sockets) -> None:
    """
    `localhost` has one port number on every address family that is there, and says it in its address.
    """
    with reserve("localhost", 0) as held:
        assert held.address == f"localhost:{held.port}"
        with pytest.raises(OSError, match="in use"):
            sockets.listen(held.port, shared=False)


@pytest.mark.parametrize("host", ["no-such-host.invalid", "192.0.2.1"])
def test_an_address_that_is_not_ours_is_told(host: str) -> None:
    """
    A name without an address, and an address of nobody (RFC 5737), are refused by name.
    """
    with pytest.raises(PortTaken, match=host):
        reserve(host, 0)
