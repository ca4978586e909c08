"""
Signing keys as files: one PEM (PKCS#8) per key in a directory that only the service can read, or PEMs in one text.

Files carry no state: which key is prepared, active, retired or withdrawn stands in SQL. A file's name carries when
the key was made, so that every replica agrees on the order whatever copying did to the files' times.
"""

import os
import re
import stat
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric import rsa

from authsvc.domain.access_token import TYPE, Header
from authsvc.domain.signing_keys import KeyState
from authsvc.keys.algorithms import (
    GOOD_RSA_BITS,
    PrivateHalf,
    PrivateKey,
    algorithm_of,
    public_jwk,
    public_part,
    thumbprint,
    verification_key,
)
from authsvc.keys.pem import KeyProblem, read_key
from authsvc.ports import SigningKeyRecord, VerificationKey

_SUFFIX = ".pem"
_MAX_FILE_BYTES = 65_536
# Group members may be let in to read, with a warning; nobody else to anything.
_OTHERS = stat.S_IWGRP | stat.S_IXGRP | stat.S_IRWXO
_STAMP = "%Y%m%dT%H%M%S%fZ"
_STAMPED = re.compile(r"(\d{8}T\d{12}Z)-")
_KID_IN_NAME = 12
_BLOCK = re.compile(rb"-----BEGIN [A-Z ]*PRIVATE KEY-----.*?-----END [A-Z ]*PRIVATE KEY-----\n?", re.DOTALL)


def write_new(directory: Path, pem: bytes, *, created_at: datetime, passphrase: str = "") -> Path:
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
    key = read_key(pem, name="the new key", passphrase=passphrase, complaints=complaints)
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
    """
    Implements ports.KeyMaterial over the private keys of a directory, of a text (the environment's), or of both.

    The files are read once, by `load`; `reread` reads them again, and keeps those of the text as they are.
    """

    def __init__(
        self, keys: Sequence[tuple[SigningKeyRecord, PrivateKey]], *, source: "_Source | None" = None
    ) -> None:
        ordered = sorted(keys, key=lambda pair: (pair[0].created_at, pair[0].kid))
        self._records = tuple(record for record, _ in ordered)
        self._source = source
        self._signers = {
            record.kid: PrivateHalf(header=Header(kid=record.kid, alg=record.alg, typ=TYPE), _key=key)
            for record, key in ordered
        }
        weak = [
            f"{record.kid}: RSA of {key.key_size} bits; {GOOD_RSA_BITS} are recommended"
            for record, key in ordered
            if isinstance(key, rsa.RSAPrivateKey) and key.key_size < GOOD_RSA_BITS
        ]
        self.warnings: Sequence[str] = (*weak, *(source.warnings if source else ()))

    @classmethod
    def load(
        cls,
        directory: Path | None,
        *,
        text: str = "",
        text_read_at: datetime | None = None,
        passphrase: str = "",
    ) -> "DirectoryKeys":
        """
        Return the keys of every `*.pem` in *directory*, and those of *text*: PEM blocks, the oldest first.

        A file's key is as old as its name says, or, for a foreign name, as its modification time; one of *text* is as
        old as *text_read_at*, which is the epoch if None. An encrypted one is opened with the *passphrase*.

        Raises:
            KeyProblem: the directory cannot be read, or a key is open to others, not readable as a private key,
                of a kind that is not accepted, or held twice. All complaints come at once.

        """
        source = _Source(directory, passphrase=passphrase)
        read_at = text_read_at or datetime.fromtimestamp(0, tz=UTC)
        blocks = _BLOCK.findall(text.encode())
        if text.strip() and not blocks:
            source.complaints.append("signing_keys: holds no PEM block")
        for number, block in enumerate(blocks):
            created_at = read_at + timedelta(microseconds=number)
            source.take(block, name=f"signing_keys, key {number + 1}", created_at=created_at)
        source.fixed = tuple(source.found.values())
        source.read_files()
        return source.keys()

    def verification_key(self, record: SigningKeyRecord) -> VerificationKey:
        """See ports.KeyMaterial.verification_key."""
        return verification_key(record)

    def signer(self, kid: str) -> PrivateHalf | None:
        """See ports.KeyMaterial.signer."""
        return self._signers.get(kid)

    def local_keys(self) -> Sequence[SigningKeyRecord]:
        """See ports.KeyMaterial.local_keys."""
        return self._records

    def reread(self) -> "DirectoryKeys":
        """See ports.KeyMaterial.reread; raises KeyProblem, also where no key at all is left."""
        return self if self._source is None else self._source.reread()

    def __repr__(self) -> str:
        return f"DirectoryKeys(kids={', '.join(self._signers)})"


