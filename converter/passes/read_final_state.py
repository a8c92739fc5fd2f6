"""read-final-state: read the final state of a loop if only the last of its outputs is read.

The output of a cell is the last array of its state, so no outputs need be collected. A fused op computes all
outputs anyway, and slicing them costs less than reading its state.
"""

from __future__ import annotations

from converter.analysis.uses import Uses
from converter.ir import Graph, Lowering, Op, Program, Recurrence, StridedSlice, Value, integers, rewire_graph


def read_final_state(program: Program) -> Program:
    """Make the readers of a loop's last output read its final state, if there are no other readers."""
    return program.map_graphs(_rewired)


def _rewired(graph: Graph) -> Graph:
    return rewire_graph(graph, _last_outputs(graph))


def _last_outputs(graph: Graph) -> dict[Value, Value]:
    """Return the results that read the last output of such a loop, with the equal final state."""
    uses = Uses.of(graph)
    found: dict[Value, Value] = {}
    for op in graph.ops:
        if isinstance(op, Recurrence) and op.lowering is not Lowering.FUSED and op.output not in graph.outputs:
            readers = uses.readers(op.output)
            if op.sequence_length is None and op.mask is None and all(is_last(reader, op) for reader in readers):
                read = (reader.results[0] for reader in readers)
                found |= {result: op.final_state[-1] for result in read if uses.is_read(result)}
    return found


def is_last(reader: Op, op: Recurrence) -> bool:
    """Return whether ``reader`` is ``output[-1]``, or ``output[:, -1]`` if the batch comes first."""
    sliced = StridedSlice.match(reader)
    begin = None if sliced is None else integers(sliced.begin)
    if sliced is None or begin is None or not (sliced.is_plain and sliced.has_unit_strides):
        return False
    time = op.time_axis
    others = (axis for axis in range(len(begin)) if axis != time)
    return sliced.dropped_axis == time and begin[time : time + 1] == (-1,) and all(map(sliced.is_whole, others))
