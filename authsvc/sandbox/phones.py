"""
The phone number each person has, the same in every app.

Numbers are made up from the user's name, in ranges nobody is assigned, unless one is set.
"""

import hmac
import re
from dataclasses import dataclass, field
from typing import Final

from authsvc.sandbox.outcomes import BadInput

_KEY: Final = b"authsvc sandbox phone numbers, version 1"
_NUMBER: Final = re.compile(r"\+?([0-9]{4,20})")
_COUNTRY: Final = re.compile(r"[0-9]{1,4}")


@dataclass(frozen=True, slots=True)
class PhoneNumber:
    """
    A number without its country, and the country's calling code.
    """

    pure: str = field(repr=False)
    country: str = "86"

    @property
    def full(self) -> str:
        """
        With the country's prefix, but for Chinese numbers (facts/wechat-api.md section 3.1).
        """
        return self.pure if self.country == "86" else f"+{self.country}{self.pure}"


class Phones:
    """
    Who has which number.
    """

    def __init__(self) -> None:
        self._numbers: dict[str, PhoneNumber] = {}

    def of(self, user: str) -> PhoneNumber:
        """
        The user's number: the one set, else always the same one made from the name.
        """
        return self._numbers.get(user) or _made_up(user)

    def set(self, user: str, *, number: str, country: str = "86") -> None:
        """
        The user has this number, given without its country code.

        Raises:
            BadInput: either is not made of digits, or too long.
        """
        matched = _NUMBER.fullmatch(number)
        if matched is None:
            raise BadInput("phone must have 4 to 20 digits")
        if not _COUNTRY.fullmatch(country):
            raise BadInput("country_code must have 1 to 4 digits")
        self._numbers[user] = PhoneNumber(matched[1], country)


def _made_up(user: str) -> PhoneNumber:
    digest = hmac.digest(_KEY, user.encode(), "sha256")
    # 100 begins no mobile number in China.
    return PhoneNumber(f"100{int.from_bytes(digest[:8], 'big') % 10**8:08d}")
