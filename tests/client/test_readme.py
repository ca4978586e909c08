"""The README's examples work as printed, in both languages."""

import asyncio
import re
from pathlib import Path
from typing import Any

import pytest

from authsvc_client.testing import FakeAuthsvc

FOLDER = Path(__file__).parents[2] / "clients" / "python"
PAGES = [FOLDER / "README.md", FOLDER / "README.zh-CN.md"]
PYTHON = re.compile(r"^```python\n(.*?)^```", re.MULTILINE | re.DOTALL)


def examples(page: Path, address: str) -> list[dict[str, Any]]:
    """The names that each example of the page defines, talking to *address*."""
    defined = []
    for source in PYTHON.findall(page.read_text("utf-8")):
        names: dict[str, Any] = {}
        exec(compile(source.replace("127.0.0.1:50051", address), page.name, "exec"), names)  # noqa: S102 - the page's own code
        defined.append(names)
    return defined


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
async def test_every_example_does_what_it_says(page: Path) -> None:
    """
    Async, sync, settings, and the tests that it suggests.
    """
    async with FakeAuthsvc() as fake:
        asynchronous, threaded, configured, suggested = examples(page, fake.target)
        good, poor = (
            fake.mint.token("bob", audience="orders", scopes=scopes) for scopes in (["orders.read"], [])
        )
        for token, user in ((good, "bob"), (poor, None), ("junk", None)):
            assert await asynchronous["user_of"](token) == user
            assert await asyncio.to_thread(threaded["user_of"], token) == user
        assert configured["settings"].when_stale == "unavailable"
        await suggested["test_with_a_verdict"]()
        await suggested["test_with_a_server"]()


def test_both_languages_print_the_same_code() -> None:
    """
    But for comments and docstrings.
    """

    def code(page: Path) -> list[str]:
        text = "".join(PYTHON.findall(page.read_text("utf-8")))
        return [line.split("#")[0].rstrip() for line in text.splitlines() if '"""' not in line]

    assert code(PAGES[0]) == code(PAGES[1])
