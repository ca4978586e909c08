"""UserService over gRPC, on a whole core: who a person is, and what is decided about them."""

import json
from datetime import timedelta
from typing import Any

import grpc
import pytest

from authapi.v1 import auth_service_pb2 as auth_pb
from authapi.v1 import user_service_pb2 as pb
from authapi.v1.types_pb2 import ClientInfo
from authsvc.rpc.convert import timestamp
from tests.support.core import D1, D2
from tests.support.server import CALLER, Running, refused


async def sign_in(running: Running, user: str = "alice", app_id: str = D1) -> auth_pb.LoginResponse:
    code = running.core.code(user, app_id=app_id)
    return await running.auth.Login(auth_pb.LoginRequest(app_id=app_id, mini_program_code=code))


async def judge(running: Running, token: str, cursor: Any = None) -> auth_pb.VerifyTokenResponse:
    return await running.auth.VerifyToken(
        auth_pb.VerifyTokenRequest(access_token=token, audience=D1, at_least=cursor)
    )


async def test_one_person_in_two_apps(running: Running) -> None:
    """The apps of one platform know one user, whose identities tell a back end the openid of each app."""
    here, there = await sign_in(running), await sign_in(running, app_id=D2)
    assert here.user_id == there.user_id
    user = (await running.users.GetUser(pb.GetUserRequest(user_id=here.user_id))).user
    assert {(each.app_id, each.openid) for each in user.identities} == {(D1, here.openid), (D2, there.openid)}
    assert [(each.platform_group, each.unionid) for each in user.unionids] == [("op1", here.unionid)]
    assert not user.HasField("phone_number")


async def test_every_name_finds_them(running: Running) -> None:
    """Identity, unionid and external id; a name that nobody has is NOT_FOUND."""
    login = await sign_in(running)
    await running.users.SetExternalId(pb.SetExternalIdRequest(user_id=login.user_id, external_id="crm-1"))
    for request in (
        pb.FindUserRequest(identity=pb.Identity(app_id=D1, openid=login.openid)),
        pb.FindUserRequest(union_identity=pb.UnionIdentity(platform_group="op1", unionid=login.unionid)),
        pb.FindUserRequest(external_id="crm-1"),
    ):
        found = await running.users.FindUser(request)
        assert [user.user_id for user in found.users] == [login.user_id]
    told = await refused(running.users.FindUser(pb.FindUserRequest(external_id="crm-2")))
    assert (told.code, told.metadata) == (grpc.StatusCode.NOT_FOUND, {"what": "user"})


async def test_a_bound_number_is_told_only_when_asked_for(running: Running) -> None:
    """It is found by, sealed in the record, and in the answer of a caller that says so."""
    login = await sign_in(running)
    core = running.core
    await core.store.real.bind_phone(
        app_id=D1,
        openid=login.openid,
        sealed=core.sealer.seal(b"13800138000", context=b"phone\x00" + f"{D1}\x00{login.openid}".encode()),
        index=core.people._index.phone("13800138000"),
        by="login",
    )
    request = pb.GetUserRequest(user_id=login.user_id, include_phone_number=True)
    assert (await running.users.GetUser(request)).user.phone_number == "13800138000"
    found = await running.users.FindUser(pb.FindUserRequest(phone_number="13800138000"))
    assert [user.user_id for user in found.users] == [login.user_id]
    assert not found.users[0].HasField("phone_number")


async def test_a_block_acts_at_once_and_ends_by_itself(running: Running) -> None:
    """Tokens die with the returned cursor, logins are refused; after the time, or when lifted, the user is back."""
    login = await sign_in(running)
    now = running.core.clock.now()
    blocked = await running.users.BlockUser(
        pb.BlockUserRequest(
            user_id=login.user_id, reason="fraud", blocked_until=timestamp(now + timedelta(hours=1))
        ),
        metadata=((CALLER, "console"),),
    )
    assert blocked.ended_sessions == 1
    assert (await judge(running, login.tokens.access_token, blocked.cursor)).HasField("inactive")
    code = running.core.code()
    told = await refused(running.auth.Login(auth_pb.LoginRequest(app_id=D1, mini_program_code=code)))
    assert told.reason == "USER_BLOCKED"
    user = (await running.users.GetUser(pb.GetUserRequest(user_id=login.user_id))).user
    assert (user.block.reason, user.block.blocked_by) == ("fraud", "console")
    running.core.clock.advance(timedelta(hours=1))
    assert not (await running.users.GetUser(pb.GetUserRequest(user_id=login.user_id))).user.HasField("block")
    await sign_in(running)
    await running.users.BlockUser(pb.BlockUserRequest(user_id=login.user_id))
    await running.users.UnblockUser(pb.UnblockUserRequest(user_id=login.user_id))
    await sign_in(running)


