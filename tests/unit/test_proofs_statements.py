"""The statements are complete, and what they say they are bound to exists."""

import ast
import re
from pathlib import Path

import pytest

import proofs
from proofs.certificate import RULES

_STATEMENTS = Path(proofs.__file__).parent / "statements"
_ROOT = _STATEMENTS.parents[1]
_BOUND = re.compile(r"`(tests/[a-z_/]+\.py)::(test_[a-z0-9_]+)`")


_FOUND = {path.stem for path in _STATEMENTS.glob("*.md")}


def test_every_rule_has_a_statement() -> None:
    """One file for each rule; a statement may also serve several rules."""
    assert set(RULES) <= _FOUND


@pytest.mark.parametrize("rule", sorted(_FOUND))
def test_every_statement_names_a_precondition_and_tests_that_exist(rule: str) -> None:
    """A statement without a test is an opinion."""
    text = (_STATEMENTS / f"{rule}.md").read_text(encoding="utf-8")
    assert "**Precondition.**" in text
    assert "**Statement.**" in text
    bound = _BOUND.findall(text)
    assert bound
    for file, test in bound:
        tree = ast.parse((_ROOT / file).read_text(encoding="utf-8"))
        assert test in {item.name for item in ast.walk(tree) if isinstance(item, ast.FunctionDef)}, test
