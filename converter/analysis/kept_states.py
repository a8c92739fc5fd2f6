"""What a program keeps from one invoke to the next in variable tensors."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from converter.ir import Graph, Program, TfliteOp, Value, attributes
from converter.ir.operands import STATE_OPERANDS, STEPS
from converter.ir.verify import unwritten_states


@dataclass(frozen=True, slots=True, eq=False)
class KeptState:
    """A recurrent op that goes on at every invoke where the one before ended; ``tensors`` hold its state."""

    op: TfliteOp
    graph: Graph
    tensors: tuple[Value, ...]

    @property
    def sees_one_step(self) -> bool:
        """Whether the op sees one step of a sequence at each invoke, so that it has to go on."""
        if self.op.builtin in STEPS:
            return True
        shape = self.op.operand(0).type.shape
        return shape is not None and len(shape) == 3 and shape[0 if attributes.is_time_major(self.op) else 1] == 1


def kept_states(program: Program) -> Iterator[KeptState]:
    """Yield the recurrent ops of every graph whose state neither another op nor the caller gives."""
    for graph in program.graphs:
        kept = unwritten_states(graph)
        for op in graph.ops:
            tensors = tuple(value for value in state_tensors(op) if value in kept)
            if isinstance(op, TfliteOp) and tensors:
                yield KeptState(op, graph, tensors)


def state_tensors(op: object) -> tuple[Value, ...]:
    """Return the tensors in which a TFLite op keeps its state; none for any other op."""
    if not isinstance(op, TfliteOp) or attributes.is_basic_lstm(op):
        return ()
    places = (place for place in STATE_OPERANDS.get(op.builtin, ()) if place < len(op.operands))
    return tuple(value for value in (op.operands[place] for place in places) if value is not None)
