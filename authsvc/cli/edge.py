"""`authsvc edge`: the HTTP edge as a process and deployment of its own."""

import asyncio
from typing import Any

import click

from authsvc.app import Edge, build_ops
from authsvc.cli.material import judge_edge_trust
from authsvc.cli.options import read_settings, settings_options
from authsvc.cli.running import TIED, ReadyFile, end_with_parent, listening, make_world, run, settle


@click.command("edge")
@TIED
@settings_options(
    "env", "log_format", "log_level", "ready_file", "grpc_target", "default_app", "http_host", "http_port",
    "edge_audiences", "hard_bound", "http_origins", "trusted_proxies", "language", "allow_plaintext", "stop_grace", "ops_host", "ops_port",
    "http_certificate", "http_certificate_key", "grpc_ca", "grpc_client_certificate", "grpc_client_certificate_key",
    "grpc_server_name", "limits_wide", "limit_forged_ip",
)  # fmt: skip
def command(*, tied: bool, **given: Any) -> None:
    """Run the HTTP edge: JSON for the mini-program in front, the gRPC contract behind; it holds no keys."""
    if tied:
        end_with_parent()
    settings = read_settings(given)
    judge_edge_trust(settings)
    world = make_world(settings, service="edge")
    edge = Edge(settings, target=settings.grpc_target, world=world)
    ops = build_ops(settings, world=world, probes=edge.probes())
    ready = ReadyFile(settings.ready_file)

    async def main(stopping: asyncio.Event) -> None:
        try:
            with listening("the edge", host=settings.http_host, port=settings.http_port):
                addresses = {"http": await edge.start()}
            with listening("the operations listener", host=settings.ops_host, port=settings.ops_port):
                addresses["ops"] = await ops.start()
            settle()
            ready.announce(addresses)
            click.echo(f"authsvc edge serves {addresses['http']}, operations on {addresses['ops']}")
            await stopping.wait()
        finally:
            ready.withdraw()
            await edge.stop()
            await ops.stop()

    run(main)
