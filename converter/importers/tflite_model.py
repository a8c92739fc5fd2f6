"""A TFLite flatbuffer, fresh from TFLiteConverter, to a program: marked ops become recurrences.

A marked op (see `converter.marker`) may hold a stack of cells. It becomes one recurrence per leaf cell, each fed
the outputs of the one before; with lengths this is exact, because a finished row's state is kept and its output
is zero whatever the padding says.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace

import numpy as np
from flatbuffers import flexbuffers

from converter import marker
from converter.errors import ConversionError, Rejection
from converter.flatbuffer import read_model, unique_name
from converter.ir import (
    Activation,
    Array,
    Cell,
    DType,
    Gate,
    Graph,
    Location,
    LstmCell,
    Op,
    Peephole,
    Program,
    Recurrence,
    RnnCell,
    TensorType,
    TfliteOp,
    Value,
)


def import_tflite(data: bytes, *, source: str) -> Program:
    """Return the program in ``data``, each marked op as recurrences.

    Raises ModelFileError if the bytes are no model, ConversionError if a marked op cannot be expressed: a weight
    that is not a constant, a floating-point type other than float32, an option the IR does not know.
    """
    program = name_boundary(read_model(data, source=source))
    return program.map_graphs(lambda graph: _import_graph(graph, source))


def name_boundary(program: Program) -> Program:
    """Return the program with the tensors of its main graph's boundary called by their signature names."""
    signature, main = program.signature, program.main
    wanted: dict[Value, str] = {}
    for name, value in (
        *zip(signature.inputs, main.inputs, strict=True),
        *zip(signature.outputs, main.outputs, strict=True),
    ):
        wanted.setdefault(value, name)
    taken: set[str] = set()
    renamed = {value: replace(value, name=unique_name(name, taken)) for value, name in wanted.items()}
    for value in main.values():
        if value not in renamed:
            renamed[value] = replace(value, name=unique_name(value.name, taken))
    return replace(program, graphs=(_substitute(main, renamed), *program.graphs[1:]))


def _substitute(graph: Graph, renamed: dict[Value, Value]) -> Graph:
    def new(values: Iterable[Value]) -> tuple[Value, ...]:
        return tuple(renamed[value] for value in values)

    ops: list[Op] = []
    for op in graph.ops:
        if not isinstance(op, TfliteOp):
            raise TypeError(f"{op.name}: boundary tensors are named before recurrences are recognised")
        operands = tuple(None if value is None else renamed[value] for value in op.operands)
        ops.append(replace(op, operands=operands, results=new(op.results), intermediates=new(op.intermediates)))
    return Graph(graph.name, new(graph.inputs), new(graph.outputs), tuple(ops))


def _import_graph(graph: Graph, source: str) -> Graph:
    taken = {value.name for value in graph.values()}
    ops: list[Op] = []
    for op in graph.ops:
        if isinstance(op, TfliteOp) and op.custom_code == marker.MARKER:
            ops += _recurrences(op, source, taken)
        else:
            ops.append(op)
    return replace(graph, ops=tuple(ops))


def _recurrences(op: TfliteOp, source: str, taken: set[str]) -> Iterator[Recurrence]:
    spec = marker.RecurrenceSpec.from_json(flexbuffers.Loads(bytearray(op.custom_options))[marker.SPEC])
    operands = iter(op.operands)
    x = _given(next(operands))
    sequence_length = _given(next(operands)) if spec.sequence_length else None
    leaves = list(_paths(spec.cell, spec.name))
    widths = [_state_count(leaf) for _, leaf in leaves]
    initial = [
        tuple(_given(next(operands)) for _ in range(width)) if spec.initial_state else (None,) * width
        for width in widths
    ]
    outputs, *states = op.results
    final = iter(states)
    for index, ((path, leaf), start) in enumerate(zip(leaves, initial, strict=True)):
        location = Location(source, path)
        weights = {name: _weight(next(operands), name, location) for name in leaf.weights}
        cell = _cell(leaf, weights, location)
        name = unique_name(path, taken)
        is_last = index == len(leaves) - 1
        output = outputs if is_last else _sequence(x, cell.output_size, unique_name(f"{name}/outputs", taken))
        yield Recurrence(
            name=name,
            cell=cell,
            x=x,
            output=output,
            initial_state=start,
            final_state=tuple(next(final) for _ in start),
            time_major=spec.time_major,
            sequence_length=sequence_length,
            location=location,
        )
        x = output


