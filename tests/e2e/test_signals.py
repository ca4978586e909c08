"""Starting twice and being told to stop."""

import signal
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.e2e.running import FREE_PORTS, Running, command, dev, wait_until
from tests.e2e.wire import Service


@pytest.mark.parametrize("part", ["grpc", "http", "sandbox", "ops"])
def test_a_second_start_on_a_taken_port_fails_loudly(
    shared: tuple[Running, Service], tmp_path: Path, part: str
) -> None:
    """
    Whichever port is taken, the second instance exits non-zero, says which address it is in one sentence without
    a traceback, and the first one goes on.
    """
    process, service = shared
    address = service.addresses[part]
    port = str(urlsplit(address if "//" in address else f"//{address}").port)
    words = list(FREE_PORTS)
    words[words.index(f"--{part}-port") + 1] = port
    done = command("dev", *words, "--data-dir", "data", "--ready-file", "ready.json", cwd=tmp_path)

    assert done.returncode != 0
    assert port in done.stderr
    assert "Error: " in done.stderr
    assert "Traceback" not in done.stderr
    assert "authsvc dev is ready" not in done.stdout
    assert not (tmp_path / "ready.json").exists()
    assert process.process.poll() is None
    assert service.get("/healthz").status == 200


def test_a_second_signal_stops_at_once(tmp_path: Path) -> None:
    """
    While the first Ctrl-C still drains (for 300 s here), a second one ends the process with the signal's status.
    """
    with dev(tmp_path, "--drain-wait", "300") as (process, _):
        process.process.send_signal(signal.SIGINT)
        wait_until(lambda: not process.ready_file.exists(), what="the ready file goes as soon as it stops")

        assert process.process.poll() is None
        assert process.stop(signal.SIGINT) == 128 + signal.SIGINT
