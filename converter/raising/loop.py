"""A WHILE op with its graphs, and how the values that it carries change."""

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
    """A WHILE op in ``graph``. The values that it carries are identified by their positions."""

    op: TfliteOp
    graph: Graph
    condition: Graph
    body: Graph
    around: Dimensions
    """The producers and the sizes of the values outside of the loop."""
    uses: Uses
    """The readers of the values outside of the loop."""
    inside: Producers
    """The op of the body that defines each value."""

    @property
    def positions(self) -> range:
        """The positions of the carried values."""
        return range(len(self.body.inputs))

    def initial(self, position: int) -> Value:
        """Return a carried value before the loop."""
        value = self.op.operands[position]
        if value is None:
            raise ValueError(f"{self.op.name}: operand {position} is missing")
        return value

    def invariants(self) -> frozenset[int]:
        """Return the positions of values that no step changes."""
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
        """Return the positions of the counters, which count steps from zero."""
        return frozenset(position for position in self.positions if self._is_counter(position))

    def scalar_counters(self) -> frozenset[int]:
        """Return the positions of the counters that are scalars."""
        return frozenset(position for position in self.counters() if self.body.inputs[position].type.shape == ())

    def _is_counter(self, position: int) -> bool:
        before, inside = self.initial(position), self.body.inputs[position]
        if before.type.dtype not in _INTEGERS or before.data is None or before.data.size != 1 or before.data.any():
            return False
        return index_of(self.body.outputs[position], {inside}, self.inside) == NEXT

    def index(self, value: Value, counters: frozenset[Value]) -> Index | None:
        """Return an integer of the body as a function of t."""
        return index_of(value, counters, self.inside)


def loop_of(op: TfliteOp, graph: Graph, program: Program) -> Loop:
    """Return the loop of a WHILE op in ``graph``."""
    condition, body = (program.graphs[number] for number in attributes.loop_graphs(op))
    return Loop(op, graph, condition, body, Dimensions.of(graph.ops), Uses.of(graph), body.producers())
