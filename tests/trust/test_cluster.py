"""Real servers that ask who calls: TLS, certificates that change, keys that end everywhere, edges and commands."""

import json
import shutil
import signal
import socket
import ssl
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import pytest
from click.testing import CliRunner

from authapi.v1 import auth_service_pb2 as pb
from authapi.v1 import key_service_pb2, revocation_service_pb2
from authapi.v1.auth_service_pb2_grpc import AuthServiceStub
from authapi.v1.key_service_pb2_grpc import KeyServiceStub
from authapi.v1.revocation_service_pb2_grpc import RevocationServiceStub
from authsvc.cli import main
from authsvc.cli.calling import refused
from tests.e2e.running import Running, command, running, wait_until
from tests.e2e.serving import SERVE_PORTS, Site, prepare
from tests.support.certificates import Authority, Files

PRINCIPALS = """
[[principals]]
name = "orders"
roles = ["verifier"]
audiences = ["orders"]
spiffe = ["spiffe://example.org/orders"]
"""
KEY_AGAINST_PLAIN_TEXT = "grpc_ca: is missing"


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return prepare(tmp_path / "site")


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path / "trust")


def install(files: Files, folder: Path) -> dict[str, str]:
    """Put a certificate where a server looks for it, key and chain by one rename each; their settings."""
    folder.mkdir(exist_ok=True)
    for source, name in ((files.key, "tls.key"), (files.certificate, "tls.pem")):
        shutil.copy(source, folder / f".{name}")
        (folder / f".{name}").replace(folder / name)
    return {"certificate": str(folder / "tls.pem"), "certificate_key": str(folder / "tls.key")}


def guarded(site: Site, authority: Authority, **more: str) -> dict[str, str]:
    """Settings of a server with TLS and service keys."""
    own = install(authority.server(), site.folder / "tls")
    return {
        **site.env,
        "AUTHSVC_AUTHENTICATE": "true",
        "AUTHSVC_GRPC_CERTIFICATE": own["certificate"],
        "AUTHSVC_GRPC_CERTIFICATE_KEY": own["certificate_key"],
        **more,
    }


@dataclass(frozen=True, slots=True)
class Done:
    """A command that ended."""

    returncode: int
    stdout: str
    stderr: str


def told(*words: str, env: Mapping[str, str]) -> Done:
    """A command run in this process: a second for each new one would add up."""
    result = CliRunner().invoke(main, words, env=dict(env), catch_exceptions=False)
    return Done(result.exit_code, result.stdout, result.stderr)


def service_key(site: Site, *words: str) -> str:
    done = told("service-keys", "create", *words, env=site.env)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def revoke(site: Site, *words: str) -> None:
    done = told("service-keys", "revoke", *words, env=site.env)
    assert done.returncode == 0, done.stderr


@contextmanager
def connected(target: str, authority: Authority, certificate: Files | None = None) -> Iterator[grpc.Channel]:
    own = (None, None)
    if certificate is not None:
        own = (certificate.key.read_bytes(), certificate.certificate.read_bytes())  # type: ignore[assignment]
    credentials = grpc.ssl_channel_credentials(authority.file.read_bytes(), *own)
    with grpc.secure_channel(target, credentials) as channel:
        yield channel


def bearer(key: str) -> tuple[tuple[str, str], ...]:
    return (("authorization", f"Bearer {key}"),)


def jwks(channel: grpc.Channel, metadata: Any = ()) -> str:
    """`OK`, or how GetJwks was refused."""
    try:
        KeyServiceStub(channel).GetJwks(key_service_pb2.GetJwksRequest(), metadata=metadata, timeout=30)
    except grpc.RpcError as error:
        return refused(error).message.partition(":")[0]
    return "OK"


def serials(address: str, authority: Authority) -> set[str]:
    """The serial numbers of the certificates that new handshakes show, by name and without one (RFC 6066 section 3)."""
    host, _, port = address.rpartition(":")
    context = ssl.create_default_context(cafile=str(authority.file))
    context.set_alpn_protocols(["h2", "http/1.1"])
    shown = set()
    for name in ("localhost", host):
        with (
            socket.create_connection((host, int(port)), timeout=30) as raw,
            context.wrap_socket(raw, server_hostname=name) as wrapped,
        ):
            found: Mapping[str, Any] = wrapped.getpeercert() or {}
            shown.add(str(found["serialNumber"]))
    return shown


