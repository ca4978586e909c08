"""`authsvc users`: look at, decide about, move and erase persons of a running service."""

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, TypeVar

import click
import grpc
from google.protobuf.json_format import MessageToDict
from google.protobuf.message import Message

from authapi.v1 import user_service_pb2 as pb
from authapi.v1.user_service_pb2_grpc import UserServiceStub
from authsvc.cli.calling import channel, grpc_target_option, reason_option, refused
from authsvc.cli.ids import GroupWithIds
from authsvc.cli.importing import Progress, bring_in, read_records
from authsvc.system import SystemClock

T = TypeVar("T", bound=Message)
_DURATIONS = {"m": "minutes", "h": "hours", "d": "days"}


@click.group("users", cls=GroupWithIds)
def command() -> None:
    """Look at users of a running service, block, merge, import, export or erase them."""


@command.command("show")
@grpc_target_option
@reason_option
@click.argument("user_id")
@click.option("--phone", is_flag=True, help="The bound phone number too")
def show(*, grpc_target: str, user_id: str, phone: bool) -> None:
    """Print a user as JSON: identities, unionids, roles, block, former ids."""
    request = pb.GetUserRequest(user_id=user_id, include_phone_number=phone)
    _print(_call(grpc_target, lambda stub: stub.GetUser(request, timeout=10)).user)


@command.command("find")
@grpc_target_option
@reason_option
@click.option("--openid", default="", help="With --app")
@click.option("--app", default="", help="The app of --openid")
@click.option("--unionid", default="", help="With --group")
@click.option("--group", default="", help="The platform group of --unionid")
@click.option("--external-id", default="", help="The id that another system gave")
@click.option("--phone", default="", help="A bound phone number")
def find(
    *, grpc_target: str, openid: str, app: str, unionid: str, group: str, external_id: str, phone: str
) -> None:
    """Print the users who have something, one JSON object a line."""
    if sum(map(bool, (openid, unionid, external_id, phone))) != 1:
        raise click.UsageError("give one of --openid, --unionid, --external-id and --phone")
    if openid:
        request = pb.FindUserRequest(identity=pb.Identity(app_id=app, openid=openid))
    elif unionid:
        request = pb.FindUserRequest(union_identity=pb.UnionIdentity(platform_group=group, unionid=unionid))
    elif external_id:
        request = pb.FindUserRequest(external_id=external_id)
    else:
        request = pb.FindUserRequest(phone_number=phone)
    for user in _call(grpc_target, lambda stub: stub.FindUser(request, timeout=10)).users:
        _print(user)


@command.command("block")
@grpc_target_option
@click.argument("user_id")
@click.option("--reason", default="", help="For other operators")
@click.option("--for", "span", default="", help="So long: 30m, 12h, 7d; without it until lifted")
def block(*, grpc_target: str, user_id: str, reason: str, span: str) -> None:
    """Block a user and end every session of theirs, durably."""
    request = pb.BlockUserRequest(user_id=user_id, reason=reason)
    if span:
        request.blocked_until.FromDatetime(_in(span))
    response = _call(grpc_target, lambda stub: stub.BlockUser(request, timeout=10))
    click.echo(json.dumps({"ended_sessions": response.ended_sessions}))


@command.command("unblock")
@grpc_target_option
@reason_option
@click.argument("user_id")
def unblock(*, grpc_target: str, user_id: str) -> None:
    """Lift a block; the user logs in again."""
    request = pb.UnblockUserRequest(user_id=user_id)
    _call(grpc_target, lambda stub: stub.UnblockUser(request, timeout=10))


@command.command("roles")
@grpc_target_option
@reason_option
@click.argument("user_id")
@click.argument("roles", nargs=-1)
@click.option("--none", is_flag=True, help="Take all roles away")
def roles(*, grpc_target: str, user_id: str, roles: tuple[str, ...], none: bool) -> None:
    """Set all the roles of a user; tokens carry them from the next refresh on (blocking is what acts at once)."""
    if bool(roles) == none:
        raise click.UsageError("give the roles, or --none")
    request = pb.SetUserRolesRequest(user_id=user_id, roles=roles)
    _print(_call(grpc_target, lambda stub: stub.SetUserRoles(request, timeout=10)).user)


@command.command("external-id")
@grpc_target_option
@reason_option
@click.argument("user_id")
@click.argument("external_id", default="")
@click.option("--clear", is_flag=True, help="Take it away")
def external_id(*, grpc_target: str, user_id: str, external_id: str, clear: bool) -> None:
    """Set the id that another system gave the user."""
    if bool(external_id) == clear:
        raise click.UsageError("give the external id, or --clear")
    request = pb.SetExternalIdRequest(user_id=user_id, external_id=external_id)
    _print(_call(grpc_target, lambda stub: stub.SetExternalId(request, timeout=10)).user)


