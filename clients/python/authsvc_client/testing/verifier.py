"""Verifiers that say what they are told."""

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from types import TracebackType
from typing import Self

from authsvc_client.judgement import Demand, judge_demand
from authsvc_client.verdicts import Active, CannotKnow, Cause, Inactive, InactiveReason, Verdict

_BEGIN = datetime(2027, 1, 15, 8, tzinfo=UTC)


class _Told:
    """
    What both fakes are told.

    `cause` makes every answer "cannot know" until it is None again; `asked` lists the tokens that were judged.
    """

    def __init__(self, *, audience: str) -> None:
        self.audience = audience
        self.cause: Cause | None = None
        self.asked: list[str] = []
        self._verdicts: dict[str, Verdict] = {}

    def accept(
        self,
        token: str,
        *,
        user_id: str = "alice",
        scopes: Iterable[str] = (),
        roles: Iterable[str] = (),
        app_id: str = "wx-app",
        session_id: str = "session-1",
        audiences: Iterable[str] | None = None,
        openid: str | None = None,
        external_id: str | None = None,
        previous_user_ids: Iterable[str] = (),
    ) -> Active:
        """Take *token*, any text, for a good one that says this."""
        active = Active(
            user_id=user_id,
            session_id=session_id,
            app_id=app_id,
            openid=openid,
            scopes=tuple(scopes),
            roles=tuple(roles),
            audiences=(self.audience,) if audiences is None else tuple(audiences),
            token_id=f"token-{len(self._verdicts) + 1}",
            issued_at=_BEGIN,
            expires_at=_BEGIN + timedelta(hours=2),
            previous_user_ids=tuple(previous_user_ids),
            external_id=external_id,
        )
        self._verdicts[token] = active
        return active

    def refuse(self, token: str, reason: InactiveReason) -> None:
        """Refuse *token* from now on; tokens that nobody spoke of are MALFORMED."""
        self._verdicts[token] = Inactive(reason)

    def check(
        self,
        token: str,
        *,
        scopes: Iterable[str] = (),
        roles: Iterable[str] = (),
        audience: str | None = None,
    ) -> Verdict:
        """See Verifier.check: audience, scopes and roles are judged as the real ones do."""
        self.asked.append(token)
        if self.cause is not None:
            raise CannotKnow(self.cause)
        verdict = self._verdicts.get(token, Inactive(InactiveReason.MALFORMED))
        if isinstance(verdict, Inactive):
            return verdict
        return judge_demand(verdict, Demand(audience or self.audience, tuple(scopes), tuple(roles)))

    @property
    def age(self) -> timedelta | None:
        """None while it cannot know, else zero."""
        return None if self.cause else timedelta(0)

    @property
    def position(self) -> int | None:
        """None while it cannot know, else zero."""
        return None if self.cause else 0

    @property
    def is_fresh(self) -> bool:
        """Whether it can know."""
        return self.cause is None

    @property
    def is_ready(self) -> bool:
        """Whether it can know."""
        return self.cause is None


class FakeVerifier(_Told):
    """Stands in for Verifier."""

    async def verify(
        self,
        token: str,
        *,
        scopes: Iterable[str] = (),
        roles: Iterable[str] = (),
        audience: str | None = None,
    ) -> Verdict:
        """See Verifier.verify."""
        return self.check(token, scopes=scopes, roles=roles, audience=audience)

    async def start(self, *, wait: timedelta | None = None) -> bool:
        """See Verifier.start."""
        del wait
        return self.is_ready

    async def wait_for(self, position: bytes | int, *, timeout: timedelta = timedelta(seconds=1)) -> bool:  # noqa: ASYNC109 - waits for nothing
        """See Verifier.wait_for: every position is known at once, unless it cannot know."""
        del position, timeout
        return self.is_ready

    async def aclose(self) -> None:
        """See Verifier.aclose."""

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()


class FakeSyncVerifier(_Told):
    """Stands in for SyncVerifier."""

    def verify(
        self,
        token: str,
        *,
        scopes: Iterable[str] = (),
        roles: Iterable[str] = (),
        audience: str | None = None,
    ) -> Verdict:
        """See SyncVerifier.verify."""
        return self.check(token, scopes=scopes, roles=roles, audience=audience)

    def start(self, *, wait: timedelta | None = None) -> bool:
        """See SyncVerifier.start."""
        del wait
        return self.is_ready

    def wait_for(self, position: bytes | int, *, timeout: timedelta = timedelta(seconds=1)) -> bool:
        """See SyncVerifier.wait_for: every position is known at once, unless it cannot know."""
        del position, timeout
        return self.is_ready

    def close(self) -> None:
        """See SyncVerifier.close."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
