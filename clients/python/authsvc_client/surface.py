"""What middleware needs of a verifier: the real ones and the fakes of `authsvc_client.testing` have it alike."""

from collections.abc import Iterable
from datetime import timedelta
from typing import Protocol

from authsvc_client.verdicts import Verdict


class TokenChecker(Protocol):
    """Judges without waiting."""

    def check(
        self,
        token: str,
        *,
        scopes: Iterable[str] = (),
        roles: Iterable[str] = (),
        audience: str | None = None,
    ) -> Verdict:
        """See Verifier.check."""
        ...

    @property
    def age(self) -> timedelta | None:
        """See Verifier.age."""
        ...

    @property
    def is_ready(self) -> bool:
        """See Verifier.is_ready."""
        ...


class TokenVerifier(TokenChecker, Protocol):
    """Verifier, or what stands in for it."""

    async def verify(
        self,
        token: str,
        *,
        scopes: Iterable[str] = (),
        roles: Iterable[str] = (),
        audience: str | None = None,
    ) -> Verdict:
        """See Verifier.verify."""
        ...

    async def wait_for(self, position: bytes | int, *, timeout: timedelta = ...) -> bool:  # noqa: ASYNC109 - on the injected clock
        """See Verifier.wait_for."""
        ...


class SyncTokenVerifier(TokenChecker, Protocol):
    """SyncVerifier, or what stands in for it."""

    def verify(
        self,
        token: str,
        *,
        scopes: Iterable[str] = (),
        roles: Iterable[str] = (),
        audience: str | None = None,
    ) -> Verdict:
        """See SyncVerifier.verify."""
        ...

    def wait_for(self, position: bytes | int, *, timeout: timedelta = ...) -> bool:
        """See SyncVerifier.wait_for."""
        ...
