"""Check that the ops of a file follow the schema, so that no later stage has to."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from sys import maxsize
from typing import TypeAlias

from converter.errors import SourceError
from converter.flatbuffer.schema import schema
from converter.ir import (
    DType,
    FullyConnected,
    Graph,
    Program,
    TensorType,
    TfliteOp,
    Trait,
    Value,
    attributes,
    facts,
    has,
    integers,
)
from converter.ir.builtins import BUILTINS, UNKNOWN
from converter.ir.shapes import listed_per_axis, operands_fit, result_shapes
from converter.ir.types import MOST_ELEMENTS, agree

_INTEGERS = frozenset({DType.INT32, DType.INT64})


def check_wellformed(program: Program, *, source: str) -> Program:
    """Return ``program``, which has TFLite ops only, if all of them are well-formed.

    Raises SourceError with ``source``, the first malformed op, and what was expected of it.
    """
    fault = next(_faults(program), None)
    if fault is not None:
        raise SourceError(f"{source}: malformed model: {fault}")
    return program


def _faults(program: Program) -> Iterator[str]:
    """Yield the faults of a program; later checks rely on earlier ones."""
    for graph in program.graphs:
        if len(set(graph.inputs)) < len(graph.inputs):
            yield f"graph {graph.name!r} lists an input twice"
        where = f" of {graph.name!r}" if len(program.graphs) > 1 else ""
        for op in _tflite_ops(graph):
            yield from (f"{op.kind} {op.name!r}{where} {fault}" for fault in _op_faults(op, program))
    yield from _cycles(program)


def _op_faults(op: TfliteOp, program: Program) -> Iterator[str]:
    yield from _count_faults(op)
    yield from _option_faults(op)
    yield from _graph_faults(op, program)
    yield from _carried_faults(op, program)
    yield from _type_faults(op)
    yield from _axis_faults(op)
    yield from _shape_faults(op)
    yield from _size_faults(op)


# --- operands and results ----------------------------------------------------------------------------------------


def _count_faults(op: TfliteOp) -> Iterator[str]:
    known = facts(op)
    if op.custom_code in BUILTINS:
        yield "is a custom op with the name of a builtin one"
    for what, values, (fewest, most) in (
        ("operands", op.operands, known.operands),
        ("results", op.results, known.results),
    ):
        if not fewest <= len(values) <= most:
            yield f"has {len(values)} {what}, expected {_count(fewest, most)}"
    if known.operands != UNKNOWN.operands or has(op, Trait.CONTROL):
        absent = (place for place, value in enumerate(op.operands) if value is None and place not in known.absent)
        yield from (f"has no operand {place}, expected a tensor" for place in absent)


def _count(fewest: int, most: int) -> str:
    if most == maxsize:
        return f"at least {fewest}"
    return str(fewest) if fewest == most else f"{fewest} to {most}"


# --- options -----------------------------------------------------------------------------------------------------


def _option_faults(op: TfliteOp) -> Iterator[str]:
    expected = facts(op).options
    if op.options_type not in {None, expected} and op.builtin in BUILTINS:
        yield f"has {op.options_type}, expected {expected or 'no options'}"
    elif op.options_type is None and expected is not None and _needs_options(op, expected):
        yield f"has no options, expected {expected}"
    elif not 0 <= attributes.activation_number(op) < len(attributes.ACTIVATIONS):
        yield f"has activation {attributes.activation_number(op)}, which the schema does not know"


def _needs_options(op: TfliteOp, expected: str) -> bool:
    if op.builtin == "RESHAPE":
        return len(op.operands) < 2
    # TFLiteConverter omits the options of CAST, whose types the tensors have, and tables without fields.
    return op.builtin != "CAST" and bool(vars(getattr(schema, f"{expected}T")()))


# --- graphs ------------------------------------------------------------------------------------------------------


def _graph_faults(op: TfliteOp, program: Program) -> Iterator[str]:
    for role, number, inputs, outputs in _runs(op):
        if not 0 <= number < len(program.graphs):
            yield f"has graph {number} as its {role}, expected a number below {len(program.graphs)}"
            continue
        graph = program.graphs[number]
        for what, values, expected in (("inputs", graph.inputs, inputs), ("outputs", graph.outputs, outputs)):
            if expected is not None and _dtypes(values) != expected:
                yield f"has a {role} with {what} of {_list(_dtypes(values))}, expected {_list(expected)}"


def _carried_faults(op: TfliteOp, program: Program) -> Iterator[str]:
    """Yield the values of a loop whose rank changes on the way through it."""
    if op.builtin != "WHILE":
        return
    _, number = attributes.loop_graphs(op)
    body = program.graphs[number]
    for result, *inside in zip(op.results, body.inputs, body.outputs, strict=True):
        for other in inside:
            if None not in (other.type.rank, result.type.rank) and other.type.rank != result.type.rank:
                yield f"has the result {result.name} of {result.type}, which is {other.type} in its body"


_Types: TypeAlias = "tuple[DType | None, ...] | None"


def _runs(op: TfliteOp) -> Iterator[tuple[str, int, _Types, _Types]]:
    """Yield the graphs that ``op`` runs: role, number, and the types that their inputs and outputs must have."""
    operands, results = _dtypes(op.operands), _dtypes(op.results)
    if op.builtin == "WHILE":
        condition, body = attributes.loop_graphs(op)
        yield "condition", condition, operands, (DType.BOOL,)
        yield "body", body, operands, operands
        yield "body", body, results, results
    elif op.builtin == "IF":
        for number in attributes.graphs(op):
            yield "branch", number, operands[1:], results
    else:
        for number in attributes.graphs(op):
            yield "graph", number, None, None


def _dtypes(values: Sequence[Value | None]) -> tuple[DType | None, ...]:
    return tuple(None if value is None else value.type.dtype for value in values)


def _list(types: Sequence[DType | None]) -> str:
    return f"[{', '.join('-' if dtype is None else dtype.value for dtype in types)}]"


def _cycles(program: Program) -> Iterator[str]:
    """Yield the graphs that call themselves, directly or through others."""
    runs = [{number for op in _tflite_ops(graph) for number in attributes.graphs(op)} for graph in program.graphs]
    pending = set(range(len(runs)))
    while pending:
        done = {number for number in pending if not runs[number] & pending}
        if not done:
            names = ", ".join(repr(program.graphs[number].name) for number in sorted(pending))
            yield f"these graphs call each other in a cycle: {names}"
            return
        pending -= done


def _tflite_ops(graph: Graph) -> Iterator[TfliteOp]:
    return (op for op in graph.ops if isinstance(op, TfliteOp))


# --- types -------------------------------------------------------------------------------------------------------


def _type_faults(op: TfliteOp) -> Iterator[str]:
    for place in facts(op).sized_by or ():
        value = op.operands[place] if place < len(op.operands) else None
        if value is not None and value.type.dtype not in _INTEGERS and op.builtin != "RANGE":
            yield f"has {value.name} of {value.type} as operand {place}, expected integers"
    for place in facts(op).single:
        value = op.operand(place)
        if value.type.is_static and _size(value.type) != 1:
            yield f"has {value.name} of {value.type} as operand {place}, expected one number"
        if op.custom_code is not None and value.type.dtype not in _INTEGERS:
            yield f"has {value.name} of {value.type} as operand {place}, expected an integer"
    if has(op, Trait.ELEMENTWISE):
        *_, first, last = (None, *op.operands)  # the condition of a selection is of another type
        if first is not None and last is not None and first.type.dtype is not last.type.dtype:
            yield f"reads {first.name} of {first.type} and {last.name} of {last.type}, expected one element type"


def _axis_faults(op: TfliteOp) -> Iterator[str]:
    for axis, rank in attributes.named_axes(op):
        if not -rank <= axis < rank:
            yield f"has the axis {axis}, expected one of {-rank} to {rank - 1}"
    if op.builtin == "TRANSPOSE":
        order = attributes.permutation(op)
        if order is not None and sorted(order) != list(range(len(order))):
            yield f"has the order of axes {list(order)}, expected a permutation"
    listed = listed_per_axis(op)
    if listed is not None and listed[0] != listed[1]:
        yield f"has {listed[0]} numbers for the axes of {op.operand(0).type}, expected {listed[1]}"


def _shape_faults(op: TfliteOp) -> Iterator[str]:
    if op.builtin == "GATHER":
        yield from _index_faults(op)
    dense = FullyConnected.match(op)
    if dense is not None:
        yield from _dense_faults(dense)
    if not operands_fit(op):
        types = ", ".join("-" if value is None else str(value.type) for value in op.operands)
        yield f"has operands that do not fit together: {types}"
    for result, shape in zip(op.results, result_shapes(op), strict=True):
        if not agree(result.type.shape, shape):
            yield (
                f"has the result {result.name} of {result.type}, expected {TensorType(result.type.dtype, shape)}"
            )


def _size_faults(op: TfliteOp) -> Iterator[str]:
    for result in op.results:
        if result.type.is_static and _size(result.type) > MOST_ELEMENTS:
            yield f"has the result {result.name} of {result.type}, more elements than a tensor can have"


def _index_faults(op: TfliteOp) -> Iterator[str]:
    shape, indices = op.operand(0).type.shape, integers(op.operand(1))
    size = shape[attributes.axis(op)] if shape else None
    if size is not None and not all(0 <= index < size for index in indices or ()):
        yield f"reads elements {list(indices or ())}, expected numbers from 0 to {size - 1}"


def _dense_faults(dense: FullyConnected) -> Iterator[str]:
    weights, bias, x = dense.weights.type, None if dense.bias is None else dense.bias.type, dense.x.type
    if weights.rank not in {2, None}:
        yield f"has weights of {weights}, expected a matrix"
    elif bias is not None and weights.is_static and bias.is_static and _size(bias) != (weights.shape or (0,))[0]:
        yield f"has weights of {weights} and a bias of {bias}, expected a bias for each row"
    elif weights.is_static and x.is_static and _size(x) % ((weights.shape or (0, 0))[1] or 1):
        yield f"reads {x} and has weights of {weights}, expected rows of as many numbers as the matrix has columns"


def _size(of: TensorType) -> int:
    """Return how many elements a tensor of known sizes has."""
    return math.prod(size or 0 for size in of.shape or ())
