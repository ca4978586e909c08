"""Looking at sessions: one, or a page of them."""

from collections.abc import Sequence
from dataclasses import replace

from authsvc.domain.cursors import Cursor
from authsvc.domain.errors import NotFound
from authsvc.domain.ids import decode_id
from authsvc.domain.principals import require_app
from authsvc.domain.sessions import Session
from authsvc.ports import SessionQuery, SessionStore
from authsvc.service.tail import LogTail
from authsvc.service.verify import Demand, TokenVerifier


class Sessions:
    """The read side. `at_least` makes an answer no older than the write that returned the cursor."""

    def __init__(self, *, store: SessionStore, verifier: TokenVerifier, tail: LogTail) -> None:
        self._store = store
        self._verifier = verifier
        self._tail = tail

    async def get(
        self, session_id: str, *, at_least: Cursor | None = None, apps: frozenset[str] | None = None
    ) -> Session:
        """
        Return a session by its id.

        Raises:
            NotFound: no such session.
            CallerForbidden: it is of none of *apps*, or for a caller who is limited to some: no such session.
            StoreUnavailable, NotFresh, CursorExpired: see `errors`.

        """
        await self._reach(at_least)
        session = await self._store.get_session(session_id) if decode_id(session_id) else None
        require_app(apps, "" if session is None else session.app_id)
        if session is None:
            raise NotFound("session")
        return session

    async def get_by_token(
        self,
        token: str,
        *,
        audiences: frozenset[str],
        at_least: Cursor | None = None,
        apps: frozenset[str] | None = None,
    ) -> Session:
        """
        Return the session of an active access token.

        Raises:
            TokenInvalid: the token is not active, or not for these audiences.
            CallerForbidden: it is of none of *apps*.
            NotFound, StoreUnavailable, NotFresh, CursorExpired: see `errors`.

        """
        # The cursor is reached before the token is judged: what it names may be the end of this very session.
        demand = Demand(audiences=audiences, apps=apps)
        claims = await self._verifier.require_active(token, demand, at_least=at_least)
        return await self.get(claims.session_id)

    async def list(self, query: SessionQuery, *, at_least: Cursor | None = None) -> Sequence[Session]:
        """
        Return a page of sessions, newest first.

        Raises:
            StoreUnavailable, NotFresh, CursorExpired: see `errors`.

        """
        await self._reach(at_least)
        if at_least is not None:
            query = replace(query, as_of=at_least.position)
        return await self._store.list_sessions(query)

    async def _reach(self, at_least: Cursor | None) -> None:
        if at_least is not None:
            await self._tail.reach(at_least)
