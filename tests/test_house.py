"""Rules of the house that no linter knows."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

CONVERTER = Path(__file__).parents[1] / "converter"


def _nodes(*excepted: str) -> Iterator[tuple[str, ast.AST]]:
    """Every node of the compiler's sources, with its place."""
    for path in sorted(CONVERTER.rglob("*.py")):
        name = path.relative_to(CONVERTER).as_posix()
        if not name.startswith(excepted):
            for node in ast.walk(ast.parse(path.read_text())):
                yield f"{name}:{getattr(node, 'lineno', 0)}", node


def _is_boundary_of_a_body(node: ast.AST) -> bool:
    """Whether an expression is the inputs or outputs of something called body."""
    if not isinstance(node, ast.Attribute) or node.attr not in {"inputs", "outputs"}:
        return False
    owner = node.value
    return getattr(owner, "attr", getattr(owner, "id", "")).endswith("body")


def _by_position(node: ast.AST) -> Iterator[ast.AST]:
    """Yield what ``node`` takes apart by position."""
    is_unpacked = isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Tuple)
    if is_unpacked or isinstance(node, ast.Subscript):
        yield node.value
    elif isinstance(node, ast.Call) and getattr(node.func, "id", "") == "enumerate":
        yield from node.args


def test_only_a_scan_knows_the_order_of_its_bodys_inputs() -> None:
    """The bodies of WHILE ops are positional by nature: raising reads those."""
    found = [
        place
        for place, node in _nodes("ir/program.py", "raising/")
        if any(_is_boundary_of_a_body(part) for part in _by_position(node))
    ]
    assert not found, "ask Scan.step"
