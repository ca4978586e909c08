"""Running parts until a signal: the loop, the signals, the ready file, the telemetry."""

import asyncio
import gc
import json
import logging
import os
import select
import signal
import sys
import threading
from collections.abc import Callable, Coroutine, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import click

from authsvc.app import World
from authsvc.config import Settings
from authsvc.domain.errors import StoreUnavailable
from authsvc.rpc.server import PortTaken
from authsvc.storage import SchemaNotCurrent
from authsvc.system import SystemClock, SystemEntropy, process_id
from authsvc.telemetry import Telemetry, configure_logging


def make_world(settings: Settings, *, service: str) -> World:
    """Return clock, dice and telemetry of a real process; logs go to standard error."""
    clock, entropy = SystemClock(), SystemEntropy()
    # Alembic tells every plug-in and step at info; what a migration comes to is told by who runs it.
    logging.getLogger("alembic").setLevel(logging.WARNING)
    human = settings.log_format == "human" or (settings.log_format == "auto" and sys.stderr.isatty())
    logger = configure_logging(
        json=not human, level=settings.log_level, service=service, stream=sys.stderr, clock=clock
    )
    return World(clock=clock, entropy=entropy, telemetry=Telemetry(logger=logger, entropy=entropy))


def run(
    main: Callable[[asyncio.Event], Coroutine[Any, Any, None]],
    *,
    at_once: Callable[[], None] = lambda: None,
) -> None:
    """
    Run *main* with an event that the first SIGINT or SIGTERM sets; a second one stops the process at once.

    *at_once* is all that is done before that: it must not wait for anything.

    Raises:
        click.ClickException: what an operator can act on (port taken, schema not current, record not reachable).

    """

    async def body() -> None:
        stopping = asyncio.Event()
        loop = asyncio.get_running_loop()

        def on_signal(number: int) -> None:
            if stopping.is_set():
                at_once()
                os._exit(128 + number)
            stopping.set()

        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, on_signal, number)
        await main(stopping)

    try:
        with asyncio.Runner(loop_factory=_loop_factory()) as runner:
            runner.run(body())
    except (PortTaken, OSError, SchemaNotCurrent, StoreUnavailable) as error:
        raise click.ClickException(str(error) or type(error).__name__) from None


TIED = click.option("--tied", is_flag=True, hidden=True, help="End at once when standard input ends")


def end_with_parent() -> None:
    """
    Let this process end at once when its standard input does: its supervisor is gone, and would start others.

    A thread watches, so a start that hangs or a loop that is busy ends too. Nothing is said of it: whoever read our
    standard error may be gone as well, and a full pipe would keep us here.
    """

    def watch() -> None:
        while True:
            select.select([0], [], [])
            with suppress(BlockingIOError):
                if not os.read(0, 1):
                    os._exit(1)

    threading.Thread(target=watch, name="parent", daemon=True).start()


class CannotListen(click.ClickException):
    """A part's address cannot be bound; the text says which part and which address."""


@contextmanager
def listening(part: str, *, host: str, port: int) -> Iterator[None]:
    """
    Let the block start a listener.

    Raises:
        CannotListen: in place of the OSError, whose own text does not always name the address.

    """
    try:
        yield
    except OSError as error:
        why = os.strerror(error.errno) if error.errno else type(error).__name__
        raise CannotListen(f"{part} cannot listen on {host}:{port}: {why}") from None


def settle() -> None:
    """Take what start-up made out of every later garbage collection (pitfalls page, Speed)."""
    gc.collect()
    gc.freeze()


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    try:
        import uvloop
    except ImportError:
        return None
    return uvloop.new_event_loop


class ReadyFile:
    """The file that tells scripts where everything listens; there only while everything does."""

    def __init__(self, path: str) -> None:
        self._path = Path(path) if path else None
        if self._path is not None and not _is_running(self._announced_by()):
            self._path.unlink(missing_ok=True)  # of a process that was killed

    def announce(self, addresses: Mapping[str, str | Sequence[int]]) -> None:
        """Write the addresses and our pid, all at once."""
        if self._path is not None:
            draft = self._path.with_name(f".{self._path.name}.{process_id()}")
            draft.write_text(json.dumps({**addresses, "pid": process_id()}) + "\n", encoding="utf-8")
            draft.replace(self._path)

    def withdraw(self) -> None:
        """Remove the file if we wrote it: a start that fails must not make another service look gone."""
        if self._path is not None and self._announced_by() == process_id():
            self._path.unlink(missing_ok=True)

    def _announced_by(self) -> int | None:
        assert self._path is not None
        try:
            pid = json.loads(self._path.read_text(encoding="utf-8"))["pid"]
        except (OSError, ValueError, LookupError, TypeError):
            return None
        return pid if isinstance(pid, int) and pid > 0 else None


def _is_running(pid: int | None) -> bool:
    # Our own number, before we wrote anything: a container's processes get the same ones at every start.
    if pid is None or pid == process_id():
        return False
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass  # somebody else's, but there
    return True
