"""docs/integration.md, in both languages, and the code say the same about reasons and what they become."""

import re
from pathlib import Path

import pytest

from authsvc.domain.access_token import InactiveReason
from authsvc.domain.sessions import EndReason
from authsvc.edge.judging import _INSUFFICIENT
from authsvc.status import BY_REASON

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "docs/integration.md", ROOT / "docs/integration.zh-CN.md"]
ERROR = re.compile(r"^\| `([A-Z_]+)` \| ([A-Z_]+) \| (\d{3}) \|", re.MULTILINE)
INACTIVE = re.compile(r"^\| ([A-Z_]+) \| .+ \| (\d{3}) \|$", re.MULTILINE)
ENDED = re.compile(r"^\| SESSION_ENDED[,、] ?([A-Z_]+) \|.*\|(.*)\|$", re.MULTILINE)
by_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)


@by_page
def test_every_error_is_listed_as_the_table_of_the_code_has_it(page: Path) -> None:
    """
    Each reason stands there once, in the table's order, with its gRPC code and HTTP status.
    """
    assert [(row.reason, row.code.name, str(row.http)) for row in BY_REASON.values()] == ERROR.findall(
        page.read_text("utf-8")
    )


@by_page
def test_every_inactive_reason_is_listed_with_what_the_edge_makes_of_it(page: Path) -> None:
    """
    Each reason of an Inactive stands there once; 403 are exactly those for which the edge answers 403.
    """
    rows = INACTIVE.findall(page.read_text("utf-8"))

    assert {reason.name for reason in InactiveReason if reason.value} == {name for name, _ in rows}
    assert len(InactiveReason) - 1 == len(rows)
    assert {InactiveReason(number).name for number in _INSUFFICIENT} == {
        name for name, s in rows if s == "403"
    }


@by_page
def test_every_end_reason_says_whether_the_login_is_silent(page: Path) -> None:
    """
    Each end reason stands there once, as silent or as asking for a tap.
    """
    # CONTRACT.md, the row of SESSION_ENDED.
    silent = {"EXPIRED", "REFRESH_STALE", "REFRESH_REUSE", "STORE_RESTORED", "SUPERSEDED", "MERGED"}
    tap = {"LOGOUT", "REPLACED", "ADMIN", "BLOCKED"}
    rows = ENDED.findall(page.read_text("utf-8"))

    assert {reason.name for reason in EndReason if reason.value} == silent | tap
    assert len(silent | tap) == len(rows)
    assert silent == {name for name, action in rows if "wx.login" in action}
    assert tap == {name for name, action in rows if "login button" in action or "登录按钮" in action}
