"""What goes into the record and what comes out of it, as values."""

from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Generic, TypeVar

from authsvc.domain.apps import App
from authsvc.domain.cursors import Cursor
from authsvc.domain.people import LinkVerdict
from authsvc.domain.revocations import Fact
from authsvc.domain.sessions import ClientInfo, EndReason, Session
from authsvc.domain.signing_keys import KeyLife, KeyState
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
class Linking:
    """
    What a login made of the unionid that WeChat told (domain.people.LinkVerdict).

    `other_user_id` is, for MERGED, the user who was merged away; for HELD and APART the other one of the pair. Of a
    merge, `ended_sessions` counts the live sessions it ended. `is_news` is False where the same was
    found before; a MISMATCH is news each time, since nothing is kept of it.
    """

    verdict: LinkVerdict = LinkVerdict.NOTHING
    user_id: str = ""
    other_user_id: str = ""
    merge_id: str = ""
    ended_sessions: int = 0
    is_news: bool = False


@dataclass(frozen=True, slots=True)
class Opened:
    """A login that happened: the session, its user, whether the user is new, and what was learned of who it is."""

    session: Session
    user: User
    is_new_user: bool
    unionid: str | None = field(default=None, repr=False)
    linking: Linking = Linking()


@dataclass(frozen=True, slots=True)
class UserIsBlocked:
    """
    The login or refresh was refused because the user is blocked; of a login only `linking` happened.

    `recorded` if the audit trail has a row of this very refusal.
    """

    linking: Linking = Linking()
    recorded: bool = False


@dataclass(frozen=True, slots=True)
class Merged:
    """Two users are one: `user` is the survivor. `merge_id` is empty where they had been one before."""

    user: User
    moved_id: str
    merge_id: str = ""
    ended_sessions: int = 0


@dataclass(frozen=True, slots=True)
class Split:
    """Two users are two, and no login merges them: `user` is who had been merged away."""

    user: User
    survivor: User
    ended_sessions: int = 0


class MergeProblem(StrEnum):
    """Why a merge or its undo is impossible."""

    SAME_USER = "same user"  # both ids are one
    NOT_MERGED = "not merged"  # neither merged nor a pending pair, or what could undo it was erased
    OTHER_SURVIVOR = "other survivor"  # it was merged into another user than the one that was named
    MERGED_ONWARD = "merged onward"  # its survivor was merged itself: that merge has to be undone first


@dataclass(frozen=True, slots=True)
class MergeRefused:
    """Nothing was changed."""

    problem: MergeProblem


@dataclass(frozen=True, slots=True)
class HeldMerge:
    """Two users who share a unionid and wait for an operator; by default the older one, `survivor_id`, would stay."""

    merge_id: str
    survivor_id: str
    moved_id: str
    platform_group: str
    found_at: datetime


@dataclass(frozen=True, slots=True)
class ExternalIdHeld:
    """Another user has this external id; nothing was changed."""

    user_id: str


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
    A signing key as the database knows it: public part and life, never the private part.

    `state` is one of domain.signing_keys.KeyState, or a word that only another release understands; `public_jwk` is
    canonical JSON text (RFC 7517). The instants are those of KeyLife.
    """

    kid: str
    alg: str
    public_jwk: str
    state: str
    created_at: datetime
    published_at: datetime | None = None
    activate_at: datetime | None = None
    activated_at: datetime | None = None
    retired_at: datetime | None = None
    withdrawn_at: datetime | None = None

    def life(self) -> KeyLife:
        """
        Return where it stands in its life.

        Raises:
            ValueError: it is in a state that this release does not know.

        """
        return KeyLife(
            kid=self.kid,
            state=KeyState(self.state),
            created_at=self.created_at,
            published_at=self.published_at,
            activate_at=self.activate_at,
            activated_at=self.activated_at,
            retired_at=self.retired_at,
            withdrawn_at=self.withdrawn_at,
        )
