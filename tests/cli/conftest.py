"""Running commands in this process, in an empty folder and without the developer's settings."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from authsvc.cli import main

Run = Callable[..., Result]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """`run("keys", "list", AUTHSVC_X="…")`: the result of a command, its exit status and both outputs."""
    monkeypatch.chdir(tmp_path)
    for name in os.environ:
        if name.startswith("AUTHSVC_"):
            monkeypatch.delenv(name)

    def invoke(*words: str, stdin: str | None = None, **env: str) -> Result:
        return CliRunner().invoke(main, words, env=env, input=stdin, prog_name="authsvc")

    return invoke
