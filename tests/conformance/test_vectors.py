"""The committed vectors are what the server's code says today, and they cover what they claim to."""

import json
import re
from collections import Counter
from itertools import combinations
from typing import Any

import pytest

from authsvc.domain.access_token import InactiveReason
from authsvc.status import BY_REASON
from tests.conformance.vectors.__main__ import FOLDER
from tests.conformance.vectors.behaviour import ACTIONS
from tests.conformance.vectors.files import FILES, text_of

Json = dict[str, Any]
# CONTRACT.md, "Which reason, when several hold".
ORDER = [
    "MALFORMED",
    "WRONG_TYPE",
    "KEY_WITHDRAWN",
    "UNKNOWN_KEY",
    "BAD_SIGNATURE",
    "WRONG_ISSUER",
    "LIFETIME_TOO_LONG",
    "NOT_YET_VALID",
    "EXPIRED",
    "SESSION_REVOKED",
    "USER_REVOKED",
    "APP_REVOKED",
    "WRONG_AUDIENCE",
    "MISSING_SCOPE",
    "MISSING_ROLE",
]


def committed(name: str) -> Json:
    content: Json = json.loads((FOLDER / name).read_text("ascii"))
    return content


@pytest.mark.parametrize("name", FILES)
def test_the_committed_file_is_current(name: str) -> None:
    """
    Judged anew by the server's code, every case comes out as committed; otherwise `make vectors` shows the difference.
    """
    assert text_of(FILES[name]()) == (FOLDER / name).read_text("ascii")


@pytest.mark.parametrize("name", FILES)
def test_a_file_says_how_many_cases_it_has(name: str) -> None:
    """
    A runner can tell a truncated file; no two cases share an id.
    """
    content = committed(name)
    ids = Counter(case["id"] for case in content["cases"])

    assert content["count"] == len(content["cases"]) == len(ids)


def test_every_reason_occurs() -> None:
    """
    No reason of the contract is without a case.
    """
    reasons = {case["expect"].get("inactive") for case in committed("tokens.json")["cases"]}

    assert {reason.name for reason in InactiveReason if reason} <= reasons


def test_every_pair_of_reasons_is_judged_in_the_contracts_order() -> None:
    """
    Of two reasons that hold at once, the one that CONTRACT.md names first is given.
    """
    expected = {f"order-{a}-{b}".lower(): a for a, b in combinations(ORDER, 2)}
    cases = committed("tokens.json")["cases"]
    given = {case["id"]: case["expect"]["inactive"] for case in cases if case["id"] in expected}

    assert given == expected


def test_there_are_as_many_cases_as_promised() -> None:
    """
    At least 150 tokens and 25 sequences.
    """
    assert committed("tokens.json")["count"] >= 150
    assert committed("sequences.json")["count"] >= 25


def test_the_client_knows_what_to_do_about_every_reason_it_can_meet() -> None:
    """
    The table of actions has every reason of the server's table but those that only back ends meet.
    """
    others = {
        "TOKEN_INVALID",
        "TOKEN_INSUFFICIENT",
        "SESSION_KEY_STALE",
        "USER_DATA_INVALID",
        "NOT_FOUND",
        "CURSOR_EXPIRED",
        "WATCHER_TOO_SLOW",
        "EXTERNAL_ID_TAKEN",
        "MERGE_IMPOSSIBLE",
    }

    assert BY_REASON.keys() - others == ACTIONS.keys()


def test_no_private_key_is_committed() -> None:
    """
    Key sets hold public members only; the one symmetric key is there to be refused.
    """
    for name in ("tokens.json", "sequences.json"):
        for key_set in committed(name)["key_sets"].values():
            for jwk in json.loads(key_set["json"]["jwksJson"])["keys"]:
                secret = {"d", "p", "q", "dp", "dq", "qi", "k"} & jwk.keys()
                assert secret == ({"k"} if jwk["kty"] == "oct" else set())


def test_every_step_of_a_sequence_is_documented() -> None:
    """
    Each step is of exactly one kind of the page's table, whose rows all occur in some sequence.
    """
    rows = re.findall(r"^\| `([a-z_]+): ", (FOLDER / "README.md").read_text("utf-8"), re.MULTILINE)
    steps = [step for case in committed("sequences.json")["cases"] for step in case["steps"]]
    kinds = [set(rows) & step.keys() for step in steps]

    assert {len(kind) for kind in kinds} == {1}
    assert set().union(*kinds) == set(rows)


def test_both_languages_of_the_page_have_the_same_shape() -> None:
    """
    Headings, rows of tables and blocks of code are as many in English as in Chinese.
    """

    def shape(name: str) -> tuple[list[str], int, list[str]]:
        text = (FOLDER / name).read_text("utf-8")
        prose = re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL)
        blocks = re.findall(r"^```json\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
        return (
            re.findall(r"^(#+) ", prose, re.MULTILINE),
            len(re.findall(r"^\|", prose, re.MULTILINE)),
            blocks,
        )

    assert shape("README.md") == shape("README.zh-CN.md")
