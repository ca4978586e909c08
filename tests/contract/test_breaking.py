"""`buf breaking` guards the contract against the committed image of every release, and the guard bites."""

import shutil
from pathlib import Path

import pytest

from tests.contract.commands import BUF, ROOT, run

RELEASES = sorted((ROOT / "protos" / "released").glob("*.binpb"))


@pytest.mark.skipif(
    not RELEASES, reason="nothing is released yet: protos/README.md says how an image gets there"
)
def test_nothing_released_is_broken() -> None:
    """Whoever was built against the last release, or any before it, still works."""
    for image in RELEASES:
        checked = run(BUF, "breaking", "--against", image)
        assert (checked.returncode, checked.stdout) == (0, ""), image.name


@pytest.mark.parametrize(
    ("before", "after", "broken"),
    [
        ("string user_agent = 2;", "string user_agent = 9;", True),
        ("string user_agent = 2;", "string agent = 2;", True),
        ("string user_agent = 2;", "bytes user_agent = 2;", True),
        ("  // OPTIONAL. User agent of the device.\n  string user_agent = 2;\n", "", True),
        ("string user_agent = 2;", "string user_agent = 2;\n  // New.\n  string locale = 5;", False),
    ],
    ids=["renumbered", "renamed", "retyped", "deleted", "added"],
)
def test_the_guard_bites(tmp_path: Path, before: str, after: str, broken: bool) -> None:
    """Changing or deleting a field fails against an image of the contract as it was; adding one does not."""
    image = tmp_path / "0.1.0.binpb"
    assert run(BUF, "build", "--exclude-source-info", "-o", image).returncode == 0
    shutil.copy(ROOT / "buf.yaml", tmp_path)
    shutil.copytree(ROOT / "protos", tmp_path / "protos")
    types = tmp_path / "protos" / "authapi" / "v1" / "types.proto"
    text = types.read_text()
    assert text.count(before) == 1
    types.write_text(text.replace(before, after))
    checked = run(BUF, "breaking", "--against", image, cwd=tmp_path)
    assert (100 if broken else 0) == checked.returncode, checked.stdout + checked.stderr


def test_the_lint_asks_for_comments(tmp_path: Path) -> None:
    """`buf lint` is clean as committed, and one element without a comment fails it."""
    shutil.copy(ROOT / "buf.yaml", tmp_path)
    shutil.copytree(ROOT / "protos", tmp_path / "protos")
    clean = run(BUF, "lint", cwd=tmp_path)
    assert (clean.returncode, clean.stdout) == (0, "")
    types = tmp_path / "protos" / "authapi" / "v1" / "types.proto"
    types.write_text(types.read_text().replace("  // OPTIONAL. User agent of the device.\n", ""))
    assert 'Field "user_agent"' in run(BUF, "lint", cwd=tmp_path).stdout