async def test_roles_reach_the_token_at_the_next_refresh(running: Running) -> None:
    """The token that is out keeps what it was made with; its successor carries the new roles."""
    login = await sign_in(running)
    changed = await running.users.SetUserRoles(
        pb.SetUserRolesRequest(user_id=login.user_id, roles=["admin", "vip", "admin"])
    )
    assert list(changed.user.roles) == ["admin", "vip"]
    assert list((await judge(running, login.tokens.access_token)).active.roles) == []
    refreshed = await running.auth.RefreshToken(
        auth_pb.RefreshTokenRequest(refresh_token=login.tokens.refresh_token)
    )
    assert list((await judge(running, refreshed.tokens.access_token)).active.roles) == ["admin", "vip"]


async def test_the_external_id_reaches_login_and_token(running: Running) -> None:
    """And is one person's: another user's is refused; cleared, it is free again."""
    login, other = await sign_in(running), await sign_in(running, "bob")
    set_to = pb.SetExternalIdRequest(user_id=login.user_id, external_id="crm-1")
    assert (await running.users.SetExternalId(set_to)).user.external_id == "crm-1"
    again = await sign_in(running)
    assert again.external_id == "crm-1"
    assert (await judge(running, again.tokens.access_token)).active.external_id == "crm-1"
    taken = pb.SetExternalIdRequest(user_id=other.user_id, external_id="crm-1")
    assert (await refused(running.users.SetExternalId(taken))).reason == "EXTERNAL_ID_TAKEN"
    await running.users.SetExternalId(pb.SetExternalIdRequest(user_id=login.user_id))
    assert (await running.users.SetExternalId(taken)).user.external_id == "crm-1"


async def test_a_merge_is_told_everywhere_and_undone(running: Running) -> None:
    """Sessions of the moved user end, login, refresh and token tell the former id, both ids reach the person; a split
    takes all of it back.
    """
    stays, goes = await sign_in(running), await sign_in(running, "bob")
    merged = await running.users.MergeUsers(
        pb.MergeUsersRequest(
            surviving_user_id=stays.user_id, merged_user_id=goes.user_id, reason="one person"
        )
    )
    assert (merged.user.user_id, list(merged.user.previous_user_ids), merged.ended_sessions) == (
        stays.user_id,
        [goes.user_id],
        1,
    )
    assert (await judge(running, goes.tokens.access_token, merged.cursor)).HasField("inactive")
    told = await refused(
        running.auth.RefreshToken(auth_pb.RefreshTokenRequest(refresh_token=goes.tokens.refresh_token))
    )
    assert told.metadata == {"end_reason": "MERGED"}
    again = await sign_in(running, "bob")
    assert (again.user_id, list(again.previous_user_ids)) == (stays.user_id, [goes.user_id])
    active = (await judge(running, again.tokens.access_token)).active
    assert list(active.previous_user_ids) == [goes.user_id]
    refreshed = await running.auth.RefreshToken(
        auth_pb.RefreshTokenRequest(refresh_token=again.tokens.refresh_token)
    )
    assert list(refreshed.previous_user_ids) == [goes.user_id]
    assert (
        await running.users.GetUser(pb.GetUserRequest(user_id=goes.user_id))
    ).user.user_id == stays.user_id
    split = await running.users.SplitUser(pb.SplitUserRequest(merged_user_id=goes.user_id))
    assert (split.user.user_id, split.ended_sessions) == (goes.user_id, 1)
    assert (await sign_in(running, "bob")).user_id == goes.user_id
    assert (await sign_in(running)).user_id == stays.user_id


