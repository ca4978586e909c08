"""All pages: links lead somewhere, both languages have the same shape, printed commands exist."""

import re
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from authsvc.cli import main

ROOT = Path(__file__).parents[2]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), ROOT / "protos/README.md"])
PAIRS = [
    (page.with_name(page.name.replace(".zh-CN", "")), page)
    for page in PAGES
    if page.name.endswith(".zh-CN.md")
]
LINK = re.compile(r"\]\((?!https?:)([^)#\s]+)")
FENCE = re.compile(r"^```(\w*)\n(.*?)^```", re.MULTILINE | re.DOTALL)
SHELL_COMMAND = re.compile(r"(?:^|[\s(/])authsvc ([a-z][^\n#|;)\\]*)", re.MULTILINE)
TARGET = re.compile(r"\bmake ([a-z-]+)")


def code(page: Path) -> list[tuple[str, str]]:
    """Language and text of the page's fenced code."""
    return FENCE.findall(page.read_text("utf-8"))


def invocations(page: Path) -> Iterator[list[str]]:
    """The words of every `authsvc …` in the page's shell and unit-file code."""
    for language, text in code(page):
        if language in {"sh", "ini"}:
            for line in SHELL_COMMAND.findall(text):
                yield line.split()


def name_of(page: Path) -> str:
    """How a page is called in a test's id."""
    return str(page.relative_to(ROOT))


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_every_relative_link_leads_somewhere(page: Path) -> None:
    """
    What a page links is in the tree.
    """
    targets = set(LINK.findall(page.read_text("utf-8")))

    assert targets == {target for target in targets if (page.parent / target).exists()}


@pytest.mark.parametrize(("page", "chinese"), PAIRS, ids=name_of)
def test_both_languages_have_the_same_shape(page: Path, chinese: Path) -> None:
    """
    Headings by level, rows of tables and blocks of code are as many in both, so that neither falls behind.
    """

    def shape(text: str) -> tuple[list[str], int, list[str]]:
        prose = FENCE.sub("", text)
        return (
            re.findall(r"^(#+) ", prose, re.MULTILINE),
            len(re.findall(r"^\|", prose, re.MULTILINE)),
            [language for language, _ in FENCE.findall(text)],
        )

    assert shape(page.read_text("utf-8")) == shape(chinese.read_text("utf-8"))


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_every_printed_command_and_option_exists(page: Path) -> None:
    """
    A command line of a page names commands and options that the program has.
    """
    for words in invocations(page):
        command: click.Command | None = main
        while isinstance(command, click.Group):
            name = words.pop(0)
            command = command.get_command(click.Context(command), name)
            assert command is not None, f"there is no {name}"
        assert command is not None
        known = {
            option for parameter in command.params for option in (*parameter.opts, *parameter.secondary_opts)
        }

        assert {word.split("=")[0] for word in words if word.startswith("--")} - known == set()


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_every_printed_make_target_exists(page: Path) -> None:
    """
    A `make` in the code of a page, or in its inline code, names a target of the Makefile.
    """
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE))
    text = page.read_text("utf-8")
    printed = [body for language, body in FENCE.findall(text) if language == "sh"]
    printed += re.findall(r"`(make [^`]+)`", text)

    assert {target for body in printed for target in TARGET.findall(body)} - targets == set()


def test_the_oracle_finds_what_it_looks_for() -> None:
    """
    The tests above look at something: there are pairs, links and commands.
    """
    readme = ROOT / "README.md"

    assert ROOT / "README.zh-CN.md" in [chinese for _, chinese in PAIRS]
    assert ["serve", "--with-edge"] in list(invocations(readme))
    assert "docs/integration.md" in LINK.findall(readme.read_text("utf-8"))
