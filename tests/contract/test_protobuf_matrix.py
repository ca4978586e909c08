"""
The stubs work under every protobuf that `authsvc-client` allows: 5.29, 6.33 and 7.x.

The runtimes are installed beside each other, from locks with hashes, into `.cache/`; a fresh checkout needs the
package index for it once. Each is tried by `protobuf_probe.py` in a process of its own.
"""

import hashlib
import json
import os
import sys
from pathlib import Path

import pytest

from tests.contract.commands import ROOT, run

HERE = Path(__file__).resolve().parent
VERSIONS = ("5.29", "6.33", "7")


def _runtime(version: str) -> Path:
    """Return a folder with this protobuf in it, installing it if its lock is new."""
    lock = HERE / f"protobuf-{version}.lock"
    digest = hashlib.sha256(lock.read_bytes()).hexdigest()[:12]
    place = ROOT / ".cache" / "protobuf" / f"{version}-{sys.implementation.cache_tag}-{digest}"
    if not place.exists():
        # Renamed when complete: an interrupted or parallel install leaves no half of one behind.
        unfinished = place.with_name(f"{place.name}.{os.getpid()}")
        pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check", "install"]
        installed = run(*pip, "--no-deps", "--require-hashes", "--requirement", lock, "--target", unfinished)
        assert installed.returncode == 0, installed.stderr
        unfinished.rename(place)
    return place


def _probe(version: str) -> dict[str, object]:
    """Return what the probe saw under this protobuf; a warning in it is an error."""
    path = os.pathsep.join(map(str, (_runtime(version), ROOT / "clients" / "python")))
    strict = ["-W", "error", "-W", "ignore:Type google:DeprecationWarning"]
    env = {"PYTHONPATH": path, "PYTHONDONTWRITEBYTECODE": "1"}
    ran = run(sys.executable, *strict, HERE / "protobuf_probe.py", env=env)
    assert ran.returncode == 0, ran.stderr
    seen: dict[str, object] = json.loads(ran.stdout)
    return seen


@pytest.mark.parametrize("version", VERSIONS)
def test_stubs_work(version: str) -> None:
    """Messages import without grpcio, every one survives a round trip, and a call through the gRPC stubs answers."""
    seen = _probe(version)
    assert f"{seen['protobuf']}.".startswith(f"{version}.")
    assert seen["messages_imported_grpc"] is False
    assert seen["answer"] == "authsvc"


def test_the_bytes_are_the_same() -> None:
    """One message is the same bytes whichever protobuf wrote it."""
    assert len({str(_probe(version)["bytes"]) for version in VERSIONS}) == 1
