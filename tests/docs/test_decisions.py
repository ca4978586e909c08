"""The decision records are complete: each is in the index, each dependency has its reason."""

import re
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[2]
RECORDS = ROOT / "docs/decisions"
NAME = re.compile(r"^[A-Za-z0-9._-]+")


def requirements() -> set[str]:
    """Every package that pyproject.toml and the generator's requirements name, without extras and versions."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
    lists = [
        project["project"]["dependencies"],
        *project["project"].get("optional-dependencies", {}).values(),
        *project["dependency-groups"].values(),
        [
            line
            for line in (ROOT / "requirements-gen.in").read_text("utf-8").splitlines()
            if line and not line.startswith("#")
        ],
    ]
    lines = [line for lines in lists for line in lines if isinstance(line, str)]
    return {found[0] for line in lines if (found := NAME.match(line))}


def test_every_dependency_has_its_reason() -> None:
    """
    A package nobody can give a reason for is not depended on; a reason without its package is stale.
    """
    page = (RECORDS / "0001-dependencies.md").read_text("utf-8")
    rows = [line.split("|")[1] for line in page.splitlines() if line.startswith("| `")]
    explained = {name for row in rows for name in re.findall(r"`([a-z0-9-]+)`", row)}

    assert requirements() - explained == set()
    # uv is a tool of the maintainer's, `postgres` the extra that asyncpg is named with.
    assert explained - requirements() == {"uv", "postgres"}


def test_every_record_is_in_the_index() -> None:
    """
    Whoever looks for why finds it: the index links each record, by number.
    """
    index = (RECORDS / "README.md").read_text("utf-8")

    assert sorted(path.name for path in RECORDS.glob("0*.md")) == re.findall(
        r"\]\((0\d{3}-[a-z0-9-]+\.md)\)", index
    )
