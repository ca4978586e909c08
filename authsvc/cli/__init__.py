"""
The `authsvc` command. Each subcommand is a module of this package, imported only when it is asked for.

Commands that start something read `Settings` (every setting is an option and an environment variable); commands
that look at a running service speak gRPC to it like anybody else.
"""

from importlib import import_module
from importlib.metadata import version

import click

# Module and one line of help by name, so that `authsvc --help` imports none of them.
_COMMANDS = {
    "audit": ("audit", "Follow, verify or export the audit trail."),
    "backup": ("backup", "Copy the database while it is in use."),
    "config": ("config", "Check or print the configuration."),
    "db": ("db", "Look at the database, or mark it as restored."),
    "demo": ("demo", "Play the whole story once on free ports and exit."),
    "dev": ("dev", "Everything on this machine: embedded database, WeChat sandbox, gRPC server, HTTP edge."),
    "doctor": ("doctor", "Look for what is wrong with the configuration, the database or a running service."),
    "edge": ("edge", "Run the HTTP edge."),
    "keys": ("keys", "Generate or list keys, or rotate the sealing key."),
    "migrate": ("migrate", "Bring the database to this release's schema."),
    "restore": ("restore", "Put a backup in the place of the database."),
    "sandbox": ("sandbox", "Run the WeChat sandbox alone."),
    "serve": ("serve", "Run the gRPC server."),
    "service-keys": ("service_keys", "Make, list or revoke service keys of callers."),
    "sessions": ("sessions", "List or revoke sessions of a running service."),
    "users": ("users", "Look at, block, merge, import, export or erase users of a running service."),
    "token": ("token", "Ask a running service about a token."),
}


class _Lazy(click.Group):
    """A group that knows its commands' names without importing them."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """See click.Group."""
        del ctx
        return sorted(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """See click.Group."""
        del ctx
        if cmd_name not in _COMMANDS:
            return None
        command = import_module(f"authsvc.cli.{_COMMANDS[cmd_name][0]}").command
        assert isinstance(command, click.Command)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """See click.Group."""
        del ctx
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in sorted(_COMMANDS.items())])


@click.group(cls=_Lazy, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(version("authsvc"), prog_name="authsvc")
def main() -> None:
    """Turn a WeChat mini-program's login code into a login that every internal service can trust."""
