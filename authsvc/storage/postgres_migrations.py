"""The schema of a PostgreSQL database: its state, and bringing it to the present one, once for all replicas."""

import asyncio
from collections.abc import Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

from sqlalchemy import Connection
from sqlalchemy.ext.asyncio import AsyncConnection

from authsvc.storage.postgres_faults import DRIVER_ERRORS, unavailable
from authsvc.storage.postgres_pool import engine_for

T = TypeVar("T")

_CONNECT_WITHIN_S = 10.0
# Any number that nobody else takes in this database: "authsvc" in ASCII.
_LOCK_KEY = int.from_bytes(b"authsvc")
# A second replica waits for the one that migrates. A step waits only briefly for the locks it needs, because every
# statement of the running service queues up behind it meanwhile.
_BEGIN = "BEGIN; SET LOCAL lock_timeout = '60s'"
_STEP_LIMIT = "SET LOCAL lock_timeout = '5s'"


def look(url: str, read: Callable[[Connection], T]) -> T:
    """
    Return what *read* sees, from whatever thread and loop this is called.

    Raises:
        StoreUnavailable: the database does not answer.

    """

    async def run() -> T:
        async with engine_for(url, timeout_s=_CONNECT_WITHIN_S).connect() as connection:
            return await connection.run_sync(read)

    return _alone(run)


def change(url: str, *, needed: Callable[[Connection], bool], upgrade: Callable[[Connection], None]) -> None:
    """
    Upgrade in one transaction if it is still needed once we hold the lock that all replicas ask for.

    Raises:
        StoreUnavailable: the database does not answer or refuses a step; nothing was changed.

    """

    async def run() -> None:
        async with engine_for(url, timeout_s=_CONNECT_WITHIN_S).connect() as connection:
            driver = await _driver(connection)
            await driver.execute(f"{_BEGIN}; SELECT pg_advisory_xact_lock({_LOCK_KEY}); {_STEP_LIMIT}")
            if await connection.run_sync(needed):
                await connection.run_sync(upgrade)
            await driver.execute("COMMIT")

    _alone(run)


async def _driver(connection: AsyncConnection) -> Any:
    return (await connection.get_raw_connection()).driver_connection


def _alone(run: Callable[[], Coroutine[Any, Any, T]]) -> T:
    """Run it in a thread with a loop of its own: commands call this without a loop, servers within theirs."""
    with ThreadPoolExecutor(1, thread_name_prefix="authsvc-schema") as thread:
        try:
            return thread.submit(asyncio.run, run()).result()
        except DRIVER_ERRORS as error:
            raise unavailable(error) from None
