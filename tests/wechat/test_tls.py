"""TLS towards WeChat: whom the client trusts, and that a failed handshake has sent nothing."""

import asyncio
import ipaddress
import ssl
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from authsvc.domain.errors import WeChatUnavailable
from tests.wechat.wire import (
    SOON,
    app_at,
    be_good,
    exchange,
    hang,
    serving,
    started,
)


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A self-signed certificate for 127.0.0.1 with its key, in one file."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "wechat test peer")])
    begin = datetime(2020, 1, 1, tzinfo=UTC)
    cert = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(begin)
        .not_valid_after(begin + timedelta(days=36500))
        .add_extension(
            x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False
        )
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    path = tmp_path_factory.mktemp("tls") / "peer.pem"
    path.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        + cert.public_bytes(serialization.Encoding.PEM)
    )
    return path


def server_tls(certificate: Path) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    return context


async def test_certificate_of_the_system_store_is_trusted(
    certificate: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whom the system's trust store vouches for gets the request (facts page 8.7: no pinning)."""
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    async with serving(be_good, tls=server_tls(certificate)) as peer, started(app_at(peer.url)) as rig:
        await exchange(rig)
    assert len(peer.visits) == 1


async def test_untrusted_certificate_gets_nothing(certificate: Path) -> None:
    """A peer that can't prove who it is never sees the secret; the code is unsent."""
    async with serving(be_good, tls=server_tls(certificate)) as peer, started(app_at(peer.url)) as rig:
        with pytest.raises(WeChatUnavailable):
            await exchange(rig)
    assert peer.visits == []
    assert rig.last_call["fault"] == "certificate"


@pytest.mark.parametrize("answer", [b"", b"HTTP/1.1 400 Bad Request\r\n\r\n"], ids=["closes", "speaks http"])
async def test_failed_handshake_goes_on_to_the_backup(answer: bytes) -> None:
    """A handshake that fails sent nothing of the request."""

    async def not_tls(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(answer)
        writer.close()

    server = await asyncio.start_server(not_tls, "127.0.0.1", 0)
    url = f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    async with server, serving(be_good) as backup, started(app_at(url, backup.url)) as rig:
        await exchange(rig)
    assert len(backup.visits) == 1


async def test_hanging_handshake_is_unsent() -> None:
    """Waiting for a handshake in vain is bounded by the connect timeout and sends nothing."""
    async with serving(hang) as peer:
        app = replace(app_at(peer.url.replace("http:", "https:")), connect_timeout=SOON)
        async with started(app) as rig:
            with pytest.raises(WeChatUnavailable):
                await exchange(rig)
    assert peer.visits == []
    assert rig.last_call["fault"] == "connect_timeout"
