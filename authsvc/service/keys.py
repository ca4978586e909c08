"""The signing keys as this process knows them: checks by key id, the active signer, the published JWKS."""

import asyncio
import json
from datetime import timedelta

from authsvc.domain.access_token import Header, header_segment
from authsvc.domain.errors import StoreUnavailable
from authsvc.ports import Clock, KeyMaterial, KeyStore, Signer, SigningKeyRecord, VerificationKey
from authsvc.service.waiting import Unbroken

# Unknown key ids cost at most this many store reads a second, however many tokens carry them.
_MIN_READ_GAP = timedelta(milliseconds=50)
JWKS_MAX_AGE = timedelta(minutes=5)


class KeyDirectory:
    """
    Keys by id, read from the store and renewed when an unknown id arrives.

    After `start`: the replica's own keys are registered, one key is active, and `headers` maps the header segments
    of all usable keys to their meaning.
    """

    def __init__(self, *, store: KeyStore, material: KeyMaterial, clock: Clock) -> None:
        self.headers: dict[str, Header] = {}
        self.jwks_json = '{"keys":[]}'
        self.withdrawn: frozenset[str] = frozenset()
        self._store = store
        self._material = material
        self._clock = clock
        self._by_kid: dict[str, VerificationKey] = {}
        self._active_kid = ""
        self._reading: asyncio.Task[None] | None = None
        self._read_from = float("-inf")
        self._work = Unbroken()

    async def start(self) -> None:
        """
        Register this replica's keys and read all.

        Raises:
            StoreUnavailable: the store does not answer.

        """
        for record in self._material.local_keys():
            await self._store.add_signing_key(record)
        await self._store.activate_first_key()
        await self._read()

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
        while (key := self._by_kid.get(kid)) is None and self._read_from < arrived_at:
            if self._reading is None or self._reading.done():
                self._reading = self._work.start(self._read_after_gap())
            await asyncio.shield(self._reading)
        return key

    def signer(self) -> Signer:
        """
        Return the active key's private half.

        Raises:
            StoreUnavailable: this replica does not hold it: it verifies and does not issue.

        """
        signer = self._material.signer(self._active_kid)
        if signer is None:
            raise StoreUnavailable("this replica does not hold the active signing key")
        return signer

    async def _read_after_gap(self) -> None:
        gap = self._read_from + _MIN_READ_GAP.total_seconds() - self._clock.elapsed()
        if gap > 0:
            await self._clock.sleep(timedelta(seconds=gap))
        await self._read()

    async def _read(self) -> None:
        began = self._clock.elapsed()
        records = await self._store.list_signing_keys()
        usable = [record for record in records if record.state != "withdrawn"]
        # A key object is kept once made: rebuilding costs more than the read.
        self._by_kid = {
            record.kid: self._by_kid.get(record.kid) or self._material.verification_key(record)
            for record in usable
        }
        self.withdrawn = frozenset(record.kid for record in records if record.state == "withdrawn")
        self.headers = {
            header_segment(kid=key.header.kid, alg=key.header.alg): key.header
            for key in self._by_kid.values()
        }
        self._active_kid = next((record.kid for record in usable if record.state == "active"), "")
        self.jwks_json = json.dumps({"keys": [_jwk(record) for record in usable]}, separators=(",", ":"))
        self._read_from = began


def _jwk(record: SigningKeyRecord) -> dict[str, str]:
    """RFC 7517 section 4: the public key with `use`, `alg` and `kid`."""
    return {**json.loads(record.public_jwk), "use": "sig", "alg": record.alg, "kid": record.kid}
