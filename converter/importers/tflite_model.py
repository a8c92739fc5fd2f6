"""Import a TFLite flatbuffer as a program, with marked ops as recurrences.

A marked op (see `converter.marker`) may hold a stack of cells. It becomes one recurrence per leaf cell, each fed
the outputs of the one before, and one ADD per residual connection. With lengths this is exact, because a finished
row's state is kept and its output is zero, whatever the padding holds; only a sum that is the output of the whole
marked op must be zeroed where its rows have ended, the others are padding to the recurrences after them.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

from flatbuffers import flexbuffers

from converter import marker
from converter.emission.emitter import Emitter
from converter.emission.masks import zero_padding
from converter.errors import ConversionError, InvalidProgramError, Rejection, SourceError
from converter.flatbuffer import check_wellformed, read_model
from converter.importers import marked_cells as cells
from converter.ir import (
    Array,
    Cell,
    DType,
    Graph,
    Location,
    MaskedOutput,
    Names,
    Op,
    Program,
    Recurrence,
    Signature,
    TensorType,
    TfliteOp,
    Value,
    rewire,
    verify,
    with_results,
)
from converter.rules import Rule


def import_tflite(data: bytes, *, source: str, signature: Signature | None = None) -> Program:
    """Return the program in ``data``, each marked op as recurrences.

    ``signature`` names inputs and outputs, in their order, where the file itself does not.

    Raises SourceError if the bytes are not a model, ConversionError if a marked op cannot be expressed: a weight
    that is not a constant, a floating-point type other than float32, an option the IR does not know.
    """
    program = check_wellformed(read_model(data, source=source), source=source)
    if signature is not None and not program.signatures:
        program = replace(program, signatures=(signature,))
    program = name_boundary(program).map_graphs(lambda graph: _import_graph(graph, source))
    try:
        return verify(program, after="import")
    except InvalidProgramError as error:
        raise SourceError(f"{source}: malformed model: {error}") from error


def name_boundary(program: Program) -> Program:
    """Return the program with the inputs and outputs of its main graph renamed as in its signature."""
    signature, main = program.signature, program.main
    wanted: dict[Value, str] = {}
    for name, value in (
        *zip(signature.inputs, main.inputs, strict=True),
        *zip(signature.outputs, main.outputs, strict=True),
    ):
        wanted.setdefault(value, name)
    names = Names()
    renamed = {value: replace(value, name=names.fresh(name)) for value, name in wanted.items()}
    for value in main.values():
        if value not in renamed:
            renamed[value] = replace(value, name=names.fresh(value.name))
    return replace(program, graphs=(_substitute(main, renamed), *program.graphs[1:]))


def _substitute(graph: Graph, renamed: dict[Value, Value]) -> Graph:
    def new(values: Iterable[Value]) -> tuple[Value, ...]:
        return tuple(renamed[value] for value in values)

    ops: list[Op] = []
    for op in graph.ops:
        if not isinstance(op, TfliteOp):
            raise TypeError(
                f"{op.name}: expected a TFLite op, got a {type(op).__name__}; name the boundary tensors first"
            )
        operands = tuple(None if value is None else renamed[value] for value in op.operands)
        ops.append(replace(op, operands=operands, results=new(op.results), intermediates=new(op.intermediates)))
    return Graph(graph.name, new(graph.inputs), new(graph.outputs), tuple(ops))


def _import_graph(graph: Graph, source: str) -> Graph:
    names = graph.names()
    ops: list[Op] = []
    for op in graph.ops:
        if isinstance(op, TfliteOp) and op.custom_code == marker.MARKER:
            ops += _marked_op(op, source, names)
        else:
            ops.append(op)
    return _with_layer_names(replace(graph, ops=tuple(ops)), names)


def _with_layer_names(graph: Graph, names: Names) -> Graph:
    """Return ``graph`` with results of recurrences called by their layers, not by TFLiteConverter's op."""
    other: dict[Value, Value] = {}
    for op in graph.ops:
        if not isinstance(op, Recurrence):
            continue
        states = {f"state_{number}": value for number, value in enumerate(op.final_state)}
        for part, value in {"outputs": op.output, **states}.items():
            if value.name.startswith("tfl.custom"):
                other[value] = replace(value, name=names.fresh(f"{op.name}/{part}"))
    ops = tuple(with_results(rewire(op, other), other) for op in graph.ops)
    return replace(graph, ops=ops, outputs=tuple(other.get(value, value) for value in graph.outputs))


def _marked_op(op: TfliteOp, source: str, names: Names) -> Iterator[Op]:
    spec, operands = _unpacked(op, source)
    outputs, *final = op.results
    marked = _Marked(
        source,
        names,
        spec,
        operands,
        iter(operands.initial_state or [None] * spec.cell.state_count),
        iter(final),
        iter(operands.weights),
    )
    return marked.ops(spec.cell, spec.name, operands.inputs, outputs)


