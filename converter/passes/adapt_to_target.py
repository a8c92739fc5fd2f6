"""adapt-to-target: what a target cannot take although there is an equal form that it can, in that form."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from converter.emission.emitter import Emitter
from converter.ir import Graph, Names, Op, Program, TfliteOp, Value, as_tflite, attributes, new_op
from converter.targets import RULES, Rules, Target, direct_outputs


def adapt_to_target(program: Program, target: Target) -> Program:
    """Rewrite a program of TFLite ops for ``target``; exact, and nothing where the target takes everything.

    SELECT becomes SELECT_V2 where only that is known, CONCATENATION of many operands a tree of them, and an output
    that is no result of its own a copy.
    """
    rules = RULES[target]
    program = program.map_graphs(lambda graph: _adapted(graph, rules))
    if rules.direct_outputs:
        return program
    main = _copied_outputs(program.main)
    return replace(program, graphs=(main, *program.graphs[1:]))


def adapted(program: Program, target: Target) -> bool:
    """True if no CONCATENATION is too long for the target and every output is a result of its own."""
    rules = RULES[target]
    long = any(_too_long(op, rules) for op in program.ops())
    return not long and (rules.direct_outputs or not any(direct_outputs(program.main)))


def _adapted(graph: Graph, rules: Rules) -> Graph:
    names = graph.names()
    ops = (part for op in graph.ops for part in _adapted_op(op, rules, names))
    return replace(graph, ops=tuple(ops))


def _adapted_op(op: Op, rules: Rules, names: Names) -> Iterator[Op]:
    if isinstance(op, TfliteOp) and op.builtin == "SELECT" and "SELECT" not in rules.versions and _is_even(op):
        yield new_op("SELECT_V2", op.operands, op.results)
    elif isinstance(op, TfliteOp) and _too_long(op, rules):
        yield from _tree(op, rules.concatenation_operands or len(op.operands), names)
    else:
        yield op


def _is_even(op: TfliteOp) -> bool:
    """True if the three operands have one shape: SELECT_V2 would broadcast what SELECT spreads over rows."""
    shapes = {None if value is None else value.type.shape for value in op.operands}
    return len(shapes) == 1 and None not in shapes


def _too_long(op: Op, rules: Rules) -> bool:
    limit = rules.concatenation_operands
    return limit is not None and as_tflite(op, "CONCATENATION") is not None and len(op.operands) > limit


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
    # Neither runs in place. A scalar has no axis to concatenate along.
    if value.type.rank == 0:
        return emitter.maximum(value, value, "copy")
    return emitter.concatenation([value], 0, "copy")
