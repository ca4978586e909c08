"""docs/configuration.md, in both languages, and the code say the same about every setting."""

import re
from enum import Enum
from pathlib import Path

import pytest
from pydantic import BaseModel, SecretStr
from pydantic.fields import FieldInfo

from authsvc.config import Settings
from authsvc.config.apps import AppTable, GroupTable
from authsvc.config.settings import SECRET_FIELDS, SECTIONS
from authsvc.domain.principals import Role

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "docs/configuration.md", ROOT / "docs/configuration.zh-CN.md"]
ROW = re.compile(r"^\| `([a-z_]+)` \| (.+?) \| (.+) \|$", re.MULTILINE)
REQUIRED = {"required", "必填"}
UNSET = "–"


def documented(page: Path) -> list[tuple[str, str, str]]:
    """The rows of the page's tables of settings: name, default, meaning."""
    return ROW.findall(page.read_text("utf-8"))


def shown(field: FieldInfo) -> str:
    """How the page writes a field's default."""
    value = field.default
    match value:
        case Enum():
            text = str(value.value)
        case bool():
            text = str(value).lower()
        case int() | float():
            text = f"{value:g}" if value < 1_000_000 else str(int(value))
        case tuple():
            text = ",".join(str(item) for item in value)
        case _:
            text = value or ""
    return f"`{text}`" if text else UNSET


def expected(model: type[BaseModel]) -> dict[str, str]:
    """The model's fields with their defaults as the page writes them; a required one is `required`."""
    return {
        name: "required" if field.is_required() else shown(field)
        for name, field in model.model_fields.items()
    }


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_setting_is_listed_once_with_its_default(page: Path) -> None:
    """
    The page lists each setting, section by section, and each key of an `[[apps]]` and a `[[groups]]` table, and nothing else.
    """
    models: tuple[type[BaseModel], ...] = (*SECTIONS, AppTable, GroupTable)
    rows = [(name, "required" if default in REQUIRED else default) for name, default, _ in documented(page)]

    assert [row for model in models for row in expected(model).items()] == rows


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_secrets_are_marked(page: Path) -> None:
    """
    Exactly the settings that are secrets of the process are called so.
    """
    words = ("**secret.**", "**机密。**")

    assert set(SECRET_FIELDS) == {name for name, _, meaning in documented(page) if meaning.startswith(words)}


def test_the_oracle_sees_secrets_and_lists() -> None:
    """
    The comparison above reads what it should: sections are all of Settings, a list is comma separated.
    """
    assert set(Settings.model_fields) == {name for section in SECTIONS for name in section.model_fields}
    assert expected(Settings)["master_keys"] == UNSET
    assert expected(Settings)["local_roles"] == f"`{','.join(role.value for role in Role)}`"
    assert AppTable.model_fields["secret"].annotation is SecretStr
