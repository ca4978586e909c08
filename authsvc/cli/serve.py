"""`authsvc serve`: the gRPC server for real; with `--with-edge`, server and edge as two supervised processes."""

import asyncio
from typing import Any

import click

from authsvc.app import AuthServer, build_ops
from authsvc.cli.material import configured
from authsvc.cli.options import read_settings, settings_options
from authsvc.cli.running import ReadyFile, listening, make_world, run, settle
from authsvc.supervisor import Child, supervise

_SERVER_OPTIONS = (
    "env", "issuer", "log_format", "log_level", "ready_file", "signing_keys_dir", "apps_file", "default_app",
    "wechat_allow_hosts", "grpc_host", "grpc_port", "grpc_reflection", "drain_wait", "stop_grace",
    "connection_age", "local_roles", "hard_bound", "token_cache_size", "ops_host", "ops_port",
)  # fmt: skip
_EDGE_OPTIONS = ("http_host", "http_port", "trusted_proxies", "language", "allow_plaintext")


@click.command("serve")
@click.option("--with-edge", is_flag=True, help="Run the HTTP edge too, as a second supervised process")
@settings_options(*_SERVER_OPTIONS, *_EDGE_OPTIONS)
def command(*, with_edge: bool, **given: Any) -> None:
    """
    Run the gRPC server.

    Refuses to start without configured keys, apps and database, naming what is missing. The database must be of
    this release's schema (`authsvc migrate`). Binds loopback only while no caller authenticator is configured.
    """
    settings = read_settings(given)
    # Everything is judged before anything starts, and also by the parent of supervised processes.
    parts = configured(settings)
    ready = ReadyFile(settings.ready_file)
    world = make_world(settings, service="supervisor" if with_edge else "server")
    if with_edge:
        options = {name: value for name, value in given.items() if value is not None and name != "ready_file"}
        children = [
            Child(
                "grpc",
                ["serve", *_words(options, _SERVER_OPTIONS)],
                gives={"grpc": "grpc", "ops": "ops"},
                ports={"grpc": "--grpc-port", "ops": "--ops-port"},
            ),
            Child(
                "edge",
                ["edge", *_words({**options, "ops_port": "0"}, (*_EDGE_OPTIONS, *_EDGE_SHARED))],
                needs={"grpc": "--grpc-target"},
                gives={"http": "http", "ops": "edge_ops"},
                ports={"http": "--http-port", "ops": "--ops-port"},
            ),
        ]
        run(
            lambda stopping: supervise(
                children,
                stopping=stopping,
                clock=world.clock,
                observer=world.telemetry,
                announce=ready.announce,
            )
        )
        ready.withdraw()
        return
    server = AuthServer(
        settings, apps=parts.apps, secrets=parts.secrets, database=parts.database, world=world
    )
    ops = build_ops(settings, world=world, probes=server.probes())

    async def main(stopping: asyncio.Event) -> None:
        try:
            addresses = {"grpc": await server.start()}
            with listening("the operations listener", host=settings.ops_host, port=settings.ops_port):
                addresses["ops"] = await ops.start()
            settle()
            ready.announce(addresses)
            click.echo(f"authsvc serves gRPC on {addresses['grpc']}, operations on {addresses['ops']}")
            await stopping.wait()
        finally:
            ready.withdraw()
            await server.stop()
            await ops.stop()

    run(main)


_EDGE_SHARED = ("env", "log_format", "log_level", "default_app", "stop_grace", "ops_host", "ops_port")


def _words(options: dict[str, Any], names: tuple[str, ...]) -> list[str]:
    words: list[str] = []
    for name in names:
        if name in options:
            words += [f"--{name.replace('_', '-')}", str(options[name])]
    return words
