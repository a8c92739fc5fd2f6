"""The rules of refusals: each is raised somewhere, and each is explained."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import converter
from converter.errors import Rejection
from converter.rules import Rule

COMPILER = Path(converter.__file__).parent


def _raised() -> Iterator[str]:
    """Yield the members that the code of the compiler names outside of their definition."""
    for path in COMPILER.rglob("*.py"):
        if path != COMPILER / "rules.py":
            for node in ast.walk(ast.parse(path.read_text())):
                if (
                    isinstance(node, ast.Attribute)
                    and isinstance(node.value, ast.Name)
                    and node.value.id == "Rule"
                ):
                    yield node.attr


def test_every_rule_is_raised_somewhere_and_no_other() -> None:
    assert set(_raised()) == {rule.name for rule in Rule}


@pytest.mark.parametrize("rule", Rule, ids=str)
def test_a_rule_explains_itself(rule: Rule) -> None:
    assert rule.name == rule.value.upper().replace("-", "_")
    assert len(rule.summary) <= 90
    assert rule.summary[-1] != "."
    for text in (rule.reason, rule.cure):
        assert len(text.split()) >= 8
        assert text.endswith(".")
        assert "  " not in text


def test_a_rule_is_its_name() -> None:
    refusal = Rejection(Rule.SCAN_RANK, "rnn/cell", "detail", "hint")
    assert refusal.rule == "scan-rank"
    assert str(refusal) == "rnn/cell: detail [scan-rank]\n    hint: hint"