async def test_an_import_is_met_by_the_login(running: Running) -> None:
    """The imported person logs in as the imported user; outcomes come in the order of the records."""
    first = await sign_in(running)
    openid = first.openid
    erased = pb.EraseUserRequest(user_id=first.user_id)
    await running.users.EraseUser(erased)
    request = pb.ImportUsersRequest(
        users=[
            pb.ImportedUser(app_id=D1, openid=openid),
            pb.ImportedUser(app_id=D1, openid="o-imported", external_id="crm-7"),
            pb.ImportedUser(app_id=D2, openid="o-sibling", external_id="crm-7"),
            pb.ImportedUser(app_id=D1, openid="o-imported", external_id="crm-8"),
        ]
    )
    outcomes = [
        pb.ImportOutcome.Name(outcome).removeprefix("IMPORT_OUTCOME_")
        for outcome in (await running.users.ImportUsers(request)).outcomes
    ]
    assert outcomes == ["ERASED", "CREATED", "LINKED", "CONFLICT"]
    found = await running.users.FindUser(pb.FindUserRequest(external_id="crm-7"))
    assert {each.openid for each in found.users[0].identities} == {"o-imported", "o-sibling"}


@pytest.mark.parametrize(
    ("request_", "field"),
    [
        (pb.ImportUsersRequest(users=[pb.ImportedUser(app_id=D1)]), "users[0].openid"),
        (pb.ImportUsersRequest(users=[pb.ImportedUser(openid="x")]), "users[0].app_id"),
        (pb.ImportUsersRequest(users=[pb.ImportedUser(app_id=D1, openid="x\x00")]), "users[0].openid"),
        (pb.ImportUsersRequest(users=[pb.ImportedUser(app_id=D1, openid="x" * 129)]), "users[0].openid"),
        (pb.ImportUsersRequest(users=[pb.ImportedUser(app_id=D1, openid="x")] * 1001), "users"),
    ],
)
async def test_bad_imports_are_refused_as_a_whole(
    running: Running, request_: pb.ImportUsersRequest, field: str
) -> None:
    """The field is named by its place, and nothing of the batch is done."""
    told = await refused(running.users.ImportUsers(request_))
    assert (told.reason, told.fields) == ("INVALID_FIELD", (field,))
    assert (await running.core.store.real.count_rows())["users"] == 0


@pytest.mark.parametrize(
    ("roles", "field"),
    [(["a b"], "roles[0]"), (["ok", ""], "roles[1]"), ([f"r{n}" for n in range(65)], "roles")],
)
async def test_bad_roles_are_refused(running: Running, roles: list[str], field: str) -> None:
    """A role is a word; there are at most 64."""
    request = pb.SetUserRolesRequest(user_id="A" * 22, roles=roles)
    assert (await refused(running.users.SetUserRoles(request))).fields == (field,)


async def test_a_block_in_the_past_is_refused(running: Running) -> None:
    """It would end sessions and block nobody."""
    login = await sign_in(running)
    request = pb.BlockUserRequest(
        user_id=login.user_id, blocked_until=timestamp(running.core.clock.now() - timedelta(seconds=1))
    )
    assert (await refused(running.users.BlockUser(request))).fields == ("blocked_until",)
    assert (await judge(running, login.tokens.access_token)).HasField("active")


async def test_the_export_is_whole_and_holds_no_key(running: Running) -> None:
    """Everything by which the person is known and every session, as JSON; no session_key, no token."""
    code = running.core.code()
    login = await running.auth.Login(
        auth_pb.LoginRequest(
            app_id=D1, mini_program_code=code, client=ClientInfo(device_id="device-1", ip="203.0.113.9")
        )
    )
    export = (await running.users.ExportUser(pb.ExportUserRequest(user_id=login.user_id))).user_json
    told = json.loads(export)
    assert told["user_id"] == login.user_id
    assert [each["openid"] for each in told["identities"]] == [login.openid]
    assert told["sessions"][0]["device_id"] == "device-1"
    assert "session_key" not in export
    assert login.tokens.refresh_token not in export


