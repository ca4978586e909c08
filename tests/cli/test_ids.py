"""Ids that begin with a dash."""

import click
import pytest
from click.testing import CliRunner

from authsvc.cli.ids import GroupWithIds

ID, OTHER = "-KeF1CUPZg6xKE5EjPhtEQ", "hKeF1CUPZg6xKE5EjPhtEQ"


@click.group(cls=GroupWithIds)
def group() -> None:
    pass


@group.command("pair")
@click.argument("first")
@click.argument("rest", nargs=-1)
@click.option("--named", default="")
@click.option("-h", "flag", is_flag=True)
def pair(*, first: str, rest: tuple[str, ...], named: str, flag: bool) -> None:
    click.echo(repr((first, rest, named, flag)))


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ((ID,), (ID, (), "", False)),
        ((OTHER, ID), (OTHER, (ID,), "", False)),
        ((ID, OTHER, "--named", ID, "-h"), (ID, (OTHER,), ID, True)),
        (("--", ID), (ID, (), "", False)),
        ((f"-{'h' * 42}",), (f"-{'h' * 42}", (), "", False)),
    ],
)
def test_a_dash_is_part_of_an_id(words: tuple[str, ...], told: tuple[object, ...]) -> None:
    """In any place, beside real options, with and without the separator."""
    done = CliRunner().invoke(group, ["pair", *words])
    assert (done.exit_code, done.stdout.strip()) == (0, repr(told))


def test_an_unknown_option_is_still_one() -> None:
    """What has not the length of an id is taken for what it looks like."""
    assert CliRunner().invoke(group, ["pair", "-Kx", ID]).exit_code == 2
