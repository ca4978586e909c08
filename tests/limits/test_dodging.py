"""No header takes a client out of its address's limits: what the edge makes of hostile headers."""

from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from types import SimpleNamespace
from typing import cast

from aiohttp import web
from hypothesis import given
from hypothesis import strategies as st
from multidict import CIMultiDict

from authsvc.domain.limits import network_of
from authsvc.edge.origin import Origin

TRUSTED = ("10.0.0.0/8", "2001:db8:ffff::/48")
NETWORKS = [ip_network(block) for block in TRUSTED]
ORIGIN = Origin(TRUSTED)
V4 = st.integers(min_value=0, max_value=2**32 - 1).map(IPv4Address)
V6 = st.integers(min_value=0, max_value=2**128 - 1).map(IPv6Address)


def is_stranger(address: IPv4Address | IPv6Address) -> bool:
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return not any((mapped or address) in network for network in NETWORKS)


STRANGERS = st.one_of(V4, V6).filter(is_stranger)
PROXIES = st.integers(min_value=0, max_value=2**24 - 1).map(lambda host: IPv4Address((10 << 24) | host))
# What the client itself may have sent: addresses, lists, nonsense.
SAID = st.one_of(
    st.text(st.characters(blacklist_characters=",", blacklist_categories=("Cs", "Cc")), max_size=40),
    st.one_of(V4, V6).map(str),
    st.lists(st.one_of(V4, V6).map(str), max_size=4).map(", ".join),
)
NAMES = st.sampled_from(["X-Forwarded-For", "x-forwarded-for", "X-FORWARDED-FOR"])
OTHERS = st.sampled_from(["X-Real-IP", "Forwarded", "X-Client-IP", "True-Client-IP", "X-Forwarded", "Via"])


def spelled(address: IPv4Address | IPv6Address) -> st.SearchStrategy[str]:
    """The ways in which proxies write one address."""
    ways = [str(address), f" {address} "]
    if isinstance(address, IPv4Address):
        ways += [f"{address}:4711", f"::ffff:{address}", f"[::ffff:{address}]:4711", f"::FFFF:{address}"]
    else:
        ways += [address.exploded, address.exploded.upper(), f"[{address}]", f"[{address}]:4711"]
    return st.sampled_from(ways)


def client_of(peer: object, headers: list[tuple[str, str]]) -> str:
    request = SimpleNamespace(remote=str(peer), headers=CIMultiDict(headers))
    return network_of(ORIGIN.client_ip(cast("web.BaseRequest", request)))


@given(peer=STRANGERS, said=st.lists(st.tuples(st.one_of(NAMES, OTHERS), SAID), max_size=5))
def test_a_stranger_counts_as_where_it_connects_from(
    peer: IPv4Address | IPv6Address, said: list[tuple[str, str]]
) -> None:
    """
    Whatever headers it sends, how often and however they are written.
    """
    assert client_of(peer, said) == network_of(str(peer))


@given(data=st.data(), client=STRANGERS, peer=PROXIES, hops=st.lists(PROXIES, max_size=3))
def test_behind_trusted_proxies_a_client_counts_as_what_they_saw(
    data: st.DataObject, client: IPv4Address | IPv6Address, peer: IPv4Address, hops: list[IPv4Address]
) -> None:
    """
    What the client said before stands left of it, in the same header or in others, and changes nothing.
    """
    said = data.draw(st.lists(st.tuples(st.one_of(NAMES, OTHERS), SAID), max_size=4))
    prefix = data.draw(st.one_of(st.just(""), SAID.map(lambda text: f"{text}, ")))
    seen = data.draw(spelled(client)) + "".join(f", {hop}" for hop in hops)
    headers = [
        *said,
        (data.draw(NAMES), prefix + seen),
        *data.draw(st.lists(st.tuples(OTHERS, SAID), max_size=2)),
    ]
    assert client_of(peer, headers) == network_of(str(client))


@given(client=st.one_of(V4, V6))
def test_one_client_counts_as_one_however_the_edge_hears_of_it(client: IPv4Address | IPv6Address) -> None:
    """
    As a peer, as an entry, and as what the server is told of it.
    """
    parsed = ip_address(str(client))
    told = {client_of(str(client), []), network_of(str(parsed)), network_of(parsed.exploded.upper())}
    assert told == {network_of(str(client))}