def handshake_up_to(address: str, version: ssl.TLSVersion) -> str | None:
    """What a client agrees on with the listener that speaks at most this version, None if nothing."""
    host, _, port = address.rpartition(":")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.set_ciphers("ALL:@SECLEVEL=0")
    context.set_alpn_protocols(["h2", "http/1.1"])
    with pytest.warns(DeprecationWarning) if version < ssl.TLSVersion.TLSv1_2 else _nothing():
        context.minimum_version = ssl.TLSVersion.TLSv1 if version < ssl.TLSVersion.TLSv1_2 else version
        context.maximum_version = version
    try:
        with (
            socket.create_connection((host, int(port)), timeout=30) as raw,
            context.wrap_socket(raw) as wrapped,
        ):
            return wrapped.version()
    except (ssl.SSLError, ConnectionError):
        return None


def _told(process: Running, what: str) -> bool:
    """Whether a line says that a certificate was not taken, and *what*, in whatever order."""
    lines = [line for line in process.stderr.splitlines() if "certificate.not_reloaded" in line]
    return any(all(part in line for part in what.split(",")) for line in lines)


@contextmanager
def _nothing() -> Iterator[None]:
    yield


def test_a_key_that_is_revoked_is_refused_by_every_replica(site: Site, authority: Authority) -> None:
    """
    Made while they run, good at both; revoked by a command, refused by both and their streams end.

    The secret is in no log and no process list, the database has its hash only.
    """
    env = guarded(site, authority)
    (site.folder / "one").mkdir()
    (site.folder / "two").mkdir()
    with (
        running(site.folder / "one", "serve", *SERVE_PORTS, env=env) as one,
        running(site.folder / "two", "serve", *SERVE_PORTS, env=env) as two,
    ):
        targets = [process.addresses()["grpc"] for process in (one, two)]
        key = service_key(site, "watcher", "--role", "verifier", "--audience", "orders")
        other = service_key(site, "other", "--role", "verifier", "--audience", "orders")
        with connected(targets[0], authority) as first, connected(targets[1], authority) as second:
            channels = (first, second)
            for channel in channels:
                wait_until(lambda c=channel: jwks(c, bearer(key)) == "OK", what="the key is known")  # type: ignore[misc]
                wait_until(lambda c=channel: jwks(c, bearer(other)) == "OK", what="the key is known")  # type: ignore[misc]
            streams = [
                RevocationServiceStub(channel).WatchRevocations(
                    revocation_service_pb2.WatchRevocationsRequest(), metadata=bearer(key), timeout=60
                )
                for channel in channels
            ]
            for stream in streams:
                next(iter(stream))
            revoke(site, key.split(".")[1])
            for channel in channels:
                wait_until(lambda c=channel: jwks(c, bearer(key)) != "OK", what="the key is refused")  # type: ignore[misc]
                assert jwks(channel, bearer(key)) == "UNAUTHENTICATED (CALLER_UNAUTHENTICATED)"
                assert jwks(channel, bearer(other)) == "OK"
            for stream in streams:
                with pytest.raises(grpc.RpcError) as ended:
                    list(stream)
                assert "CALLER_UNAUTHENTICATED" in refused(ended.value).message
        secret = key.split(".")[2]
        for process in (one, two):
            assert process.stop() == 0
            assert secret not in process.stderr + process.stdout
    assert secret.encode() not in site.database.read_bytes()


