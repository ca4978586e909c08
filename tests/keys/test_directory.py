"""Signing keys as files: written once, read strictly, in the order they were made."""

import os
import stat
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa, x25519
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)

from authsvc.keys import DirectoryKeys, KeyProblem, generate_signing_key, write_new
from authsvc.ports import KeyMaterial

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


def pem_of(key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey | x25519.X25519PrivateKey) -> bytes:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def put(path: Path, content: bytes, *, mode: int = 0o600) -> Path:
    path.write_bytes(content)
    path.chmod(mode)
    return path


@pytest.mark.parametrize("alg", ["ES256", "EdDSA", "RS256"])
async def test_a_written_key_is_read_back_and_signs(tmp_path: Path, alg: str) -> None:
    """
    generate, write, load: the signer and the published record belong together.
    """
    write_new(tmp_path, generate_signing_key(alg), created_at=NOON)
    keys: KeyMaterial = DirectoryKeys.load(tmp_path)
    (record,) = keys.local_keys()
    signer = keys.signer(record.kid)

    assert (alg, "prepared", NOON) == (record.alg, record.state, record.created_at)
    assert signer is not None
    assert keys.verification_key(record).verify(b"input", await signer.sign(b"input"))
    assert keys.verification_key(record).header == signer.header


def test_an_unknown_kid_has_no_signer(tmp_path: Path) -> None:
    """
    A replica without the private half says None.
    """
    assert DirectoryKeys.load(tmp_path).signer("nobody") is None


def test_an_unknown_algorithm_makes_no_key() -> None:
    """
    HS256 is never minted with, so no key is made for it.
    """
    with pytest.raises(ValueError, match="HS256"):
        generate_signing_key("HS256")


def test_the_file_is_the_owners_alone_whatever_the_umask(tmp_path: Path) -> None:
    """
    Mode 0600, directory 0700, and nothing else is left behind.
    """
    before = os.umask(0)
    try:
        path = write_new(tmp_path / "keys", generate_signing_key(), created_at=NOON)
    finally:
        os.umask(before)

    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert [path] == list(path.parent.iterdir())


def test_an_existing_file_is_never_overwritten(tmp_path: Path) -> None:
    """
    The same key at the same instant fails, and the first file stays as it was.
    """
    pem = generate_signing_key()
    path = write_new(tmp_path, pem, created_at=NOON)
    put(path, b"precious")

    with pytest.raises(FileExistsError):
        write_new(tmp_path, pem, created_at=NOON)
    assert path.read_bytes() == b"precious"
    assert [path] == list(tmp_path.iterdir())


def test_what_is_no_usable_key_is_not_written(tmp_path: Path) -> None:
    """
    A file that `load` would refuse is never made.
    """
    with pytest.raises(KeyProblem, match="not a readable PEM"):
        write_new(tmp_path, b"junk", created_at=NOON)
    assert list(tmp_path.iterdir()) == []


def test_keys_come_oldest_first_whatever_happened_to_the_files(tmp_path: Path) -> None:
    """
    The order is the order of making, to the microsecond, also after copies changed every modification time.
    """
    instants = [NOON + timedelta(microseconds=n) for n in (2, 0, 1)]
    for index, instant in enumerate(instants):
        path = write_new(tmp_path, generate_signing_key(), created_at=instant)
        os.utime(path, (index, index))

    assert sorted(instants) == [record.created_at for record in DirectoryKeys.load(tmp_path).local_keys()]


@pytest.mark.parametrize("name", ["signing.pem", "20269999T999999999999Z-x.pem"])
def test_a_foreign_name_is_as_old_as_its_file(tmp_path: Path, name: str) -> None:
    """
    A name without an instant falls back to the modification time in whole seconds.
    """
    path = put(tmp_path / name, generate_signing_key())
    os.utime(path, (1_700_000_000.9, 1_700_000_000.9))

    (record,) = DirectoryKeys.load(tmp_path).local_keys()
    assert datetime.fromtimestamp(1_700_000_000, tz=UTC) == record.created_at


