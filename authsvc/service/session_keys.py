"""Asking WeChat about a user's session_key, and having it replaced."""

from datetime import datetime

from authsvc.domain.errors import NotFound, SessionKeyStale
from authsvc.domain.seal_contexts import session_key_context
from authsvc.ports import Clock, Event, Observer, PersonalDataStore, Sealer, WeChat
from authsvc.service.subjects import Found, Subject, Subjects
from authsvc.service.waiting import Unbroken


class SessionKeys:
    """The latest key that is held is the one that WeChat is asked about."""

    def __init__(
        self,
        *,
        subjects: Subjects,
        people: PersonalDataStore,
        wechat: WeChat,
        sealer: Sealer,
        clock: Clock,
        observer: Observer,
        unbroken: Unbroken,
    ) -> None:
        self._subjects = subjects
        self._people = people
        self._wechat = wechat
        self._sealer = sealer
        self._clock = clock
        self._observer = observer
        self._unbroken = unbroken

    async def check(self, subject: Subject) -> bool:
        """
        Tell whether WeChat still takes the latest key for the user's; nothing changes.

        Raises:
            SessionKeyStale: no key is held that can be opened.
            WeChatUnavailable, WeChatThrottled, WeChatMisconfigured: see `ports.WeChat.check_session_key`.
            TokenInvalid, NotFound, UnknownApp, AppDisabled, NotFresh, StoreUnavailable: see `Subjects.find`.

        """
        found = await self._subjects.find(subject)
        return await self._wechat.check_session_key(
            app_id=found.app.app_id, openid=found.identity.openid, session_key=self._latest(found)
        )

    async def reset(self, subject: Subject) -> datetime:
        """
        Have WeChat replace the key, keep the new one, and return when it was received.

        The old one stays as the previous key: what it encrypted can still be opened here. Whoever stops waiting
        does not stop the work: the old key may be dead at WeChat already.

        Raises:
            SessionKeyStale: no key can be opened, or WeChat does not take it for the user's any more.
            StoreUnavailable: also when the new key could not be kept; the user then has to log in.
            WeChatUnavailable, WeChatThrottled, WeChatMisconfigured: see `ports.WeChat.reset_session_key`.
            TokenInvalid, NotFound, UnknownApp, AppDisabled, NotFresh: see `Subjects.find`.

        """
        found = await self._subjects.find(subject)
        return await self._unbroken.run(self._reset(found, self._latest(found)))

    async def _reset(self, found: Found, session_key: str) -> datetime:
        app_id, openid = found.app.app_id, found.identity.openid
        new = await self._wechat.reset_session_key(app_id=app_id, openid=openid, session_key=session_key)
        reset_at = self._clock.now()
        sealed = self._sealer.seal(new.session_key.encode(), context=session_key_context(app_id, openid))
        kept = await self._people.keep_session_key(
            app_id=app_id, openid=openid, sealed=sealed, exchanged_at=reset_at
        )
        if not kept:
            raise NotFound("identity")
        fields = {"app_id": app_id, "user_id": found.identity.user_id}
        self._observer.event(Event("session.key_reset", fields=fields))
        return reset_at

    def _latest(self, found: Found) -> str:
        keys = self._subjects.session_keys(found.identity)
        if not keys:
            raise SessionKeyStale("no key can be opened")
        return keys[0]
