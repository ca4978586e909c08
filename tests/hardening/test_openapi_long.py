"""schemathesis, with all its checks and the links of the document, against a live edge with everything behind it."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from authsvc.sandbox import SANDBOX_APPS
from tests.e2e.serving import sandbox, serve_with_edge

pytestmark = [pytest.mark.long, pytest.mark.timeout(1800)]
_HERE = Path(__file__).parent
_ROOT = _HERE.parents[1]


@pytest.mark.parametrize("seed", ["1", "20261122"])
def test_the_edge_does_what_its_document_says(tmp_path: Path, seed: str) -> None:
    """Examples, boundaries, generated requests and chains of them: no failure of any check, and the links are used."""
    with (
        sandbox(tmp_path / "sandbox") as (_, wechat),
        serve_with_edge(tmp_path / "site", wechat=wechat) as (process, _service),
    ):
        edge = process.addresses()["http"]
        done = subprocess.run(  # noqa: S603 - the installed tool, on our own servers
            [
                str(Path(sys.executable).with_name("schemathesis")),
                "--config-file", str(_HERE / "openapi/schemathesis.toml"),
                "run", f"{edge}/openapi.json", "--checks", "all", "--phases", "examples,coverage,fuzzing,stateful",
                "--max-examples", "100", "--seed", seed, "--generation-database", "none", "--no-color",
            ],
            cwd=tmp_path,
            env={
                **os.environ,
                "PYTHONPATH": str(_ROOT),
                "SCHEMATHESIS_HOOKS": "tests.hardening.openapi.hooks",
                "FUZZED_SANDBOX": wechat,
                "FUZZED_EDGE": edge,
                "FUZZED_APP": SANDBOX_APPS[0].app_id,
            },
            capture_output=True,
            text=True,
            check=False,
        )  # fmt: skip
    assert done.returncode == 0, done.stdout[-8000:] + done.stderr[-2000:]
    assert "Stateful (not applicable)" not in done.stdout
    links = re.search(r"API Links:\s+(\d+) covered", done.stdout)
    assert links is not None
    assert int(links[1]) >= 2
