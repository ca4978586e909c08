"""`authsvc sessions`: look at and end sessions of a running service."""

import json

import click
import grpc
from google.protobuf.json_format import MessageToDict

from authapi.v1 import auth_service_pb2, session_service_pb2, types_pb2
from authapi.v1.auth_service_pb2_grpc import AuthServiceStub
from authapi.v1.session_service_pb2_grpc import SessionServiceStub
from authsvc.cli.calling import channel, grpc_target_option, reason_option, refused


@click.group("sessions")
def command() -> None:
    """List or revoke sessions of a running service."""


@command.command("list")
@grpc_target_option
@click.option("--user", default="", help="Only this user's")
@click.option("--app", default="", help="Only this app's")
@click.option("--all", "include_ended", is_flag=True, help="Ended ones too")
@click.option("--limit", type=click.IntRange(1), default=50, show_default=True, help="At most this many")
def list_sessions(*, grpc_target: str, user: str, app: str, include_ended: bool, limit: int) -> None:
    """List sessions, newest first, one JSON object a line."""
    left, token = limit, ""
    try:
        with channel(grpc_target) as connection:
            stub = SessionServiceStub(connection)
            while left > 0:
                page = stub.ListSessions(
                    session_service_pb2.ListSessionsRequest(
                        user_id=user,
                        app_id=app,
                        include_ended=include_ended,
                        page_size=min(left, 200),
                        page_token=token,
                    ),
                    timeout=10,
                )
                for session in page.sessions:
                    click.echo(
                        json.dumps(
                            MessageToDict(session, preserving_proto_field_name=True), ensure_ascii=False
                        )
                    )
                left, token = left - len(page.sessions), page.next_page_token
                if not token:
                    return
    except grpc.RpcError as error:
        raise refused(error) from None


@command.command("revoke")
@grpc_target_option
@reason_option
@click.option("--session", "session_id", default="", help="This session")
@click.option("--user", default="", help="Every session of this user (with --app: in that app)")
@click.option("--app", default="", help="Every session of this app (with --user: see there)")
@click.option("--logout", is_flag=True, help="Record the reason LOGOUT instead of ADMIN")
def revoke(*, grpc_target: str, session_id: str, user: str, app: str, logout: bool) -> None:
    """End sessions, durably; prints how many ended now."""
    if bool(session_id) == bool(user or app):
        raise click.UsageError("give --session, or --user and/or --app")
    reasons = types_pb2.SessionEndReason
    reason = reasons.SESSION_END_REASON_LOGOUT if logout else reasons.SESSION_END_REASON_ADMIN
    request = auth_service_pb2.RevokeRequest(reason=reason)
    if session_id:
        request.session_id = session_id
    elif user:
        request.user.user_id, request.user.app_id = user, app
    else:
        request.app_id = app
    try:
        with channel(grpc_target) as connection:
            response = AuthServiceStub(connection).Revoke(request, timeout=10)
    except grpc.RpcError as error:
        raise refused(error) from None
    click.echo(json.dumps({"ended_sessions": response.ended_sessions}))
