"""UserService: who a person is, and what is decided about them."""

import re
from collections.abc import Sequence
from datetime import UTC, datetime

from google.protobuf.timestamp_pb2 import Timestamp

from authapi.v1 import user_service_pb2 as pb
from authsvc.domain.errors import InvalidField
from authsvc.domain.keyring import KeyRing
from authsvc.domain.page_tokens import open_page_token, seal_page_token
from authsvc.ports import (
    ByExternalId,
    ByIdentity,
    ByUnionid,
    Clock,
    ImportedUser,
    ImportOutcome,
)
from authsvc.rpc.convert import Cursors, required, storable, timestamp
from authsvc.rpc.wrapper import Call, Service, Unary
from authsvc.service.people import KnownPerson, People
from authsvc.service.personal_data import PersonalData

NAME = "authapi.v1.UserService"
DEFAULT_PAGE = 50
MAX_PAGE = 500
MAX_ROLES = 64
_ROLE = re.compile(r"[A-Za-z0-9._:-]{1,64}")
_LIMITS = {
    "app_id": 64,
    "openid": 128,
    "unionid": 128,
    "external_id": 255,
    "reason": 1000,
    "phone_number": 32,
}
_OUTCOMES = {
    ImportOutcome.CREATED: pb.IMPORT_OUTCOME_CREATED,
    ImportOutcome.LINKED: pb.IMPORT_OUTCOME_LINKED,
    ImportOutcome.UNCHANGED: pb.IMPORT_OUTCOME_UNCHANGED,
    ImportOutcome.CONFLICT: pb.IMPORT_OUTCOME_CONFLICT,
    ImportOutcome.ERASED: pb.IMPORT_OUTCOME_ERASED,
}


