"""refine-shapes: infer shapes from those of the model's inputs.

TFLiteConverter does not infer shapes through loops, so those of the results of recurrences, and of all later
values, are unknown. Numbers that are computed from known shapes become constants.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from converter.errors import InvalidProgramError
from converter.ir import (
    Array,
    DType,
    Graph,
    Op,
    Program,
    Recurrence,
    TfliteOp,
    Value,
    constant,
    rewire,
)
from converter.ir.evaluate import evaluate_graph
from converter.ir.shapes import refined_value, result_shapes


def refine_shapes(program: Program) -> Program:
    """Set the shapes of the main graph's values as far as they follow from those of its inputs."""
    main = program.main
    if not all(value.type.is_static for value in main.inputs):
        return program
    other: dict[Value, Value] = {}
    ops: list[Op] = []
    for op in main.ops:
        refined = _refined(rewire(op, other))
        ops.append(refined)
        other |= {old: new for old, new in zip(op.results, refined.results, strict=True) if old is not new}
        other |= _numbers(refined)
    outputs = tuple(_output(value, other) for value in main.outputs)
    return replace(program, graphs=(replace(main, ops=tuple(ops), outputs=outputs), *program.graphs[1:]))


def with_known_sizes(graph: Graph) -> Graph:
    """Return ``graph`` with the sizes that follow from those of its inputs that are known."""
    other: dict[Value, Value] = {}
    ops: list[Op] = []
    for op in graph.ops:
        refined = _refined(rewire(op, other))
        ops.append(refined)
        other |= {old: new for old, new in zip(op.results, refined.results, strict=True) if old is not new}
    outputs = tuple(other.get(value, value) for value in graph.outputs)
    return replace(graph, ops=tuple(ops), outputs=outputs)


def shapes_refined(program: Program) -> bool:
    """True if recurrences over sequences of known sizes have results of known sizes."""
    if not all(value.type.is_static for value in program.main.inputs):
        return True
    return all(
        value.type.is_static
        for op in program.main.ops
        if isinstance(op, Recurrence) and op.x.type.is_static
        for value in op.results
    )


def _output(value: Value, other: dict[Value, Value]) -> Value:
    """Return an output with its shape; an output that became a constant stays computed."""
    refined = other.get(value, value)
    return value if refined.is_constant else refined


def _refined(op: Op) -> Op:
    if isinstance(op, Recurrence):
        return _refined_recurrence(op)
    if not isinstance(op, TfliteOp) or all(value.type.is_static for value in op.results):
        return op
    shapes = zip(op.results, result_shapes(op), strict=True)
    return replace(op, results=tuple(refined_value(value, shape) for value, shape in shapes))


def _refined_recurrence(op: Recurrence) -> Recurrence:
    leading = (None, None) if op.x.type.shape is None else op.x.type.shape[:2]
    states = zip(op.final_state, op.cell.state_sizes, strict=True)
    return replace(
        op,
        output=refined_value(op.output, (*leading, op.cell.output_size)),
        final_state=tuple(refined_value(value, (op.batch, size)) for value, size in states),
    )


def _numbers(op: Op) -> dict[Value, Value]:
    """Return the integers that ``op`` computes from known shapes and constants, as constants."""
    if not isinstance(op, TfliteOp) or not all(_is_integer(value) for value in op.results) or not op.results:
        return {}
    operands = [value for value in op.operands if value is not None]
    if op.builtin == "SHAPE" and operands[0].type.is_static:
        return {op.results[0]: _constant(op.results[0], np.array(operands[0].type.shape))}
    if not operands or not all(value.data is not None and _is_integer(value) for value in operands):
        return {}
    results = _run(op, [value.data for value in operands if value.data is not None])
    return {} if results is None else dict(zip(op.results, map(_constant, op.results, results), strict=True))


def _run(op: TfliteOp, given: list[Array]) -> list[Array] | None:
    operands = tuple(value for value in op.operands if value is not None)
    unknown = {value: Value(f"operand_{index}", value.type) for index, value in enumerate(dict.fromkeys(operands))}
    inputs = tuple(unknown.values())
    arrays = dict(zip(operands, given, strict=True))
    try:
        graph = Graph("op", inputs, op.results, (rewire(op, unknown),))
        with np.errstate(all="ignore"):
            return evaluate_graph(graph, [arrays[value] for value in unknown])
    except (InvalidProgramError, ValueError, KeyError, IndexError):  # an unknown op, or unknown options
        return None


def _is_integer(value: Value) -> bool:
    return value.type.dtype in {DType.INT32, DType.INT64}


def _constant(value: Value, numbers: Array) -> Value:
    return constant(f"{value.name}/number", np.asarray(numbers, value.type.dtype.value))
