"""Acting on the record itself, for commands that need no running service."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

import click

from authsvc.domain.errors import StoreUnavailable
from authsvc.ports import Store
from authsvc.storage import SchemaNotCurrent, open_store
from authsvc.system import SystemClock, SystemEntropy

T = TypeVar("T")


def with_store(database: str, act: Callable[[Store], Awaitable[T]]) -> T:
    """
    Return what *act* makes of the open record, which is closed afterwards.

    Raises:
        click.ClickException: it cannot be opened or does not answer, or *act* raised a ValueError.

    """

    async def main() -> T:
        store = await open_store(database, clock=SystemClock(), entropy=SystemEntropy())
        try:
            return await act(store)
        finally:
            await store.close()

    try:
        return asyncio.run(main())
    except (SchemaNotCurrent, StoreUnavailable, ValueError, OSError) as error:
        raise click.ClickException(str(error)) from None
