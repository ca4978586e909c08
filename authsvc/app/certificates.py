"""Certificates, keys and lists of principals in files: read whole, judged, and watched for changes."""

import asyncio
import ssl
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from datetime import timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import serialization

from authsvc.ports import Clock
from authsvc.rpc.tls import TlsMaterial

_LOOK_EVERY = timedelta(seconds=1)
_PLAIN = serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo


class CertificateProblem(ValueError):
    """Everything that is wrong with the files, one sentence each; of a key never more than its setting's name."""

    def __init__(self, complaints: Sequence[str]) -> None:
        super().__init__("\n".join(complaints))
        self.complaints = tuple(complaints)


def read_tls(certificate: str, key: str, client_ca: str = "", *, prefix: str) -> TlsMaterial:
    """
    Return what the files hold; *prefix* begins the names of the settings in complaints, e.g. `grpc`.

    Raises:
        CertificateProblem: a file cannot be read, is no PEM of its kind, or the key is not the certificate's.

    """
    complaints: list[str] = []
    names = f"{prefix}_certificate", f"{prefix}_certificate_key", f"{prefix}_client_ca"
    if not certificate or not key:
        missing = names[1] if certificate else names[0]
        raise CertificateProblem([f"{missing}: is missing; a certificate and its key go together"])
    chain, secret = _read(certificate, names[0], complaints), _read(key, names[1], complaints)
    ca = _read(client_ca, names[2], complaints) if client_ca else None
    public = _judge_chain(chain, names[0], complaints)
    _judge_chain(ca, names[2], complaints)
    if secret is not None:
        try:
            private = serialization.load_pem_private_key(secret, password=None)
            own = private.public_key().public_bytes(*_PLAIN)
            if public is not None and own != public:
                complaints.append(f"{names[1]}: is not the key of the certificate")
        except (ValueError, TypeError):
            complaints.append(f"{names[1]}: is no private key in PEM, or an encrypted one")
    if complaints or chain is None or secret is None:
        raise CertificateProblem(complaints)
    return TlsMaterial(chain, secret, ca)


def read_authorities(path: str, name: str) -> bytes:
    """
    Return the certificates in a file, as PEM.

    Raises:
        CertificateProblem: it cannot be read or holds none; says so of the setting *name*.

    """
    complaints: list[str] = []
    text = _read(path, name, complaints)
    _judge_chain(text, name, complaints)
    if complaints or text is None:
        raise CertificateProblem(complaints)
    return text


def _read(path: str, name: str, complaints: list[str]) -> bytes | None:
    try:
        return Path(path).expanduser().read_bytes()
    except OSError as error:
        complaints.append(f"{name}: cannot be read: {error.strerror}")
        return None


def _judge_chain(text: bytes | None, name: str, complaints: list[str]) -> bytes | None:
    """Return the public key of the first certificate."""
    if text is None:
        return None
    try:
        return x509.load_pem_x509_certificates(text)[0].public_key().public_bytes(*_PLAIN)
    except ValueError:
        complaints.append(f"{name}: holds no certificate in PEM")
        return None


class EdgeTls:
    """
    The TLS context of an HTTP listener, TLS 1.2 or newer. `exchange` changes what new handshakes are shown.

    Each handshake is moved to the newest context as soon as its first message is there: a context whose certificate is
    replaced in place would be a mixture while that goes on, or for good if the new key does not fit.
    """

    def __init__(self, certificate: str, key: str) -> None:
        self._newest = _server_context(certificate, key)
        self.context = _server_context(certificate, key)
        self.context.sni_callback = self._choose

    def exchange(self, certificate: str, key: str) -> None:
        """
        Show this certificate from the next handshake on.

        Raises:
            CertificateProblem: the files cannot be used; nothing was changed.

        """
        self._newest = _server_context(certificate, key)

    def _choose(self, handshake: ssl.SSLObject, name: str | None, context: ssl.SSLContext) -> None:
        del name, context
        handshake.context = self._newest


def _server_context(certificate: str, key: str) -> ssl.SSLContext:
    read_tls(certificate, key, prefix="http")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.options |= ssl.OP_NO_RENEGOTIATION
    context.set_alpn_protocols(["http/1.1"])
    try:
        context.load_cert_chain(Path(certificate).expanduser(), Path(key).expanduser())
    except (OSError, ssl.SSLError):  # the files were exchanged between two looks: the next one tells
        raise CertificateProblem(["http_certificate: and its key do not fit each other"]) from None
    return context


class FileWatch:
    """
    Has *changed* called when one of the files is another one, and when it is `asked`; once more after each change.

    Files are looked at once a second, through links, as orchestrators exchange mounted secrets by moving a link.
    *changed* must not raise.
    """

    def __init__(self, paths: Sequence[str], *, clock: Clock, changed: Callable[[], Awaitable[None]]) -> None:
        self._paths = [Path(path).expanduser() for path in paths if path]
        self._clock = clock
        self._changed = changed
        self._asked = False
        self._seen = self._look()
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to watch; to be called in the running loop."""
        if self._paths:
            self._task = asyncio.create_task(self._run())

    async def stop(self) -> None:
        """End the watching. Idempotent."""
        if self._task is not None:
            self._task.cancel()
            with suppress(asyncio.CancelledError):
                await self._task
            self._task = None

    def ask(self) -> None:
        """Take the files as changed at the next look."""
        self._asked = True

    async def _run(self) -> None:
        while True:
            await self._clock.sleep(_LOOK_EVERY)
            found = await asyncio.to_thread(self._look)
            if found != self._seen or self._asked:
                self._seen, self._asked = found, False
                await self._changed()

    def _look(self) -> list[tuple[int, ...] | None]:
        return [_mark(path) for path in self._paths]


def _mark(path: Path) -> tuple[int, ...] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_ino, found.st_mtime_ns, found.st_size
