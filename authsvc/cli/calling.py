"""
Calling a running service by gRPC, as every command that looks at one does, and proving who calls.

The proof: a service key or a client certificate that was given, else, for a service on this machine, the operator's key
that `authsvc dev` leaves in its data directory.
"""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import quote

import click
import grpc
from google.rpc import error_details_pb2, status_pb2

from authsvc.app.certificates import CertificateProblem
from authsvc.app.channels import Credentials, open_channel
from authsvc.config import secrets
from authsvc.config.settings import PREFIX, is_local_target
from authsvc.domain.audit import MAX_REASON
from authsvc.ports.audit import REASON_KEY

F = TypeVar("F", bound=Callable[..., Any])
OPERATOR_KEY_FILE = "operator.key"
DATA_DIR = ".authsvc"
_DETAILS_KEY = "grpc-status-details-bin"
_OPTIONS = {
    "grpc_ca": "Who signs the service's certificate (PEM); without it no TLS",
    "grpc_client_certificate": "Certificate (PEM) to call with",
    "grpc_client_certificate_key": "Its private key (PEM)",
    "grpc_server_name": "Name in the service's certificate, where it is not the target's",
    "service_key_file": "File that holds the service key to call with (or AUTHSVC_SERVICE_KEY)",
}


def grpc_target_option(command: F) -> F:
    """Add `--grpc-target`, where the service listens, and what proves who calls; only the first is handed on."""
    for name, text in reversed(_OPTIONS.items()):
        command = click.option(
            f"--{name.replace('_', '-')}",
            name,
            envvar=f"{PREFIX}{name.upper()}",
            expose_value=False,
            callback=_keep,
            help=f"{text}  [env: {PREFIX}{name.upper()}]",
        )(command)
    return click.option(
        "--grpc-target",
        envvar="AUTHSVC_GRPC_TARGET",
        default="127.0.0.1:50051",
        show_default=True,
        help="Address of the running service",
    )(command)


def reason_option(command: F) -> F:
    """Add `--reason`: why this is done, for the audit trail; not handed on, every call of the command carries it."""
    return click.option(
        "--reason", "reason", expose_value=False, callback=_keep_reason, help="Why, for the audit trail"
    )(command)


def _keep_reason(context: click.Context, parameter: click.Parameter, value: str | None) -> None:
    if value and len(value) > MAX_REASON:
        raise click.BadParameter(f"must not exceed {MAX_REASON} characters")
    _keep(context, parameter, value)


def _keep(context: click.Context, parameter: click.Parameter, value: str | None) -> None:
    if value:
        context.meta[f"{__name__}.{parameter.name}"] = value


@contextmanager
def channel(target: str, credentials: Credentials | None = None) -> Iterator[grpc.Channel]:
    """
    Yield a channel to the service, with the credentials that the command was given if none are named.

    Raises:
        click.ClickException: they cannot be used, or a service key would leave this machine in plain text.

    """
    try:
        credentials = credentials or _given(target)
        if os.environ.get(f"{PREFIX}ALLOW_PLAINTEXT", "").lower() not in {"1", "true", "yes", "on"}:
            credentials.require_private(target)
        connection = open_channel(target, credentials, metadata=_why())
    except CertificateProblem as problem:
        raise click.ClickException("\n".join(problem.complaints)) from None
    except secrets.SecretProblem as problem:
        raise click.ClickException(str(problem)) from None
    try:
        yield connection
    finally:
        connection.close()


def _given(target: str) -> Credentials:
    context = click.get_current_context(silent=True)
    meta = {} if context is None else context.meta
    given = {name: str(meta.get(f"{__name__}.{name}", "")) for name in _OPTIONS}
    variable = f"{PREFIX}SERVICE_KEY"
    path = given["service_key_file"]
    key = (
        secrets.read_file("--service-key-file", path)
        if path
        else secrets.resolve(
            variable,
            {
                variable: os.environ.get(variable),
                f"{variable}_command": os.environ.get(f"{variable}_COMMAND"),
            },
        )
    )
    if not key and not given["grpc_client_certificate"]:
        key = _operators_key(target)
    return Credentials(
        ca=given["grpc_ca"],
        certificate=given["grpc_client_certificate"],
        key=given["grpc_client_certificate_key"],
        server_name=given["grpc_server_name"],
        service_key=key or "",
    )


def _why() -> tuple[tuple[str, str], ...]:
    context = click.get_current_context(silent=True)
    reason = "" if context is None else str(context.meta.get(f"{__name__}.reason", ""))
    return ((REASON_KEY, quote(reason)),) if reason else ()


def _operators_key(target: str) -> str:
    """Return the key in the data directory of `authsvc dev`, for a service on this machine; else nothing."""
    if not is_local_target(target):
        return ""
    path = Path(os.environ.get(f"{PREFIX}DATA_DIR") or DATA_DIR) / OPERATOR_KEY_FILE
    try:
        return path.read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError):
        return ""


def refused(error: grpc.RpcError, *, exit_code: int = 1) -> click.ClickException:
    """Return what to tell the person: code, reason and the service's own text."""
    assert isinstance(error, grpc.Call)
    reason = _reason(error)
    text = f"{error.code().name}{f' ({reason})' if reason else ''}: {error.details()}"
    exception = click.ClickException(text)
    exception.exit_code = exit_code
    return exception


def _reason(error: grpc.Call) -> str:
    for key, value in error.trailing_metadata() or ():
        if key == _DETAILS_KEY and isinstance(value, bytes):
            for detail in status_pb2.Status.FromString(value).details:
                info = error_details_pb2.ErrorInfo()
                if detail.Unpack(info):
                    return str(info.reason)
    return ""
