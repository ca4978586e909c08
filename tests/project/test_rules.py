"""Rules of the whole tree: imports, sizes, introductions, and nothing of the machine it was made on."""

import ast
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
GENERATED = "clients/python/authapi/v1/"
LONGEST = 500
TEXT = {
    ".py",
    ".pyi",
    ".md",
    ".toml",
    ".proto",
    ".yaml",
    ".yml",
    ".sh",
    ".lock",
    ".in",
    ".html",
    ".css",
    ".js",
    "",
}
# Spelt in pieces, so that this file does not break its own rule.
MACHINE = re.compile(r"(?<![\w.])/(?:wo" + r"rk|ho" + r"me|ro" + r"ot|Us" + r"ers)/[\w.]")
REGISTRY = re.compile(r"(?:index-url|extra-index|find-links|trusted-host|https?://)")


def tracked() -> list[str]:
    """The files that a clone has."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"],  # noqa: S607 - wherever git is
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    if listed.returncode:  # not a checkout, but an unpacked archive
        return [
            str(path.relative_to(ROOT))
            for top in ("authsvc", "tests", "clients", "docs", "protos", "bench")
            for path in (ROOT / top).rglob("*")
            if path.is_file() and "__pycache__" not in path.parts
        ]
    return [name for name in listed.stdout.splitlines() if (ROOT / name).is_file()]


FILES = tracked()
SOURCES = [name for name in FILES if name.endswith((".py", ".pyi")) and not name.startswith(GENERATED)]


def lint_imports(root: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(  # noqa: S603 - our own tool
        [str(Path(sys.executable).with_name("lint-imports")), "--no-cache"],
        cwd=root,
        env={**os.environ, "PYTHONPATH": f"{root}{os.pathsep}{root / 'clients/python'}"},
        capture_output=True,
        text=True,
        check=False,
        timeout=110,
    )


def test_the_import_contracts_are_kept() -> None:
    """
    Layers top to bottom, adapters behind ports, a core without I/O, protobuf at the wire only: none is broken.
    """
    done = lint_imports(ROOT)

    assert done.returncode == 0, done.stdout
    assert " 0 broken" in done.stdout


# Each breaks the contracts named beside it, whatever else it breaks.
PLANTED = {
    "authsvc/domain/planted.py": "import asyncio\nimport authsvc.service.issue\n",
    "authsvc/service/planted.py": "import grpc\nimport authapi.v1\n",
    "authsvc/edge/planted.py": "import authsvc.storage\n",
    "authsvc/wechat/planted.py": "import authsvc.status\n",
    "authsvc/ops/planted.py": "import authsvc.sandbox\n",
    "clients/python/authsvc_client/planted.py": "import authsvc.domain\n",
}


def copy_of_the_tree(folder: Path) -> Path:
    for name in SOURCES + [name for name in FILES if name.startswith(GENERATED)]:
        if name.startswith(("authsvc/", "clients/python/")):
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(ROOT / name, folder / name)
    shutil.copyfile(ROOT / "pyproject.toml", folder / "pyproject.toml")
    return folder


def test_every_import_contract_bites(tmp_path: Path) -> None:
    """
    With a wrong import planted for each, not one contract is kept; a new top-level module needs a place in the layers.
    """
    root = copy_of_the_tree(tmp_path)
    (root / "authsvc/planted.py").touch()
    homeless = lint_imports(root)
    (root / "authsvc/planted.py").unlink()
    for name, text in PLANTED.items():
        (root / name).write_text(text)
    planted = lint_imports(root)

    assert (homeless.returncode, "planted" in homeless.stdout) == (1, True)
    assert planted.returncode == 1
    assert "Contracts: 0 kept" in planted.stdout, planted.stdout


def test_every_long_file_is_split() -> None:
    """
    No file of source, test or script is over 500 lines; generated stubs are what they are.
    """
    long = {
        name: count
        for name in FILES
        if name.endswith((".py", ".pyi", ".proto", ".sh", ".js", ".html", ".css"))
        and not name.startswith(GENERATED)
        if (count := len((ROOT / name).read_text("utf-8").splitlines())) > LONGEST
    }

    assert long == {}


@pytest.mark.parametrize(
    "name", [name for name in SOURCES if name.endswith("__init__.py") and name.startswith("authsvc/")]
)
def test_every_package_introduces_itself(name: str) -> None:
    """
    Its docstring says what it owns; a package of several files says more than a line.
    """
    text = ast.get_docstring(ast.parse((ROOT / name).read_text("utf-8")))

    assert text
    assert len(text) >= 20


@pytest.mark.parametrize(
    "name", [name for name in SOURCES if name.startswith(("authsvc/", "tests/", "bench/"))]
)
def test_every_module_introduces_itself(name: str) -> None:
    """
    The first thing in a file is what it is for.
    """
    tree = ast.parse((ROOT / name).read_text("utf-8"))

    assert ast.get_docstring(tree) or not tree.body


def test_no_file_knows_the_machine_it_was_made_on() -> None:
    """
    No path of a developer's machine stands in the tree.
    """
    found = {
        f"{name}:{number}"
        for name in FILES
        if Path(name).suffix in TEXT
        for number, line in enumerate((ROOT / name).read_text("utf-8").splitlines(), start=1)
        if MACHINE.search(line)
    }

    assert found == set()


@pytest.mark.parametrize("name", [name for name in FILES if name.endswith(".lock")])
def test_locks_name_no_host_and_pin_by_hash(name: str) -> None:
    """
    Whoever installs decides where from; what is installed is decided here.
    """
    text = (ROOT / name).read_text("utf-8")
    pins = re.findall(r"^([A-Za-z0-9._-]+)==", text, re.MULTILINE)

    assert REGISTRY.findall(text) == []
    assert pins
    for block in re.split(r"\n(?=\S)", text.strip()):
        if "==" in block.splitlines()[0]:
            assert "--hash=sha256:" in block, block.splitlines()[0]


def test_the_targets_of_the_makefile_are_listed_by_help() -> None:
    """
    The targets that pages and CI rely on exist, each with its sentence.
    """
    text = (ROOT / "Makefile").read_text("utf-8")
    described = set(re.findall(r"^([a-z-]+):.*## .+", text, re.MULTILINE))
    wanted = {
        "run",
        "demo",
        "test",
        "test-long",
        "install",
        "gen",
        "gen-check",
        "fmt",
        "lint",
        "types",
        "bench",
        "check",
        "help",
    }

    assert wanted <= described
    ci = (ROOT / ".ci/run").read_text("utf-8")
    assert "make check" in ci
    assert (ROOT / ".ci/run").stat().st_mode & 0o111
