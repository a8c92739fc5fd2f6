"""Lower recurrences to TFLite ops, each as it was chosen."""

from __future__ import annotations

from collections.abc import Container
from dataclasses import replace

from converter.analysis.dimensions import Dimensions
from converter.emission.emitter import Emitter, SharingEmitter
from converter.errors import InvalidProgramError
from converter.ir import (
    Bidirectional,
    Graph,
    Lowering,
    Names,
    Op,
    Program,
    Recurrence,
    Scan,
    TfliteOp,
    Value,
    dims,
)
from converter.lowering.bidirectional import lower_bidirectional
from converter.lowering.fused import lower_fused
from converter.lowering.loop import AddGraph, Loop, emit_loop
from converter.lowering.recurrences import steps_of_recurrence
from converter.lowering.reversals import spell_reversals
from converter.lowering.scans import steps_of_scan
from converter.lowering.unrolled import emit_unrolled


def lower(program: Program) -> Program:
    """Return ``program`` with every recurrence and scan as TFLite ops; graphs of loops are added at the end.

    Raises InvalidProgramError if no lowering has been chosen for one of them.
    """
    added: list[Graph] = []

    def add_graph(graph: Graph) -> int:
        added.append(graph)
        return len(program.graphs) + len(added) - 1

    graphs = [_lower_graph(graph, add_graph) for graph in program.graphs]
    return replace(program, graphs=(*graphs, *added))


def _lower_graph(graph: Graph, add_graph: AddGraph) -> Graph:
    names = graph.names()
    read = _read_values(graph)
    spelled = tuple(spell_reversals(graph.ops, names))
    around = Dimensions.of(spelled)
    ops: list[Op] = []
    for op in spelled:
        if isinstance(op, TfliteOp):
            ops.append(op)
        elif isinstance(op, Bidirectional):
            ops += lower_bidirectional(op, names)
        elif isinstance(op, Scan):
            ops += _lower_scan(op, around, names, add_graph, read)
        elif op.lowering is Lowering.FUSED:
            ops += lower_fused(op, names)
        else:
            ops += _lower_recurrence(op, names, add_graph, output_read=op.output in read)
    return replace(graph, ops=tuple(ops))


def _lower_recurrence(op: Recurrence, names: Names, add_graph: AddGraph, *, output_read: bool) -> list[Op]:
    emitter = _emitter(op, names)
    by_time = op.output
    if not op.time_major:
        batch, time, *rest = dims(op.output)
        by_time = emitter.value("outputs_by_time", op.output, (time, batch, *rest))
    loop = steps_of_recurrence(op, emitter, output=by_time if output_read else None)
    _emit_steps(loop, op.lowering, emitter, add_graph)
    if output_read and by_time is not op.output:
        emitter.transpose(by_time, op.output)
    return emitter.ops


def _lower_scan(
    op: Scan, around: Dimensions, names: Names, add_graph: AddGraph, read: Container[Value]
) -> list[Op]:
    emitter = _emitter(op, names)
    whole = replace(op, body=_lower_graph(op.body, add_graph))
    _emit_steps(steps_of_scan(whole, around, emitter, read=read), op.lowering, emitter, add_graph)
    return emitter.ops


def _emitter(op: Recurrence | Scan, names: Names) -> Emitter:
    # Unrolled steps would each have a copy of the weights.
    return (SharingEmitter if op.lowering is Lowering.UNROLLED else Emitter)(op.name, names)


def _emit_steps(loop: Loop, lowering: Lowering | None, emitter: Emitter, add_graph: AddGraph) -> None:
    if lowering is Lowering.UNROLLED:
        emit_unrolled(loop, emitter)
    elif lowering is Lowering.WHILE:
        emit_loop(loop, emitter, add_graph)
    else:
        raise InvalidProgramError(f"{loop.name}: no lowering has been chosen")


def _read_values(graph: Graph) -> set[Value]:
    operands = {value for op in graph.ops for value in op.operands if value is not None}
    return operands | set(graph.outputs)
