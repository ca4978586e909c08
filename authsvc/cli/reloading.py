"""SIGHUP: the apps are read again and exchanged in the running server; what else has changed is said, not done."""

import asyncio
import os
import signal
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from authsvc.app import AuthServer
from authsvc.cli.material import Configured
from authsvc.cli.options import Misconfigured
from authsvc.config import ConfiguredApp, Settings
from authsvc.ports import Event, Observer

Reading = tuple[Settings, Configured]


@dataclass(frozen=True, slots=True)
class Fresh:
    """The apps as they are listed now, and the names of settings that are others now and need a restart."""

    apps: Sequence[ConfiguredApp]
    needs_restart: Sequence[str] = ()


def differences(before: Reading, now: Reading) -> list[str]:
    """Return the names of what differs, in the order of the settings, the apps themselves left out."""
    (old, was), (new, has) = before, now
    names = [name for name in Settings.model_fields if getattr(old, name) != getattr(new, name)]
    if was.secrets.master.ids() != has.secrets.master.ids() and "master_keys" not in names:
        names.append("master_keys")
    if _kids(was) != _kids(has) and "signing_keys_dir" not in names:
        names.append("signing_keys_dir")
    return names


def _kids(parts: Configured) -> list[str]:
    return [record.kid for record in parts.secrets.signing.local_keys()]


class AppsReload:
    """
    Exchanges a server's apps whenever it is `asked`; *read* lists them anew, or raises Misconfigured.

    A configuration that cannot be used changes nothing: everything that is wrong with it is told in one event.
    """

    def __init__(self, server: AuthServer, *, read: Callable[[], Fresh], observer: Observer) -> None:
        self._server = server
        self._read = read
        self._observer = observer
        self.asked = asyncio.Event()

    async def run(self) -> None:
        """Wait to be asked, again and again; cancel it to end it. Who asks in the middle is served right after."""
        while True:
            await self.asked.wait()
            self.asked.clear()
            await self._reload()

    async def _reload(self) -> None:
        try:
            # Commands that print secrets may take their time: in a thread, or logins would wait for them.
            fresh = await asyncio.to_thread(self._read)
            changes = self._server.replace_apps(fresh.apps)
        except Misconfigured as problem:
            self._refuse("; ".join(problem.complaints))
            return
        except Exception as error:  # noqa: BLE001 - a surprise must not end the reading of later changes
            self._refuse(type(error).__name__)
            return
        self._observer.event(
            Event(
                "apps.reloaded",
                level="warning" if fresh.needs_restart else "info",
                fields={
                    "apps": len(fresh.apps),
                    "added": ", ".join(changes.added),
                    "removed": ", ".join(changes.removed),
                    "changed": ", ".join(changes.changed),
                    "needs_restart": ", ".join(fresh.needs_restart),
                },
            )
        )

    def _refuse(self, error: str) -> None:
        self._observer.event(Event("apps.not_reloaded", level="error", fields={"error": error}))


def on_hangup(ask: Callable[[], None], *, stop: Callable[[], None]) -> None:
    """
    From now on SIGHUP asks; only where it comes because our terminal is gone it stops, as it always did.

    To be called in the running loop.
    """
    had_terminal = _has_terminal()

    def hung_up() -> None:
        if had_terminal and not _has_terminal():
            stop()
        else:
            ask()

    asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, hung_up)


def _has_terminal() -> bool:
    try:
        os.close(os.open("/dev/tty", os.O_RDONLY | os.O_NOCTTY))
    except OSError:
        return False
    return True
