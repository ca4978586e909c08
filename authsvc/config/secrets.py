"""Secrets from elsewhere: a file that an orchestrator mounts, or a command that asks any secret manager."""

import shlex
import subprocess
from collections.abc import Mapping
from pathlib import Path

_COMMAND_TIMEOUT_S = 30


class SecretProblem(ValueError):
    """A secret could not be fetched; the text names the variable and never holds what was fetched."""


def read_file(name: str, path: str) -> str:
    """
    Return the file's text without the newline at its end.

    Raises:
        SecretProblem: it cannot be read.

    """
    try:
        return Path(path).expanduser().read_text(encoding="utf-8").rstrip("\r\n")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not UTF-8"
    raise SecretProblem(f"{name}: cannot read the file: {reason}")


def run_command(name: str, command: str) -> str:
    """
    Return what the command prints, without the newline at its end; no shell is involved.

    Raises:
        SecretProblem: it fails, prints nothing or takes longer than 30 s.

    """
    try:
        words = shlex.split(command)
        done = subprocess.run(  # noqa: S603 - running the operator's own command is the feature
            words, capture_output=True, text=True, timeout=_COMMAND_TIMEOUT_S, check=False
        )
    except (OSError, ValueError, subprocess.TimeoutExpired) as error:
        problem = type(error).__name__
    else:
        text = done.stdout.rstrip("\r\n")
        if done.returncode == 0 and text:
            return text
        problem = f"exit status {done.returncode}" if done.returncode else "it printed nothing"
    raise SecretProblem(f"{name}: the command failed: {problem}")


def resolve(name: str, given: Mapping[str, str | None], *, label: str = "") -> str | None:
    """
    Return the secret *name* from *given*, which may hold it under `name`, `name_file` or `name_command`.

    None if none of the three is there, or empty ones only.

    Raises:
        SecretProblem: more than one is there, or it cannot be fetched.

    """
    label = label or name
    direct, path, command = given.get(name), given.get(f"{name}_file"), given.get(f"{name}_command")
    present = [value for value in (direct, path, command) if value]
    if len(present) > 1:
        raise SecretProblem(f"{label}: give one of the value, its _FILE or its _COMMAND, not several")
    if path:
        return read_file(label, path)
    if command:
        return run_command(label, command)
    return direct or None
