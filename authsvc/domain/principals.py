"""Who calls us: a service with a name, the roles it holds, and what of the service it may touch."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

from authsvc.domain.errors import CallerForbidden
from authsvc.domain.service_keys import KeyRecord

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
# Names that rows and logs use for what nobody called for, or for whom nobody was asked.
RESERVED_NAMES = frozenset(
    {
        "anonymous", "anybody", "authsvc", "cli", "dev-edge", "dev-operator", "local", "local-edge", "login",
        "process", "restore", "retention", "schedule", "server", "service", "system", "unknown",
    }
)  # fmt: skip


class Role(StrEnum):
    """What a caller may be allowed to do (DESIGN section 9)."""

    EDGE = "edge"
    VERIFIER = "verifier"
    REVOKER = "revoker"
    USERDATA = "userdata"
    USERS = "users"
    OPERATOR = "operator"


@dataclass(frozen=True, slots=True)
class Principal:
    """
    An identified caller. A request without an audience is judged against `audiences`.

    `apps` None means every app; else it may touch nothing of any other. Without `any_audience` it may ask only for
    `audiences`. docs/decisions/0008-callers.md says why.
    """

    name: str
    roles: frozenset[Role]
    audiences: frozenset[str]
    apps: frozenset[str] | None = None
    any_audience: bool = True

    @property
    def is_restricted(self) -> bool:
        """Whether a role alone does not say what it may do."""
        return self.apps is not None or not self.any_audience

    def require_audience(self, audience: str) -> None:
        """
        Return if it may ask what is good for this audience.

        Raises:
            CallerForbidden: the audience is not its own.

        """
        if not self.any_audience and audience not in self.audiences:
            raise CallerForbidden("not its audience")


def require_app(apps: frozenset[str] | None, app_id: str) -> None:
    """
    Return if a caller that is limited to *apps* (None: to none) may touch this app.

    Raises:
        CallerForbidden: it may not; whether the app or anything in it exists makes no difference.

    """
    if apps is not None and app_id not in apps:
        raise CallerForbidden("not its app")


@dataclass(frozen=True, slots=True)
class Declared:
    """
    A principal as a file or the record declares it; no `audiences`: those of its apps, no `apps`: all of them.

    `spiffe` and `dns` are the names in certificates that prove it (RFC 5280 section 4.2.1.6: URI and DNS names).
    """

    name: str
    roles: frozenset[Role]
    audiences: frozenset[str] = frozenset()
    apps: frozenset[str] = frozenset()
    spiffe: tuple[str, ...] = ()
    dns: tuple[str, ...] = ()
    keys: tuple[KeyRecord, ...] = ()


def check_declared(declared: Declared) -> Iterable[str]:
    """Yield what is wrong with a principal, one sentence each."""
    yield from check_name(declared.name)
    if not declared.roles:
        yield "roles: it needs one at least"
    if Role.VERIFIER in declared.roles and not declared.audiences:
        # Or every token of every app would be good for it: no verifier works without an audience (DESIGN section 2).
        yield "audiences: a verifier needs its own"


def check_name(name: str) -> Iterable[str]:
    """Yield what is wrong with the name of a principal, one sentence each."""
    if _NAME.fullmatch(name) is None:
        yield "name: 1 to 64 characters of A-Z a-z 0-9 . _ -, a letter or digit first"
    elif name.lower() in RESERVED_NAMES:
        yield "name: is reserved"