@command.command("merge")
@grpc_target_option
@click.argument("surviving_user_id")
@click.argument("merged_user_id")
@click.option("--reason", default="", help="For other operators")
def merge(*, grpc_target: str, surviving_user_id: str, merged_user_id: str, reason: str) -> None:
    """Make two users one: the first stays, the second becomes an alias and its sessions end."""
    request = pb.MergeUsersRequest(
        surviving_user_id=surviving_user_id, merged_user_id=merged_user_id, reason=reason
    )
    _print(_call(grpc_target, lambda stub: stub.MergeUsers(request, timeout=10)).user)


@command.command("split")
@grpc_target_option
@click.argument("merged_user_id")
@click.argument("surviving_user_id", default="")
@click.option("--reason", default="", help="For other operators")
def split(*, grpc_target: str, merged_user_id: str, surviving_user_id: str, reason: str) -> None:
    """Undo a merge, or (both ids given) settle that a pending pair is two persons."""
    request = pb.SplitUserRequest(
        merged_user_id=merged_user_id, surviving_user_id=surviving_user_id, reason=reason
    )
    _print(_call(grpc_target, lambda stub: stub.SplitUser(request, timeout=10)).user)


@command.command("pending")
@grpc_target_option
def pending(*, grpc_target: str) -> None:
    """List the pairs that wait for a decision (policy "hold"), oldest first, one JSON object a line."""
    request = pb.ListPendingMergesRequest(page_size=500)
    while True:
        page = _call(grpc_target, lambda stub: stub.ListPendingMerges(request, timeout=10))
        for pair in page.pending_merges:
            _print(pair)
        if not page.next_page_token:
            return
        request.page_token = page.next_page_token


@command.command("import")
@grpc_target_option
@reason_option
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option(
    "--format", "kind", type=click.Choice(["auto", "jsonl", "csv"]), default="auto", show_default=True
)
@click.option("--from-row", type=click.IntRange(1), default=1, show_default=True, help="Go on at this row")
@click.option(
    "--rejects", type=click.Path(dir_okay=False, path_type=Path), help="Conflicting rows go here, as JSONL"
)
def import_users(*, grpc_target: str, file: Path, kind: str, from_row: int, rejects: Path | None) -> None:
    """
    Bring users in from a file with app_id, openid, unionid and external_id (the last two may be missing or empty).

    JSONL has one object a line, CSV a heading. Repeating an import changes nothing, so one that stopped may be begun
    again, or gone on with where it says. Prints counts; exits 1 if there were conflicts.
    """
    progress = Progress(row=from_row - 1)
    with channel(grpc_target) as connection:
        stub = UserServiceStub(connection)
        try:
            bring_in(
                stub,
                read_records(file, kind=kind, from_row=from_row),
                progress=progress,
                rejects=rejects,
                told=lambda: click.echo(f"{progress.row:,} rows", err=True),
            )
        except grpc.RpcError as error:
            click.echo(f"stopped; go on with --from-row {progress.row + 1}", err=True)
            raise refused(error) from None
        except ValueError as error:
            click.echo(f"stopped; go on with --from-row {progress.row + 1}", err=True)
            raise click.ClickException(str(error)) from None
    click.echo(json.dumps({"rows": progress.row, **progress.counts}))
    if progress.counts.get("conflict"):
        raise SystemExit(1)


@command.command("export")
@grpc_target_option
@reason_option
@click.argument("user_id")
def export(*, grpc_target: str, user_id: str) -> None:
    """Print everything that is held of a person as JSON."""
    request = pb.ExportUserRequest(user_id=user_id)
    click.echo(_call(grpc_target, lambda stub: stub.ExportUser(request, timeout=30)).user_json)


@command.command("erase")
@grpc_target_option
@reason_option
@click.argument("user_id")
@click.option("--yes", is_flag=True, help="Do not ask")
def erase(*, grpc_target: str, user_id: str, yes: bool) -> None:
    """Erase a person for good: a login afterwards makes a new user."""
    if not yes:
        click.confirm(f"Erase {user_id} and everything that is held of them?", abort=True, err=True)
    request = pb.EraseUserRequest(user_id=user_id)
    response = _call(grpc_target, lambda stub: stub.EraseUser(request, timeout=30))
    click.echo(json.dumps({"ended_sessions": response.ended_sessions}))


def _call(target: str, call: Callable[[UserServiceStub], T]) -> T:
    try:
        with channel(target) as connection:
            return call(UserServiceStub(connection))
    except grpc.RpcError as error:
        raise refused(error) from None


def _print(message: Message) -> None:
    fields: dict[str, Any] = MessageToDict(message, preserving_proto_field_name=True)
    click.echo(json.dumps(fields, ensure_ascii=False))


def _in(span: str) -> datetime:
    number, unit = span[:-1], span[-1:]
    if unit not in _DURATIONS or not number.isascii() or not number.isdigit() or int(number) == 0:
        raise click.UsageError("--for takes a number and m, h or d: 30m, 12h, 7d")
    return SystemClock().now().astimezone(UTC) + timedelta(**{_DURATIONS[unit]: int(number)})
