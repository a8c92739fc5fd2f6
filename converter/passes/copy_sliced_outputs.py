"""copy-sliced-outputs: copy each output that is what a loop has written of its buffer.

    %w = WHILE(…)                          %w = WHILE(…)
    %y = STRIDED_SLICE(%w, 0, %time)   →   %s = STRIDED_SLICE(%w, 0, %time)
                                           %y = CONCATENATION(%s)

A tensor whose size is computed while the model runs has no memory if it is empty, and Python's interpreters do not
return it ("Invalid tensor size"). The size of a CONCATENATION is known before it runs.
"""

from __future__ import annotations

from dataclasses import replace

from converter.emission.emitter import Emitter
from converter.ir import Graph, Program, StridedSlice, Value, made_by, with_results


def copy_sliced_outputs(program: Program) -> Program:
    """Return ``program`` with a copy of each output that is a slice of a loop's result."""
    return replace(program, graphs=(_with_copies(program.main), *program.graphs[1:]))


def _with_copies(graph: Graph) -> Graph:
    producers = graph.producers()
    emitter = Emitter("outputs", graph.names())
    sliced: dict[Value, Value] = {}
    for output in graph.outputs:
        op = producers.get(output)
        found = None if op is None else StridedSlice.match(op)
        if found is None or found.end.is_constant or output.type.rank == 0:
            continue
        if made_by(found.x, producers, "WHILE") is not None:
            sliced[output] = replace(output, name=emitter.name("sliced"))
    for op in graph.ops:
        emitter.ops.append(with_results(op, sliced))
        for value in op.results:
            if value in sliced:
                emitter.copy(sliced[value], value)
    return replace(graph, ops=tuple(emitter.ops))
