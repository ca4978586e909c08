"""The `legacy` table of an app: tokens of the home-made service that it is migrated from (docs/migration.md)."""

import base64
import binascii
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Annotated, Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, SecretStr, field_validator, model_validator

from authsvc.domain.legacy_token import (
    MAX_LIFETIME,
    MIN_SECRET_BYTES,
    LegacyPolicy,
    LegacySubject,
    check_header,
)

_LEAST_SECRET_BYTES = 16
_RESERVED = frozenset({"aud", "sid", "sp", "client_id"})
"""What our own tokens say and a legacy token never does."""


class LegacyTable(BaseModel):
    """
    One `[apps.legacy]` table.

    The secret may come from a file, a command or a variable (`secret_file`, `secret_command`, `secret_env`).
    """

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    secret: SecretStr
    encoding: Literal["utf-8", "base64"] = "utf-8"
    accept_weak_secret: bool = False
    legacy_until: AwareDatetime
    header: Mapping[str, str] = Field(default_factory=lambda: {"alg": "HS256", "typ": "JWT"})
    claims: tuple[str, ...] = ()
    optional_claims: tuple[str, ...] = ()
    expected: Mapping[str, str] = Field(default_factory=dict)
    user_claim: str = Field(min_length=1, max_length=64)
    user_is: LegacySubject
    issued_claim: str = Field("iat", max_length=64)
    expires_claim: str = Field("exp", min_length=1, max_length=64)
    max_lifetime: Annotated[float, Field(ge=60, le=MAX_LIFETIME.total_seconds())] = 30 * 86400
    scopes: tuple[str, ...] = ()
    roles: tuple[str, ...] = ()

    @field_validator("header")
    @classmethod
    def _judge_header(cls, header: Mapping[str, str]) -> Mapping[str, str]:
        check_header(header)
        return header

    @model_validator(mode="after")
    def _judge(self) -> "LegacyTable":
        named = {self.user_claim, self.expires_claim, *self.expected}
        if self.issued_claim:
            named.add(self.issued_claim)
        both = set(self.claims) & set(self.optional_claims)
        if both:
            raise ValueError("a claim is in claims or in optional_claims, not in both")
        if self.claims and not named <= set(self.claims):
            raise ValueError("claims must hold the user, issued and expires claims and all that are expected")
        if named & set(self.optional_claims):
            raise ValueError("what is read or expected of a token cannot be optional")
        if _RESERVED & ({*self.claims, *self.optional_claims} | named):
            raise ValueError(f"{', '.join(sorted(_RESERVED))} are claims of authsvc's own tokens only")
        self._judge_secret()
        return self

    def _judge_secret(self) -> None:
        raw = self._secret_bytes()
        if raw.lstrip().startswith(b"-----BEGIN"):
            # The oldest trick of all: a public key as an HMAC secret (RFC 8725 section 2.1).
            raise ValueError("secret: is a PEM file, which is no HMAC secret")
        if len(raw) < _LEAST_SECRET_BYTES:
            raise ValueError(f"secret: is shorter than {_LEAST_SECRET_BYTES} bytes; anybody can guess it")
        if len(raw) < MIN_SECRET_BYTES and not self.accept_weak_secret:
            raise ValueError(
                f"secret: is shorter than the {MIN_SECRET_BYTES} bytes that HS256 asks for; set accept_weak_secret to "
                "take it all the same"
            )

    def _secret_bytes(self) -> bytes:
        text = self.secret.get_secret_value()
        if self.encoding == "utf-8":
            return text.encode()
        try:
            return base64.b64decode(text, validate=True)
        except (binascii.Error, ValueError):
            raise ValueError("secret: is not base64") from None

    def policy(self) -> LegacyPolicy:
        """Return what the domain knows of it. Without `claims` exactly those are expected that are read."""
        named = {self.user_claim, self.expires_claim, *self.expected, *filter(None, [self.issued_claim])}
        return LegacyPolicy(
            secret=self._secret_bytes(),
            until=self.legacy_until,
            user_claim=self.user_claim,
            subject=self.user_is,
            header=dict(self.header),
            claims=frozenset(self.claims or named),
            optional_claims=frozenset(self.optional_claims),
            expected=dict(self.expected),
            issued_claim=self.issued_claim,
            expires_claim=self.expires_claim,
            max_lifetime=timedelta(seconds=self.max_lifetime),
            scopes=self.scopes,
            roles=self.roles,
        )


def is_too_far(until: datetime, *, now: datetime, ahead: timedelta) -> bool:
    """Tell whether a migration would last longer than it may. One that is over is no mistake: it just is."""
    return until > now + ahead
