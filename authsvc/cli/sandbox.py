"""`authsvc sandbox`: the WeChat simulator alone, for any team."""

import asyncio
from typing import Any

import click

from authsvc.cli.options import misconfigured, read_settings, settings_options
from authsvc.cli.running import ReadyFile, listening, run
from authsvc.config import is_loopback
from authsvc.config.sections import Environment
from authsvc.sandbox import SANDBOX_APPS, SandboxServer, World
from authsvc.system import SystemClock, SystemEntropy


@click.command("sandbox")
@settings_options("sandbox_host", "sandbox_port", "ready_file", "accept_exposure")
def command(**given: Any) -> None:
    """Play WeChat's server side on this machine: mint login codes, exchange them, fail on purpose."""
    settings = read_settings(given, env=Environment.DEV)
    if not is_loopback(settings.sandbox_host) and not settings.accept_exposure:
        raise misconfigured(["sandbox_host: beyond loopback needs --accept-exposure"])
    entropy = SystemEntropy()
    server = SandboxServer(
        world=World(entropy=entropy),
        clock=SystemClock(),
        entropy=entropy,
        host=settings.sandbox_host,
        port=settings.sandbox_port,
    )
    ready = ReadyFile(settings.ready_file)

    async def main(stopping: asyncio.Event) -> None:
        try:
            with listening("the sandbox", host=settings.sandbox_host, port=settings.sandbox_port):
                await server.start()
            ready.announce({"sandbox": server.base_url})
            click.echo(f"WeChat sandbox on {server.base_url}; apps and their (worthless) secrets:")
            for app in SANDBOX_APPS:
                click.echo(f"  {app.app_id}  {app.secret}  {app.open_platform or 'not bound'}")
            await stopping.wait()
        finally:
            ready.withdraw()
            await server.stop()

    run(main)
