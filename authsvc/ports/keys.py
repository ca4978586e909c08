"""Key material: checks, signers, sealing, and the derived rings."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from authsvc.domain.access_token import Header
from authsvc.domain.keyring import KeyRing
from authsvc.ports.outcomes import SigningKeyRecord


class VerificationKey(Protocol):
    """A public key with its one algorithm."""

    @property
    def header(self) -> Header:
        """The header that every token made with this key carries."""
        ...

    def verify(self, signing_input: bytes, signature: bytes) -> bool:
        """Tell whether the signature holds. CPU only, never raises for bad input."""
        ...


class Signer(Protocol):
    """The private half; may live in another process or device one day, hence async."""

    @property
    def header(self) -> Header:
        """The header of the tokens it signs."""
        ...

    async def sign(self, signing_input: bytes) -> bytes:
        """
        Return the JWS signature (RFC 7518 section 3: raw r||s for ECDSA).

        One that lives elsewhere bounds the wait itself, well within a call's deadline.

        Raises:
            StoreUnavailable: whoever holds the private half does not answer.

        """
        ...


class KeyMaterial(Protocol):
    """
    Where private keys come from, and how public ones become checks.

    A value: what it holds never changes. Keys that came or went since are in what `reread` returns.
    """

    def verification_key(self, record: SigningKeyRecord) -> VerificationKey:
        """Return the check for a key of the database; raises ValueError for one that is too weak or unreadable."""
        ...

    def signer(self, kid: str) -> Signer | None:
        """Return the private half, or None if this replica does not hold it."""
        ...

    def local_keys(self) -> Sequence[SigningKeyRecord]:
        """Return the public records (state `prepared`) of the private keys held here, oldest first."""
        ...

    @property
    def warnings(self) -> Sequence[str]:
        """What is accepted and should be better, one sentence each, naming files and key ids only."""
        ...

    def reread(self) -> "KeyMaterial":
        """
        Return the material as it is now; may wait for files or devices, so it is called in a thread.

        Raises:
            ValueError: it cannot be used as it is now; the text names what is wrong and holds no secret.

        """
        ...


class Sealer(Protocol):
    """Authenticated encryption under the master ring (AES-256-GCM, label `seal`)."""

    def seal(self, plaintext: bytes, *, context: bytes) -> bytes:
        """Return a versioned blob that opens only with the same *context*."""
        ...

    def open(self, blob: bytes, *, context: bytes) -> bytes | None:
        """Return the plaintext, or None whatever the reason: lost key, other context, damage."""
        ...


@dataclass(frozen=True, slots=True)
class Rings:
    """The derived rings the core uses directly."""

    refresh_mac: KeyRing
    cursor: KeyRing
    blind_index: KeyRing
