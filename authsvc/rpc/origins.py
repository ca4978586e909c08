"""Where a call came from, for the audit trail: from the connection's peer and the call's metadata to an `Origin`."""

from collections.abc import Mapping
from ipaddress import IPv6Address, ip_address
from urllib.parse import unquote

from authsvc.domain.audit import MAX_REASON
from authsvc.domain.principals import Principal, Role
from authsvc.ports import CallRecord, Origin
from authsvc.ports.audit import REASON_KEY
from authsvc.rpc.principals import ServicerContext

# What the edge saw, and believed of nobody else: any other caller would write what it likes into the trail.
CLIENT_IP_KEY = "x-client-ip"


def origin_of(
    context: ServicerContext,
    metadata: Mapping[str, str],
    principal: Principal,
    *,
    record: CallRecord,
) -> Origin:
    """Return where the call came from; its address is looked up only if somebody asks."""
    client_ip = metadata.get(CLIENT_IP_KEY, "") if Role.EDGE in principal.roles else ""

    def address() -> str:
        return _plain(client_ip) or peer_address(context.peer())

    # Strangers write nothing into the trail: a role is what whoever was identified has.
    reason = metadata.get(REASON_KEY) if principal.roles else None
    return Origin(
        principal.name, record.request_id, record.trace_id, _reason(reason) if reason else "", address
    )


def peer_address(peer: str) -> str:
    """Return the address of gRPC's name for a peer (`ipv4:1.2.3.4:5`, `ipv6:%5B::1%5D:5`); empty for one without."""
    kind, _, rest = peer.partition(":")
    if kind not in ("ipv4", "ipv6"):
        return ""
    host = unquote(rest).rpartition(":")[0]
    return _plain(host.strip("[]"))


def _plain(text: str) -> str:
    """Return the one spelling of an address: no zone, and IPv4 as such also where IPv6 carries it (RFC 4291, 2.5.5.2)."""
    try:
        address = ip_address(text.partition("%")[0])
    except ValueError:
        return ""
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return str(mapped or address)


def _reason(text: str) -> str:
    said = unquote(text, errors="replace")
    return "".join(letter if letter.isprintable() else " " for letter in said)[:MAX_REASON]
