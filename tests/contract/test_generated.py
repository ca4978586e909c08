"""`protos/generate.sh --check` tells current stubs from stale ones."""

import shutil
from pathlib import Path

import pytest

from tests.contract.commands import ROOT, run


@pytest.mark.long
def test_check_notices_what_is_stale(tmp_path: Path) -> None:
    """A current tree passes; an edited stub, a changed proto and a file too many each fail with what to do."""
    # Makes .venv-gen where it is missing, which the copy below then shares.
    assert run(ROOT / "protos" / "generate.sh", "--check").returncode == 0
    tree = tmp_path / "tree"
    shutil.copytree(ROOT / "protos", tree / "protos")
    stubs = tree / "clients" / "python" / "authapi" / "v1"
    shutil.copytree(ROOT / "clients" / "python" / "authapi" / "v1", stubs)
    shutil.copy2(ROOT / "requirements-gen.lock", tree)
    (tree / ".venv-gen").symlink_to(ROOT / ".venv-gen")

    def check() -> tuple[int, str]:
        ran = run(tree / "protos" / "generate.sh", "--check", cwd=tmp_path)
        return ran.returncode, ran.stderr

    assert check() == (0, "")

    def becomes_stale(path: Path, text: str) -> None:
        before = path.read_text() if path.exists() else None
        path.write_text((before or "") + text)
        status, said = check()
        assert status == 1
        assert "make gen" in said
        if before is None:
            path.unlink()
        else:
            path.write_text(before)

    becomes_stale(stubs / "types_pb2.py", "# edited by hand\n")
    becomes_stale(stubs / "gone_pb2.py", "# its proto was deleted\n")
    becomes_stale(tree / "protos" / "authapi" / "v1" / "types.proto", "\n// Added.\nmessage Added {}\n")
    assert check() == (0, "")
