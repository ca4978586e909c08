"""The `wx.login` code: what is refused without asking WeChat, and what we remember of it."""

import hashlib

from authsvc.domain.errors import InvalidField, LoginCodeInvalid

# Never documented; 32 alphanumerics in every sample (facts page 1.1). Generous, since the shape may change.
MAX_CODE_LENGTH = 512
# Developer tools without a real app id hand out this text (facts page 1.1).
_MOCK_MARKERS = ("the code is a mock one",)


def check_code(code: str) -> None:
    """
    Refuse what cannot be a login code, before any I/O.

    Raises:
        InvalidField: empty or absurdly long.
        LoginCodeInvalid: a developer tool's mock code.

    """
    if not code:
        raise InvalidField("mini_program_code", "must not be empty")
    if len(code) > MAX_CODE_LENGTH:
        raise InvalidField("mini_program_code", f"must not exceed {MAX_CODE_LENGTH} characters")
    if any(marker in code for marker in _MOCK_MARKERS):
        raise LoginCodeInvalid("a developer tool's mock code")


def hash_code(code: str) -> bytes:
    """Return what a claim stores of a code: its SHA-256."""
    return hashlib.sha256(code.encode("utf-8", "surrogatepass")).digest()
