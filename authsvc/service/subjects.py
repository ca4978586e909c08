"""
Whom a call about one user means: an access token of theirs, or, from services, their id and the app's.

An openid from outside is never believed: it comes from the record alone.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

from authsvc.domain.access_token import Claims
from authsvc.domain.apps import App, AppRegistry
from authsvc.domain.errors import NotFound
from authsvc.domain.seal_contexts import session_key_context
from authsvc.ports import IdentityRecord, PersonalDataStore, Sealer, SessionStore
from authsvc.service.verify import Demand, TokenVerifier


@dataclass(frozen=True, slots=True)
class TokenSubject:
    """The user and the app of this access token, judged for a caller with these audiences, limited to *apps* or not."""

    access_token: str = field(repr=False)
    audiences: frozenset[str]
    apps: frozenset[str] | None = None


@dataclass(frozen=True, slots=True)
class UserSubject:
    """This user in this app; a user who was merged away means the one who stayed."""

    user_id: str
    app_id: str


Subject = TokenSubject | UserSubject


@dataclass(frozen=True, slots=True)
class Found:
    """The identity that a call is about, with its app's policy."""

    app: App
    identity: IdentityRecord


class Subjects:
    """Finds identities and what is sealed with them."""

    def __init__(
        self,
        *,
        apps: AppRegistry,
        people: PersonalDataStore,
        sessions: SessionStore,
        verifier: TokenVerifier,
        sealer: Sealer,
    ) -> None:
        self._apps = apps
        self._people = people
        self._sessions = sessions
        self._verifier = verifier
        self._sealer = sealer

    async def find(self, subject: Subject) -> Found:
        """
        Return the identity; of several that one user has in one app, the token's own, else the one that came last.

        Raises:
            TokenInvalid: the token is not active, or not for these audiences.
            CallerForbidden: it is of an app that the caller may not touch.
            UnknownApp, AppDisabled: the app is not configured, or switched off.
            NotFound: no such user, or no identity of theirs in the app.
            NotFresh, StoreUnavailable: see `errors`.

        """
        if isinstance(subject, UserSubject):
            app = self._apps.get(subject.app_id)
            found = await self._people.find_identities(subject.user_id, app_id=app.app_id)
        else:
            demand = Demand(subject.audiences, apps=subject.apps)
            claims = await self._verifier.require_active(subject.access_token, demand)
            app = self._apps.get(claims.app_id)
            found = await self._people.find_identities(claims.user_id, app_id=app.app_id)
            found = _of_openid(found, await self._openid(claims, several=len(found) > 1))
        if not found:
            raise NotFound("identity")
        return Found(app, found[0])

    def session_keys(self, identity: IdentityRecord) -> tuple[str, ...]:
        """Return the session keys that are held and can be opened, newest first. An unopenable one is as good as none."""
        context = session_key_context(identity.app_id, identity.openid)
        opened = (self._sealer.open(key.blob, context=context) for key in identity.session_keys)
        return tuple(key.decode() for key in opened if key is not None)

    async def _openid(self, claims: Claims, *, several: bool) -> str | None:
        """Return the openid that logged in, None if nobody has to know: there is one, or the session's row is gone."""
        if claims.openid is not None or not several:
            return claims.openid
        session = await self._sessions.get_session(claims.session_id)
        return None if session is None else session.openid


def _of_openid(identities: Sequence[IdentityRecord], openid: str | None) -> Sequence[IdentityRecord]:
    return [one for one in identities if openid in (None, one.openid)]
