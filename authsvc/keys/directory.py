"""
Signing keys as files: one PEM (PKCS#8, unencrypted) per key in a directory that only the service can read.

Files carry no state: which key is prepared, active, retired or withdrawn stands in SQL. A file's name carries when
the key was made, so that every replica agrees on the order whatever copying did to the files' times.
"""

import os
import re
import stat
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)

from authsvc.domain.access_token import TYPE, Header
from authsvc.keys.algorithms import (
    MIN_RSA_BITS,
    PrivateHalf,
    PrivateKey,
    algorithm_of,
    public_jwk,
    public_part,
    thumbprint,
    verification_key,
)
from authsvc.ports import SigningKeyRecord, VerificationKey

_SUFFIX = ".pem"
_MAX_FILE_BYTES = 65_536
_OTHERS = stat.S_IRWXG | stat.S_IRWXO
_STAMP = "%Y%m%dT%H%M%S%fZ"
_STAMPED = re.compile(r"(\d{8}T\d{12}Z)-")
_KID_IN_NAME = 12


class KeyProblem(ValueError):
    """The directory's keys cannot be used as they are; `complaints` has one line per fault, naming its file."""

    def __init__(self, complaints: Sequence[str]) -> None:
        super().__init__("; ".join(complaints))
        self.complaints = tuple(complaints)


def generate_signing_key(alg: str = "ES256") -> bytes:
    """
    Return a new private key as PEM, PKCS#8, unencrypted.

    Randomness is the cryptographic library's own: it takes none from outside.

    Raises:
        ValueError: *alg* is none of ES256, EdDSA, RS256.

    """
    key: PrivateKey
    match alg:
        case "ES256":
            key = ec.generate_private_key(ec.SECP256R1())
        case "EdDSA":
            key = ed25519.Ed25519PrivateKey.generate()
        case "RS256":
            key = rsa.generate_private_key(public_exponent=65537, key_size=MIN_RSA_BITS)
        case _:
            raise ValueError(f"no such signing algorithm: {alg}")
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def write_new(directory: Path, pem: bytes, *, created_at: datetime) -> Path:
    """
    Write a private key to a new file in *directory*, readable by its owner only, and return the file.

    The directory is made (0700) if it is missing. An existing file is never touched. When this returns, file and
    name are on the disk; a reader never sees half a key.

    Raises:
        KeyProblem: *pem* is not a key this service signs with.
        FileExistsError: this key was written for this instant before.
        OSError: the directory cannot be written.

    """
    complaints: list[str] = []
    key = _read_key(pem, name="the new key", complaints=complaints)
    if key is None:
        raise KeyProblem(complaints)
    kid = thumbprint(public_jwk(public_part(key)))
    path = directory / f"{created_at.astimezone(UTC).strftime(_STAMP)}-{kid[:_KID_IN_NAME]}{_SUFFIX}"
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    draft = path.with_suffix(".new")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(pem)
            file.flush()
            os.fsync(file.fileno())
        os.link(draft, path)  # unlike a rename, refuses to replace what is there
    finally:
        draft.unlink()
    _sync_directory(directory)
    return path


class DirectoryKeys:
    """Implements ports.KeyMaterial over the private keys of a directory, read once."""

    def __init__(self, keys: Sequence[tuple[SigningKeyRecord, PrivateKey]]) -> None:
        ordered = sorted(keys, key=lambda pair: (pair[0].created_at, pair[0].kid))
        self._records = tuple(record for record, _ in ordered)
        self._signers = {
            record.kid: PrivateHalf(header=Header(kid=record.kid, alg=record.alg, typ=TYPE), _key=key)
            for record, key in ordered
        }

    @classmethod
    def load(cls, directory: Path) -> "DirectoryKeys":
        """
        Return the keys of every `*.pem` in *directory*; of none, if there is none.

        A key is as old as its file's name says, or, for a foreign name, as the file's modification time.

        Raises:
            KeyProblem: the directory cannot be read, or a file is open to group or others, unreadable as an
                unencrypted private key, of a kind that is not accepted, or a key that another file holds too. All
                complaints come at once.

        """
        try:
            paths = sorted(path for path in directory.iterdir() if path.suffix == _SUFFIX)
        except OSError as error:
            raise KeyProblem([f"{directory}: {error.strerror}"]) from None
        complaints: list[str] = []
        found: dict[str, tuple[Path, SigningKeyRecord, PrivateKey]] = {}
        for path in paths:
            loaded = _load_file(path, complaints=complaints)
            if loaded is None:
                continue
            record, key = loaded
            if record.kid in found:
                complaints.append(f"{path}: the same key as {found[record.kid][0].name}")
            else:
                found[record.kid] = (path, record, key)
        if complaints:
            raise KeyProblem(complaints)
        return cls([(record, key) for _, record, key in found.values()])

    def verification_key(self, record: SigningKeyRecord) -> VerificationKey:
        """See ports.KeyMaterial.verification_key."""
        return verification_key(record)

    def signer(self, kid: str) -> PrivateHalf | None:
        """See ports.KeyMaterial.signer."""
        return self._signers.get(kid)

    def local_keys(self) -> Sequence[SigningKeyRecord]:
        """See ports.KeyMaterial.local_keys."""
        return self._records

    def __repr__(self) -> str:
        return f"DirectoryKeys(kids={', '.join(self._signers)})"


def _load_file(path: Path, *, complaints: list[str]) -> tuple[SigningKeyRecord, PrivateKey] | None:
    try:
        # Judged through the descriptor: what is read is what was judged. A FIFO must not hold the start up.
        with os.fdopen(os.open(path, os.O_RDONLY | os.O_NONBLOCK), "rb") as file:
            status = os.fstat(file.fileno())
            if not stat.S_ISREG(status.st_mode):
                complaints.append(f"{path}: not a regular file")
                return None
            if status.st_mode & _OTHERS:
                mode = stat.S_IMODE(status.st_mode)
                complaints.append(f"{path}: mode {mode:04o} lets others in; chmod 600 it")
                return None
            pem = file.read(_MAX_FILE_BYTES)
    except OSError as error:
        complaints.append(f"{path}: {error.strerror}")
        return None
    key = _read_key(pem, name=str(path), complaints=complaints)
    if key is None:
        return None
    jwk = public_jwk(public_part(key))
    record = SigningKeyRecord(
        kid=thumbprint(jwk),
        alg=algorithm_of(key),
        public_jwk=jwk,
        state="prepared",
        created_at=_created_at(path.name, modified_s=int(status.st_mtime)),
    )
    return record, key


def _read_key(pem: bytes, *, name: str, complaints: list[str]) -> PrivateKey | None:
    try:
        key = load_pem_private_key(pem, password=None)
    except TypeError:
        complaints.append(f"{name}: encrypted; an unencrypted private key is needed")
        return None
    except (ValueError, UnsupportedAlgorithm):
        # The library's text is left out: it may quote what it could not read.
        complaints.append(f"{name}: not a readable PEM private key")
        return None
    try:
        algorithm_of(key)
    except ValueError as error:
        complaints.append(f"{name}: {error}")
        return None
    assert isinstance(key, PrivateKey)
    return key


def _created_at(name: str, *, modified_s: int) -> datetime:
    stamped = _STAMPED.match(name)
    if stamped is not None:
        try:
            return datetime.strptime(stamped.group(1), _STAMP).replace(tzinfo=UTC)
        except ValueError:
            pass  # digits that are no date: a foreign name after all
    return datetime.fromtimestamp(modified_s, tz=UTC)


def _sync_directory(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
