"""
A session: live, then ended for one reason, once. What a presented refresh token does to it is judged here.

The judgement is a pure function of the stored row and the token; the store applies it in one atomic conditional
statement (DESIGN section 3, refresh token).
"""

from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from enum import IntEnum

from authsvc.domain.refresh_token import RefreshToken

# A login from the device of a live session older than this ends that session as superseded; a younger one is a
# sibling of the same app start (facts page 8.1) and is left alone.
SUPERSEDE_AFTER = timedelta(seconds=60)


class EndReason(IntEnum):
    """Why a session is over; numbers are the contract's `SessionEndReason`."""

    UNSPECIFIED = 0
    LOGOUT = 1
    SUPERSEDED = 2
    REPLACED = 3
    ADMIN = 4
    BLOCKED = 5
    REFRESH_REUSE = 6
    REFRESH_STALE = 7
    EXPIRED = 8
    MERGED = 9
    STORE_RESTORED = 10


@dataclass(frozen=True, slots=True)
class ClientInfo:
    """What a client says of itself. Shown to operators; decides nothing but which device a login supersedes."""

    ip: str = ""
    user_agent: str = ""
    device_id: str = ""
    device_name: str = ""


@dataclass(frozen=True, slots=True)
class Ended:
    """How a session ended. `by` names who did it: `user`, `login`, `service`, or a principal."""

    reason: EndReason
    at: datetime
    by: str


class AlreadyEnded(Exception):
    """A session ends once; the first reason stands."""


@dataclass(frozen=True, slots=True)
class Session:
    """
    One login on one device, as stored.

    `counter` is the number of the newest refresh token, `mac_key_id` the key it was made with, `rotated_at` when it
    was made. `position` is the log position read when the session was created (claim `sp`). `access_expires_at` is
    the `exp` of the access token that went with the newest refresh token: a replay hands it out again.
    """

    session_id: str
    user_id: str
    app_id: str
    openid: str = field(repr=False)
    created_at: datetime
    rotated_at: datetime
    refresh_expires_at: datetime
    absolute_end: datetime
    access_expires_at: datetime
    counter: int
    nonce_hash: bytes = field(repr=False)
    mac_key_id: bytes
    position: int
    client: ClientInfo = ClientInfo()
    ended: Ended | None = None

    def is_live(self, *, now: datetime) -> bool:
        """Tell whether the session can still be refreshed at *now*, as far as its own row says."""
        return self.ended is None and now < self.refresh_expires_at

    def end(self, *, reason: EndReason, at: datetime, by: str) -> "Session":
        """
        Return the session as ended.

        Raises:
            AlreadyEnded: it had ended before; nothing changes.

        """
        if self.ended is not None:
            raise AlreadyEnded
        return replace(self, ended=Ended(reason=reason, at=at, by=by))


@dataclass(frozen=True, slots=True)
class Rotate:
    """The newest token: make its successor."""


@dataclass(frozen=True, slots=True)
class Replay:
    """The token before the newest, within the grace window: hand out the same successor again."""


@dataclass(frozen=True, slots=True)
class End:
    """The session must end now, for this reason."""

    reason: EndReason


@dataclass(frozen=True, slots=True)
class Over:
    """The session had ended before."""

    reason: EndReason


@dataclass(frozen=True, slots=True)
class Foreign:
    """The MAC holds but the nonce is not this session's: the session is left untouched."""


RefreshVerdict = Rotate | Replay | End | Over | Foreign


def judge_refresh(
    session: Session,
    token: RefreshToken,
    *,
    now: datetime,
    grace: timedelta,
    dead_below: int,
    dead_reason: EndReason,
) -> RefreshVerdict:
    """
    Say what presenting *token* at *now* does to *session*.

    *dead_below* is the highest position of a revocation of the whole user or app (0 if none) and *dead_reason* its
    reason: a session created below it is dead whatever its own row says. *grace* is never extended: it counts from
    the rotation, not from the last replay.
    """
    if token.nonce_hash != session.nonce_hash:
        return Foreign()
    if session.ended is not None:
        return Over(session.ended.reason)
    if session.position < dead_below:
        return End(dead_reason)
    if now >= session.refresh_expires_at:
        return End(EndReason.EXPIRED)
    behind = session.counter - token.counter
    if behind == 0:
        return Rotate()
    if behind < 0:
        # A counter we never issued with a MAC and nonce of ours: the database was set back in time.
        return End(EndReason.STORE_RESTORED)
    if behind > 1:
        return End(EndReason.REFRESH_REUSE)
    return Replay() if now - session.rotated_at <= grace else End(EndReason.REFRESH_STALE)
