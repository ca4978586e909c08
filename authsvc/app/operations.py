"""The operations listener of a process."""

from collections.abc import Mapping
from types import MappingProxyType

from authsvc.app.world import World
from authsvc.config import Settings, is_loopback
from authsvc.ops import Exposition, OpsServer, Probe


def build_ops(
    settings: Settings,
    *,
    world: World,
    probes: Mapping[str, Probe],
    exposition: Exposition | None = None,
    socket: str = "",
    notices: Mapping[str, Probe] = MappingProxyType({}),
) -> OpsServer:
    """
    Return the operations listener, not started.

    *notices*: what `/readyz` tells beside, without being less ready for it.
    *exposition*: where the metrics come from, if not from this process alone. *socket*: the path to listen on, for a
    worker, in place of the configured address.
    """

    async def own() -> tuple[bytes, str]:
        return world.telemetry.exposition(), world.telemetry.content_type

    return OpsServer(
        host=settings.ops_host,
        port=settings.ops_port,
        exposition=exposition or own,
        probes=probes,
        check_host=bool(socket) or is_loopback(settings.ops_host),
        socket=socket,
        notices=notices,
    )