def _paths(cell: marker.CellSpec, scope: str) -> Iterator[tuple[str, marker.CellSpec]]:
    """Yield each leaf cell with its path, in the words of TensorFlow's variable scopes."""
    if cell.kind != "stack":
        yield f"{scope}/{cell.name}", cell
        return
    for index, inner in enumerate(cell.cells):
        yield from _paths(inner, f"{scope}/{cell.name}/cell_{index}")


def _given(value: Value | None) -> Value:
    if value is None:
        raise ValueError("a marked op leaves out an operand that its specification promises")
    return value


def _sequence(x: Value, depth: int, name: str) -> Value:
    shape = (None, None) if x.type.shape is None else x.type.shape[:2]
    return Value(name, TensorType(x.type.dtype, (*shape, depth)))


def _weight(value: Value | None, name: str, location: Location) -> Array:
    given = _given(value)
    if given.data is None:
        raise _refused(
            "constant-weights",
            location,
            f"the weight {name} is computed while the model runs ({given.name})",
            "the cell's variables must be its own: convert a function in which they are not reassigned",
        )
    if given.type.dtype is not DType.FLOAT32:
        raise _refused(
            "float32-only",
            location,
            f"the weight {name} is {given.type.dtype.value}; the recurrent kernels compute in float32",
            "build the cell and its inputs with dtype tf.float32",
        )
    return given.data


def _refused(rule: str, location: Location, detail: str, hint: str) -> ConversionError:
    return ConversionError("cannot convert the model", [Rejection(rule, str(location), detail, hint)])


def _state_count(leaf: marker.CellSpec) -> int:
    return 2 if leaf.kind == "lstm" else 1


def _cell(leaf: marker.CellSpec, weights: dict[str, Array], location: Location) -> Cell:
    builders = {"basic_rnn": _basic_rnn, "lstm": _lstm}
    if leaf.kind not in builders:
        raise _refused(
            "cell-kind",
            location,
            f"cells of kind {leaf.kind!r} are not known to this version",
            "convert with the version of tflite-rnn that wrote the model",
        )
    try:
        return builders[leaf.kind](leaf, weights)
    except ValueError as error:
        raise _refused("cell-options", location, str(error), "change this option of the cell") from error


def _basic_rnn(leaf: marker.CellSpec, weights: dict[str, Array]) -> Cell:
    gate = _gates(weights, leaf.attribute("units"), 1)[0]
    return RnnCell(gate, Activation(leaf.attribute("activation")))


def _lstm(leaf: marker.CellSpec, weights: dict[str, Array]) -> Cell:
    input_gate, cell_gate, forget_gate, output_gate = _gates(weights, leaf.attribute("units"), 4)
    peephole = None
    if "w_f_diag" in weights:
        peephole = Peephole(weights["w_i_diag"], weights["w_f_diag"], weights["w_o_diag"])
    projection = weights.get("projection_kernel")
    return LstmCell(
        input_gate=input_gate,
        forget_gate=forget_gate,
        cell_gate=cell_gate,
        output_gate=output_gate,
        peephole=peephole,
        projection=None if projection is None else np.ascontiguousarray(projection.T),
        activation=Activation(leaf.attribute("activation")),
        cell_clip=leaf.attribute("cell_clip"),
        projection_clip=None if projection is None else leaf.attribute("proj_clip"),
        forget_bias=leaf.attribute("forget_bias"),
    )


def _gates(weights: dict[str, Array], units: int, count: int) -> list[Gate]:
    """Split TensorFlow's kernel [D+O, count*U] and bias [count*U] into one gate per block of columns."""
    kernel, bias = weights["kernel"], weights["bias"]
    output = weights["projection_kernel"].shape[1] if "projection_kernel" in weights else units
    depth = kernel.shape[0] - output
    rows = kernel.T.reshape(count, units, kernel.shape[0])
    return [
        Gate(np.ascontiguousarray(block[:, :depth]), np.ascontiguousarray(block[:, depth:]), part)
        for block, part in zip(rows, bias.reshape(count, units), strict=True)
    ]
