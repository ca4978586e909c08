"""`authsvc keys`: make and list key material."""

import json
from pathlib import Path

import click

from authsvc.keys import DirectoryKeys, KeyProblem, MasterRing, generate_signing_key, write_new
from authsvc.system import SystemClock, SystemEntropy


@click.group("keys")
def command() -> None:
    """Generate or list keys."""


@command.command("generate")
@click.option(
    "--dir",
    "directory",
    envvar="AUTHSVC_SIGNING_KEYS_DIR",
    default="",
    help="Directory that receives the signing key",
)
@click.option("--alg", type=click.Choice(["ES256", "EdDSA", "RS256"]), default="ES256", show_default=True)
@click.option("--master", is_flag=True, help="Print a master key instead, for AUTHSVC_MASTER_KEYS")
def generate(*, directory: str, alg: str, master: bool) -> None:
    """
    Make a signing key in a new file (0600, nothing is overwritten), or print a master key.

    The first key of a database signs at once; later ones are published first and sign when they are activated.
    """
    if master:
        click.echo(MasterRing.generate(SystemEntropy()))
        return
    if not directory:
        raise click.UsageError("--dir is missing (or AUTHSVC_SIGNING_KEYS_DIR)")
    try:
        path = write_new(Path(directory), generate_signing_key(alg), created_at=SystemClock().now())
    except OSError as error:
        raise click.ClickException(f"{directory}: {error.strerror}") from None
    click.echo(str(path))


@command.command("list")
@click.option(
    "--dir",
    "directory",
    envvar="AUTHSVC_SIGNING_KEYS_DIR",
    required=True,
    help="Directory of the signing keys",
)
def list_keys(*, directory: str) -> None:
    """List the signing keys of a directory: key id, algorithm, creation time. Private parts are never shown."""
    try:
        keys = DirectoryKeys.load(Path(directory)).local_keys()
    except KeyProblem as problem:
        raise click.ClickException("\n".join(problem.complaints)) from None
    except OSError as error:
        raise click.ClickException(f"{directory}: {error.strerror}") from None
    for key in keys:
        row = {"kid": key.kid, "alg": key.alg, "created_at": key.created_at.isoformat()}
        click.echo(json.dumps(row))
