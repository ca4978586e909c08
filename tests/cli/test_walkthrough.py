"""The printed walk-through on machines that are not like ours."""

import shlex
import sys
from pathlib import Path

import pytest

from authsvc.cli import walkthrough

ADDRESSES = {
    "grpc": "127.0.0.1:1",
    "http": "http://127.0.0.1:2",
    "sandbox": "http://127.0.0.1:3",
    "ops": "http://127.0.0.1:4",
}


def test_a_path_with_spaces_is_one_word(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """
    Wherever Python lives, the pasted command is that command.
    """
    monkeypatch.setattr(sys, "executable", str(tmp_path / "my tools/bin/python"))
    lines = [line for line in walkthrough.text(ADDRESSES, "wx1").splitlines() if "token verify" in line]

    assert lines
    assert {shlex.split(line)[0] for line in lines} == {str(tmp_path / "my tools/bin/authsvc")}


def test_a_virtual_environment_below_the_folder_is_short(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """
    From a clone one pastes `.venv/bin/authsvc`.
    """
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "executable", str(tmp_path / ".venv/bin/python"))

    assert "\n.venv/bin/authsvc token verify" in walkthrough.text(ADDRESSES, "wx1")


def test_with_the_real_wechat_the_code_is_the_users_own() -> None:
    """
    Nothing is minted; the place for the code is shown.
    """
    shown = walkthrough.text({name: url for name, url in ADDRESSES.items() if name != "sandbox"}, "wx1")

    assert "sandbox/v1" not in shown
    assert "\nCODE=..." in shown


def test_the_banner_names_every_address() -> None:
    """
    And where the data is.
    """
    banner = walkthrough.banner(ADDRESSES, Path("data"))

    assert all(address in banner for address in ADDRESSES.values())
    assert "data/" in banner
