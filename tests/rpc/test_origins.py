"""Where a call came from: what of it is believed of whom, and what gets into the trail of what callers write."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from authsvc.domain.audit import MAX_REASON
from authsvc.domain.principals import Principal, Role
from authsvc.ports import CallRecord, Origin
from authsvc.ports.audit import REASON_KEY
from authsvc.rpc.origins import CLIENT_IP_KEY, origin_of, peer_address

PEER = "ipv4:10.0.0.7:41000"


class Context:
    """A call's connection, as far as origins look at it."""

    def __init__(self, peer: str) -> None:
        self._peer = peer
        self.asked = 0

    def peer(self) -> str:
        self.asked += 1
        return self._peer


def origin(*roles: Role, peer: str = PEER, **metadata: str) -> Origin:
    context: Any = Context(peer)
    caller = Principal(name="somebody", roles=frozenset(roles), audiences=frozenset())
    record = CallRecord("/a/B", "OK", "", 0.0)
    record.request_id, record.trace_id = "r1", "t1"
    named = {name.replace("_", "-"): value for name, value in metadata.items()}
    return origin_of(context, named, caller, record=record)


@pytest.mark.parametrize("role", sorted(set(Role) - {Role.EDGE}))
def test_nobody_but_an_edge_says_for_whom_it_calls(role: Role) -> None:
    """A caller that names another address in the metadata is written down with its own."""
    assert origin(role, x_client_ip="198.51.100.1").address() == "10.0.0.7"


def test_a_stranger_writes_nothing_into_the_trail() -> None:
    """Who was not identified is written down with the peer's address, and without a reason."""
    found = origin(x_client_ip="198.51.100.1", **{REASON_KEY: "approved by the auditor"})
    assert (found.address(), found.reason) == ("10.0.0.7", "")


@pytest.mark.parametrize(
    ("told", "kept"),
    [
        ("198.51.100.1", "198.51.100.1"),
        ("2001:DB8:0::1", "2001:db8::1"),
        ("fe80::1%eth0", "fe80::1"),
        ("::ffff:198.51.100.1", "198.51.100.1"),
        ("", "10.0.0.7"),
        ("198.51.100.1, 203.0.113.9", "10.0.0.7"),
        ("localhost", "10.0.0.7"),
        ("198.51.100.1\n", "10.0.0.7"),
        ("1" * 5000, "10.0.0.7"),
    ],
)
def test_an_edge_is_believed_addresses_only(told: str, kept: str) -> None:
    """In one spelling each, so that rows of one address can be found; anything else is the edge's own address."""
    assert origin(Role.EDGE, x_client_ip=told).address() == kept


@pytest.mark.parametrize(
    ("peer", "address"),
    [
        ("ipv4:127.0.0.1:50051", "127.0.0.1"),
        ("ipv6:%5B::1%5D:50051", "::1"),
        ("ipv6:[2001:db8::1]:443", "2001:db8::1"),
        ("ipv6:%5Bfe80::1%25eth0%5D:443", "fe80::1"),
        ("ipv6:%5B::ffff:192.0.2.1%5D:443", "192.0.2.1"),
        ("unix:/run/authsvc.sock", ""),
        ("unix:", ""),
        ("unix-abstract:1.2.3.4:5", ""),
        ("ipv4:nonsense:1", ""),
        ("ipv4:", ""),
        ("", ""),
    ],
)
def test_peers_have_their_address_without_port_and_zone(peer: str, address: str) -> None:
    """As grpcio names them, percent-encoded or not; a socket file has none."""
    assert peer_address(peer) == address


def test_the_address_is_looked_up_by_who_asks_for_it() -> None:
    """A call that writes no row pays for none."""
    context: Any = Context(PEER)
    caller = Principal(name="a", roles=frozenset(), audiences=frozenset())
    found = origin_of(context, {}, caller, record=CallRecord("/a/B", "OK", "", 0.0))
    assert context.asked == 0
    assert (found.address(), context.asked) == ("10.0.0.7", 1)


def test_who_and_the_ids_are_of_the_call() -> None:
    """The caller's name is the one that was proved, never one that the metadata say."""
    found = origin(Role.OPERATOR, x_request_id="other", x_caller="root")
    assert (found.caller, found.request_id, found.trace_id, found.reason) == ("somebody", "r1", "t1", "")


@pytest.mark.parametrize(
    ("told", "kept"),
    [
        ("ticket%20%E5%B7%A5%E5%8D%95%207", "ticket 工单 7"),
        ("plain words", "plain words"),
        ("a%0D%0Ab%00c%1B%5B31m", "a  b c [31m"),
        ("%E2%80%AEevil%E2%80%A8line", " evil line"),
        ("%C2%85x", " x"),
        ("%FF%ED%A0%80", "\ufffd" * 4),
        ("100%", "100%"),
    ],
)
def test_reasons_are_one_line_of_printable_text(told: str, kept: str) -> None:
    """Whatever is encoded in them: nothing ends a line, paints a terminal or cannot be stored."""
    assert origin(Role.OPERATOR, **{REASON_KEY: told}).reason == kept


@given(st.text(max_size=3000))
def test_no_reason_is_too_much(told: str) -> None:
    """Bounded after it was decoded, printable, and text that every database keeps."""
    kept = origin(Role.OPERATOR, **{REASON_KEY: told}).reason
    assert len(kept) <= MAX_REASON
    assert kept.isprintable()
    assert "\0" not in kept.encode().decode()


def test_the_names_are_those_of_the_edge_and_the_manual() -> None:
    """The edge's own metadata and docs/operations/audit.md say these."""
    assert (CLIENT_IP_KEY, REASON_KEY) == ("x-client-ip", "x-audit-reason")
