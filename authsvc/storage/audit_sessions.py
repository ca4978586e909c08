"""The audit rows of logins, refreshes and endings: each is one more INSERT of the transaction it tells of."""

from collections.abc import Sequence
from datetime import timedelta

from sqlalchemy import bindparam, select

from authsvc.domain.people import LinkVerdict
from authsvc.domain.sessions import ClientInfo, EndReason, Session
from authsvc.ports import AuditEntry, Linking, Opening
from authsvc.storage import audit
from authsvc.storage.schema import Instant
from authsvc.storage.schema import audit as rows
from authsvc.storage.tx import Tx

LOGIN_REFUSED = "login.refused"
# A blocked person's phone goes on trying: one row a minute says so, the rest is counted (service.audit_refusals).
_REFUSED_EVERY = timedelta(minutes=1)
_REFUSED_LATELY = (
    select(rows.c.audit_id)
    .where(
        rows.c.user_id == bindparam("user_id"),
        rows.c.at > bindparam("since", type_=Instant),
        rows.c.event == LOGIN_REFUSED,
    )
    .limit(1)
)


def opened(
    tx: Tx, opening: Opening, session: Session, *, is_new_user: bool, linking: Linking, ended: Sequence[str]
) -> None:
    """Tell of a login, of what it found out about who the person is, and of the sessions that it ended."""
    details: dict[str, str | int | bool | list[str]] = {"new_user": is_new_user}
    if linking.verdict is not LinkVerdict.NOTHING:
        details["linking"] = linking.verdict.value
    if linking.other_user_id:
        details["other_user_id"] = linking.other_user_id
    if linking.merge_id:
        details["merge_id"] = linking.merge_id
    if ended:
        details["ended_session_ids"] = list(ended)
    entry = AuditEntry(
        "session.opened",
        _login(tx),
        user_id=session.user_id,
        app_id=session.app_id,
        session_id=session.session_id,
        ip=opening.client.ip or None,
        details=details,
    )
    audit.record_all(tx, [entry])


def refused(tx: Tx, opening: Opening, *, user_id: str) -> bool:
    """Tell of the login of a blocked person, unless that was told within the last minute; say whether it is told now."""
    lately = {"user_id": user_id, "since": tx.now - _REFUSED_EVERY}
    if tx.connection.execute(_REFUSED_LATELY, lately).first() is not None:
        return False
    audit.record(
        tx,
        LOGIN_REFUSED,
        by=_login(tx),
        user_id=user_id,
        app_id=opening.app.app_id,
        ip=opening.client.ip or None,
        refusal="UserBlocked",
    )
    return True


def ended_by_refresh(tx: Tx, session: Session, *, reason: EndReason, client: ClientInfo) -> None:
    """Tell that a refresh token ended its session: it came too late or too often. That time was up is no news."""
    if reason is EndReason.EXPIRED:
        return
    audit.record(
        tx,
        f"session.{reason.name.lower()}",
        by="service",
        user_id=session.user_id,
        app_id=session.app_id,
        session_id=session.session_id,
        ip=client.ip or None,
    )


def revoked(
    tx: Tx,
    target: str,
    *,
    by: str,
    end_reason: EndReason,
    ended: int,
    user_id: str = "",
    app_id: str = "",
    session_id: str = "",
) -> None:
    """Tell of a revocation by kind of target (`session`, `user`, `app`) and of how many sessions it ended."""
    audit.record(
        tx,
        "sessions.revoked",
        by=by,
        user_id=user_id,
        app_id=app_id,
        session_id=session_id,
        target=target,
        end_reason=end_reason.name,
        ended_sessions=ended,
    )


def _login(tx: Tx) -> str:
    return tx.origin.caller or "login"
