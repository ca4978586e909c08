"""The part of WeChat that the use cases need."""

from dataclasses import dataclass, field
from typing import Protocol


@dataclass(frozen=True, slots=True)
class CodeSession:
    """What WeChat answers for a good code. The session_key is sealed at once and never leaves the service."""

    openid: str = field(repr=False)
    session_key: str = field(repr=False)
    unionid: str | None = field(default=None, repr=False)


class WeChat(Protocol):
    """The part of WeChat that the use cases need; errors come by fault group (facts page 1.3)."""

    async def code_to_session(self, *, app_id: str, code: str) -> CodeSession:
        """
        Exchange a login code, putting it on the wire at most once.

        Raises:
            WeChatUnavailable: provably nothing was written (connect failure, breaker open, no slot in time).
            LoginCodeSpent: written, and the outcome is lost.
            LoginCodeInvalid, LoginCodeUsed, WeChatUserBlocked, WeChatThrottled, WeChatMisconfigured: its verdicts.

        """
        ...
