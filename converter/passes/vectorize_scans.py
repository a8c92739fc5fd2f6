"""vectorize-scans: replace scans without states by ops over all steps at once.

The rest of a step without its recognised cells, such as a residual connection or a dense layer on its output, has
no state. As ops over whole sequences it needs no loop, and rules out no fused op after it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from converter.emission.emitter import Emitter
from converter.emission.hoisting import hoist
from converter.ir import Graph, Names, Op, Program, Scan, TfliteOp, Value


def vectorize_scans(program: Program) -> Program:
    """Replace each scan without states by ops over whole sequences, if all of its ops allow it."""
    return program.map_graphs(_map_in)


def _map_in(graph: Graph) -> Graph:
    names = graph.names()
    ops: list[Op] = []
    for op in graph.ops:
        mapped = _mapped(op, names) if isinstance(op, Scan) else None
        ops += [op] if mapped is None else mapped
    return replace(graph, ops=tuple(ops))


def _mapped(scan: Scan, names: Names) -> list[Op] | None:
    """Return the ops that compute ``scan`` without a loop, None if it needs one."""
    if scan.initial_state or scan.steps is not None or scan.length is not None:
        return None
    trial = names.copy()
    emitter = Emitter(scan.name, trial)
    step = scan.step
    rest = hoist(
        scan.body,
        dict(zip(step.slices, scan.sequences, strict=True)),
        dict(zip(step.invariants, scan.invariants, strict=True)),
        emitter,
    )
    if rest.ops or any(value not in rest.sequences for value in rest.outputs):
        return None
    made = {result for op in emitter.ops for result in op.results}
    other: dict[Value, Value] = {}
    for value, output in zip(step.elements, scan.outputs, strict=True):
        whole = rest.sequences[value]
        if whole in made and whole not in other:
            other[whole] = output
        else:
            emitter.copy(other.get(whole, whole), output)
    names.update(trial)
    return [_renamed(op, other) for op in emitter.ops if isinstance(op, TfliteOp)]


def _renamed(op: TfliteOp, other: Mapping[Value, Value]) -> TfliteOp:
    operands = tuple(value if value is None else other.get(value, value) for value in op.operands)
    return replace(op, operands=operands, results=tuple(other.get(result, result) for result in op.results))