def test_tls_is_1_2_or_newer_and_certificates_change_while_serving(site: Site, authority: Authority) -> None:
    """
    On gRPC and on the edge: a new handshake shows the new certificate, a pair that does not fit changes nothing.

    The edge calls by a key that it was given by itself.
    """
    http = install(authority.server(name="http"), site.folder / "http")
    env = guarded(
        site,
        authority,
        AUTHSVC_HTTP_CERTIFICATE=http["certificate"],
        AUTHSVC_HTTP_CERTIFICATE_KEY=http["certificate_key"],
        AUTHSVC_GRPC_CA=str(authority.file),
    )
    with running(site.folder, "serve", "--with-edge", "--http-port", "0", *SERVE_PORTS, env=env) as process:
        addresses = process.addresses()
        assert addresses["http"].startswith("https://")
        listeners = {"tls": addresses["grpc"], "http": addresses["http"].removeprefix("https://")}
        for folder, address in listeners.items():
            assert handshake_up_to(address, ssl.TLSVersion.TLSv1_1) is None
            assert handshake_up_to(address, ssl.TLSVersion.TLSv1_2) == "TLSv1.2"
            assert handshake_up_to(address, ssl.TLSVersion.TLSv1_3) == "TLSv1.3"
            [before] = serials(address, authority)
            shutil.copy(authority.server().key, site.folder / folder / "tls.key")  # of another certificate
            told = f'"listener":"{"grpc" if folder == "tls" else "http"}","error"'
            wait_until(lambda t=told: _told(process, t), what="the mismatch is told")  # type: ignore[misc]
            assert serials(address, authority) == {before}
            install(authority.server(), site.folder / folder)
            wait_until(
                lambda a=address, b=before: b not in serials(a, authority),  # type: ignore[misc]
                what="the new certificate is shown",
            )
            assert len(serials(address, authority)) == 1
        context = ssl.create_default_context(cafile=str(authority.file))
        host, _, port = listeners["http"].rpartition(":")
        with (
            socket.create_connection((host, int(port)), timeout=30) as raw,
            context.wrap_socket(raw, server_hostname="localhost") as wrapped,
        ):
            wrapped.sendall(b"GET /readyz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
            assert b" 200 " in wrapped.recv(4096)
            wrapped.unwrap()
        wait_until(lambda: '"principal":"local-edge"' in process.stderr, what="the edge has called")
        assert "wxk1." not in process.stderr


def test_a_cluster_starts_from_a_file_and_follows_it(site: Site, authority: Authority) -> None:
    """
    Certificates named by the file call at once; a name taken out is refused without a restart, at SIGHUP or by itself.

    A file that cannot be used changes nothing. Keys have a port of their own beside required certificates.
    """
    file = site.folder / "principals.toml"
    file.write_text(PRINCIPALS)
    env = guarded(
        site,
        authority,
        AUTHSVC_GRPC_CLIENT_CA=str(authority.file),
        AUTHSVC_PRINCIPALS_FILE=str(file),
        AUTHSVC_GRPC_KEYS_PORT="0",
    )
    with running(site.folder, "serve", "--workers", "2", *SERVE_PORTS, env=env) as process:
        addresses = process.addresses()
        ours = authority.issue(uris=("spiffe://example.org/orders",))
        with (
            connected(addresses["grpc"], authority, ours) as by_certificate,
            connected(addresses["grpc_keys"], authority) as by_key,
        ):
            assert jwks(by_certificate) == "OK"
            assert jwks(by_key) == "UNAUTHENTICATED (CALLER_UNAUTHENTICATED)"
            key = service_key(
                site, "support", "--role", "operator", "--app", "wx00000000000000d1", "--expires", "1d"
            )
            wait_until(lambda: jwks(by_key, bearer(key)) == "OK", what="the key is known")
            file.write_text(PRINCIPALS + "[[principals]]\nname = 'local'\nroles = ['edge']\n")
            wait_until(lambda: "callers.not_reloaded" in process.stderr, what="the mistake is told")
            assert jwks(by_certificate) == "OK"
            file.write_text(PRINCIPALS.replace("example.org/orders", "example.org/others"))
            process.process.send_signal(signal.SIGHUP)
            wait_until(lambda: jwks(by_certificate) != "OK", what="the name is refused")
            assert jwks(by_certificate) == "UNAUTHENTICATED (CALLER_UNAUTHENTICATED)"
            assert jwks(by_key, bearer(key)) == "OK"
        with connected(addresses["grpc"], authority) as without, pytest.raises(grpc.RpcError) as caught:
            AuthServiceStub(without).VerifyToken(pb.VerifyTokenRequest(access_token="x"), timeout=30)
        assert caught.value.code() is grpc.StatusCode.UNAVAILABLE


def test_a_server_that_asks_nobody_binds_loopback_only(site: Site, authority: Authority) -> None:
    """
    And one that asks, in plain text, likewise, unless that is asked for by name; the edge's key stays on the machine.
    """
    beyond = ("--grpc-host", "0.0.0.0")  # noqa: S104 - refused
    for env, says in (
        (site.env, "without a caller authenticator"),
        ({**site.env, "AUTHSVC_AUTHENTICATE": "true"}, "plain text beyond loopback"),
    ):
        done = told("serve", *beyond, *SERVE_PORTS, env=env)
        assert done.returncode == 78
        assert says in done.stderr
    asked_for = {**site.env, "AUTHSVC_AUTHENTICATE": "true", "AUTHSVC_ALLOW_PLAINTEXT": "true"}
    for env in (asked_for, guarded(site, authority)):
        done = told("config", "check", *beyond, env=env)
        assert done.returncode == 0, done.stderr
    edge = {"AUTHSVC_ENV": "test", "AUTHSVC_SERVICE_KEY": "wxk1.x.y", "AUTHSVC_GRPC_TARGET": "192.0.2.1:1"}
    done = told("edge", env=edge)
    assert (done.returncode, KEY_AGAINST_PLAIN_TEXT in done.stderr) == (78, True)
    done = told("sessions", "list", env=edge)
    assert (done.returncode, KEY_AGAINST_PLAIN_TEXT in done.stderr) == (1, True)
    assert "wxk1.x.y" not in done.stderr


def test_unusable_files_are_told_at_once_and_never_quoted(site: Site, authority: Authority) -> None:
    """
    By the names of their settings, all of them; a key's text is in no complaint.
    """
    (site.folder / "junk").write_text("canary-0123456789")
    done = told(
        "config",
        "check",
        env={
            **site.env,
            "AUTHSVC_GRPC_CERTIFICATE": str(authority.server().certificate),
            "AUTHSVC_GRPC_CERTIFICATE_KEY": str(site.folder / "junk"),
            "AUTHSVC_GRPC_CLIENT_CA": str(site.folder / "nothing"),
            "AUTHSVC_HTTP_CERTIFICATE": str(site.folder / "junk"),
            "AUTHSVC_PRINCIPALS_FILE": str(site.folder / "junk"),
            "AUTHSVC_GRPC_CLIENT_CERTIFICATE": str(authority.server().certificate),
        },
    )
    assert done.returncode == 78
    for name in (
        "grpc_certificate_key",
        "grpc_client_ca",
        "http_certificate_key",
        "principals_file",
        "grpc_ca",
    ):
        assert f"- {name}: " in done.stderr, done.stderr
    assert "canary" not in done.stderr


def test_dev_asks_callers_if_told_to_and_its_operator_is_found(tmp_path: Path) -> None:
    """
    One command starts it; its edge works; the operator's key (0600) serves commands on this machine; others are refused.
    """
    folder = tmp_path / "dev"
    folder.mkdir()
    words = ("--grpc-port", "0", "--http-port", "0", "--sandbox-port", "0", "--ops-port", "0")
    with running(folder, "dev", "--authenticate", *words, "--data-dir", str(folder / "data")) as process:
        target = process.addresses()["grpc"]
        key = folder / "data" / "operator.key"
        assert key.stat().st_mode & 0o777 == 0o600
        mine = {"AUTHSVC_DATA_DIR": str(folder / "data")}
        listing = ("sessions", "list", "--grpc-target", target)
        assert command(*listing, cwd=tmp_path, env=mine).returncode == 0
        refusal = command(*listing, cwd=tmp_path)
        assert refusal.returncode == 1
        assert "CALLER_UNAUTHENTICATED" in refusal.stderr
        given = command(*listing, "--service-key-file", str(key), cwd=tmp_path)
        assert given.returncode == 0
        wait_until(lambda: '"principal":"dev-edge"' in process.stderr, what="the edge has called")
        assert key.read_text().strip() not in process.stderr + process.stdout


def test_service_keys_are_managed_by_command(site: Site) -> None:
    """
    Shown once, listed without anything that proves, refused where they would be more than was said.
    """

    def run(*words: str) -> tuple[int, str, str]:
        done = told("service-keys", *words, env=site.env)
        return done.returncode, done.stdout, done.stderr

    assert run("create", "support")[0] == 1  # nobody knows what it may do
    assert run("create", "local", "--role", "edge")[0] == 78
    assert run("create", "orders", "--role", "verifier")[0] == 78  # no audience
    assert run("create", "support", "--role", "operator", "--expires", "yesterday")[0] == 2
    status, key, _ = run("create", "support", "--role", "operator")
    assert status == 0
    assert run("create", "support")[0] == 0
    assert run("create", "support", "--role", "users")[0] == 1
    _, listed, _ = run("list")
    rows = [json.loads(line) for line in listed.splitlines()]
    assert [row["roles"] for row in rows if "roles" in row] == [["operator"]]
    assert len([row for row in rows if "key_id" in row]) == 2
    assert key.strip().split(".")[2] not in listed
    assert run("revoke")[0] == 2
    assert run("revoke", "A" * 22)[0] == 1
    assert json.loads(run("revoke", key.split(".")[1])[1]) == {"revoked": 1}
    assert json.loads(run("revoke", "--principal", "support")[1]) == {"revoked": 1}
    assert run("revoke", "--principal", "support")[0] == 1
    status, made, line = run("generate", "--expires", "30d")
    assert status == 0
    assert line.startswith(f'keys = [{{ id = "{made.split(".")[1]}"')
