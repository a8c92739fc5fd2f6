"""dead-code: drop ops without side effects whose results are not read."""

from __future__ import annotations

from converter.analysis.uses import without_dead_ops
from converter.ir import Program


def dead_code(program: Program) -> Program:
    """Drop every op without side effects whose results are neither read nor outputs of the graph."""
    return program.map_graphs(without_dead_ops)
