"""adapt-to-target: replace ops that a target does not support by equivalent ones that it does."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace

from converter.emission.emitter import Emitter
from converter.ir import DType, Graph, Names, Op, Program, TfliteOp, Value, attributes, new_op
from converter.targets import LIMITS, Rewrite, Target, direct_outputs, needed_rewrites, needs_rewrite


def adapt_to_target(program: Program, target: Target) -> Program:
    """Rewrite a program of TFLite ops exactly for ``target``.

    SELECT becomes SELECT_V2 where only that is supported, an op that moves flags one that moves numbers, a TILE
    CONCATENATIONs, a long CONCATENATION a tree, and an output that is not a separate tensor a copy.
    """
    for rewrite in needed_rewrites(program, target):
        program = _REWRITES[rewrite](program, target)
    return program


def adapted(program: Program, target: Target) -> bool:
    """True if nothing is left that has an equal form on the target."""
    return not needed_rewrites(program, target)


def _with_select_v2(program: Program, target: Target) -> Program:
    def rewritten(op: Op) -> Op:
        if not isinstance(op, TfliteOp) or not needs_rewrite(op, Rewrite.SELECT_V2, target):
            return op
        return new_op("SELECT_V2", op.operands, op.results)

    return program.map_ops(rewritten)


def _expanded(program: Program, target: Target, parts: Callable[[Op, Target, Names], Iterator[Op]]) -> Program:
    """Return ``program`` with each op replaced by its ``parts``, which get the names of its graph."""

    def rewritten(graph: Graph) -> Graph:
        names = graph.names()
        return replace(graph, ops=tuple(part for op in graph.ops for part in parts(op, target, names)))

    return program.map_graphs(rewritten)


def _with_cast_flags(program: Program, target: Target) -> Program:
    return _expanded(program, target, _of_numbers)


def _of_numbers(op: Op, target: Target, names: Names) -> Iterator[Op]:
    """Yield ``op``; if it moves flags that the target has no kernel for, over 0 and 1, compared with 0.5."""
    if not isinstance(op, TfliteOp) or not needs_rewrite(op, Rewrite.CAST_FLAGS, target):
        yield op
        return
    emitter = Emitter(op.name, names)
    numbers = emitter.cast(op.operand(0), DType.FLOAT32, "numbers")
    moved = Value(emitter.name("moved"), replace(op.results[0].type, dtype=DType.FLOAT32))
    emitter.ops.append(replace(op, operands=(numbers, *op.operands[1:]), results=(moved,)))
    emitter.op("LESS", [emitter.number(0.5), moved], op.results[0])
    yield from emitter.ops


def _with_concatenations(program: Program, target: Target) -> Program:
    return _expanded(program, target, _repeated)


def _repeated(op: Op, target: Target, names: Names) -> Iterator[Op]:
    """Yield ``op``; if it is a TILE that the target lacks, its operand beside itself along each axis instead."""
    if not isinstance(op, TfliteOp) or not needs_rewrite(op, Rewrite.CONCATENATIONS, target):
        yield op
        return
    emitter, x = Emitter(op.name, names), op.operand(0)
    counts = dict(enumerate(attributes.integers(op.operand(1)) or ()))
    *others, last = [axis for axis, count in counts.items() if count > 1] or [0]
    for axis in others:
        x = emitter.concatenation([x] * counts[axis], axis, "copies")
    emitter.concatenation([x] * counts[last], last, op.results[0])
    for part in emitter.ops:
        yield from _shortened(part, target, names)


def _with_trees(program: Program, target: Target) -> Program:
    return _expanded(program, target, _shortened)


def _shortened(op: Op, target: Target, names: Names) -> Iterator[Op]:
    limit = LIMITS[target].concatenation_operands
    if limit is None or not isinstance(op, TfliteOp) or not needs_rewrite(op, Rewrite.CONCATENATION_TREE, target):
        yield op
    else:
        yield from _tree(op, limit, names)


def _tree(op: TfliteOp, limit: int, names: Names) -> Iterator[Op]:
    """Yield CONCATENATIONs of at most ``limit`` operands each; the last is ``op`` over the others' results."""
    emitter = Emitter(op.name, names)
    parts = [value for value in op.operands if value is not None]
    axis = attributes.axis(op)
    while len(parts) > limit:
        groups = [parts[start : start + limit] for start in range(0, len(parts), limit)]
        parts = [group[0] if len(group) == 1 else emitter.concatenation(group, axis, "part") for group in groups]
    yield from emitter.ops
    yield replace(op, operands=tuple(parts))


def _with_copied_outputs(program: Program, target: Target) -> Program:
    del target
    return replace(program, graphs=(_copied_outputs(program.main), *program.graphs[1:]))


def _copied_outputs(graph: Graph) -> Graph:
    emitter = Emitter("outputs", graph.names())
    direct = set(direct_outputs(graph))
    seen: set[Value] = set()
    outputs = []
    for value in graph.outputs:
        again = value in seen
        seen.add(value)
        outputs.append(_copy(value, emitter) if value in direct or again else value)
    return replace(graph, ops=(*graph.ops, *emitter.ops), outputs=tuple(outputs))


def _copy(value: Value, emitter: Emitter) -> Value:
    # Neither op runs in place. A scalar has no axis to concatenate along.
    if value.type.rank == 0:
        return emitter.maximum(value, value, "copy")
    return emitter.concatenation([value], 0, "copy")


_REWRITES: Mapping[Rewrite, Callable[[Program, Target], Program]] = {
    Rewrite.SELECT_V2: _with_select_v2,
    Rewrite.CAST_FLAGS: _with_cast_flags,
    Rewrite.CONCATENATIONS: _with_concatenations,
    Rewrite.CONCATENATION_TREE: _with_trees,
    Rewrite.COPIED_OUTPUTS: _with_copied_outputs,
}
