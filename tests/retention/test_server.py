"""The server that is deployed sweeps, without being asked to."""

import sqlite3
from contextlib import closing
from datetime import timedelta
from pathlib import Path

import structlog

from authsvc.app import AuthServer, Secrets, World
from authsvc.config import ConfiguredApp, load_settings
from authsvc.domain.ids import encode_id
from authsvc.keys import DirectoryKeys, MasterRing, generate_signing_key, write_new
from authsvc.storage import SqliteStore
from authsvc.telemetry import Telemetry
from tests.fakes import FakeClock, SeededEntropy
from tests.storage.conformance.world import World as Store


async def test_a_running_server_removes_what_is_old(database: Path, tmp_path: Path) -> None:
    """A session far beyond its retention is gone soon after an interval, whichever moment was drawn."""
    clock, entropy = FakeClock(), SeededEntropy()
    store = await SqliteStore.open(database, clock=clock, entropy=entropy)
    await Store(None, store, clock, entropy).login()  # type: ignore[arg-type]
    await store.close()
    clock.advance(timedelta(days=45))
    server = _server(database, tmp_path / "keys", clock=clock, entropy=entropy)
    await server.start()
    try:
        left = 1
        while left:
            await clock.until_sleeping()
            clock.advance(timedelta(seconds=1))
            await clock.sleep(timedelta(0))
            with closing(sqlite3.connect(database)) as connection:
                (left,) = connection.execute("SELECT count(*) FROM sessions").fetchone()
    finally:
        await server.stop()


def _server(database: Path, keys: Path, *, clock: FakeClock, entropy: SeededEntropy) -> AuthServer:
    """As `authsvc serve` builds it, with a retention of 7 days; only time and dice are fake."""
    write_new(keys, generate_signing_key(), created_at=clock.now())
    environ = {
        "AUTHSVC_ENV": "test",
        "AUTHSVC_GRPC_PORT": "0",
        "AUTHSVC_SESSION_RETENTION": "7",
        "AUTHSVC_DRAIN_WAIT": "0",
    }
    telemetry = Telemetry(logger=structlog.get_logger(), entropy=entropy)
    return AuthServer(
        load_settings(environ=environ),
        apps=[ConfiguredApp(id="wxa", secret=encode_id(entropy.token_bytes(16)))],
        secrets=Secrets(MasterRing.parse(MasterRing.generate(entropy)), DirectoryKeys.load(keys)),
        database=f"sqlite:///{database}",
        world=World(clock=clock, entropy=entropy, telemetry=telemetry),
    )
