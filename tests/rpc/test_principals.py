"""The caller `local`: every configured role, and the audiences of the apps as they are now."""

from datetime import timedelta
from typing import Any

from authsvc.domain.apps import App, AppRegistry
from authsvc.domain.principals import Role
from authsvc.rpc.principals import LocalAuthenticator


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
