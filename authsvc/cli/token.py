"""`authsvc token`: what a running service says of a token."""

import json
import sys

import click
import grpc
from google.protobuf.json_format import MessageToDict

from authapi.v1 import auth_service_pb2 as pb
from authapi.v1.auth_service_pb2_grpc import AuthServiceStub
from authsvc.cli.calling import channel, grpc_target_option, refused


@click.group("token")
def command() -> None:
    """Ask a running service about a token."""


@command.command("verify")
@grpc_target_option
@click.option("--audience", default="", help="Audience to judge against; by default the caller's own")
@click.option(
    "--scope", "scopes", multiple=True, help="Scope the token must carry; may be given several times"
)
@click.option("--role", "roles", multiple=True, help="Role the token must carry; may be given several times")
@click.argument("token", required=False, envvar="AUTHSVC_TOKEN")
def verify(
    *, grpc_target: str, audience: str, scopes: tuple[str, ...], roles: tuple[str, ...], token: str | None
) -> None:
    """
    Verify TOKEN (or - for standard input, or AUTHSVC_TOKEN) and print the verdict as JSON.

    Exit status: 0 active, 1 inactive, 2 could not be decided.
    """
    text = sys.stdin.read().strip() if token == "-" else token  # noqa: S105 - a dash is no password
    if not text:
        raise click.UsageError("give a token")
    request = pb.VerifyTokenRequest(
        access_token=text, audience=audience, required_scopes=scopes, required_roles=roles
    )
    try:
        with channel(grpc_target) as connection:
            response: pb.VerifyTokenResponse = AuthServiceStub(connection).VerifyToken(request, timeout=10)
    except grpc.RpcError as error:
        raise refused(error, exit_code=2) from None
    verdict = MessageToDict(response, preserving_proto_field_name=True)
    verdict.pop("known_through", None)
    click.echo(json.dumps(verdict, ensure_ascii=False, indent=2))
    sys.exit(0 if response.HasField("active") else 1)
