"""
The sandbox's pages say everything that it can do, and their examples work as printed.
"""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from authsvc.sandbox import FAULTS, VARIANTS, SandboxServer
from authsvc.sandbox.parts import PREFIX
from tests.sandbox.wire import Wire

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "docs/sandbox.md", ROOT / "docs/sandbox.zh-CN.md"]
PYTHON = re.compile(r"^```python\n(.*?)^```", re.MULTILINE | re.DOTALL)
BODY = re.compile(r"curl (-X \w+ )?\$BASE(\S+) +-d '(.*)'")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_fault_variant_and_call_is_listed(page: Path) -> None:
    """
    A row per fault with what it takes, a row per variant, and every path of the control API.
    """
    text = page.read_text("utf-8")
    rows = re.findall(r"^\| `([a-z0-9-]+)` \| [^|]+ \| ?([^|]*)\|$", text, re.MULTILINE)
    assert {name: kind.param.value != "none" for name, kind in FAULTS.items()} == {
        name: bool(unit.strip()) for name, unit in rows
    }
    assert list(VARIANTS) == re.findall(r"^\| `([a-z0-9-]+)` \| [^|]+ \|$", text, re.MULTILINE)
    sources = "".join(path.read_text("utf-8") for path in (ROOT / "authsvc/sandbox").glob("*.py"))
    paths = re.findall(r'web\.\w+\(PREFIX \+ "(/[^"]+)"', sources)
    assert len(paths) > 15
    assert [path for path in paths if path not in text] == []


@pytest.mark.parametrize("text", [page.read_text("utf-8") for page in PAGES], ids=["en", "zh"])
async def test_the_printed_calls_are_accepted(server: SandboxServer, wire: Wire, text: str) -> None:
    """
    Every curl line with a body is a call that the sandbox takes.
    """
    calls = BODY.findall(text)
    assert len(calls) == 5
    for method, path, body in calls:
        verb = method.split()[1] if method else "POST"
        answer = await wire.control(verb, path.removeprefix(PREFIX), raw=body.encode())
        assert answer.status == 200, (path, body, answer.body)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_the_python_examples_pass(tmp_path: Path, page: Path) -> None:
    """
    Saved as they are printed, they are tests that pass.
    """
    examples = PYTHON.findall(page.read_text("utf-8"))
    for number, example in enumerate(examples):
        (tmp_path / f"test_example{number}.py").write_text(example)
    done = subprocess.run(  # noqa: S603 - our own interpreter and files
        [
            sys.executable,
            "-m",
            "pytest",
            "-q",
            "-p",
            "no:cacheprovider",
            "--rootdir",
            str(tmp_path),
            str(tmp_path),
        ],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
        timeout=90,
    )
    assert done.returncode == 0, done.stdout
    assert "3 passed" in done.stdout
