"""
What happens to signing keys while nobody looks: changes are noticed, files looked at again, the next key activated.

A change of a key's state reaches a process by reading the few rows anew: twice a second, and at once where the log told
that a key was withdrawn. It rides on the tail's polls and costs no caller anything.
"""

import asyncio
from datetime import timedelta

from authsvc.domain.errors import StoreUnavailable
from authsvc.domain.signing_keys import PUBLISHED_AHEAD, rotate_if_due, successor
from authsvc.ports import Clock, Event, KeyMaterial, KeyStore, Observer
from authsvc.service.keys import KeyDirectory
from authsvc.service.tail import LogTail
from authsvc.service.waiting import wait_within

READ_EVERY = timedelta(milliseconds=500)
LOOK_EVERY = timedelta(minutes=1)


class KeyUpkeep:
    """
    The background task of one process. `start` begins it, `stop` ends it.

    *rotate_every*: how old the active key may become before a prepared one that this process holds takes over; None: as
    old as it likes. Of all replicas that notice, one does it.
    """

    def __init__(
        self,
        *,
        keys: KeyDirectory,
        store: KeyStore,
        tail: LogTail,
        clock: Clock,
        observer: Observer,
        rotate_every: timedelta | None = None,
    ) -> None:
        self._keys = keys
        self._store = store
        self._tail = tail
        self._clock = clock
        self._observer = observer
        self._rotate_every = rotate_every
        self._withdrawals = 0
        self._read_at = self._looked_at = clock.elapsed()
        self._told: dict[str, str] = {}
        self._one_at_a_time = asyncio.Lock()
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin; the directory has been started."""
        self._withdrawals = len(self._tail.view.withdrawn_keys)
        for warning in self._keys.material.warnings:
            self._observer.event(Event("keys.weak", level="warning", fields={"warning": warning}))
        self._judge()
        self._task = asyncio.create_task(self._run())

    async def stop(self) -> None:
        """End the task. Idempotent."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
            self._task = None

    @property
    def cannot_issue(self) -> str:
        """Why Login and Refresh are refused here; empty if they are not. Verification goes on."""
        try:
            self._keys.signer()
        except StoreUnavailable as error:
            return str(error)
        return ""

    async def adopt(self, material: KeyMaterial) -> None:
        """
        Sign with this material from now on, unless the active key would be lost by it; both are told.

        Raises:
            StoreUnavailable: the record does not answer; nothing was adopted.

        """
        async with self._one_at_a_time:
            before = self._keys.held()
            if not await self._keys.adopt(material):
                self._tell_once("keys.not_reread", "the active key is no longer among them", level="error")
                return
            self._settle("keys.not_reread")
            held = self._keys.held()
            if held != before:
                added, removed = ", ".join(sorted(held - before)), ", ".join(sorted(before - held))
                self._observer.event(Event("keys.reread", fields={"added": added, "removed": removed}))
        self._judge()

    async def look(self) -> None:
        """
        Look for keys that came or went, and adopt them; what cannot be used changes nothing, and is told.

        Raises:
            StoreUnavailable: the record does not answer.

        """
        self._looked_at = self._clock.elapsed()
        try:
            material = await asyncio.to_thread(self._keys.material.reread)
        except ValueError as problem:
            self._tell_once("keys.not_reread", str(problem), level="error")
            return
        await self.adopt(material)

    async def tend(self) -> None:
        """
        Do what is due now: read the keys, look at the files, rotate.

        Raises:
            StoreUnavailable: the record does not answer; the rest is done next time.

        """
        withdrawals, now = len(self._tail.view.withdrawn_keys), self._clock.elapsed()
        if withdrawals == self._withdrawals and now - self._read_at < READ_EVERY.total_seconds():
            return
        await self._keys.refresh()
        self._read_at, self._withdrawals = now, withdrawals
        await self._rotate()
        if now - self._looked_at >= LOOK_EVERY.total_seconds():
            await self.look()
        self._judge()

    async def _rotate(self) -> None:
        held = self._keys.held()
        # By our own clock whether it may be due, so that nobody holds rows for nothing; by the record's whether it is.
        if rotate_if_due(
            self._keys.lives,
            now=self._clock.now(),
            every=self._rotate_every,
            published_for=PUBLISHED_AHEAD,
            held=held,
        ):
            changed = await self._store.rotate_key_if_due(
                every=self._rotate_every, published_for=PUBLISHED_AHEAD, held=held
            )
            if changed:
                self._observer.event(
                    Event("key.rotated", fields={"kid": changed[0], "retired": ", ".join(changed[1:])})
                )
                await self._keys.refresh()

    def _judge(self) -> None:
        """Tell what operators must do something about: once when it begins, and the worst again when it is over."""
        why = self.cannot_issue
        if why:
            self._tell_once("key.missing", why, level="error", kid=self._keys.active_kid)
        elif self._settle("key.missing"):
            self._observer.event(Event("key.found", fields={"kid": self._keys.active_kid}))
        follows = successor(self._keys.lives)
        if follows is None:
            self._tell_once("key.none_prepared", "no key is prepared to follow the active one")
        else:
            self._settle("key.none_prepared")
            if follows.kid in self._keys.missing():
                self._tell_once("key.next_missing", "not held here", kid=follows.kid)
            else:
                self._settle("key.next_missing")

    def _tell_once(self, name: str, error: str, *, level: str = "warning", kid: str = "") -> None:
        said = f"{kid} {error}"
        if self._told.get(name) != said:
            self._told[name] = said
            fields: dict[str, str | int | float | bool] = {"error": error, **({"kid": kid} if kid else {})}
            self._observer.event(Event(name, level=level, fields=fields))

    def _settle(self, name: str) -> bool:
        """Forget that it was told; tell whether it was."""
        return self._told.pop(name, None) is not None

    async def _run(self) -> None:
        while True:
            # At least this often, also while the log does not answer.
            await wait_within(self._tail.next_change(), clock=self._clock, limit=READ_EVERY)
            try:
                await self.tend()
            except StoreUnavailable:
                pass  # the tail tells that the record does not answer
            except Exception as error:  # noqa: BLE001 - keys must be looked after whatever one round met
                self._tell_once("keys.not_tended", type(error).__name__, level="error")
            else:
                self._settle("keys.not_tended")
