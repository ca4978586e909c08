"""SIGHUP: apps and signing keys are read again and exchanged in the running server; what else changed is only said."""

import asyncio
import os
import signal
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from authsvc.app import AuthServer
from authsvc.cli.material import Configured
from authsvc.cli.options import Misconfigured
from authsvc.config import ConfiguredApp, Settings
from authsvc.ports import Event, KeyMaterial, Observer

Reading = tuple[Settings, Configured]
_EXCHANGED = frozenset({"signing_keys_dir", "signing_keys", "signing_keys_passphrase"})


@dataclass(frozen=True, slots=True)
class Fresh:
    """
    The apps as they are listed now, and the names of settings that are others now and need a restart.

    `signing`: the signing keys as they are configured now; None: where they were read before is looked at again.
    """

    apps: Sequence[ConfiguredApp]
    needs_restart: Sequence[str] = ()
    signing: KeyMaterial | None = None


def differences(before: Reading, now: Reading) -> list[str]:
    """Return the names of what differs, in the order of the settings; apps and signing keys are exchanged, and left out."""
    (old, was), (new, has) = before, now
    names = [
        name
        for name in Settings.model_fields
        if name not in _EXCHANGED and getattr(old, name) != getattr(new, name)
    ]
    if was.secrets.master.ids() != has.secrets.master.ids() and "master_keys" not in names:
        names.append("master_keys")
    return names


class AppsReload:
    """
    Exchanges a server's apps and signing keys whenever it is `asked`; *read* reads them anew, or raises Misconfigured.

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
            await self._server.replace_signing_keys(fresh.signing)
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
        await self._server.tell_reload(changes, needs_restart=fresh.needs_restart)

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