@pytest.mark.parametrize("mode", [0o604, 0o610, 0o601, 0o620, 0o602, 0o644, 0o660])
def test_a_file_open_to_others_is_refused(tmp_path: Path, mode: int) -> None:
    """
    Any bit for others, and any but reading for the group, refuses the file by name, and says what to do.
    """
    path = put(tmp_path / "open.pem", generate_signing_key(), mode=mode)

    with pytest.raises(KeyProblem, match="chmod 600") as refused:
        DirectoryKeys.load(tmp_path)
    assert str(path) in refused.value.complaints[0]


def test_a_file_that_its_group_may_read_is_taken_with_a_warning(tmp_path: Path) -> None:
    """
    Orchestrators mount secrets as 0440 where a pod does not run as root.
    """
    path = put(tmp_path / "group.pem", generate_signing_key(), mode=0o440)
    (warning,) = DirectoryKeys.load(tmp_path).warnings

    assert str(path) in warning
    assert "0440" in warning


def test_a_short_rsa_key_is_taken_with_a_warning(tmp_path: Path) -> None:
    """
    2048 bits are accepted and told of by key id; what `generate` makes is longer, and not told of.
    """
    short = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    put(tmp_path / "short.pem", pem_of(short))
    keys = DirectoryKeys.load(tmp_path)
    (record,) = keys.local_keys()
    (tmp_path / "good").mkdir()
    put(tmp_path / "good" / "good.pem", generate_signing_key("RS256"))

    assert [f"{record.kid}: RSA of 2048 bits; 3072 are recommended"] == list(keys.warnings)
    assert list(DirectoryKeys.load(tmp_path / "good").warnings) == []


async def test_an_encrypted_key_opens_with_the_passphrase_only(tmp_path: Path) -> None:
    """
    PKCS#8 under a passphrase: the right one signs; a wrong one and none are told by file, and never repeated.
    """
    write_new(
        tmp_path,
        generate_signing_key(passphrase="correct horse"),
        created_at=NOON,
        passphrase="correct horse",
    )
    keys = DirectoryKeys.load(tmp_path, passphrase="correct horse")
    (record,) = keys.local_keys()
    signer = keys.signer(record.kid)

    assert signer is not None
    assert keys.verification_key(record).verify(b"input", await signer.sign(b"input"))
    with pytest.raises(KeyProblem, match="does not open with the passphrase") as refused:
        DirectoryKeys.load(tmp_path, passphrase="wrong horse")
    assert "horse" not in str(refused.value)
    with pytest.raises(KeyProblem, match="signing_keys_passphrase"):
        DirectoryKeys.load(tmp_path)


def test_a_passphrase_does_not_hinder_open_keys(tmp_path: Path) -> None:
    """
    A directory may hold both kinds, in the middle of a change to the other.
    """
    write_new(tmp_path, generate_signing_key(), created_at=NOON)
    sealed = generate_signing_key(passphrase="p")
    write_new(tmp_path, sealed, created_at=NOON, passphrase="p")

    assert len(DirectoryKeys.load(tmp_path, passphrase="p").local_keys()) == 2


def test_the_environments_keys_need_no_directory(tmp_path: Path) -> None:
    """
    PEM blocks of one text, in their order; the same key as a file is told; a text that holds none is refused.
    """
    first, second = generate_signing_key(), generate_signing_key("EdDSA")
    keys = DirectoryKeys.load(None, text=(first + b"\n" + second).decode(), text_read_at=NOON)

    assert [record.alg for record in keys.local_keys()] == ["ES256", "EdDSA"]
    assert [record.created_at for record in keys.local_keys()] == [NOON, NOON + timedelta(microseconds=1)]
    write_new(tmp_path, second, created_at=NOON)
    with pytest.raises(KeyProblem, match="the same key as signing_keys, key 2"):
        DirectoryKeys.load(tmp_path, text=(first + second).decode())
    with pytest.raises(KeyProblem, match="holds no PEM block"):
        DirectoryKeys.load(None, text="canary")


