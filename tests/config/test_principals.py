"""The principals file: what it may say, and that everything wrong is told at once, without quoting it."""

from datetime import UTC, datetime
from pathlib import Path

import pytest

from authsvc.config.principals import PrincipalsFileProblem, load_principals
from authsvc.domain.principals import Role

CANARY = "canary-0123456789"
DIGEST = "ab" * 32


def key(more: str = "") -> str:
    return f'keys = [{{ id = "irLOXUPFJFM_RhVHETR2fg", sha256 = "{DIGEST}"{more} }}]'


def complaints(tmp_path: Path, text: str) -> tuple[str, ...]:
    path = tmp_path / "principals.toml"
    path.write_text(text)
    with pytest.raises(PrincipalsFileProblem) as caught:
        load_principals(str(path))
    return caught.value.complaints


def test_everything_it_may_say(tmp_path: Path) -> None:
    """
    Names in certificates, keys with and without an end, limits.
    """
    path = tmp_path / "principals.toml"
    path.write_text(
        f"""
        [[principals]]
        name = "orders"
        roles = ["verifier", "revoker"]
        audiences = ["orders", "shop"]
        apps = ["wx1"]
        spiffe = ["spiffe://example.org/ns/shop/sa/orders"]
        dns = ["orders.internal"]
        {key(", expires = 2027-01-31")}
        [[principals]]
        name = "edge"
        roles = ["edge"]
        """
    )
    orders, edge = load_principals(str(path))
    assert (orders.name, orders.roles) == ("orders", frozenset({Role.VERIFIER, Role.REVOKER}))
    assert (orders.audiences, orders.apps) == (frozenset({"orders", "shop"}), frozenset({"wx1"}))
    assert (orders.spiffe, orders.dns) == (
        ("spiffe://example.org/ns/shop/sa/orders",),
        ("orders.internal",),
    )
    [kept] = orders.keys
    assert (kept.key_id, kept.principal) == ("irLOXUPFJFM_RhVHETR2fg", "orders")
    assert kept.secret_hash == bytes.fromhex("ab" * 32)
    assert kept.expires_at == datetime(2027, 1, 31, tzinfo=UTC)
    assert (edge.audiences, edge.apps, edge.keys) == (frozenset(), frozenset(), ())


@pytest.mark.parametrize(
    ("table", "says"),
    [
        ('name = "a"', "roles"),
        ('name = "a"\nroles = []', "roles"),
        ('name = "a"\nroles = ["king"]', "roles"),
        ('name = "local"\nroles = ["edge"]', "reserved"),
        ('name = "a b"\nroles = ["edge"]', "name"),
        ('name = "a"\nroles = ["verifier"]', "audiences"),
        ('name = "a"\nroles = ["edge"]\nother = 1', "other"),
        ('name = "a"\nroles = ["edge"]\nspiffe = ["https://x/y"]', "spiffe"),
        ('name = "a"\nroles = ["edge"]\nspiffe = ["spiffe://x"]', "spiffe"),
        ('name = "a"\nroles = ["edge"]\ndns = ["*.internal"]', "dns"),
        ('name = "a"\nroles = ["edge"]\nkeys = [{ id = "x", sha256 = "' + "ab" * 32 + '" }]', "keys.id"),
        ('name = "a"\nroles = ["edge"]\nkeys = [{ id = "x", sha256 = "' + CANARY + '" }]', "sha256"),
        ('name = "a"\nroles = ["edge"]\nkey = "' + CANARY + '"', "key"),
    ],
    ids=str,
)
def test_a_bad_table_is_told(tmp_path: Path, table: str, says: str) -> None:
    """
    With its number, and without what it says.
    """
    told = complaints(tmp_path, f"[[principals]]\n{table}\n")
    assert any(text.startswith("principals[1]") and says in text for text in told)
    assert CANARY not in "".join(told)


def test_nothing_may_be_there_twice(tmp_path: Path) -> None:
    """
    Names, names in certificates, key ids: whose it is must be one answer.
    """
    table = f'[[principals]]\nname = "a"\nroles = ["edge"]\ndns = ["x.internal"]\n{key()}\n'
    told = complaints(tmp_path, table + table)
    assert len(told) == 3
    assert all("twice" in text for text in told)


@pytest.mark.parametrize("text", ["", "principals = 1", "[[principal]]\nname='a'", f"key = '{CANARY}", "[x]"])
def test_what_is_no_such_file_is_told_without_a_quote(tmp_path: Path, text: str) -> None:
    """
    A TOML error would quote the line, and somebody may have put a key there.
    """
    told = complaints(tmp_path, text)
    assert len(told) == 1
    assert CANARY not in told[0]


def test_a_missing_file_is_told() -> None:
    """
    By the setting's name.
    """
    with pytest.raises(PrincipalsFileProblem, match="principals_file: cannot be read"):
        load_principals("/nothing/there")
