"""The callers that are declared: a TOML file of `[[principals]]` tables, judged whole, all complaints at once."""

import tomllib
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from authsvc.domain.ids import decode_id
from authsvc.domain.principals import Declared, Role, check_declared
from authsvc.domain.service_keys import HASH_BYTES, KeyRecord

_Name = Annotated[str, Field(min_length=1, max_length=2048)]


class PrincipalsFileProblem(ValueError):
    """Everything that is wrong with the file, one sentence each."""

    def __init__(self, complaints: Sequence[str]) -> None:
        super().__init__("\n".join(complaints))
        self.complaints = tuple(complaints)


class KeyTable(BaseModel):
    """One service key of a principal, by what `authsvc service-keys generate` says of it."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    id: str
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")
    expires: datetime | date | None = None


class PrincipalTable(BaseModel):
    """One `[[principals]]` table."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    name: str
    roles: tuple[Role, ...]
    audiences: tuple[_Name, ...] = ()
    apps: tuple[_Name, ...] = ()
    spiffe: tuple[Annotated[str, Field(pattern=r"^spiffe://[^/]+/.+$", max_length=2048)], ...] = ()
    dns: tuple[Annotated[str, Field(pattern=r"^[A-Za-z0-9.-]+$", max_length=253)], ...] = ()
    keys: tuple[KeyTable, ...] = ()

    def declared(self) -> Declared:
        """Return what the domain knows of the principal."""
        return Declared(
            name=self.name,
            roles=frozenset(self.roles),
            audiences=frozenset(self.audiences),
            apps=frozenset(self.apps),
            spiffe=self.spiffe,
            dns=self.dns,
            keys=tuple(
                KeyRecord(
                    key_id=key.id,
                    principal=self.name,
                    secret_hash=bytes.fromhex(key.sha256),
                    expires_at=_instant(key.expires),
                )
                for key in self.keys
            ),
        )


def load_principals(path: str) -> tuple[Declared, ...]:
    """
    Read the file.

    Raises:
        PrincipalsFileProblem: with every complaint at once.

    """
    try:
        document = tomllib.loads(Path(path).expanduser().read_text(encoding="utf-8"))
    except OSError as error:
        raise PrincipalsFileProblem([f"principals_file: cannot be read: {error.strerror}"]) from None
    except ValueError:
        # A TOML error may quote the line it stumbled on, and somebody may have put a key there.
        raise PrincipalsFileProblem(["principals_file: is not valid TOML"]) from None
    tables = document.get("principals")
    if not isinstance(tables, list) or set(document) != {"principals"}:
        raise PrincipalsFileProblem(["principals_file: needs [[principals]] tables and nothing else"])
    return judge_principals(tables)


def judge_principals(tables: Sequence[Mapping[str, Any]]) -> tuple[Declared, ...]:
    """
    Return the principals of already parsed tables.

    Raises:
        PrincipalsFileProblem: with every complaint at once.

    """
    complaints: list[str] = []
    found: list[Declared] = []
    for number, table in enumerate(tables, start=1):
        try:
            declared = PrincipalTable.model_validate(table).declared()
        except ValidationError as error:
            complaints.extend(
                f"principals[{number}].{'.'.join(str(part) for part in item['loc'])}: {item['msg']}"
                for item in error.errors(include_input=False)
            )
            continue
        complaints.extend(f"principals[{number}].{text}" for text in _complaints(declared))
        found.append(declared)
    for what, values in (
        ("name", [one.name for one in found]),
        ("certificate name", [name for one in found for name in (*one.spiffe, *one.dns)]),
        ("key id", [key.key_id for one in found for key in one.keys]),
    ):
        complaints.extend(
            f"principals: the {what} {value} is there twice"
            for value in sorted({one for one in values if values.count(one) > 1})
        )
    if complaints:
        raise PrincipalsFileProblem(complaints)
    return tuple(found)


def _complaints(declared: Declared) -> Iterator[str]:
    yield from check_declared(declared)
    for key in declared.keys:
        if decode_id(key.key_id) is None:
            yield "keys.id: is no key id"
        if len(key.secret_hash) != HASH_BYTES:
            yield "keys.sha256: is no SHA-256"


def _instant(given: datetime | date | None) -> datetime | None:
    """Return the instant; a date means its beginning, and a time without a zone is UTC."""
    if given is None:
        return None
    if not isinstance(given, datetime):
        given = datetime(given.year, given.month, given.day, tzinfo=UTC)
    return given if given.tzinfo is not None else given.replace(tzinfo=UTC)