def test_reread_finds_what_came_and_went_and_keeps_the_text(tmp_path: Path) -> None:
    """
    The old value stays as it was; a directory that became unusable, or empty, is refused.
    """
    text = generate_signing_key().decode()
    path = write_new(tmp_path / "keys", generate_signing_key(), created_at=NOON)
    before = DirectoryKeys.load(tmp_path / "keys", text=text, text_read_at=NOON)
    path.unlink()
    write_new(tmp_path / "keys", generate_signing_key(), created_at=NOON)
    after = before.reread()
    kept = {record.kid for record in before.local_keys()} & {record.kid for record in after.local_keys()}

    assert (len(before.local_keys()), len(after.local_keys()), len(kept)) == (2, 2, 1)
    put(tmp_path / "keys" / "half.pem", b"-----BEGIN PRIVATE KEY-----")
    with pytest.raises(KeyProblem, match="half"):
        after.reread()
    (tmp_path / "files").mkdir()
    alone = write_new(tmp_path / "files", generate_signing_key(), created_at=NOON)
    files = DirectoryKeys.load(tmp_path / "files")
    alone.unlink()
    with pytest.raises(KeyProblem, match="holds no key"):
        files.reread()


def test_a_link_is_judged_by_what_it_points_to(tmp_path: Path) -> None:
    """
    Mounted secrets are symbolic links: the target's mode counts.
    """
    (tmp_path / "data").mkdir()
    target = put(tmp_path / "data" / "key", generate_signing_key())
    (tmp_path / "key.pem").symlink_to(target)

    assert len(DirectoryKeys.load(tmp_path).local_keys()) == 1
    target.chmod(0o644)
    with pytest.raises(KeyProblem, match="0644"):
        DirectoryKeys.load(tmp_path)


def test_every_fault_is_in_one_report_by_file(tmp_path: Path) -> None:
    """
    All complaints at once, one line per file, none holding key material; the good key does not save the load.
    """
    good = generate_signing_key()
    loaded = load_pem_private_key(good, password=None)
    encrypted = loaded.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"password"))
    public = loaded.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    small = rsa.generate_private_key(public_exponent=65537, key_size=1024)  # noqa: S505 - weak on purpose
    faults = {
        "curve.pem": (pem_of(ec.generate_private_key(ec.SECP384R1())), "not P-256"),
        "empty.pem": (b"", "not a readable PEM"),
        "encrypted.pem": (encrypted, "encrypted"),
        "family.pem": (pem_of(x25519.X25519PrivateKey.generate()), "neither"),
        "junk.pem": (b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n", "not a readable PEM"),
        "public.pem": (public, "not a readable PEM"),
        "rsa.pem": (pem_of(small), "1024 bits"),
        "same.pem": (good, "the same key as good.pem"),
    }
    put(tmp_path / "good.pem", good)
    put(tmp_path / "readme.txt", b"not looked at", mode=0o644)
    for name, (content, _) in faults.items():
        put(tmp_path / name, content)
    (tmp_path / "directory.pem").mkdir()
    os.mkfifo(tmp_path / "fifo.pem", 0o600)

    with pytest.raises(KeyProblem) as refused:
        DirectoryKeys.load(tmp_path)

    complaints = {Path(line.split(": ")[0]).name: line for line in refused.value.complaints}
    assert {*faults, "directory.pem", "fifo.pem"} == complaints.keys()
    for name, (_, expected) in faults.items():
        assert expected in complaints[name]
    for line in good.decode().splitlines():
        assert line not in str(refused.value)


def test_a_missing_directory_is_a_problem_with_a_name(tmp_path: Path) -> None:
    """
    A misspelt path is not taken for a directory without keys.
    """
    with pytest.raises(KeyProblem, match="nowhere"):
        DirectoryKeys.load(tmp_path / "nowhere")


def test_repr_shows_kids_only(tmp_path: Path) -> None:
    """
    No private part leaves through repr.
    """
    write_new(tmp_path, generate_signing_key(), created_at=NOON)
    keys = DirectoryKeys.load(tmp_path)

    assert f"DirectoryKeys(kids={keys.local_keys()[0].kid})" == repr(keys)
