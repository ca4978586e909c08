"""The signing keys as this process knows them: checks by key id, the active signer, the published JWKS."""

import asyncio
import json
from collections.abc import Callable, Sequence
from datetime import timedelta

from authsvc.domain.access_token import Header, header_segment
from authsvc.domain.apps import AppRegistry
from authsvc.domain.errors import StoreUnavailable
from authsvc.domain.signing_keys import KeyLife, KeyState
from authsvc.ports import (
    Clock,
    Event,
    KeyMaterial,
    KeyStore,
    Observer,
    Signer,
    SigningKeyRecord,
    VerificationKey,
)
from authsvc.service.view import RevocationView
from authsvc.service.waiting import Unbroken

# Unknown key ids cost at most this many store reads a second, however many tokens carry them.
_MIN_READ_GAP = timedelta(milliseconds=50)


class KeyDirectory:
    """
    Keys by id, read from the store; renewed when an unknown id arrives, and all the time by service.key_upkeep.

    After `start`: the replica's own keys are registered, one key is active, and `headers` maps the header segments
    of all usable keys to their meaning. A retired key stays usable here for ever, so that a logout with an old token is
    understood; it leaves the published set when no token of it can be accepted.
    """

    def __init__(
        self,
        *,
        store: KeyStore,
        material: KeyMaterial,
        clock: Clock,
        observer: Observer,
        apps: AppRegistry,
        view: RevocationView,
    ) -> None:
        self.headers: dict[str, Header] = {}
        self.withdrawn: frozenset[str] = frozenset()
        self.lives: Sequence[KeyLife] = ()
        self._store = store
        self._material = material
        self._clock = clock
        self._observer = observer
        self._apps = apps
        self._view = view
        self._by_kid: dict[str, VerificationKey] = {}
        self._records: Sequence[SigningKeyRecord] = ()
        self._published: tuple[str, ...] = ()
        self._jwks_json = '{"keys":[]}'
        self._active_kid = ""
        self._unreadable: set[str] = set()
        self._reading: asyncio.Task[None] | None = None
        self._read_from = float("-inf")
        self._work = Unbroken()

    async def start(self) -> None:
        """
        Register this replica's keys and read all.

        Raises:
            StoreUnavailable: the store does not answer.

        """
        await self._register(self._material.local_keys())
        self._observer.gauge("signing_keys_prepared", lambda: float(len(self._in(KeyState.PREPARED))))
        self._observer.gauge("signing_keys_missing", lambda: float(len(self.missing())))
        self._observer.gauge("signing_key_age_seconds", self._active_age_s)

    def find(self, kid: str) -> VerificationKey | None:
        """Return the check for a key id, as known now."""
        return self._by_kid.get(kid)

    async def find_fresh(self, kid: str, *, arrived_at: float) -> VerificationKey | None:
        """
        Return the check for a key id, or None only after a read that began no earlier than *arrived_at*.

        *arrived_at* is an elapsed-clock reading. Concurrent callers share reads.

        Raises:
            StoreUnavailable: the store could not be asked, so "unknown" cannot be said.

        """
        await self._read_unless(lambda: kid in self._by_kid or self._read_from >= arrived_at)
        return self._by_kid.get(kid)

    @property
    def active_kid(self) -> str:
        """The id of the key that signs; empty if none does, as far as is known here."""
        return "" if self._is_withdrawn(self._active_kid) else self._active_kid

    @property
    def jwks_json(self) -> str:
        """The published set (RFC 7517 section 5): prepared, active, and retired while it matters; never a withdrawn one."""
        if any(self._is_withdrawn(kid) for kid in self._published):
            self._publish()
        return self._jwks_json

    def signer(self) -> Signer:
        """
        Return the active key's private half, by what is known now.

        Raises:
            StoreUnavailable: there is no active key, or this replica does not hold it: it verifies and does not issue.

        """
        kid = self.active_kid
        if not kid:
            raise StoreUnavailable("there is no active signing key")
        signer = self._material.signer(kid)
        if signer is None:
            raise StoreUnavailable("this replica does not hold the active signing key")
        return signer

    async def active_signer(self) -> Signer:
        """
        Return the active key's private half; where the known one was withdrawn, by a read that began after that.

        Raises:
            StoreUnavailable: as `signer`; or the store could not be asked.

        """
        if not self.active_kid:
            # What was known when we came may be what the withdrawal made wrong: one whole read more.
            known, arrived_at = self._records, self._clock.elapsed()
            await self._read_unless(
                lambda: (
                    bool(self.active_kid) or (self._read_from >= arrived_at and self._records is not known)
                )
            )
        return self.signer()

    def missing(self) -> Sequence[str]:
        """Return the ids of the active and prepared keys whose private half this process does not hold."""
        wanted = (KeyState.ACTIVE, KeyState.PREPARED)
        return [
            key.kid
            for key in self.lives
            if key.state in wanted
            and not self._is_withdrawn(key.kid)
            and self._material.signer(key.kid) is None
        ]

    def held(self) -> frozenset[str]:
        """Return the ids of the keys whose private half this process holds."""
        return frozenset(record.kid for record in self._material.local_keys())

    @property
    def material(self) -> KeyMaterial:
        """Where this process's private halves come from, as last adopted."""
        return self._material

    async def adopt(self, material: KeyMaterial) -> bool:
        """
        Sign with this material from now on, its new keys being registered first; tell whether that was done.

        It is not where the active key would be lost by it: whoever takes a file away must not end all logins.

        Raises:
            StoreUnavailable: the store does not answer; nothing was adopted.

        """
        before = self._material
        kid = self.active_kid
        if kid and before.signer(kid) is not None and material.signer(kid) is None:
            return False
        known = {record.kid for record in self._records if record.published_at is not None}
        new = [record for record in material.local_keys() if record.kid not in known]
        self._material = material
        try:
            if new:
                await self._register(new)
        except StoreUnavailable:
            self._material = before
            raise
        return True

    async def refresh(self) -> None:
        """
        Read all keys now; who waits for a read shares it.

        Raises:
            StoreUnavailable: the store does not answer; what was known stays known.

        """
        began = self._clock.elapsed()
        known = self._records
        await self._read_unless(lambda: self._read_from >= began and self._records is not known)

    async def _register(self, records: Sequence[SigningKeyRecord]) -> None:
        for record in records:
            await self._store.add_signing_key(record)
        await self._store.activate_first_key()
        await self._read()

    async def _read_unless(self, known: Callable[[], bool]) -> None:
        while not known():
            if self._reading is None or self._reading.done():
                self._reading = self._work.start(self._read_after_gap())
            await asyncio.shield(self._reading)

    async def _read_after_gap(self) -> None:
        gap = self._read_from + _MIN_READ_GAP.total_seconds() - self._clock.elapsed()
        if gap > 0:
            await self._clock.sleep(timedelta(seconds=gap))
        await self._read()

    async def _read(self) -> None:
        began = self._clock.elapsed()
        records = tuple(await self._store.list_signing_keys())
        usable: dict[str, VerificationKey] = {}
        lives = []
        for record in records:
            try:
                life = record.life()
                if life.state is not KeyState.WITHDRAWN:
                    # A key object is kept once made: rebuilding costs more than the read.
                    usable[record.kid] = self._by_kid.get(record.kid) or self._material.verification_key(
                        record
                    )
            except ValueError:
                self._tell_unreadable(record.kid)
            else:
                lives.append(life)
        # What was withdrawn once stays so, whatever a restored database says.
        self.withdrawn |= {life.kid for life in lives if life.state is KeyState.WITHDRAWN}
        self._by_kid = usable
        self.headers = {
            header_segment(kid=key.header.kid, alg=key.header.alg): key.header for key in usable.values()
        }
        self._records, self.lives = records, tuple(lives)
        active = next((life.kid for life in lives if life.state is KeyState.ACTIVE), "")
        if active != self._active_kid:
            self._active_kid = active
            self._observer.event(Event("key.active", fields={"kid": active}))
        self._publish()
        self._read_from = began

    def _publish(self) -> None:
        now, longest = self._clock.now(), self._apps.longest_access_lifetime
        published = {
            life.kid
            for life in self.lives
            if life.is_published(now=now, longest_lifetime=longest) and not self._is_withdrawn(life.kid)
        }
        records = [record for record in self._records if record.kid in published]
        self._published = tuple(record.kid for record in records)
        self._jwks_json = json.dumps({"keys": [_jwk(record) for record in records]}, separators=(",", ":"))

    def _is_withdrawn(self, kid: str) -> bool:
        return kid in self.withdrawn or self._view.is_withdrawn(kid)

    def _in(self, state: KeyState) -> Sequence[KeyLife]:
        return [life for life in self.lives if life.state is state and not self._is_withdrawn(life.kid)]

    def _active_age_s(self) -> float:
        (life,) = self._in(KeyState.ACTIVE)  # none: the gauge is absent
        return (self._clock.now() - life.active_since()).total_seconds()

    def _tell_unreadable(self, kid: str) -> None:
        if kid not in self._unreadable:
            self._unreadable.add(kid)
            self._observer.event(Event("key.unreadable", level="error", fields={"kid": kid}))


def _jwk(record: SigningKeyRecord) -> dict[str, str]:
    """RFC 7517 section 4: the public key with `use`, `alg` and `kid`."""
    return {**json.loads(record.public_jwk), "use": "sig", "alg": record.alg, "kid": record.kid}
