"""
`authsvc sandbox`: with apps of one's own, over TLS, and with mistakes told before anything listens.
"""

import json
import ssl
import urllib.request
from datetime import UTC, datetime, timedelta
from ipaddress import IPv4Address
from pathlib import Path

import pytest
from click.testing import CliRunner
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from authsvc.cli import main
from authsvc.sandbox import crypto
from tests.e2e.running import running

ID, SECRET = "wx00000000000000f1", "5a4d0000f1"
REAL_ID, REAL_SECRET = "wx1a2b3c4d5e6f7890", "0123456789abcdef0123456789abcdef"


def ask(url: str, *, body: object = None, context: ssl.SSLContext | None = None) -> dict[str, object]:
    data = None if body is None else json.dumps(body).encode()
    with urllib.request.urlopen(url, data=data, timeout=30, context=context) as answer:  # noqa: S310 - loopback, and ours
        fields = json.loads(answer.read())
    assert isinstance(fields, dict)
    return fields


def exchange(base: str, code: object, *, context: ssl.SSLContext | None = None) -> dict[str, object]:
    query = f"appid={ID}&secret={SECRET}&js_code={code}&grant_type=authorization_code"
    return ask(f"{base}/sns/jscode2session?{query}", context=context)


def certificate(folder: Path) -> Path:
    """
    A key and a self-signed certificate for 127.0.0.1 in one file.
    """
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "sandbox")])
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(datetime(2020, 1, 1, tzinfo=UTC))
        .not_valid_after(datetime(2020, 1, 1, tzinfo=UTC) + timedelta(days=36500))
        .add_extension(
            x509.SubjectAlternativeName([x509.IPAddress(IPv4Address("127.0.0.1"))]), critical=False
        )
        .sign(key, hashes.SHA256())
    )
    file = folder / "sandbox.pem"
    file.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        + made.public_bytes(serialization.Encoding.PEM)
    )
    return file


def test_an_app_of_ones_own(tmp_path: Path) -> None:
    """
    The command starts with the app it was given, says how to use it, repeats no secret, and serves it alone.
    """
    words = (
        "sandbox",
        "--sandbox-port",
        "0",
        "--app",
        f"{ID}:{SECRET}:shop",
        "--app",
        "wx00000000000000f2:5a4d0000f2",
    )
    with running(tmp_path, *words) as process:
        base = process.addresses()["sandbox"]
        code = ask(f"{base}/sandbox/v1/codes", body={"app_id": ID, "user": "alice"})["code"]
        assert "unionid" in exchange(base, code)
        apps = ask(f"{base}/sandbox/v1/apps")["apps"]
        assert isinstance(apps, list)
        assert [(app["app_id"], app["open_platform"]) for app in apps] == [
            (ID, "shop"),
            ("wx00000000000000f2", None),
        ]
        said = process.stdout
    assert f"{base}/sandbox" in said
    assert f"{base} in place of https://api.weixin.qq.com" in said
    assert SECRET not in said
    assert process.stderr == ""


def test_over_tls(tmp_path: Path) -> None:
    """
    With a certificate it speaks HTTPS 1.2 or later and no plain HTTP; the page's own origin is the https one.
    """
    file = certificate(tmp_path)
    words = ("sandbox", "--sandbox-port", "0", "--app", f"{ID}:{SECRET}", "--tls-certificate", str(file))
    with running(tmp_path, *words) as process:
        base = process.addresses()["sandbox"]
        assert base.startswith("https://127.0.0.1:")
        trusting = ssl.create_default_context(cafile=str(file))
        code = ask(f"{base}/sandbox/v1/codes", body={"app_id": ID, "user": "a"}, context=trusting)["code"]
        assert "openid" in exchange(base, code, context=trusting)
        own = urllib.request.Request(f"{base}/", headers={"Origin": base})  # noqa: S310 - loopback, and ours
        with urllib.request.urlopen(own, timeout=30, context=trusting) as answer:  # noqa: S310 - as above
            assert answer.status == 200
        with pytest.raises(OSError, match=r".*"):
            ask(base.replace("https", "http") + "/")
        old = ssl.create_default_context(cafile=str(file))
        old.minimum_version = ssl.TLSVersion.MINIMUM_SUPPORTED
        with pytest.warns(DeprecationWarning):
            old.maximum_version = ssl.TLSVersion.TLSv1_1
        with pytest.raises(OSError, match=r"(?i)ssl|tls|protocol|alert"):
            ask(f"{base}/", context=old)


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("--app", f"{REAL_ID}:5a4d0000f1"), "looks like a real mini-program"),
        (("--app", f"{ID}:{REAL_SECRET}"), "--allow-real"),
        (("--app", "junk"), "ID:SECRET"),
        (("--app", f":{REAL_SECRET}"), "ID:SECRET"),
        (("--app", f"{ID}:a", "--app", f"{ID}:b"), "listed twice"),
        (("--tls-key", "key.pem"), "needs --tls-certificate"),
        (("--tls-certificate", "nosuch.pem"), "cannot be used"),
    ],
)
def test_mistakes_are_told_and_secrets_are_not(words: tuple[str, ...], says: str) -> None:
    """
    Exit status 78 with a sentence that helps; what may be a secret is not repeated.
    """
    result = CliRunner().invoke(main, ["sandbox", "--sandbox-port", "0", *words])
    assert result.exit_code == 78
    assert says in result.output
    assert REAL_SECRET not in result.output


def test_a_real_looking_app_is_played_when_told(tmp_path: Path) -> None:
    """
    Who insists gets it.
    """
    words = ("sandbox", "--sandbox-port", "0", "--app", f"{REAL_ID}:{REAL_SECRET}", "--allow-real")
    with running(tmp_path, *words) as process:
        assert "code" in ask(
            f"{process.addresses()['sandbox']}/sandbox/v1/codes", body={"app_id": REAL_ID, "user": "alice"}
        )
    assert REAL_SECRET not in process.stdout


def test_a_sandbox_that_is_wrong_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    """
    A failed self-check is one sentence and exit status 1.
    """
    monkeypatch.setattr(crypto, "pad", lambda plain: plain + bytes(-len(plain) % 16))
    result = CliRunner().invoke(main, ["sandbox", "--sandbox-port", "0"])
    assert result.exit_code == 1
    assert "published examples are not reproduced" in result.output
