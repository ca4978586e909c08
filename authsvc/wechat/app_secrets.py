"""Which of an app's two secrets is in use (DESIGN section 6). A state machine without I/O."""

from dataclasses import dataclass, field
from typing import Self


@dataclass(frozen=True, slots=True, eq=False)
class Secret:
    """One AppSecret; `name` is `current` or `next`, as it is configured."""

    name: str
    text: str = field(repr=False)


class AppSecrets:
    """
    The secret to use now, and the other one if there is one.

    A secret *on trial* is used because the other was refused, and before anything has proved it.
    """

    def __init__(self, current: str, following: str | None) -> None:
        self.active = Secret("current", current)
        self.other = None if following is None or following == current else Secret("next", following)
        self.on_trial = False
        self._configured = (current, following)

    def renewed(self, current: str, following: str | None) -> Self:
        """
        Return the secrets of new settings; itself, with all it knows, where they are the same.

        A `next` that has been switched to and is still `next` stays in use.
        """
        if self._configured == (current, following):
            return self
        fresh = type(self)(current, following)
        proven = self.active.name == "next" and not self.on_trial
        if proven and fresh.other is not None and fresh.other.text == self.active.text:
            fresh.switch(fresh.active, trial=False)
        return fresh

    def switch(self, refused: Secret, *, trial: bool) -> bool:
        """Use the other secret in place of *refused*; False if that is not, or no longer, the one in use."""
        if self.active is not refused or self.other is None:
            return False
        self.active, self.other = self.other, refused
        self.on_trial = trial
        return True

    def confirm(self, used: Secret) -> bool:
        """Note that WeChat accepted *used*; True if that ends its trial."""
        if used is not self.active or not self.on_trial:
            return False
        self.on_trial = False
        return True

    def give_up(self, refused: Secret) -> None:
        """Note that WeChat refused a secret on trial: neither works, and the one before it is in use again."""
        if self.on_trial and self.switch(refused, trial=False):
            self.on_trial = False
