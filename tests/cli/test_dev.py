"""What `authsvc dev` refuses before it serves, and how it makes its key material."""

from datetime import UTC, datetime
from pathlib import Path

import pytest

from authsvc.cli.material import make_dev_secrets
from authsvc.system import SystemEntropy
from tests.cli.conftest import Run

CANARY = "canary0123456789canary0123456789"
NOW = datetime(2026, 1, 1, tzinfo=UTC)
FREE = {f"AUTHSVC_{part}_PORT": "0" for part in ("GRPC", "HTTP", "OPS", "SANDBOX")}


@pytest.mark.parametrize(
    ("words", "status", "says"),
    [
        (("--wechat", "real"), 2, "--app-id"),
        (("--wechat", "real", "--app-id", "wx1"), 2, "--app-secret-file"),
        (("--wechat", "real", "--app-id", "wx1", "--app-secret-file", "nowhere"), 78, "No such file"),
        (("--bind", "0.0.0.0"), 78, "grpc_host"),  # noqa: S104 - to be refused
        (("--data-dir", "a-file/data"), 1, "a-file/data"),
        (("--data-dir", "broken-master"), 78, "master.key"),
        (("--data-dir", "broken-signing"), 78, "signing"),
        (("--grpc-port", "x"), 78, "grpc_port"),
    ],
    ids=str,
)
def test_what_dev_refuses_is_told_in_a_sentence(
    run: Run, tmp_path: Path, words: tuple[str, ...], status: int, says: str
) -> None:
    """
    No traceback, nothing of any key file; whatever was there is untouched.
    """
    (tmp_path / "a-file").touch()
    for name in ("broken-master", "broken-signing"):
        make_dev_secrets(tmp_path / name, entropy=SystemEntropy(), now=NOW)
    (tmp_path / "broken-master/master.key").write_text(CANARY)
    broken = next((tmp_path / "broken-signing/signing").iterdir())
    broken.write_text(CANARY)
    result = run("dev", *words, **FREE)

    assert (result.exit_code, type(result.exception)) == (status, SystemExit)
    assert says in result.stderr
    assert CANARY not in result.output
    assert (tmp_path / "broken-master/master.key").read_text() == CANARY
    assert broken.read_text() == CANARY


@pytest.mark.parametrize("environment", ["test", "prod"])
def test_dev_runs_in_dev_only(run: Run, environment: str) -> None:
    """
    A machine that says it is production does not get generated keys and a sandbox.
    """
    result = run("dev", AUTHSVC_ENV=environment, **FREE)

    assert result.exit_code == 78
    assert not Path(".authsvc").exists()


def test_material_is_made_once_and_kept(tmp_path: Path) -> None:
    """
    A second start uses the same files; everything is private.
    """
    first = make_dev_secrets(tmp_path / "data", entropy=SystemEntropy(), now=NOW)
    files = {path: path.read_bytes() for path in (tmp_path / "data").rglob("*") if path.is_file()}
    second = make_dev_secrets(tmp_path / "data", entropy=SystemEntropy(), now=NOW)

    assert first.master.ids() == second.master.ids()
    assert [key.kid for key in first.signing.local_keys()] == [key.kid for key in second.signing.local_keys()]
    assert {path: path.read_bytes() for path in (tmp_path / "data").rglob("*") if path.is_file()} == files
    assert len(files) == 3
    assert all(path.stat().st_mode & 0o777 == 0o600 for path in files)


def test_two_first_starts_at_once_agree_on_the_master_key(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    Another process that makes the file between our look and our write wins; its key is used and kept.
    """
    other = make_dev_secrets(tmp_path / "other", entropy=SystemEntropy(), now=NOW)
    data = tmp_path / "data"

    class Overtaken(SystemEntropy):
        def token_bytes(self, count: int) -> bytes:
            (data / "master.key").write_bytes((tmp_path / "other/master.key").read_bytes())
            return super().token_bytes(count)

    mine = make_dev_secrets(data, entropy=Overtaken(), now=NOW)

    assert mine.master.ids() == other.master.ids()
    assert (data / "master.key").read_bytes() == (tmp_path / "other/master.key").read_bytes()
    assert [path.name for path in data.iterdir() if path.name.startswith(".")] == []


def test_a_start_that_was_killed_leaves_no_half_made_key(tmp_path: Path) -> None:
    """
    The key file appears whole or not at all, so the next start is a first start again.
    """

    class Killed(SystemEntropy):
        def token_bytes(self, count: int) -> bytes:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        make_dev_secrets(tmp_path / "data", entropy=Killed(), now=NOW)

    assert not (tmp_path / "data/master.key").exists()
    assert make_dev_secrets(tmp_path / "data", entropy=SystemEntropy(), now=NOW).master.ids()


@pytest.mark.parametrize("words", [("--accept-exposure",), ("--accept-exposure", "true")])
def test_exposure_is_accepted_by_a_flag(run: Run, words: tuple[str, ...]) -> None:
    """
    `--bind ADDR --accept-exposure`, as the design writes it; a value may follow.
    """
    result = run("sandbox", "--sandbox-host", "203.0.113.1", *words, "--sandbox-port", "0")

    assert result.exit_code == 1  # that address is not ours to bind, but nobody asked for consent any more
    assert "cannot listen on 203.0.113.1:0" in result.stderr
    assert run("sandbox", "--sandbox-host", "203.0.113.1", "--sandbox-port", "0").exit_code == 78
