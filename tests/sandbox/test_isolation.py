"""
The sandbox stands alone: it connects to nothing and knows nothing of the service.
"""

import ast
import sys
from pathlib import Path

import pytest

import authsvc.deadlines
import authsvc.sandbox

SHARED = "authsvc.deadlines"
SOURCES = [*sorted(Path(authsvc.sandbox.__file__).parent.rglob("*.py")), Path(authsvc.deadlines.__file__)]
OUTGOING = {
    "ClientSession",
    "TCPConnector",
    "open_connection",
    "create_connection",
    "sock_connect",
    "connect",
    "connect_ex",
    "urlopen",
}


def imported(tree: ast.AST) -> set[str]:
    names = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            names.add(node.module or "")
    return names


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.name)
def test_imports_only_what_it_may(path: Path) -> None:
    """
    No module of the sandbox imports a library but aiohttp and cryptography, or another part of authsvc but the
    deadlines of connections, which import nothing of it.
    """
    for name in imported(ast.parse(path.read_text())):
        root = name.partition(".")[0]
        ours = name in (SHARED, "authsvc.sandbox") or name.startswith("authsvc.sandbox.")
        assert ours or root in ("aiohttp", "cryptography") or root in sys.stdlib_module_names, name


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.name)
def test_opens_no_connection(path: Path) -> None:
    """
    Nothing in the sandbox names a way to connect anywhere.
    """
    used = {
        node.attr if isinstance(node, ast.Attribute) else node.id
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Attribute | ast.Name)
    }
    assert not used & OUTGOING


def test_all_is_true() -> None:
    """
    Every exported name exists and the list is sorted without duplicates.
    """
    names = authsvc.sandbox.__all__
    assert all(hasattr(authsvc.sandbox, name) for name in names)
    assert len(set(names)) == len(names)
