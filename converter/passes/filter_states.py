"""The memory of SVDF ops, so that persist-state can keep it where it keeps all states.

SVDF keeps its last steps in a variable tensor that no signature can reset. With an op that writes the tensor
before, and one that reads it after, it is a state like those of recurrences::

    %y = SVDF(%x, ..., variable %memory)

becomes::

    variable %memory = CONCATENATION(%memory_in)
    %y = SVDF(%x, ..., variable %memory)
    %both = CONCATENATION(%memory, %y)
    %memory_out = STRIDED_SLICE(%both, ...)

The reader takes y along: runtimes do not see that SVDF writes its memory, and could read it too early. The writer
is a CONCATENATION for the reason that `converter.lowering.fused` gives.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from converter.analysis.kept_states import state_tensors
from converter.analysis.open_states import OpenState
from converter.emission.emitter import Emitter
from converter.ir import DType, Graph, Names, Op, TensorType, TfliteOp, Value, dims
from converter.ir.verify import unwritten_states


def settle_filters(graph: Graph) -> tuple[Graph, tuple[OpenState, ...]]:
    """Return ``graph`` with the memory of each SVDF op written and read by other ops, and these memories.

    Each memory starts from a value of its own, which nothing defines yet. Memories of other types than float32
    stay in their variable tensors.
    """
    kept = dict(_memories(graph))
    if not kept:
        return graph, ()
    names = graph.names()
    ops: list[Op] = []
    states: list[OpenState] = []
    for op in graph.ops:
        if op not in kept:
            ops.append(op)
            continue
        state, settled = _settled(op, kept[op], f"memory_{len(states)}", names)
        states.append(state)
        ops += settled
    return replace(graph, ops=tuple(ops)), tuple(states)


def _memories(graph: Graph) -> Iterator[tuple[Op, Value]]:
    free = unwritten_states(graph)
    for op in graph.ops:
        if isinstance(op, TfliteOp) and op.builtin == "SVDF":
            for memory in state_tensors(op):
                is_matrix = memory.type.rank == op.results[0].type.rank == 2 and memory.type.is_static
                if memory in free and memory.type.dtype is DType.FLOAT32 and is_matrix:
                    yield op, memory


def _settled(op: Op, memory: Value, name: str, names: Names) -> tuple[OpenState, list[Op]]:
    kind = TensorType(memory.type.dtype, memory.type.shape)
    initial = Value(names.fresh(f"{name}_in"), kind)
    emitter = Emitter(op.name, names)
    emitter.concatenation([initial], 0, memory)
    emitter.ops.append(op)
    both = emitter.concatenation([memory, op.results[0]], 1, "memory_and_outputs")
    final = emitter.columns(both, 0, dims(memory)[1] or 0, Value(names.fresh(f"{name}_out"), kind))
    return OpenState(name, None, initial, final), emitter.ops