class UserServicer:
    """Converts, calls the use case, converts."""

    def __init__(
        self,
        *,
        people: People,
        personal_data: PersonalData,
        cursors: Cursors,
        page_ring: KeyRing,
        clock: Clock,
    ) -> None:
        self._people = people
        self._personal_data = personal_data
        self._cursors = cursors
        self._page_ring = page_ring
        self._clock = clock

    def methods(self) -> Service:
        """Return the service's methods by name."""
        return {
            "GetUser": Unary(pb.GetUserRequest, self.get_user),
            "FindUser": Unary(pb.FindUserRequest, self.find_user),
            "BlockUser": Unary(pb.BlockUserRequest, self.block_user),
            "UnblockUser": Unary(pb.UnblockUserRequest, self.unblock_user),
            "SetUserRoles": Unary(pb.SetUserRolesRequest, self.set_user_roles),
            "SetExternalId": Unary(pb.SetExternalIdRequest, self.set_external_id),
            "MergeUsers": Unary(pb.MergeUsersRequest, self.merge_users),
            "SplitUser": Unary(pb.SplitUserRequest, self.split_user),
            "ListPendingMerges": Unary(pb.ListPendingMergesRequest, self.list_pending_merges),
            "ImportUsers": Unary(pb.ImportUsersRequest, self.import_users),
            "ExportUser": Unary(pb.ExportUserRequest, self.export_user),
            "EraseUser": Unary(pb.EraseUserRequest, self.erase_user),
        }

    async def get_user(self, request: pb.GetUserRequest, call: Call) -> pb.GetUserResponse:
        """See the contract."""
        del call
        known = await self._people.get(
            required(request.user_id, "user_id"), with_phone=request.include_phone_number
        )
        return pb.GetUserResponse(user=self._user(known))

    async def find_user(self, request: pb.FindUserRequest, call: Call) -> pb.FindUserResponse:
        """See the contract."""
        del call
        match request.WhichOneof("key"):
            case "identity":
                found = await self._people.find(
                    ByIdentity(
                        required(request.identity.app_id, "identity.app_id"),
                        required(request.identity.openid, "identity.openid"),
                    )
                )
            case "union_identity":
                found = await self._people.find(
                    ByUnionid(
                        required(request.union_identity.platform_group, "union_identity.platform_group"),
                        required(request.union_identity.unionid, "union_identity.unionid"),
                    )
                )
            case "external_id":
                found = await self._people.find(ByExternalId(required(request.external_id, "external_id")))
            case _:  # the wrapper has seen to it that there is a case
                number = _bounded(required(request.phone_number, "phone_number"), "phone_number")
                found = await self._people.find_by_phone(number)
        return pb.FindUserResponse(users=[self._user(known) for known in found])

    async def block_user(self, request: pb.BlockUserRequest, call: Call) -> pb.BlockUserResponse:
        """See the contract."""
        until = (
            _instant(request.blocked_until, "blocked_until") if request.HasField("blocked_until") else None
        )
        decided = await self._people.block(
            required(request.user_id, "user_id"),
            reason=_bounded(request.reason, "reason"),
            until=until,
            by=call.principal.name,
        )
        return pb.BlockUserResponse(
            cursor=self._cursors.to_message(decided.head),
            ended_sessions=decided.ended_sessions,
            position=decided.head.position.to_bytes(8, "big"),
        )

    async def unblock_user(self, request: pb.UnblockUserRequest, call: Call) -> pb.UnblockUserResponse:
        """See the contract."""
        await self._people.unblock(required(request.user_id, "user_id"), by=call.principal.name)
        return pb.UnblockUserResponse()

    async def set_user_roles(self, request: pb.SetUserRolesRequest, call: Call) -> pb.SetUserRolesResponse:
        """See the contract."""
        roles = _roles(request.roles)
        known = await self._people.set_roles(
            required(request.user_id, "user_id"), roles, by=call.principal.name
        )
        return pb.SetUserRolesResponse(user=self._user(known))

    async def set_external_id(self, request: pb.SetExternalIdRequest, call: Call) -> pb.SetExternalIdResponse:
        """See the contract."""
        known = await self._people.set_external_id(
            required(request.user_id, "user_id"),
            _bounded(request.external_id, "external_id"),
            by=call.principal.name,
        )
        return pb.SetExternalIdResponse(user=self._user(known))

    async def merge_users(self, request: pb.MergeUsersRequest, call: Call) -> pb.MergeUsersResponse:
        """See the contract."""
        known, decided = await self._people.merge(
            required(request.surviving_user_id, "surviving_user_id"),
            required(request.merged_user_id, "merged_user_id"),
            reason=_bounded(request.reason, "reason"),
            by=call.principal.name,
        )
        return pb.MergeUsersResponse(
            user=self._user(known),
            cursor=self._cursors.to_message(decided.head),
            ended_sessions=decided.ended_sessions,
            position=decided.head.position.to_bytes(8, "big"),
        )

    async def split_user(self, request: pb.SplitUserRequest, call: Call) -> pb.SplitUserResponse:
        """See the contract."""
        known, decided = await self._people.split(
            required(request.merged_user_id, "merged_user_id"),
            survivor_id=storable(request.surviving_user_id, "surviving_user_id"),
            reason=_bounded(request.reason, "reason"),
            by=call.principal.name,
        )
        return pb.SplitUserResponse(
            user=self._user(known),
            cursor=self._cursors.to_message(decided.head),
            ended_sessions=decided.ended_sessions,
            position=decided.head.position.to_bytes(8, "big"),
        )

    async def list_pending_merges(
        self, request: pb.ListPendingMergesRequest, call: Call
    ) -> pb.ListPendingMergesResponse:
        """See the contract."""
        del call
        filters = ("pending-merges",)
        after = None
        if request.page_token:
            after = open_page_token(request.page_token, filters=filters, ring=self._page_ring)
            if after is None:
                raise InvalidField("page_token", "is not a page token of this list")
        size = min(max(request.page_size, 1), MAX_PAGE) if request.page_size else DEFAULT_PAGE
        found = await self._people.pending_merges(limit=size + 1, after=after)
        page = found[:size]
        next_token = ""
        if len(found) > size:
            last = (page[-1].found_at, page[-1].merge_id)
            next_token = seal_page_token(last, filters=filters, ring=self._page_ring)
        return pb.ListPendingMergesResponse(
            pending_merges=[
                pb.PendingMerge(
                    surviving_user_id=held.survivor_id,
                    merged_user_id=held.moved_id,
                    platform_group=held.platform_group,
                    seen_at=timestamp(held.found_at),
                )
                for held in page
            ],
            next_page_token=next_token,
        )

    async def import_users(self, request: pb.ImportUsersRequest, call: Call) -> pb.ImportUsersResponse:
        """See the contract."""
        records = [_imported(message, place) for place, message in enumerate(request.users)]
        outcomes = await self._personal_data.bring_in(records, by=call.principal.name)
        return pb.ImportUsersResponse(outcomes=[_OUTCOMES[outcome] for outcome in outcomes])

    async def export_user(self, request: pb.ExportUserRequest, call: Call) -> pb.ExportUserResponse:
        """See the contract."""
        text = await self._personal_data.hand_out(
            required(request.user_id, "user_id"), by=call.principal.name
        )
        return pb.ExportUserResponse(user_json=text)

    async def erase_user(self, request: pb.EraseUserRequest, call: Call) -> pb.EraseUserResponse:
        """See the contract."""
        if request.WhichOneof("subject") == "code":
            decided = await self._personal_data.erase_self(
                app_id=required(request.code.app_id, "code.app_id"),
                code=request.code.code,
                by=call.principal.name,
            )
        else:
            decided = await self._personal_data.erase(
                required(request.user_id, "user_id"), by=call.principal.name
            )
        return pb.EraseUserResponse(
            cursor=self._cursors.to_message(decided.head),
            ended_sessions=decided.ended_sessions,
            position=decided.head.position.to_bytes(8, "big"),
        )

    def _user(self, known: KnownPerson) -> pb.User:
        user = known.person.user
        message = pb.User(
            user_id=user.user_id,
            created_at=timestamp(user.created_at),
            identities=[
                pb.Identity(app_id=each.app_id, openid=each.openid, created_at=timestamp(each.created_at))
                for each in known.person.identities
            ],
            unionids=[
                pb.UnionIdentity(platform_group=group, unionid=unionid)
                for group, unionid in known.person.unionids
            ],
            roles=user.roles,
            external_id=user.external_id,
            previous_user_ids=user.previous_ids,
            phone_number=known.phone_number,
        )
        if user.block is not None and user.is_blocked(now=self._clock.now()):
            block = user.block
            message.block.reason, message.block.blocked_by = block.reason, block.by
            message.block.blocked_at.CopyFrom(timestamp(block.at))
            if block.until is not None:
                message.block.blocked_until.CopyFrom(timestamp(block.until))
        return message


