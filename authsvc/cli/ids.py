"""Commands whose arguments may be ids of ours, one in 64 of which begins with a dash and is no option."""

import re
from typing import Any

import click

_DASHED_ID = re.compile(r"-(?=[A-Za-z0-9_-]{21}$|[A-Za-z0-9_-]{42}$)")  # 128-bit ids, and key ids
_STAND_IN = "\N{NULL}"  # no argument of a process holds one


class TakesIds(click.Command):
    """Takes an id that begins with a dash for what it is, wherever it stands."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """See click.Command."""
        rest = super().parse_args(ctx, [_DASHED_ID.sub(_STAND_IN, arg, count=1) for arg in args])
        ctx.params = {name: _restored(value) for name, value in ctx.params.items()}
        return rest


class GroupWithIds(click.Group):
    """A group whose commands take ids."""

    command_class = TakesIds


def _restored(value: Any) -> Any:
    if isinstance(value, str):
        return value.replace(_STAND_IN, "-")
    return tuple(map(_restored, value)) if isinstance(value, tuple) else value
