"""The operators' page and the tree say the same."""

import ast
import re
from pathlib import Path

import pytest

from authsvc.telemetry import Metrics

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "docs/operations/log-fields.md", ROOT / "docs/operations/log-fields.zh-CN.md"]
NAME = re.compile(r"`([a-z]+\.[a-z_]+)`")


def documented(page: Path) -> set[str]:
    """The event names in the first column of the page's tables."""
    rows = [line.split("|")[1] for line in page.read_text("utf-8").splitlines() if line.startswith("| `")]
    return {name for row in rows for name in NAME.findall(row)} | {"call.finished"}


def gauges() -> set[str]:
    """The names given to `gauge` in the tree, as metrics."""
    return {
        f"authsvc_{name}"
        for file in (ROOT / "authsvc").rglob("*.py")
        for name in re.findall(r"\.gauge\(\s*\"([a-z_]+)\"", file.read_text("utf-8"))
    }


def reported() -> tuple[set[str], set[str], set[str]]:
    """From the tree: names given to Event outright, prefixes of computed ones, and all other text constants."""
    names: set[str] = set()
    prefixes: set[str] = set()
    constants: set[str] = set()
    for file in (ROOT / "authsvc").rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text("utf-8"))):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                constants.add(node.value)
            elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "Event":
                match node.args:
                    case [ast.Constant(value=str(name)), *_]:
                        names.add(name)
                    case [ast.JoinedStr(values=[ast.Constant(value=str(prefix)), *_]), *_]:
                        prefixes.add(prefix)
    return names, prefixes, constants


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_event_of_the_tree_is_on_the_page(page: Path) -> None:
    """
    A new event needs a row in both languages; a computed name needs at least one row of its prefix.
    """
    names, prefixes, _ = reported()
    on_page = documented(page)

    assert names - on_page == set()
    assert {prefix for prefix in prefixes if not any(name.startswith(prefix) for name in on_page)} == set()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_no_row_describes_what_nobody_reports(page: Path) -> None:
    """
    An event that left the tree leaves the page.
    """
    _, prefixes, constants = reported()

    assert {
        name
        for name in documented(page)
        if name not in constants and not any(name.startswith(prefix) for prefix in prefixes)
    } == set()


def test_both_languages_have_the_same_rows() -> None:
    """
    Neither page knows of a field, event or metric that the other does not.
    """
    first_columns = [
        [
            re.findall(r"`[^`]+`", line.split("|")[1])
            for line in page.read_text("utf-8").splitlines()
            if line.startswith("| `")
        ]
        for page in PAGES
    ]

    assert first_columns[0] == first_columns[1]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_metric_is_on_the_page_and_no_other(page: Path) -> None:
    """
    Gauges are found where they are registered, the rest in the registry itself.
    """
    rows = [
        line.split("|")[1] for line in page.read_text("utf-8").splitlines() if line.startswith("| `authsvc_")
    ]
    registered = {
        f"{family.name}_total" if family.type == "counter" else family.name
        for family in Metrics().registry.collect()
        if family.name.startswith("authsvc_")
    }

    assert {row.strip(" `") for row in rows} == registered | gauges()
