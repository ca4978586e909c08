"""The caller `local`, and what of a certificate names a caller."""

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any

import pytest

from authsvc.domain.apps import App, AppRegistry
from authsvc.domain.principals import Role
from authsvc.rpc.principals import LocalAuthenticator, certificate_names


def test_local_has_the_audiences_of_the_apps_as_they_are_now() -> None:
    """Exchanging the apps changes what a call without an audience is judged against; between exchanges it is one value."""
    apps = AppRegistry({"a": App("a", ("orders",), access_lifetime=timedelta(hours=1))})
    authenticator = LocalAuthenticator(roles=frozenset({Role.EDGE}), apps=apps)
    context: Any = None
    first = authenticator.identify(context, {})
    assert (first.name, first.roles, first.audiences) == (
        "local",
        frozenset({Role.EDGE}),
        frozenset({"orders"}),
    )
    assert authenticator.identify(context, {}) is first
    apps.replace({"b": App("b", ("members",))})
    second = authenticator.identify(context, {})
    assert (second.roles, second.audiences) == (frozenset({Role.EDGE}), frozenset({"members"}))
    assert authenticator.identify(context, {}) is second


class Context:
    """What gRPC says of a certificate that holds."""

    def __init__(self, **told: Sequence[bytes]) -> None:
        self._told = told

    def auth_context(self) -> Mapping[str, Sequence[bytes]]:
        return self._told


@pytest.mark.parametrize(
    ("told", "names"),
    [
        ({}, ()),
        ({"peer_dns": [b"a.example", b"b.example"]}, ("a.example", "b.example")),
        ({"peer_uri": [b"spiffe://t/a"], "peer_dns": [b"a.example"]}, ("spiffe://t/a", "a.example")),
        ({"peer_uri": [b"a.example"]}, ()),
        ({"peer_uri": [b"https://t/a"]}, ()),
        ({"peer_dns": [b"spiffe://t/a"]}, ()),
        ({"peer_uri": [b"spiffe://t/a", b"spiffe://t/b"], "peer_dns": [b"a.example"]}, ("a.example",)),
        ({"peer_uri": [b"spiffe://t/a", b"https://t/a"]}, ()),
        ({"peer_ip": [b"10.0.0.1"], "x509_common_name": [b"a.example"], "peer_email": [b"a.example"]}, ()),
        ({"peer_dns": [b"\xff.example"]}, ("\ufffd.example",)),
    ],
)
def test_a_name_counts_only_as_what_it_was_certified_as(
    told: Mapping[str, Sequence[bytes]], names: Sequence[str]
) -> None:
    """No URI passes for a host, no host for a SPIFFE id, no common name for anything, and two URIs for none."""
    context: Any = Context(**told)
    assert certificate_names(context) == tuple(names)
