"""`authsvc sandbox`: the WeChat simulator alone, for any team."""

import asyncio
import ssl
from typing import Any

import click

from authsvc.cli.options import misconfigured, read_settings, settings_options
from authsvc.cli.running import ReadyFile, listening, run
from authsvc.config import is_loopback
from authsvc.config.sections import Environment
from authsvc.sandbox import (
    SANDBOX_APPS,
    BadInput,
    RealLookingCredential,
    SandboxApp,
    SandboxServer,
    SelfCheckFailed,
    World,
)
from authsvc.system import SystemClock, SystemEntropy


@click.command("sandbox")
@settings_options("sandbox_host", "sandbox_port", "ready_file", "accept_exposure")
@click.option(
    "--app",
    "apps",
    multiple=True,
    metavar="ID:SECRET[:ACCOUNT]",
    help="Play this app in place of the shipped ones, bound to that open-platform account; may be repeated",
)
@click.option("--allow-real", is_flag=True, help="Accept an app id or secret that looks real (do not)")
@click.option("--tls-certificate", help="PEM file; with it the sandbox speaks HTTPS only")
@click.option("--tls-key", help="PEM file of the certificate's key, if it is not in the same file")
def command(
    *,
    apps: tuple[str, ...],
    allow_real: bool,
    tls_certificate: str | None,
    tls_key: str | None,
    **given: Any,
) -> None:
    """
    Play WeChat's server side on this machine.

    Mints login and phone codes, exchanges them, hands out access tokens, fails on purpose; nothing leaves this machine.
    Point an SDK's base URL at it. A control page is at /sandbox.
    """
    settings = read_settings(given, env=Environment.DEV)
    if not is_loopback(settings.sandbox_host) and not settings.accept_exposure:
        raise misconfigured(["sandbox_host: beyond loopback needs --accept-exposure"])
    entropy = SystemEntropy()
    server = SandboxServer(
        world=_world([_app(text) for text in apps] or list(SANDBOX_APPS), entropy, allow_real=allow_real),
        clock=SystemClock(),
        entropy=entropy,
        host=settings.sandbox_host,
        port=settings.sandbox_port,
        tls=_tls(tls_certificate, tls_key),
    )
    ready = ReadyFile(settings.ready_file)

    async def main(stopping: asyncio.Event) -> None:
        try:
            with listening("the sandbox", host=settings.sandbox_host, port=settings.sandbox_port):
                await _start(server)
            ready.announce({"sandbox": server.base_url})
            click.echo(_welcome(server, shipped=not apps))
            await stopping.wait()
        finally:
            ready.withdraw()
            await server.stop()

    run(main)


async def _start(server: SandboxServer) -> None:
    try:
        await server.start()
    except SelfCheckFailed as failed:
        raise click.ClickException(f"the sandbox would teach wrong things: {failed}") from None


def _app(text: str) -> SandboxApp:
    app_id, _, rest = text.partition(":")
    secret, _, account = rest.partition(":")
    if not app_id or not secret:
        # The text is not repeated: it may hold a secret.
        raise misconfigured(["app: must be ID:SECRET or ID:SECRET:ACCOUNT"])
    return SandboxApp(app_id, secret, open_platform=account or None)


def _world(apps: list[SandboxApp], entropy: SystemEntropy, *, allow_real: bool) -> World:
    try:
        return World(apps, entropy=entropy, allow_real=allow_real)
    except RealLookingCredential as refused:
        raise misconfigured([f"app: {refused}; --allow-real accepts it all the same"]) from None
    except (BadInput, ValueError) as refused:
        raise misconfigured([f"app: {refused}"]) from None


def _tls(certificate: str | None, key: str | None) -> ssl.SSLContext | None:
    if certificate is None:
        if key is not None:
            raise misconfigured(["tls_key: needs --tls-certificate"])
        return None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        context.load_cert_chain(certificate, key)
    except (OSError, ssl.SSLError) as problem:
        raise misconfigured([f"tls_certificate: cannot be used: {problem.strerror or problem}"]) from None
    return context


def _welcome(server: SandboxServer, *, shipped: bool) -> str:
    first, base = server.world.apps[0], server.base_url
    lines = [
        f"WeChat sandbox on {base}",
        f"  use it     give your SDK {base} in place of https://api.weixin.qq.com",
        f"  watch it   {base}/sandbox",
        f'  mint       curl {base}/sandbox/v1/codes -d \'{{"app_id":"{first.app_id}","user":"alice"}}\'',
        "  phone      the same with /sandbox/v1/phone-codes",
        f'  fail       curl -X PUT {base}/sandbox/v1/faults -d \'{{"fault":"system-error","times":1}}\'',
        "Apps and their (worthless) secrets:" if shipped else "Apps:",
    ]
    for app in server.world.apps:
        # Secrets that were given are known to who gave them.
        secret = f"  {app.secret}" if shipped else ""
        lines.append(f"  {app.app_id}{secret}  {app.open_platform or 'not bound'}")
    return "\n".join(lines)
