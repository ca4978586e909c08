"""
Who may call, held in memory: what a file declares, what the record adds, and the service keys of both.

A call is judged here without any I/O, so a flood of junk keys reaches no database. PRINCIPAL facts of the revocation
log say when to read the record again; a look now and then runs underneath.
"""

import asyncio
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime, timedelta

from authsvc.domain.apps import AppRegistry
from authsvc.domain.errors import CallerUnauthenticated
from authsvc.domain.principals import Declared, Principal, Role
from authsvc.domain.service_keys import KeyRecord, parse_key
from authsvc.ports import CallerRecords, CallerStore, Clock, Event, Observer
from authsvc.service.tail import LogTail

_LOOK_EVERY = timedelta(seconds=30)
_RETRY = timedelta(milliseconds=200)


class CallerDirectory:
    """
    The callers of this process. `on_change` hears when somebody may no longer be who they were.

    What the file declares wins over a principal of the same name in the record, whose keys are good for it.
    """

    def __init__(
        self, *, store: CallerStore, tail: LogTail, apps: AppRegistry, clock: Clock, observer: Observer
    ) -> None:
        self.on_change: Callable[[], None] = lambda: None
        self._store = store
        self._tail = tail
        self._apps = apps
        self._clock = clock
        self._observer = observer
        self._declared: Sequence[Declared] = ()
        self._records = CallerRecords((), ())
        self._known: dict[str, Declared] = {}
        self._keys: dict[str, KeyRecord] = {}
        self._by_name: dict[str, Declared] = {}
        # A key once seen revoked stays so in this process, also if the database is set back to before.
        self._dead: set[str] = set()
        self._principals: dict[str, Principal] = {}
        self._built_for: frozenset[str] | None = None
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """
        Read the record, and keep up with it from now on.

        Raises:
            StoreUnavailable: it cannot be read; nothing was started.

        """
        seen = self._place()  # before the read: what is heard of during it is read again
        self._take(await self._store.read_callers())
        self._task = asyncio.create_task(self._run(seen))

    async def stop(self) -> None:
        """End the keeping up. Idempotent."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
            self._task = None

    def declare(self, declared: Sequence[Declared]) -> None:
        """Let these principals stand, and no others but those of the record; tells `on_change`."""
        self._declared = tuple(declared)
        self._rebuild()

    @property
    def declared(self) -> Sequence[Declared]:
        """What `declare` was last given."""
        return self._declared

    @property
    def key_ids(self) -> frozenset[str]:
        """The ids of the keys that prove something now."""
        return frozenset(self._keys)

    def by_key(self, text: str) -> Principal:
        """
        Return whose service key this is.

        Raises:
            CallerUnauthenticated: it is none, unknown, expired, revoked, or its principal is gone.

        """
        presented = parse_key(text)
        record = None if presented is None else self._keys.get(presented.key_id)
        if presented is None or record is None or not presented.proves(record):
            raise CallerUnauthenticated("no such service key")
        if not record.is_good(now=self._clock.now()):
            raise CallerUnauthenticated("the service key has expired or was revoked")
        declared = self._known.get(record.principal)
        if declared is None:
            raise CallerUnauthenticated("the principal of the service key is gone")
        return self._principal(declared)

    def by_certificate(self, names: Iterable[str]) -> Principal:
        """
        Return whose certificate it is, by the URI and DNS names in it.

        Raises:
            CallerUnauthenticated: no principal has any of them, or several principals have.

        """
        found = {declared.name: declared for name in names if (declared := self._by_name.get(name))}
        if len(found) != 1:
            raise CallerUnauthenticated("the certificate names no principal, or several")
        return self._principal(next(iter(found.values())))

    def _principal(self, declared: Declared) -> Principal:
        if self._built_for is not self._apps.audiences:
            self._principals.clear()
            self._built_for = self._apps.audiences
        principal = self._principals.get(declared.name)
        if principal is None:
            principal = self._principals[declared.name] = _resolve(declared, self._apps)
        return principal

    def _take(self, records: CallerRecords) -> None:
        self._records = records
        self._dead.update(key.key_id for key in records.keys if key.revoked_at is not None)
        self._rebuild()

    def _rebuild(self) -> None:
        known = {declared.name: declared for declared in self._records.principals}
        known.update((declared.name, declared) for declared in self._declared)
        # Those of the record first: an id that a file declares cannot be taken over by a row, only be revoked by it.
        now = self._clock.now()
        keys = {
            key.key_id: key
            for key in self._records.keys
            if key.key_id not in self._dead and key.is_good(now=now)
        }
        keys.update(
            (key.key_id, key)
            for declared in self._declared
            for key in declared.keys
            if key.key_id not in self._dead and key.is_good(now=now)
        )
        by_name = {
            name: declared for declared in self._declared for name in (*declared.spiffe, *declared.dns)
        }
        if (known, keys, by_name) == (self._known, self._keys, self._by_name):
            return
        self._known, self._keys, self._by_name = known, keys, by_name
        self._principals.clear()
        self.on_change()

    async def _run(self, seen: tuple[int, bytes]) -> None:
        looked_at = self._clock.elapsed()
        failing = False
        while True:
            if failing:
                await self._clock.sleep(_RETRY)
            else:
                await self._tail.wait_change(limit=self._pause())
            self._expire()
            place = self._place()
            due = self._clock.elapsed() - looked_at >= _LOOK_EVERY.total_seconds()
            if place == seen and not due and not failing:
                continue
            try:
                self._take(await self._store.read_callers())
            except Exception as error:  # noqa: BLE001 - keeping up must outlive whatever a driver invents
                if not failing:
                    self._observer.event(
                        Event("callers.not_read", level="error", fields={"error": type(error).__name__})
                    )
                failing = True
            else:
                seen, looked_at, failing = place, self._clock.elapsed(), False

    def _place(self) -> tuple[int, bytes]:
        """Say up to which PRINCIPAL fact, of which history, this process has heard."""
        known = self._tail.view.known
        return self._tail.view.principals_through, b"" if known is None else known.incarnation

    def _pause(self) -> timedelta:
        """Return how long nothing happens by itself: until the next key expires, at most until the next look."""
        soonest = min(self._expiries(), default=None)
        if soonest is None:
            return _LOOK_EVERY
        return max(min(soonest - self._clock.now(), _LOOK_EVERY), timedelta(milliseconds=1))

    def _expiries(self) -> Iterable[datetime]:
        return (key.expires_at for key in self._keys.values() if key.expires_at is not None)

    def _expire(self) -> None:
        """Forget keys that have expired: streams that were begun with one end."""
        now = self._clock.now()
        if any(not key.is_good(now=now) for key in self._keys.values()):
            self._rebuild()


def _resolve(declared: Declared, apps: AppRegistry) -> Principal:
    own = declared.apps or None
    return Principal(
        name=declared.name,
        roles=declared.roles,
        audiences=declared.audiences or _audiences(apps, own),
        apps=own,
        any_audience=not declared.audiences or Role.OPERATOR in declared.roles,
    )


def _audiences(apps: AppRegistry, own: frozenset[str] | None) -> frozenset[str]:
    if own is None:
        return apps.audiences
    served = apps.apps
    return frozenset(audience for app_id in own if app_id in served for audience in served[app_id].audiences)
