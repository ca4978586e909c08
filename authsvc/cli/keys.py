"""`authsvc keys`: make and list key material, and bring what is sealed under the newest master key."""

import asyncio
import json
import os
from pathlib import Path
from typing import Any

import click

from authsvc.cli import key_life
from authsvc.cli.material import configured_database, configured_secrets
from authsvc.cli.options import read_settings, settings_options
from authsvc.cli.resealing import Outcome, reseal_all
from authsvc.config import secrets
from authsvc.config.settings import PREFIX
from authsvc.domain.errors import StoreUnavailable
from authsvc.keys import DirectoryKeys, KeyProblem, MasterRing, generate_signing_key, write_new
from authsvc.storage import SchemaNotCurrent, open_store
from authsvc.system import SystemClock, SystemEntropy

_PASSPHRASE = f"{PREFIX}SIGNING_KEYS_PASSPHRASE"


@click.group("keys")
def command() -> None:
    """Generate keys, rotate or withdraw them, say what is known of them."""


for _subcommand in (key_life.status, key_life.rotate, key_life.activate, key_life.withdraw):
    command.add_command(_subcommand)


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

    The first key of a database signs at once; later ones are published first and sign when they are activated. It is
    encrypted if there is a passphrase (AUTHSVC_SIGNING_KEYS_PASSPHRASE, or its _FILE or _COMMAND).
    """
    if master:
        click.echo(MasterRing.generate(SystemEntropy()))
        return
    if not directory:
        raise click.UsageError("--dir is missing (or AUTHSVC_SIGNING_KEYS_DIR)")
    passphrase = _passphrase()
    pem = generate_signing_key(alg, passphrase=passphrase)
    try:
        path = write_new(Path(directory), pem, created_at=SystemClock().now(), passphrase=passphrase)
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
        keys = DirectoryKeys.load(Path(directory), passphrase=_passphrase()).local_keys()
    except KeyProblem as problem:
        raise click.ClickException("\n".join(problem.complaints)) from None
    except OSError as error:
        raise click.ClickException(f"{directory}: {error.strerror}") from None
    for key in keys:
        row = {"kid": key.kid, "alg": key.alg, "created_at": key.created_at.isoformat()}
        click.echo(json.dumps(row))


def _passphrase() -> str:
    """Return what signing keys are encrypted with, empty if nothing; no other setting has to be in order for it."""
    environ, given = os.environ, {}
    for suffix in ("", "_FILE", "_COMMAND"):
        given[_PASSPHRASE + suffix.lower()] = environ.get(_PASSPHRASE + suffix)
    try:
        return secrets.resolve(_PASSPHRASE, given) or ""
    except secrets.SecretProblem as problem:
        raise click.ClickException(str(problem)) from None


@command.command("rotate-sealing")
@settings_options("env")
def rotate_sealing(**given: Any) -> None:
    """
    Bring session keys and bound phone numbers under the first key of AUTHSVC_MASTER_KEYS, while servers run.

    First give every server the new key in front of the old ones, then run this. It may be stopped and run again.
    Prints how many were brought over; exits 1 if some open with no key of the ring (they are left as they are).
    """
    settings = read_settings(given)
    master = configured_secrets(settings).master
    database = configured_database(settings)

    async def main() -> Outcome:
        entropy = SystemEntropy()
        store = await open_store(database, clock=SystemClock(), entropy=entropy)
        try:
            return await reseal_all(
                store, master, entropy=entropy, told=lambda looked: click.echo(f"{looked:,} rows", err=True)
            )
        finally:
            await store.close()

    try:
        outcome = asyncio.run(main())
    except (SchemaNotCurrent, StoreUnavailable, ValueError, OSError) as error:
        raise click.ClickException(str(error)) from None
    click.echo(json.dumps({"resealed": outcome.resealed, "unopenable": outcome.unopenable}))
    if outcome.unopenable:
        raise SystemExit(1)
