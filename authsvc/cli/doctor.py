"""`authsvc doctor`: every check that an operator would make by hand, with what to do about each finding."""

import asyncio
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import urlsplit

import click
import grpc
from grpc_health.v1 import health_pb2

from authsvc.app.channels import Credentials
from authsvc.cli import key_life
from authsvc.cli.calling import channel
from authsvc.cli.material import configured_apps, configured_database, configured_secrets
from authsvc.cli.options import Misconfigured, read_settings, settings_options
from authsvc.config import ConfiguredApp, Settings
from authsvc.domain.errors import StoreUnavailable
from authsvc.storage import SchemaNotCurrent, check_schema
from authsvc.system import SystemClock

_SKEW_LIMIT_S = 2.0


@dataclass(frozen=True, slots=True)
class Finding:
    """One check: what was looked at, whether it is well, and what to do if not."""

    what: str
    well: bool
    detail: str


@click.command("doctor")
@click.option(
    "--wechat/--no-wechat", default=True, show_default=True, help="Try to connect to WeChat's hosts"
)
@click.option("--service/--no-service", default=True, show_default=True, help="Ask the running service")
@settings_options(
    "env", "signing_keys_dir", "apps_file", "default_app", "wechat_allow_hosts", "grpc_target",
    "grpc_ca", "grpc_client_certificate", "grpc_client_certificate_key", "grpc_server_name",
)  # fmt: skip
def command(*, wechat: bool, service: bool, **given: Any) -> None:
    """Look for what is wrong; exit 1 if anything is. Nothing secret is printed and nothing is changed."""
    settings = read_settings(given)
    findings = list(_examine(settings, wechat=wechat, service=service))
    for finding in findings:
        click.echo(f"{'ok  ' if finding.well else 'BAD '} {finding.what}: {finding.detail}")
    sys.exit(0 if all(finding.well for finding in findings) else 1)


def _examine(settings: Settings, *, wechat: bool, service: bool) -> Iterator[Finding]:
    yield _judged("keys", lambda: configured_secrets(settings), "present and readable")
    apps: list[ConfiguredApp] = []
    yield _judged("apps", lambda: apps.extend(configured_apps(settings)), "well-formed")
    database = _database(settings)
    yield database
    if database.well:
        yield _signing_keys(settings)
    if wechat:
        for url in sorted({url for app in apps for url in app.wechat().urls[:1]}):
            yield asyncio.run(_wechat(url))
    if service:
        yield _service(settings.grpc_target, Credentials.of(settings))


def _judged(what: str, judge: Callable[[], object], good: str) -> Finding:
    try:
        judge()
    except Misconfigured as problem:
        return Finding(what, False, "; ".join(problem.complaints))
    return Finding(what, True, good)


def _database(settings: Settings) -> Finding:
    try:
        check_schema(configured_database(settings))
    except Misconfigured as problem:
        return Finding("database", False, "; ".join(problem.complaints))
    except (SchemaNotCurrent, StoreUnavailable, ValueError) as error:
        return Finding("database", False, str(error))
    return Finding("database", True, "schema is current")


def _signing_keys(settings: Settings) -> Finding:
    try:
        lack = key_life.wants(settings)
    except click.ClickException as problem:
        return Finding("signing keys", False, problem.message)
    return Finding("signing keys", not lack, lack or "one signs, and one is prepared to follow")


async def _wechat(url: str) -> Finding:
    """Connect and read the clock of the far side; no credential is sent."""
    import aiohttp

    what = f"WeChat host {urlsplit(url).hostname}"
    try:
        timeout = aiohttp.ClientTimeout(total=5)
        async with aiohttp.ClientSession(timeout=timeout) as session, session.head(url) as response:
            date = response.headers.get("Date", "")
    except (aiohttp.ClientError, TimeoutError, OSError) as error:
        return Finding(
            what, False, f"cannot be reached: {type(error).__name__}; check DNS, firewall and proxy"
        )
    skew = _skew_s(date, SystemClock().now())
    if skew is not None and abs(skew) > _SKEW_LIMIT_S + 1:
        return Finding(
            what, False, f"reachable, but clocks differ by {skew:.0f} s; check NTP on this machine"
        )
    return Finding(what, True, "reachable")


def _skew_s(date: str, now: datetime) -> float | None:
    """Return how far our clock is ahead of an HTTP Date header, in seconds; None if there is no usable one."""
    try:
        return (now - parsedate_to_datetime(date).astimezone(UTC)).total_seconds()
    except (TypeError, ValueError):
        return None


def _service(target: str, credentials: Credentials) -> Finding:
    what = f"service at {target}"
    try:
        with channel(target, credentials) as connection:
            check = connection.unary_unary(
                "/grpc.health.v1.Health/Check",
                request_serializer=health_pb2.HealthCheckRequest.SerializeToString,
                response_deserializer=health_pb2.HealthCheckResponse.FromString,
            )
            response = check(health_pb2.HealthCheckRequest(), timeout=5)
    except click.ClickException as problem:
        return Finding(what, False, problem.message)
    except grpc.RpcError as error:
        assert isinstance(error, grpc.Call)
        return Finding(what, False, f"does not answer ({error.code().name}); is it running?")
    serving = response.status == health_pb2.HealthCheckResponse.SERVING
    return Finding(what, serving, "serving" if serving else "not serving: starting or draining")
