"""Calling a running service by gRPC, as every command that looks at one does."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import click
import grpc
from google.rpc import error_details_pb2, status_pb2

F = TypeVar("F", bound=Callable[..., Any])
_DETAILS_KEY = "grpc-status-details-bin"


def grpc_target_option(command: F) -> F:
    """Add `--grpc-target`: where the service listens."""
    return click.option(
        "--grpc-target",
        envvar="AUTHSVC_GRPC_TARGET",
        default="127.0.0.1:50051",
        show_default=True,
        help="Address of the running service",
    )(command)


@contextmanager
def channel(target: str) -> Iterator[grpc.Channel]:
    """Yield a channel to the service."""
    with grpc.insecure_channel(target) as connection:
        yield connection


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