@dataclass(slots=True, repr=False)
class _Found:
    name: str
    record: SigningKeyRecord
    key: PrivateKey


class _Source:
    """Where keys were read from, and what one reading of it brought."""

    def __init__(self, directory: Path | None, *, passphrase: str, fixed: Sequence[_Found] = ()) -> None:
        self.complaints: list[str] = []
        self.warnings: list[str] = []
        self.fixed = fixed
        self.found: dict[str, _Found] = {one.record.kid: one for one in fixed}
        self._directory = directory
        self._passphrase = passphrase

    def reread(self) -> DirectoryKeys:
        again = _Source(self._directory, passphrase=self._passphrase, fixed=self.fixed)
        again.read_files()
        if not again.found and not again.complaints:
            again.complaints.append(f"{self._directory}: holds no key")
        return again.keys()

    def keys(self) -> DirectoryKeys:
        if self.complaints:
            raise KeyProblem(self.complaints)
        return DirectoryKeys([(one.record, one.key) for one in self.found.values()], source=self)

    def read_files(self) -> None:
        if self._directory is None:
            return
        try:
            paths = sorted(path for path in self._directory.iterdir() if path.suffix == _SUFFIX)
        except OSError as error:
            self.complaints.append(f"{self._directory}: {error.strerror}")
            return
        for path in paths:
            self._read_file(path)

    def _read_file(self, path: Path) -> None:
        try:
            # Judged through the descriptor: what is read is what was judged. A FIFO must not hold the start up.
            with os.fdopen(os.open(path, os.O_RDONLY | os.O_NONBLOCK), "rb") as file:
                status = os.fstat(file.fileno())
                if not stat.S_ISREG(status.st_mode):
                    self.complaints.append(f"{path}: not a regular file")
                    return
                mode = stat.S_IMODE(status.st_mode)
                if mode & _OTHERS:
                    self.complaints.append(f"{path}: mode {mode:04o} lets others in; chmod 600 it")
                    return
                if mode & stat.S_IRGRP:
                    # What an orchestrator gives a mounted secret whose pod does not run as root.
                    self.warnings.append(f"{path}: mode {mode:04o} lets its group read it; 0600 is better")
                pem = file.read(_MAX_FILE_BYTES)
        except OSError as error:
            self.complaints.append(f"{path}: {error.strerror}")
            return
        self.take(pem, name=str(path), created_at=_created_at(path.name, modified_s=int(status.st_mtime)))

    def take(self, pem: bytes, *, name: str, created_at: datetime) -> None:
        """Take one key in, or complain of it."""
        key = read_key(pem, name=name, passphrase=self._passphrase, complaints=self.complaints)
        if key is None:
            return
        jwk = public_jwk(public_part(key))
        record = SigningKeyRecord(
            kid=thumbprint(jwk),
            alg=algorithm_of(key),
            public_jwk=jwk,
            state=KeyState.PREPARED.value,
            created_at=created_at,
        )
        known = self.found.setdefault(record.kid, _Found(name, record, key))
        if known.name != name:
            self.complaints.append(f"{name}: the same key as {Path(known.name).name}")


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
