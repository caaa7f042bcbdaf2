"""Rules of the house that no linter knows."""

import ast
from collections.abc import Iterator
from pathlib import Path

TESTS = Path(__file__).resolve().parent.parent


def _undocumented() -> Iterator[str]:
    for path in sorted(TESTS.rglob("test_*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) or not node.name.startswith("test_"):
                continue
            if ast.get_docstring(node) is None:
                yield f"{path.relative_to(TESTS)}::{node.name}"


def test_every_test_says_which_property_it_holds() -> None:
    """A test without a docstring leaves its reader to guess what broke."""
    assert list(_undocumented()) == []
