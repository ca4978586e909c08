"""Where a request comes from: the client's address through trusted proxies, and its user agent."""

from collections.abc import Iterable, Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

from aiohttp import web

_USER_AGENT_LENGTH = 256

Address = IPv4Address | IPv6Address


class Origin:
    """Judges X-Forwarded-For by the list of trusted proxies (CIDR blocks)."""

    def __init__(self, trusted_proxies: Iterable[str]) -> None:
        self._trusted: Sequence[IPv4Network | IPv6Network] = [ip_network(block) for block in trusted_proxies]

    def client_ip(self, request: web.BaseRequest) -> str:
        """
        Return the client's address, or an empty string for a peer without one (a Unix socket).

        It is the peer, unless the peer is a trusted proxy: then the right-most address of X-Forwarded-For that is no
        trusted proxy. What stands left of that one was written by strangers. An entry that is no address ends the
        search at the last hop that is known.
        """
        peer = _address(request.remote or "")
        if peer is None:
            return ""
        if not self._is_trusted(peer):
            return str(peer)
        hop = peer
        entries = ",".join(request.headers.getall("X-Forwarded-For", ())).split(",")
        for entry in reversed(entries):
            address = _address(entry)
            if address is None:
                break
            hop = address
            if not self._is_trusted(hop):
                break
        return str(hop)

    def _is_trusted(self, address: Address) -> bool:
        return any(address in block for block in self._trusted)


def user_agent(request: web.BaseRequest) -> str:
    """Return the User-Agent, cut to 256 characters; bytes that are no UTF-8 become question marks."""
    return clean(request.headers.get("User-Agent", "")[:_USER_AGENT_LENGTH])


def clean(text: str) -> str:
    """Return *text* as protobuf can carry it: undecodable header bytes (lone surrogates) become question marks."""
    return text if text.isascii() else text.encode("utf-8", "replace").decode()


def _address(text: str) -> Address | None:
    text = text.strip()
    if text.startswith("["):  # [v6]:port
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:  # v4:port
        text = text.partition(":")[0]
    try:
        address = ip_address(text.partition("%")[0])
    except ValueError:
        return None
    if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
        return address.ipv4_mapped
    return address
