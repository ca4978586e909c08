"""`authsvc serve`: the gRPC server for real; as several workers, or with the edge, as supervised processes."""

import asyncio
import signal
from pathlib import Path
from typing import Any

import click

from authsvc.app import AuthServer, build_ops
from authsvc.cli.material import Configured, read_configured
from authsvc.cli.options import settings_options
from authsvc.cli.running import TIED, ReadyFile, end_with_parent, listening, make_world, run, settle
from authsvc.cli.supervised import run_supervised
from authsvc.config import Settings
from authsvc.ops import last_words

SERVER_OPTIONS = (
    "env", "issuer", "log_format", "log_level", "ready_file", "signing_keys_dir", "apps_file", "default_app",
    "wechat_allow_hosts", "grpc_host", "grpc_port", "workers", "grpc_reflection", "drain_wait", "stop_grace",
    "connection_age", "local_roles", "hard_bound", "token_cache_size", "ops_host", "ops_port",
    "database_notifications", "database_pool_size", "database_answer_within", "session_retention",
)  # fmt: skip
EDGE_OPTIONS = ("http_host", "http_port", "trusted_proxies", "language", "allow_plaintext")


@click.command("serve")
@click.option("--with-edge", is_flag=True, help="Run the HTTP edge too, as a supervised process of its own")
@TIED
@click.option(
    "--ops-socket", default="", hidden=True, help="Be one worker of several; operations on this path"
)
@settings_options(*SERVER_OPTIONS, *EDGE_OPTIONS)
def command(*, with_edge: bool, tied: bool, ops_socket: str, **given: Any) -> None:
    """
    Run the gRPC server.

    Refuses to start without configured keys, apps and database, naming what is missing. The database must be of
    this release's schema (`authsvc migrate`). Binds loopback only while no caller authenticator is configured.

    With `--workers N` N processes share the port, and one more watches them, restarts what crashes and answers on
    the operations port for all; SIGHUP renews them one at a time, with keys and apps read again.
    """
    if tied:
        end_with_parent()
    # Everything is judged before anything starts, and also by the parent of supervised processes.
    settings, parts = read_configured(given)
    if not ops_socket and (with_edge or settings.workers > 1):
        run_supervised(
            settings,
            worker_words=_words(given, SERVER_OPTIONS),
            edge_words=_words(given, (*EDGE_OPTIONS, *_EDGE_SHARED)) if with_edge else None,
            judge=lambda: read_configured(given),
        )
    else:
        _serve(settings, parts, ops_socket=ops_socket)


def _serve(settings: Settings, parts: Configured, *, ops_socket: str) -> None:
    name = Path(ops_socket).stem.rpartition("-")[0] if ops_socket else "server"
    world = make_world(settings, service=name)
    ready = ReadyFile(settings.ready_file)
    server = AuthServer(
        settings,
        apps=parts.apps,
        secrets=parts.secrets,
        database=parts.database,
        world=world,
        reuse_port=bool(ops_socket),
    )
    ops = build_ops(settings, world=world, probes=server.probes(), socket=ops_socket)

    async def main(stopping: asyncio.Event) -> None:
        leaving = asyncio.Event()

        def leave() -> None:
            leaving.set()
            stopping.set()

        if ops_socket:
            asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, leave)
        try:
            addresses = {"grpc": await server.start()}
            with listening("the operations listener", host=settings.ops_host, port=settings.ops_port):
                addresses["ops"] = await ops.start()
            settle()
            ready.announce(addresses)
            if not ops_socket:
                click.echo(f"authsvc serves gRPC on {addresses['grpc']}, operations on {addresses['ops']}")
            await stopping.wait()
        finally:
            ready.withdraw()
            await server.stop(siblings=leaving.is_set())
            if ops_socket:
                last_words(ops_socket).write_bytes(world.telemetry.exposition())
            await ops.stop()

    run(main)


_EDGE_SHARED = ("env", "log_format", "log_level", "default_app", "stop_grace", "ops_host")
# What the supervisor decides for its children.
_OURS = frozenset({"ready_file", "workers", "grpc_port", "ops_port"})


def _words(given: dict[str, Any], names: tuple[str, ...]) -> list[str]:
    """Return the options that were given, as the command line of a child."""
    words: list[str] = []
    for name in names:
        if given.get(name) is not None and name not in _OURS:
            words += [f"--{name.replace('_', '-')}", str(given[name])]
    return words
