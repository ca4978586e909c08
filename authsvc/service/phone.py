"""Phone numbers: a button's code becomes the number of this very user, answered and, if the app says so, bound."""

from dataclasses import dataclass

from authsvc.domain.apps import App, PhonePolicy
from authsvc.domain.blind_index import BlindIndex
from authsvc.domain.errors import InvalidField, NotFound
from authsvc.domain.login_code import MAX_CODE_LENGTH
from authsvc.domain.seal_contexts import phone_context
from authsvc.ports import (
    AuditEntry,
    AuditTrail,
    ByIdentity,
    Event,
    Observer,
    PersonalDataStore,
    PhoneNumber,
    Sealer,
    WeChat,
)
from authsvc.service.subjects import Subject, Subjects
from authsvc.service.waiting import Unbroken


@dataclass(frozen=True, slots=True)
class KnownNumber:
    """A number that WeChat vouches for, and whether it is now bound to the user."""

    number: PhoneNumber
    bound: bool


def check_phone_code(code: str, *, field: str) -> None:
    """
    Refuse what cannot be a phone code, before any I/O; *field* is its name in the request.

    Raises:
        InvalidField: empty or absurdly long.

    """
    if not code:
        raise InvalidField(field, "must not be empty")
    if len(code) > MAX_CODE_LENGTH:
        raise InvalidField(field, f"must not exceed {MAX_CODE_LENGTH} characters")


class Phones:
    """Exchanges phone codes. The openid always goes along, so that nobody hands in another user's code."""

    def __init__(
        self,
        *,
        subjects: Subjects,
        people: PersonalDataStore,
        trail: AuditTrail,
        wechat: WeChat,
        sealer: Sealer,
        index: BlindIndex,
        observer: Observer,
        unbroken: Unbroken,
    ) -> None:
        self._subjects = subjects
        self._people = people
        self._trail = trail
        self._wechat = wechat
        self._sealer = sealer
        self._index = index
        self._observer = observer
        self._unbroken = unbroken

    async def get(self, subject: Subject, *, code: str, by: str) -> KnownNumber:
        """
        Return the subject's number; *by* is the caller that asked.

        Raises:
            InvalidField: refused before any I/O.
            PhoneCodeInvalid: WeChat does not accept the code, or not for this user.
            WeChatUnavailable, WeChatThrottled, WeChatMisconfigured: see `ports.WeChat.phone_number`.
            TokenInvalid, NotFound, UnknownApp, AppDisabled, NotFresh, StoreUnavailable: see `Subjects.find`.

        """
        check_phone_code(code, field="code")
        found = await self._subjects.find(subject)
        exchange = self.exchange(found.app, openid=found.identity.openid, code=code, by=by)
        # To its end whoever leaves: the code works once, and a bound number is to be bound.
        return await self._unbroken.run(exchange)

    async def exchange(self, app: App, *, openid: str, code: str, by: str) -> KnownNumber:
        """
        Return the number of the identity with this *openid*, bound where the app's policy says so.

        The audit trail has it before it is told: as bound, or as received.

        Raises:
            PhoneCodeInvalid, WeChatUnavailable, WeChatThrottled, WeChatMisconfigured: see `get`.
            StoreUnavailable: the number was not bound or not recorded as told, and the code is spent.
            NotFound: the identity has been erased meanwhile.

        """
        number = await self._wechat.phone_number(app_id=app.app_id, openid=openid, code=code)
        bind = app.phone is PhonePolicy.BIND
        if bind:
            sealed = self._sealer.seal(number.number.encode(), context=phone_context(app.app_id, openid))
            bound = await self._people.bind_phone(
                app_id=app.app_id,
                openid=openid,
                sealed=sealed,
                index=self._index.phone(number.number),
                by=by,
            )
            if not bound:
                raise NotFound("identity")
        else:
            holders = await self._people.find_users(ByIdentity(app.app_id, openid))
            entry = AuditEntry("phone.received", by, user_id="".join(holders[:1]), app_id=app.app_id)
            await self._trail.record_audit([entry])
        self._observer.event(Event("phone.received", fields={"app_id": app.app_id, "bound": bind}))
        return KnownNumber(number, bound=bind)