async def test_erasing_oneself_takes_a_fresh_code(running: Running) -> None:
    """The code's own person is erased, tokens die, the code is spent; a stranger's code erases nobody."""
    login = await sign_in(running)
    code = running.core.code()
    request = pb.EraseUserRequest(code=pb.CodeSubject(app_id=D1, code=code))
    erased = await running.users.EraseUser(request, metadata=(("x-test-roles", "edge"),))
    assert erased.ended_sessions == 1
    assert (await judge(running, login.tokens.access_token, erased.cursor)).HasField("inactive")
    assert (await refused(running.users.EraseUser(request))).reason == "LOGIN_CODE_USED"
    stranger = pb.EraseUserRequest(code=pb.CodeSubject(app_id=D1, code=running.core.code("nobody-yet")))
    assert (await refused(running.users.EraseUser(stranger))).reason == "NOT_FOUND"
    again = await sign_in(running)
    assert again.is_new_user
    assert again.user_id != login.user_id


async def test_a_blocked_user_cannot_erase_themselves(running: Running) -> None:
    """Or the next login would be a new and unblocked user."""
    login = await sign_in(running)
    await running.users.BlockUser(pb.BlockUserRequest(user_id=login.user_id))
    request = pb.EraseUserRequest(code=pb.CodeSubject(app_id=D1, code=running.core.code()))
    assert (await refused(running.users.EraseUser(request))).reason == "USER_BLOCKED"
    await running.users.EraseUser(pb.EraseUserRequest(user_id=login.user_id))


async def test_erasing_oneself_reaches_nobody_else(running: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    """An operator takes two users apart between the look and the erasure: only the code's own person is erased."""
    alice, bob = await sign_in(running), await sign_in(running, "bob")
    await running.users.MergeUsers(
        pb.MergeUsersRequest(surviving_user_id=alice.user_id, merged_user_id=bob.user_id)
    )
    find, looks = running.core.store.find_users, []

    async def split_after_the_first(key: Any) -> Any:
        found = await find(key)
        looks.append(list(found))
        if len(looks) == 1:
            await running.users.SplitUser(pb.SplitUserRequest(merged_user_id=bob.user_id))
        return found

    monkeypatch.setattr(running.core.store, "find_users", split_after_the_first)
    code = running.core.code("bob")
    await running.users.EraseUser(pb.EraseUserRequest(code=pb.CodeSubject(app_id=D1, code=code)))
    assert looks == [[alice.user_id], [bob.user_id]]
    assert (await running.users.GetUser(pb.GetUserRequest(user_id=alice.user_id))).user.identities
    gone = running.users.GetUser(pb.GetUserRequest(user_id=bob.user_id))
    assert (await refused(gone)).reason == "NOT_FOUND"


async def test_an_erasure_that_was_not_stored_spends_the_code(running: Running) -> None:
    """The code was exchanged and the record failed: a new code is asked for, and nobody is told of success."""
    await sign_in(running)
    code = running.core.code()
    running.core.store.fail("erase_user")
    request = pb.EraseUserRequest(code=pb.CodeSubject(app_id=D1, code=code))
    assert (await refused(running.users.EraseUser(request))).reason == "LOGIN_CODE_SPENT"


async def test_unknown_users_are_not_found(running: Running) -> None:
    """Whatever is asked about them."""
    nobody = "A" * 22
    calls: list[Any] = [
        running.users.GetUser(pb.GetUserRequest(user_id=nobody)),
        running.users.BlockUser(pb.BlockUserRequest(user_id=nobody)),
        running.users.UnblockUser(pb.UnblockUserRequest(user_id=nobody)),
        running.users.SetUserRoles(pb.SetUserRolesRequest(user_id=nobody)),
        running.users.SetExternalId(pb.SetExternalIdRequest(user_id=nobody, external_id="x")),
        running.users.MergeUsers(
            pb.MergeUsersRequest(surviving_user_id=nobody, merged_user_id="B" * 21 + "A")
        ),
        running.users.SplitUser(pb.SplitUserRequest(merged_user_id=nobody)),
        running.users.ExportUser(pb.ExportUserRequest(user_id=nobody)),
        running.users.EraseUser(pb.EraseUserRequest(user_id=nobody)),
    ]
    for call in calls:
        assert (await refused(call)).reason == "NOT_FOUND"
