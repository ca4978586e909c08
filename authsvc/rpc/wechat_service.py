"""WeChatService: user data, signatures, phone numbers and session keys of one user."""

import re
from datetime import timedelta

from authapi.v1 import wechat_service_pb2 as pb
from authsvc.domain.errors import InvalidField
from authsvc.rpc.convert import required, timestamp
from authsvc.rpc.wrapper import Call, Service, Unary
from authsvc.service.phone import Phones
from authsvc.service.session_keys import SessionKeys
from authsvc.service.subjects import Subject, TokenSubject, UserSubject
from authsvc.service.user_data import UserDataKeys

NAME = "authapi.v1.WeChatService"
_SIGNATURE = re.compile(r"[0-9a-fA-F]{40}")
# Beyond any watermark, and within what a timedelta holds.
_LONGEST_AGE_S = 100 * 366 * 86400


_WithSubject = (
    pb.DecryptUserDataRequest
    | pb.CheckUserDataSignatureRequest
    | pb.GetPhoneNumberRequest
    | pb.CheckSessionKeyRequest
    | pb.ResetSessionKeyRequest
)


class WeChatServicer:
    """Converts, calls the use case, converts."""

    def __init__(self, *, user_data: UserDataKeys, phones: Phones, session_keys: SessionKeys) -> None:
        self._user_data = user_data
        self._phones = phones
        self._session_keys = session_keys

    def methods(self) -> Service:
        """Return the service's methods by name."""
        return {
            "DecryptUserData": Unary(pb.DecryptUserDataRequest, self.decrypt_user_data),
            "CheckUserDataSignature": Unary(pb.CheckUserDataSignatureRequest, self.check_user_data_signature),
            "GetPhoneNumber": Unary(pb.GetPhoneNumberRequest, self.get_phone_number),
            "CheckSessionKey": Unary(pb.CheckSessionKeyRequest, self.check_session_key),
            "ResetSessionKey": Unary(pb.ResetSessionKeyRequest, self.reset_session_key),
        }

    async def decrypt_user_data(
        self, request: pb.DecryptUserDataRequest, call: Call
    ) -> pb.DecryptUserDataResponse:
        """See the contract."""
        data = await self._user_data.decrypt(
            _subject(request, call),
            encrypted_data=required(request.encrypted_data, "encrypted_data"),
            iv=required(request.iv, "iv"),
            max_age=_max_age(request),
        )
        return pb.DecryptUserDataResponse(user_data_json=data.text, encrypted_at=timestamp(data.stamped_at))

    async def check_user_data_signature(
        self, request: pb.CheckUserDataSignatureRequest, call: Call
    ) -> pb.CheckUserDataSignatureResponse:
        """See the contract."""
        if _SIGNATURE.fullmatch(request.signature) is None:
            raise InvalidField("signature", "must be 40 hex digits")
        valid = await self._user_data.check_signature(
            _subject(request, call),
            raw_data=required(request.raw_data, "raw_data"),
            signature=request.signature.lower(),
        )
        return pb.CheckUserDataSignatureResponse(valid=valid)

    async def get_phone_number(
        self, request: pb.GetPhoneNumberRequest, call: Call
    ) -> pb.GetPhoneNumberResponse:
        """See the contract."""
        known = await self._phones.get(_subject(request, call), code=request.code, by=call.principal.name)
        return pb.GetPhoneNumberResponse(
            phone_number=known.number.number,
            pure_phone_number=known.number.pure_number,
            country_code=known.number.country_code,
            bound=known.bound,
        )

    async def check_session_key(
        self, request: pb.CheckSessionKeyRequest, call: Call
    ) -> pb.CheckSessionKeyResponse:
        """See the contract."""
        return pb.CheckSessionKeyResponse(valid=await self._session_keys.check(_subject(request, call)))

    async def reset_session_key(
        self, request: pb.ResetSessionKeyRequest, call: Call
    ) -> pb.ResetSessionKeyResponse:
        """See the contract."""
        reset_at = await self._session_keys.reset(_subject(request, call))
        return pb.ResetSessionKeyResponse(reset_at=timestamp(reset_at))


def _subject(request: _WithSubject, call: Call) -> Subject:
    """Return whom the request names; the wrapper has seen to it that it names somebody."""
    if request.WhichOneof("subject") == "access_token":
        return TokenSubject(request.access_token, call.principal.audiences, call.principal.apps)
    return UserSubject(
        required(request.user.user_id, "user.user_id"), required(request.user.app_id, "user.app_id")
    )


def _max_age(request: pb.DecryptUserDataRequest) -> timedelta | None:
    if not request.HasField("max_age"):
        return None
    seconds = request.max_age.seconds + request.max_age.nanos / 1e9
    if seconds <= 0:
        raise InvalidField("max_age", "must be positive")
    return timedelta(seconds=min(seconds, _LONGEST_AGE_S))
