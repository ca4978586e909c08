"""What goes into the record and what comes out of it, as values."""

from dataclasses import dataclass, field
from datetime import datetime
from typing import Generic, TypeVar

from authsvc.domain.apps import App
from authsvc.domain.cursors import Cursor
from authsvc.domain.revocations import Fact
from authsvc.domain.sessions import ClientInfo, EndReason, Session
from authsvc.domain.users import User

T_co = TypeVar("T_co", covariant=True)


@dataclass(frozen=True, slots=True)
class Written(Generic[T_co]):
    """
    The durable result of a write.

    `facts` are the revocation facts it added, with their positions; `head` is a cursor at or above all of them. The
    caller applies the facts to its own memory before it answers anybody.
    """

    value: T_co
    facts: tuple[Fact, ...]
    head: Cursor


@dataclass(frozen=True, slots=True)
class Opening:
    """
    Everything a login transaction needs that is not in the database.

    `jitter` in [0, 1) shortens the access token's lifetime; `fresh_user_id` is used only if the identity is new;
    `exchanged_at` orders session keys, so an older exchange never overwrites a newer key.
    """

    app: App
    openid: str = field(repr=False)
    unionid: str | None = field(repr=False)
    sealed_session_key: bytes = field(repr=False)
    exchanged_at: datetime
    client: ClientInfo
    fresh_user_id: str
    session_id: str
    nonce_hash: bytes = field(repr=False)
    mac_key_id: bytes
    jitter: float


@dataclass(frozen=True, slots=True)
class Opened:
    """A login that happened: the session, its user, and whether the user is new."""

    session: Session
    user: User
    is_new_user: bool
    unionid: str | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class UserIsBlocked:
    """The login or refresh was refused because the user is blocked; nothing else was changed."""


@dataclass(frozen=True, slots=True)
class Rotation:
    """The refresh token's successor stands in `session`; `replayed` if an earlier call had made it."""

    session: Session
    user: User
    replayed: bool


@dataclass(frozen=True, slots=True)
class RotationRefused:
    """
    No successor. `reason` None: the nonce is another line's and the session is untouched.

    `by_us` is True if this very call ended the session (so that it is logged and counted once).
    """

    reason: EndReason | None
    by_us: bool = False
    user_id: str = ""
    app_id: str = ""


@dataclass(frozen=True, slots=True)
class SessionQuery:
    """
    Which sessions to list: newest first, at most `limit`, strictly after the place `after` (created_at, id).

    The answer includes every revocation up to the position `as_of`: a replica that is further behind is not asked.
    """

    user_id: str = ""
    app_id: str = ""
    include_ended: bool = False
    limit: int = 50
    after: tuple[datetime, str] | None = None
    as_of: int = 0


@dataclass(frozen=True, slots=True)
class SigningKeyRecord:
    """
    A signing key as the database knows it: public part and state, never the private part.

    `state` is `prepared`, `active`, `retired` or `withdrawn`; `public_jwk` is canonical JSON text (RFC 7517).
    """

    kid: str
    alg: str
    public_jwk: str
    state: str
    created_at: datetime
