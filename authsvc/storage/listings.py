"""What operators and users look at: a user, a session, pages of sessions."""

from collections.abc import Sequence

from sqlalchemy import and_, or_, select

from authsvc.domain.sessions import Session
from authsvc.domain.users import User
from authsvc.ports import SessionQuery
from authsvc.storage.aliases import ids_of_person, resolve
from authsvc.storage.rows import REFRESHABLE, SESSIONS, shown, to_user
from authsvc.storage.schema import sessions, users
from authsvc.storage.tx import View


def get_user(view: View, user_id: str) -> User | None:
    """See ports.PersonStore.get_user."""
    query = select(users).where(users.c.user_id == resolve(view, user_id), users.c.erased_at.is_(None))
    row = view.connection.execute(query).one_or_none()
    return None if row is None else to_user(row, created_at=row.created_at, position=row.position)


def get_session(view: View, session_id: str) -> Session | None:
    """See ports.SessionStore.get_session."""
    row = view.connection.execute(SESSIONS.where(sessions.c.session_id == session_id)).one_or_none()
    return None if row is None else shown(row)


def list_sessions(view: View, query: SessionQuery) -> Sequence[Session]:
    """See ports.SessionStore.list_sessions."""
    wanted = SESSIONS
    if query.user_id:
        # The sessions of those who were merged into the user, which ended then, are the person's too.
        wanted = wanted.where(sessions.c.user_id.in_(ids_of_person(view, query.user_id)))
    if query.app_id:
        wanted = wanted.where(sessions.c.app_id == query.app_id)
    if not query.include_ended:
        wanted = wanted.where(REFRESHABLE).params(now=view.now)
    if query.after is not None:
        created_at, session_id = query.after
        wanted = wanted.where(
            or_(
                sessions.c.created_at < created_at,
                and_(sessions.c.created_at == created_at, sessions.c.session_id < session_id),
            )
        )
    newest_first = wanted.order_by(sessions.c.created_at.desc(), sessions.c.session_id.desc())
    return [shown(row) for row in view.connection.execute(newest_first.limit(query.limit))]
