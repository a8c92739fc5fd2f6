"""A WHILE op with its graphs, and what becomes of the values that it carries."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from converter.analysis.dimensions import Dimensions
from converter.analysis.uses import Uses
from converter.ir import DType, Graph, Producers, Program, TfliteOp, Value, attributes
from converter.raising.indices import NEXT, Index, index_of

_INTEGERS = frozenset({DType.INT32, DType.INT64})


@dataclass(frozen=True, slots=True, eq=False)
class Loop:
    """A WHILE op: ``graph`` is where it stands; the values it carries are told by their positions."""

    op: TfliteOp
    graph: Graph
    condition: Graph
    body: Graph
    around: Dimensions
    """The producers and the sizes of the values around the loop."""
    uses: Uses
    """The readers of the values around the loop."""
    inside: Producers
    """The op of the body that defines each value."""

    @property
    def positions(self) -> range:
        """The positions of the carried values."""
        return range(len(self.body.inputs))

    def initial(self, position: int) -> Value:
        """Return what a carried value is before the loop."""
        value = self.op.operands[position]
        if value is None:
            raise ValueError(f"{self.op.name}: operand {position} is missing")
        return value

    def invariants(self) -> frozenset[int]:
        """Return the positions of what no step changes."""
        return frozenset(position for position in self.positions if self._is_invariant(position))

    def _is_invariant(self, position: int) -> bool:
        after, before = self.body.outputs[position], self.initial(position)
        if after is self.body.inputs[position]:
            return True
        return (
            after.data is not None
            and before.data is not None
            and after.type == before.type
            and np.array_equal(after.data, before.data)
        )

    def counters(self) -> frozenset[int]:
        """Return the positions of what counts the steps from zero."""
        return frozenset(position for position in self.positions if self._is_counter(position))

    def _is_counter(self, position: int) -> bool:
        before, inside = self.initial(position), self.body.inputs[position]
        if before.type.dtype not in _INTEGERS or before.data is None or before.data.size != 1 or before.data.any():
            return False
        return index_of(self.body.outputs[position], {inside}, self.inside) == NEXT

    def index(self, value: Value, counters: frozenset[Value]) -> Index | None:
        """Return what an integer of the body is in step t."""
        return index_of(value, counters, self.inside)


def loop_of(op: TfliteOp, graph: Graph, program: Program) -> Loop:
    """Return the loop of a WHILE op that stands in ``graph``."""
    condition, body = (program.graphs[number] for number in attributes.loop_graphs(op))
    return Loop(op, graph, condition, body, Dimensions.of(graph.ops), Uses.of(graph), body.producers())
