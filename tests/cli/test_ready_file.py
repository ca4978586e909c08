"""The ready file is there while its own process serves, and only then."""

import json
import os
import subprocess
import sys
from pathlib import Path

from authsvc.cli.running import ReadyFile


def test_it_comes_and_goes_with_its_process(tmp_path: Path) -> None:
    """
    Announced, it holds the addresses and our pid; withdrawn, it is gone.
    """
    path = tmp_path / "ready.json"
    ready = ReadyFile(str(path))
    ready.announce({"grpc": "127.0.0.1:1"})
    assert json.loads(path.read_text()) == {"grpc": "127.0.0.1:1", "pid": os.getpid()}
    ready.withdraw()
    assert not path.exists()


def test_a_leftover_of_a_killed_process_is_removed(tmp_path: Path) -> None:
    """
    A file whose process is gone, or that nobody can read, does not outlive the next start.
    """
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    for leftover in (json.dumps({"pid": gone.pid}), "not JSON", "[]", json.dumps({"pid": "x"})):
        path = tmp_path / "ready.json"
        path.write_text(leftover)
        ReadyFile(str(path))
        assert not path.exists()


def test_a_start_beside_a_running_service_leaves_its_file(tmp_path: Path) -> None:
    """
    A second start on the same path, which will fail on the ports, takes nothing away.
    """
    path = tmp_path / "ready.json"
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as other:
        path.write_text(json.dumps({"pid": other.pid}))
        second = ReadyFile(str(path))
        second.withdraw()
        assert path.exists()
        other.communicate(b"\n")
