"""
The Python client works under every runtime that `clients/README.md` calls supported, from the lowest to the newest.

Each pair of grpcio and protobuf is installed from a lock with hashes, beside and without our own environment; a fresh
checkout needs the package index for it once. What the table says is what is tested here.
"""

import hashlib
import json
import os
import re
import sys
from pathlib import Path

import pytest

from tests.contract.commands import ROOT, run
from tests.e2e.running import dev
from tests.e2e.wire import D1

HERE = Path(__file__).resolve().parent
RUNTIMES = ("lowest", "middle", "newest")
README = ROOT / "clients" / "README.md"
_PIN = re.compile(r"^([a-z-]+)==([0-9.]+)", re.MULTILINE)


def pins(runtime: str) -> dict[str, str]:
    """The versions a lock installs."""
    return dict(_PIN.findall((HERE / "runtimes" / f"{runtime}.lock").read_text("ascii")))


def minor(version: str) -> str:
    """The first two numbers."""
    return ".".join(version.split(".")[:2])


def installed(runtime: str) -> Path:
    """Return a folder with this runtime in it, installing it if its lock is new."""
    lock = HERE / "runtimes" / f"{runtime}.lock"
    digest = hashlib.sha256(lock.read_bytes()).hexdigest()[:12]
    place = ROOT / ".cache" / "runtimes" / f"{runtime}-{sys.implementation.cache_tag}-{digest}"
    if not place.exists():
        # Renamed when complete: an interrupted or parallel install leaves no half of one behind.
        unfinished = place.with_name(f"{place.name}.{os.getpid()}")
        pip = (sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check", "install")
        done = run(
            *pip, "--require-hashes", "--only-binary", ":all:", "--requirement", lock, "--target", unfinished
        )
        assert done.returncode == 0, done.stderr
        unfinished.rename(place)
    return place


def probe(runtime: str, *words: str | Path) -> dict[str, object]:
    """Return what the probe saw under this runtime; -S leaves our own environment out."""
    path = os.pathsep.join(map(str, (installed(runtime), ROOT / "clients/python", ROOT)))
    env = {"PYTHONPATH": path, "PYTHONDONTWRITEBYTECODE": "1"}
    done = run(sys.executable, "-S", HERE / "runtime_probe.py", *words, env=env)
    assert done.returncode == 0, done.stderr
    seen: dict[str, object] = json.loads(done.stdout)
    for library in ("grpcio", "protobuf"):
        assert seen[library] == pins(runtime)[library]
    return seen


@pytest.mark.long
@pytest.mark.timeout(600)  # it may install all of them
def test_every_runtime_reads_what_every_other_wrote(tmp_path: Path) -> None:
    """
    Every message of the contract, every field set, is the same in each runtime, whichever wrote it.
    """
    for writer in RUNTIMES:
        folder = tmp_path / writer
        folder.mkdir()
        assert probe(writer, "write", folder)["written"]
        for reader in RUNTIMES:
            assert probe(reader, "read", folder)["differing"] == []


@pytest.mark.long
@pytest.mark.timeout(300)
@pytest.mark.parametrize("runtime", RUNTIMES)
def test_a_runtime_calls_a_live_service(runtime: str, tmp_path: Path) -> None:
    """
    Under each runtime a token is verified by the server, by the asyncio verifier and by the threaded one.
    """
    with dev(tmp_path, "--quiet") as (_, service):
        login = service.login()

        seen = probe(runtime, "call", service.addresses["grpc"], D1, login["access_token"])

        assert [seen["remote"], seen["sync"], seen["async"]] == [login["session_id"]] * 3


def table_of(page: Path) -> dict[str, str]:
    """The rows of the page's table of supported runtimes: what is supported, and with what it was tested."""
    rows = re.findall(r"^\| `([a-z]+)` \| ([^|]+) \| ([^|]+) \|", page.read_text("utf-8"), re.MULTILINE)
    return {name: tested.strip() for name, _, tested in rows}


@pytest.mark.parametrize("page", [README, README.with_name("README.zh-CN.md")], ids=lambda page: page.name)
def test_the_table_of_supported_runtimes_is_what_is_tested(page: Path) -> None:
    """
    The versions in the table's last column are those of the locks, and the claimed floors are among them.
    """
    tested = table_of(page)
    versions = {name: [minor(pins(runtime)[name]) for runtime in RUNTIMES] for name in ("grpcio", "protobuf")}
    project = (ROOT / "clients/python/pyproject.toml").read_text("utf-8")
    floors = dict(re.findall(r'"(grpcio|protobuf|cryptography)>=([0-9.]+)', project))

    oldest = re.search(r'requires-python = ">=([0-9.]+)"', project)
    assert oldest is not None
    assert tested["python"] == oldest[1]
    for name, expected in versions.items():
        assert re.findall(r"[0-9]+\.[0-9]+", tested[name]) == expected
    for name, floor in floors.items():
        assert (pins("lowest")[name] + ".").startswith(f"{floor}.")