def _imported(message: pb.ImportedUser, place: int) -> ImportedUser:
    where = f"users[{place}]"
    return ImportedUser(
        app_id=_bounded(required(message.app_id, f"{where}.app_id"), f"{where}.app_id"),
        platform_group="",  # the app's, filled in by the use case
        openid=_bounded(required(message.openid, f"{where}.openid"), f"{where}.openid"),
        unionid=_bounded(message.unionid, f"{where}.unionid") or None,
        external_id=_bounded(message.external_id, f"{where}.external_id") or None,
    )


def _roles(roles: Sequence[str]) -> Sequence[str]:
    distinct = list(dict.fromkeys(roles))
    if len(distinct) > MAX_ROLES:
        raise InvalidField("roles", f"must not exceed {MAX_ROLES}")
    for place, role in enumerate(roles):
        if _ROLE.fullmatch(role) is None:
            raise InvalidField(f"roles[{place}]", "must be 1 to 64 characters of A-Z a-z 0-9 . _ : -")
    return distinct


def _bounded(text: str, field: str) -> str:
    limit = _LIMITS[field.rpartition(".")[2]]
    if len(storable(text, field)) > limit:
        raise InvalidField(field, f"must not exceed {limit} characters")
    return text


def _instant(message: Timestamp, field: str) -> datetime:
    try:
        return message.ToDatetime(tzinfo=UTC)
    except (ValueError, OverflowError) as error:
        raise InvalidField(field, "is no instant between the years 1 and 9999") from error
