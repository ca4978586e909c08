"""`python -m bench.facts`: what a million live revocations cost: start-up, memory, and each verification."""

import argparse
import asyncio
import io
import json
import os
import secrets
import sqlite3
import statistics
import tempfile
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

from authsvc.domain.access_token import Claims
from authsvc.domain.ids import encode_id
from authsvc.service.tail import LogTail
from authsvc.service.view import RevocationView
from authsvc.storage import SqliteStore, migrate
from authsvc.system import SystemClock, SystemEntropy
from authsvc.telemetry import Telemetry, configure_logging

_PAGE = os.sysconf("SC_PAGE_SIZE")
_LOOKUPS = 20_000


def main() -> None:
    """Print the figures as one line of JSON."""
    parser = argparse.ArgumentParser(prog="python -m bench.facts", description=__doc__)
    parser.add_argument("--facts", type=int, default=1_000_000, help="live facts (default 1,000,000)")
    given = parser.parse_args()
    print(json.dumps(asyncio.run(_run(given.facts))))


async def _run(facts: int) -> dict[str, float]:
    clock, entropy = SystemClock(), SystemEntropy()
    with tempfile.TemporaryDirectory(prefix="authsvc-bench-") as name:
        logger = configure_logging(
            json=True, level="error", service="bench", stream=io.StringIO(), clock=clock
        )
        observer = Telemetry(logger=logger, entropy=entropy)
        path = Path(name) / "facts.db"
        migrate(path)
        await (await SqliteStore.open(path, clock=clock, entropy=entropy)).close()
        fill(path, facts)
        store = await SqliteStore.open(path, clock=clock, entropy=entropy)
        view = RevocationView()
        tail = LogTail(log=store, view=view, clock=clock, observer=observer, hard_bound=timedelta(seconds=30))
        before_mib, began = rss_mib(), time.perf_counter()
        await tail.start()
        start_s = time.perf_counter() - began
        figures = {"facts": len(view), "start_s": start_s, "added_rss_mib": rss_mib() - before_mib}
        figures["added_us"] = _added_us(view)
        await tail.stop()
        await store.close()
    return figures


def fill(path: Path, facts: int, *, spread_s: int = 0) -> None:
    """Write the facts as the service would have, of sessions; their useful ends lie *spread_s* apart at most."""
    connection = sqlite3.connect(path)
    now = int(time.time() * 1e6)
    connection.executemany(
        "INSERT INTO revocations (position, fact_id, kind, target, reason, useful_until, app_filter, written_at)"
        " VALUES (?, ?, 'session', ?, 1, ?, '', ?)",
        (
            (
                position,
                secrets.token_bytes(8),
                encode_id(secrets.token_bytes(16)),
                _useful_until(now, spread_s),
                now,
            )
            for position in range(1, facts + 1)
        ),
    )
    connection.execute("UPDATE log_head SET position = ?", (facts,))
    connection.commit()
    connection.close()


def _useful_until(now_us: int, spread_s: int) -> int:
    return now_us + (7800 - secrets.randbelow(spread_s + 1)) * 1_000_000


def _added_us(view: RevocationView) -> float:
    """Return how much longer one look-up takes than in an empty view, in µs: medians of alternating rounds."""
    claims = [_claims() for _ in range(500)]
    empty = RevocationView()
    full_us, empty_us = [], []
    for _ in range(5):
        full_us.append(_lookup_us(view, claims))
        empty_us.append(_lookup_us(empty, claims))
    return statistics.median(full_us) - statistics.median(empty_us)


def _lookup_us(view: RevocationView, claims: list[Claims]) -> float:
    began = time.process_time()
    for _ in range(_LOOKUPS // len(claims)):
        for one in claims:
            view.death_of(one)
    return (time.process_time() - began) / _LOOKUPS * 1e6


def _claims() -> Claims:
    now = int(datetime.now(UTC).timestamp())
    return Claims(
        issuer="authsvc",
        user_id=encode_id(secrets.token_bytes(16)),
        audiences=("app",),
        app_id="app",
        expires_at=now + 7200,
        issued_at=now,
        not_before=now,
        token_id=encode_id(secrets.token_bytes(16)),
        session_id=encode_id(secrets.token_bytes(16)),
        position=0,
    )


def rss_mib() -> float:
    """Return this process's resident memory now, in MiB."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * _PAGE / 2**20


if __name__ == "__main__":
    main()
