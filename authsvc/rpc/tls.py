"""
TLS of the gRPC listener: certificates that can be exchanged while it serves.

gRPC asks for the certificate at every handshake (`grpc.dynamic_ssl_server_credentials`), so new connections get the
newest one and running ones go on. Its Python API knows no handshake that asks for a client certificate and goes on
without one: a listener either requires them (a client CA is given) or does not ask. TLS 1.2 is the lowest that its core
speaks; a test holds it to that. Reading files is not here.
"""

from dataclasses import dataclass, field

import grpc


@dataclass(frozen=True, slots=True)
class TlsMaterial:
    """PEM of a certificate chain, of its key, and of those who sign client certificates (None: nobody is asked)."""

    chain: bytes
    key: bytes = field(repr=False)
    client_ca: bytes | None = None


class GrpcTls:
    """What a gRPC listener shows of itself; `exchange` changes it for the handshakes that come."""

    def __init__(self, material: TlsMaterial) -> None:
        self._material = material
        self._configuration = _configuration(material)

    @property
    def asks_clients(self) -> bool:
        """Whether it requires client certificates."""
        return self._material.client_ca is not None

    def exchange(self, material: TlsMaterial) -> None:
        """Use this from the next handshake on. Whether clients are asked cannot be changed: that is the listener's."""
        self._material = material
        self._configuration = _configuration(material)

    def credentials(self, *, ask_clients: bool) -> grpc.ServerCredentials:
        """Return the credentials of a listener; *ask_clients*: it requires client certificates."""
        return grpc.dynamic_ssl_server_credentials(
            self._configuration, lambda: self._configuration, require_client_authentication=ask_clients
        )


def _configuration(material: TlsMaterial) -> "grpc.ServerCertificateConfiguration":
    return grpc.ssl_server_certificate_configuration(
        [(material.key, material.chain)], root_certificates=material.client_ca
    )