def _unpacked(op: TfliteOp, source: str) -> tuple[marker.RecurrenceSpec, marker.Operands[Value]]:
    """Return the specification of a marked op and its operands. Raises SourceError if it is damaged."""
    where = f"{source}: malformed model: {op.kind} {op.name!r}"
    try:
        spec = marker.RecurrenceSpec.from_json(flexbuffers.Loads(bytearray(op.custom_options))[marker.SPEC])
        operands = spec.unpack([op.operand(place) for place in range(len(op.operands))])
    except (ValueError, LookupError, TypeError, ArithmeticError, struct.error) as error:
        raise SourceError(f"{where} has a damaged recurrence specification: {error}") from error
    if len(op.results) != 1 + spec.cell.state_count:
        raise SourceError(f"{where} has {len(op.results)} results, expected {1 + spec.cell.state_count}")
    return spec, operands


@dataclass(frozen=True, slots=True, eq=False)
class _Marked:
    """A marked op while it is expanded; states and weights are consumed in the order of the leaf cells."""

    source: str
    names: Names
    spec: marker.RecurrenceSpec
    operands: marker.Operands[Value]
    initial_state: Iterator[Value | None]
    final_state: Iterator[Value]
    weights: Iterator[Value]

    def ops(self, cell: marker.CellSpec, scope: str, x: Value, outputs: Value | None) -> Iterator[Op]:
        """Yield the ops of ``cell``, fed ``x``, in the variable scope ``scope``.

        The first result of the last op is the output of the cell: ``outputs``, those of the whole marked op, or a
        new value if that is None.
        """
        if cell.kind == "stack":
            yield from self._stack(cell, scope, x, outputs)
        elif cell.kind == "residual":
            yield from self._residual(cell, scope, x, outputs)
        else:
            yield self._leaf(cell, f"{scope}/{cell.name}", x, outputs)

    def _stack(self, cell: marker.CellSpec, scope: str, x: Value, outputs: Value | None) -> Iterator[Op]:
        for index, inner in enumerate(cell.cells):
            is_top = index == len(cell.cells) - 1
            made = tuple(self.ops(inner, f"{scope}/{cell.name}/cell_{index}", x, outputs if is_top else None))
            yield from made
            x = made[-1].results[0]

    def _residual(self, cell: marker.CellSpec, scope: str, x: Value, outputs: Value | None) -> Iterator[Op]:
        (inner,) = cell.cells
        made = tuple(self.ops(inner, scope, x, None))
        yield from made
        y = made[-1].results[0]
        emitter = Emitter(f"{scope}/{cell.name}", self.names)
        if outputs is None or self.operands.sequence_length is None:
            emitter.add(x, y, outputs or "outputs")
        else:
            total = emitter.add(x, y, "outputs")
            zero_padding(
                total, self.operands.sequence_length, outputs, time_major=self.spec.time_major, emitter=emitter
            )
        yield from emitter.ops

    def _leaf(self, leaf: marker.CellSpec, path: str, x: Value, outputs: Value | None) -> Recurrence:
        location = Location(self.source, path)
        weights = {name: _weight(next(self.weights), name, location) for name in leaf.weights}
        cell = _cell(leaf, weights, location)
        name = self.names.fresh(path)
        return Recurrence(
            name=name,
            cell=cell,
            x=x,
            output=outputs or _sequence(x, cell.output_size, self.names.fresh(f"{name}/outputs")),
            initial_state=tuple(next(self.initial_state) for _ in cell.state_sizes),
            final_state=tuple(next(self.final_state) for _ in cell.state_sizes),
            time_major=self.spec.time_major,
            sequence_length=self.operands.sequence_length,
            location=location,
            mask=self.operands.mask,
            masked_output=MaskedOutput(self.spec.mask or MaskedOutput.HELD),
        )


def _sequence(x: Value, depth: int, name: str) -> Value:
    shape = (None, None) if x.type.shape is None else x.type.shape[:2]
    return Value(name, TensorType(x.type.dtype, (*shape, depth)))


def _weight(given: Value, name: str, location: Location) -> Array:
    if given.data is None:
        raise _refused(
            Rule.CONSTANT_WEIGHTS,
            location,
            f"the weight {name} is computed while the model runs ({given.name})",
            "convert a function that does not reassign the cell's variables",
        )
    if given.type.dtype is not DType.FLOAT32:
        raise _refused(
            Rule.FLOAT32_ONLY,
            location,
            f"the weight {name} is {given.type.dtype.value}; the recurrent kernels compute in float32",
            "build the cell and its inputs with dtype tf.float32",
        )
    return given.data


def _refused(rule: Rule, location: Location, detail: str, hint: str) -> ConversionError:
    return ConversionError("cannot convert the model", [Rejection(rule, str(location), detail, hint)])


def _cell(leaf: marker.CellSpec, weights: dict[str, Array], location: Location) -> Cell:
    if not cells.knows(leaf):
        raise _refused(
            Rule.CELL_KIND,
            location,
            f"the kind of cell {leaf.kind!r} is unknown to this version of tflite-rnn",
            "convert with the version of tflite-rnn that built the model",
        )
    try:
        return cells.build_cell(leaf, weights)
    except ValueError as error:
        raise _refused(Rule.CELL_OPTIONS, location, str(error), "change this option of the cell") from error
    except (LookupError, TypeError, ArithmeticError, AttributeError) as error:
        detail = f"its specification is damaged: {error!r:.200}"
        raise _refused(Rule.CELL_OPTIONS, location, detail, "convert the original model again") from error
