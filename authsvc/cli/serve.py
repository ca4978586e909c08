"""`authsvc serve`: the gRPC server for real; as several workers, or with the edge, as supervised processes."""

import asyncio
import signal
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import click

from authsvc.app import AuthServer, build_ops
from authsvc.cli.material import read_configured
from authsvc.cli.options import settings_options
from authsvc.cli.own_callers import supervised_edge
from authsvc.cli.reloading import AppsReload, Fresh, Reading, differences, on_hangup
from authsvc.cli.running import TIED, ReadyFile, end_with_parent, listening, make_world, run, settle
from authsvc.cli.supervised import run_supervised
from authsvc.ops import last_words
from authsvc.service.limits import DEFAULT_RATES
from authsvc.supervisor import RELOAD

SERVER_OPTIONS = (
    "env", "issuer", "log_format", "log_level", "ready_file", "signing_keys_dir", "signing_key_rotation_days",
    "apps_file", "default_app",
    "wechat_allow_hosts", "grpc_host", "grpc_port", "workers", "grpc_reflection", "drain_wait", "stop_grace",
    "connection_age", "local_roles", "hard_bound", "token_cache_size", "ops_host", "ops_port",
    "database_notifications", "database_pool_size", "database_answer_within", "session_retention", "audit_retention",
    "authenticate", "principals_file", "grpc_certificate", "grpc_certificate_key", "grpc_client_ca", "grpc_keys_port",
    "limits_wide", *(f"limit_{name}" for name in DEFAULT_RATES), "watchers", "watchers_per_principal", "calls_in_flight",
)  # fmt: skip
EDGE_OPTIONS = (
    "http_host", "http_port", "http_origins", "edge_audiences", "trusted_proxies", "language", "allow_plaintext",
    "http_certificate", "http_certificate_key", "grpc_ca", "grpc_client_certificate", "grpc_client_certificate_key",
    "grpc_server_name", "limit_forged_ip",
)  # fmt: skip


@click.command("serve")
@click.option("--with-edge", is_flag=True, help="Run the HTTP edge too, as a supervised process of its own")
@TIED
@click.option(
    "--ops-socket", default="", hidden=True, help="Be one worker of several; operations on this path"
)
@click.option("--edge-key", default="", hidden=True, help="What is kept of our own edge's service key")
@settings_options(*SERVER_OPTIONS, *EDGE_OPTIONS)
def command(*, with_edge: bool, tied: bool, ops_socket: str, edge_key: str, **given: Any) -> None:
    """
    Run the gRPC server.

    Refuses to start without configured keys, apps and database, naming what is missing. The database must be of
    this release's schema (`authsvc migrate`). Binds loopback only while nobody is asked who they are.

    With `--workers N` N processes share the port, and one more watches them, restarts what crashes and answers on
    the operations port for all. SIGHUP has the apps file and the signing keys read again, without a restart; if settings
    are others too, `--workers` and `--with-edge` renew the server processes one at a time, and a plain server says so.
    """
    if tied:
        end_with_parent()
    # Everything is judged before anything starts, and also by the parent of supervised processes.
    started_with = read_configured(given)
    settings, _ = started_with
    if not ops_socket and (with_edge or settings.workers > 1):
        run_supervised(
            started_with,
            worker_words=_words(given, SERVER_OPTIONS),
            edge_words=_edge_words(given, started_with) if with_edge else None,
            read=lambda: read_configured(given),
        )
    else:
        _serve(started_with, read=lambda: read_configured(given), ops_socket=ops_socket, edge_key=edge_key)


def _edge_words(given: Mapping[str, Any], started_with: Reading) -> tuple[str, ...]:
    """Return the edge's options; its own audiences, if no setting names them, are those of the apps."""
    settings, parts = started_with
    words = tuple(_words(given, (*EDGE_OPTIONS, *_EDGE_SHARED)))
    if settings.edge_audiences:
        return words
    audiences = sorted({audience for app in parts.apps for audience in app.policy().audiences})
    return (*words, "--edge-audiences", ",".join(audiences))


def _serve(started_with: Reading, *, read: Callable[[], Reading], ops_socket: str, edge_key: str) -> None:
    settings, parts = started_with
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
        declared=supervised_edge(edge_key),
    )
    ops = build_ops(
        settings, world=world, probes=server.probes(), notices=server.notices(), socket=ops_socket
    )

    def read_apps() -> Fresh:
        reading = read()
        return Fresh(
            reading[1].apps,
            needs_restart=differences(started_with, reading),
            signing=reading[1].secrets.signing,
        )

    reload = AppsReload(server, read=read_apps, observer=world.telemetry)

    async def main(stopping: asyncio.Event) -> None:
        leaving = asyncio.Event()

        def leave() -> None:
            leaving.set()
            stopping.set()

        def read_again() -> None:
            reload.asked.set()
            server.reread_callers()

        reloading = asyncio.ensure_future(reload.run())
        if ops_socket:
            loop = asyncio.get_running_loop()
            loop.add_signal_handler(signal.SIGHUP, leave)
            loop.add_signal_handler(RELOAD, read_again)
        else:
            on_hangup(read_again, stop=stopping.set)
        try:
            addresses = {"grpc": await server.start()}
            if server.keys_address:
                addresses["grpc_keys"] = server.keys_address
            with listening("the operations listener", host=settings.ops_host, port=settings.ops_port):
                addresses["ops"] = await ops.start()
            settle()
            ready.announce(addresses)
            if not ops_socket:
                click.echo(f"authsvc serves gRPC on {addresses['grpc']}, operations on {addresses['ops']}")
            await stopping.wait()
        finally:
            ready.withdraw()
            reloading.cancel()
            await server.stop(siblings=leaving.is_set())
            if ops_socket:
                last_words(ops_socket).write_bytes(world.telemetry.exposition())
            await ops.stop()

    run(main)


_EDGE_SHARED = ("env", "log_format", "log_level", "default_app", "hard_bound", "stop_grace", "ops_host")
# What the supervisor decides for its children.
_OURS = frozenset({"ready_file", "workers", "grpc_port", "grpc_keys_port", "ops_port"})


def _words(given: Mapping[str, Any], names: tuple[str, ...]) -> list[str]:
    """Return the options that were given, as the command line of a child."""
    words: list[str] = []
    for name in names:
        if given.get(name) is not None and name not in _OURS:
            words += [f"--{name.replace('_', '-')}", str(given[name])]
    return words
