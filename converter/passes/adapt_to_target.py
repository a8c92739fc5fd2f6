"""adapt-to-target: replace ops that a target does not support by equivalent ones that it does."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace

from converter.emission.emitter import Emitter
from converter.ir import DType, Graph, Names, Op, Program, TfliteOp, Value, attributes, integers, new_op
from converter.targets import LIMITS, Rewrite, Target, direct_outputs, needed_rewrites, needs_rewrite


def adapt_to_target(program: Program, target: Target) -> Program:
    """Rewrite a program of TFLite ops exactly for ``target``.

    Where the target lacks the first: SELECT becomes SELECT_V2, a SELECT_V2 of integers or flags arithmetic, an op
    of flags one of numbers, a STRIDED_SLICE of the first axes one of all, a TILE CONCATENATIONs, a long
    CONCATENATION a tree, and an output that is not a separate tensor a copy.
    """
    for rewrite, write in _REWRITES.items():
        if rewrite in needed_rewrites(program, target):  # some write what another one rewrites
            program = write(program, target)
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
    """Yield ``op``; if it is one of flags that the target has no kernel for, over 0 and 1, compared with 0.5."""
    if not isinstance(op, TfliteOp) or not needs_rewrite(op, Rewrite.CAST_FLAGS, target):
        yield op
        return
    emitter = Emitter(op.name, names)
    operands = [
        emitter.cast(value, DType.FLOAT32, "numbers") if value and value.type.dtype is DType.BOOL else value
        for value in op.operands
    ]
    moved = [Value(emitter.name("moved"), replace(flags.type, dtype=DType.FLOAT32)) for flags in op.results]
    builtin = "REDUCE_MAX" if op.builtin == "REDUCE_ANY" else op.builtin
    emitter.ops.append(new_op(builtin, operands, moved, op.options))
    for numbers, flags in zip(moved, op.results, strict=True):
        emitter.op("LESS", [emitter.number(0.5), numbers], flags)
    yield from emitter.ops


def _with_arithmetic(program: Program, target: Target) -> Program:
    return _expanded(program, target, _chosen_by_arithmetic)


def _chosen_by_arithmetic(op: Op, target: Target, names: Names) -> Iterator[Op]:
    """Yield ``op``; if it is a SELECT_V2 of a type that the target lacks, what multiplies by 0 and 1: exact."""
    if not isinstance(op, TfliteOp) or not needs_rewrite(op, Rewrite.ARITHMETIC_SELECT, target):
        yield op
        return
    emitter, result = Emitter(op.name, names), op.results[0]
    condition, x, y = op.operand(0), op.operand(1), op.operand(2)
    other = emitter.unary("LOGICAL_NOT", condition, "otherwise")
    product, total = ("LOGICAL_AND", "LOGICAL_OR")
    if result.type.dtype is not DType.BOOL:
        product, total = ("MUL", "ADD")
        condition, other = (emitter.cast(flags, result.type.dtype, "count") for flags in (condition, other))
    emitter.binary(
        total, emitter.binary(product, x, condition, "x"), emitter.binary(product, y, other, "y"), result
    )
    yield from emitter.ops


def _with_whole_slices(program: Program, target: Target) -> Program:
    return _expanded(program, target, _whole_slice)


def _whole_slice(op: Op, target: Target, names: Names) -> Iterator[Op]:
    """Yield ``op``; if it is a STRIDED_SLICE that leaves out axes, one that takes all of each of them."""
    spec = [integers(value) for value in op.operands[1:]] if isinstance(op, TfliteOp) else []
    if not isinstance(op, TfliteOp) or None in spec or not needs_rewrite(op, Rewrite.WHOLE_SLICE, target):
        yield op
        return
    emitter = Emitter(op.name, names)
    begins, ends, strides = (numbers or () for numbers in spec)
    rank = len(op.operand(0).type.shape or ())
    rest = rank - len(begins)
    parts = [(*begins, *[0] * rest), (*ends, *[0] * rest), (*strides, *[1] * rest)]
    whole = replace(op, operands=(op.operand(0), *(emitter.integers(*part) for part in parts)))
    for axis in range(len(begins), rank):
        whole = attributes.taking_all(whole, axis)
    yield whole


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
    Rewrite.WHOLE_SLICE: _with_whole_slices,
    Rewrite.ARITHMETIC_SELECT: _with_arithmetic,
    Rewrite.CAST_FLAGS: _with_cast_flags,
    Rewrite.CONCATENATIONS: _with_concatenations,
    Rewrite.CONCATENATION_TREE: _with_trees,
    Rewrite.COPIED_OUTPUTS: _with_copied_outputs,
}
