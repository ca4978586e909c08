"""
A signer in a process of its own, as a key management service is: it holds the private key, and signs what a socket brings.

Run as a program it makes a key, writes the public JWK as a line, and answers until its standard input ends. A request is
the length of the signing input (4 bytes, big-endian) and the input; the answer is the signature (64 bytes), or nothing.
"""

import asyncio
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256

from authsvc.domain.access_token import TYPE, Header
from authsvc.domain.errors import StoreUnavailable
from authsvc.keys import public_jwk, thumbprint, verification_key
from authsvc.ports import SigningKeyRecord, VerificationKey

_SIGNATURE_BYTES = 64


@dataclass(frozen=True, slots=True)
class RemoteSigner:
    """Implements ports.Signer: it knows where to ask, and no key."""

    header: Header
    path: str

    async def sign(self, signing_input: bytes) -> bytes:
        try:
            async with asyncio.timeout(5):
                reader, writer = await asyncio.open_unix_connection(self.path)
                try:
                    writer.write(len(signing_input).to_bytes(4, "big") + signing_input)
                    return await reader.readexactly(_SIGNATURE_BYTES)
                finally:
                    writer.close()
        except (OSError, asyncio.IncompleteReadError) as error:  # TimeoutError is an OSError
            raise StoreUnavailable("the signer does not answer") from error


class RemoteKeys:
    """Implements ports.KeyMaterial over one key that lives elsewhere."""

    warnings: Sequence[str] = ()

    def __init__(self, jwk: str, *, path: str, created_at: datetime) -> None:
        self._record = SigningKeyRecord(
            kid=thumbprint(jwk), alg="ES256", public_jwk=jwk, state="prepared", created_at=created_at
        )
        self._path = path

    def verification_key(self, record: SigningKeyRecord) -> VerificationKey:
        return verification_key(record)

    def signer(self, kid: str) -> RemoteSigner | None:
        if kid != self._record.kid:
            return None
        return RemoteSigner(Header(kid=kid, alg="ES256", typ=TYPE), self._path)

    def local_keys(self) -> Sequence[SigningKeyRecord]:
        return (self._record,)

    def reread(self) -> "RemoteKeys":
        return self


async def _serve(path: str) -> None:
    key = ec.generate_private_key(ec.SECP256R1())

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        length = int.from_bytes(await reader.readexactly(4), "big")
        r, s = decode_dss_signature(key.sign(await reader.readexactly(length), ec.ECDSA(SHA256())))
        writer.write(r.to_bytes(32, "big") + s.to_bytes(32, "big"))
        await writer.drain()
        writer.close()

    async with await asyncio.start_unix_server(answer, path):
        sys.stdout.write(public_jwk(key.public_key()) + "\n")
        sys.stdout.flush()
        await asyncio.to_thread(sys.stdin.read)


if __name__ == "__main__":
    asyncio.run(_serve(sys.argv[1]))
