"""Every command explains itself."""

from pathlib import Path

import click
import pytest

from authsvc.cli import main
from tests.cli.conftest import Run


def all_commands() -> list[tuple[str, ...]]:
    found: list[tuple[str, ...]] = [()]
    context = click.Context(main)
    for name in main.list_commands(context):
        command = main.get_command(context, name)
        found.append((name,))
        if isinstance(command, click.Group):
            found += [(name, below) for below in command.list_commands(context)]
    return found


@pytest.mark.parametrize("words", all_commands(), ids=" ".join)
def test_help_is_there_and_names_no_path_of_this_machine(run: Run, words: tuple[str, ...]) -> None:
    """
    `--help` exits 0 and shows usage; what it says is the same on every machine.
    """
    result = run(*words, "--help")

    assert result.exit_code == 0
    assert result.stdout.startswith(f"Usage: {' '.join(('authsvc', *words))} ")
    assert str(Path.home()) not in result.stdout
    assert str(Path.cwd()) not in result.stdout


def test_the_commands_of_the_design_are_there(run: Run) -> None:
    """
    What scripts and pages rely on.
    """
    listed = run("--help").stdout
    wanted = {
        "config",
        "demo",
        "dev",
        "doctor",
        "edge",
        "keys",
        "migrate",
        "sandbox",
        "serve",
        "sessions",
        "token",
    }

    assert wanted <= set(main.list_commands(click.Context(main)))
    assert all(f"  {name} " in listed for name in wanted)


@pytest.mark.parametrize(
    "words",
    [
        ("nonsense",),
        ("serve", "--nonsense"),
        ("serve", "--grpc-port"),
        ("keys", "nonsense"),
        ("dev", "extra"),
    ],
)
def test_what_does_not_exist_is_a_usage_error(run: Run, words: tuple[str, ...]) -> None:
    """
    Exit status 2, as everywhere.
    """
    assert run(*words).exit_code == 2
