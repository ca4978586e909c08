"""What WeChat encrypted or signed with a user's session_key, for callers that never see one."""

from datetime import timedelta

from authsvc.domain import user_data
from authsvc.domain.errors import SessionKeyStale
from authsvc.domain.user_data import UserData
from authsvc.ports import AuditEntry, AuditTrail, Clock, DecryptUserData
from authsvc.service.subjects import Subject, Subjects


class UserDataKeys:
    """Opens and checks with the keys that are held: the latest, then the one before. Changes nothing."""

    def __init__(
        self, *, subjects: Subjects, trail: AuditTrail, decrypt: DecryptUserData, clock: Clock
    ) -> None:
        self._subjects = subjects
        self._trail = trail
        self._decrypt = decrypt
        self._clock = clock

    async def decrypt(
        self, subject: Subject, *, encrypted_data: str, iv: str, max_age: timedelta | None = None
    ) -> UserData:
        """
        Return the data, which is the subject's, of the subject's app, and not older than *max_age*.

        That it was opened is in the audit trail before it is told.

        Raises:
            UserDataInvalid: it is not, or it is damaged in a way that no key can mend.
            SessionKeyStale: no key that is held opens it; the client logs in first, then asks for the data again.
            TokenInvalid, NotFound, UnknownApp, AppDisabled, NotFresh, StoreUnavailable: see `Subjects.find`.

        """
        found = await self._subjects.find(subject)
        data = self._decrypt(
            encrypted_data=encrypted_data,
            iv=iv,
            session_keys=self._subjects.session_keys(found.identity),
            app_id=found.app.app_id,
            now=self._clock.now(),
            freshness=max_age,
            openid=found.identity.openid,
        )
        entry = AuditEntry("user_data.decrypted", user_id=found.identity.user_id, app_id=found.app.app_id)
        await self._trail.record_audit([entry])
        return data

    async def check_signature(self, subject: Subject, *, raw_data: str, signature: str) -> bool:
        """
        Tell whether one of the keys that are held made the signature over exactly this text.

        Raises:
            SessionKeyStale: no key is held that can be opened.
            TokenInvalid, NotFound, UnknownApp, AppDisabled, NotFresh, StoreUnavailable: see `Subjects.find`.

        """
        keys = self._subjects.session_keys((await self._subjects.find(subject)).identity)
        if not keys:
            raise SessionKeyStale("no key can be opened")
        # Every key, so that the time taken does not tell which one it was.
        made = [
            user_data.check_signature(raw_data=raw_data, signature=signature, session_key=key) for key in keys
        ]
        return any(made)
