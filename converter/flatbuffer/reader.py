"""Read the bytes of a ``.tflite`` as a program, without any interpretation."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

import numpy as np

from converter.errors import InvalidProgramError, SourceError
from converter.files import check_readable
from converter.flatbuffer.schema import BUILTIN_NAMES, DTYPES, IDENTIFIER, schema
from converter.ir import Array, DType, Graph, Names, Op, Program, Signature, TensorType, TfliteOp, Value, verify

# Errors of the generated reader for invalid offsets, lengths or enums in a damaged file.
_DAMAGE = (
    ArithmeticError,
    AttributeError,
    InvalidProgramError,
    LookupError,
    MemoryError,
    TypeError,
    ValueError,
    struct.error,
)


class _SparseError(Exception):
    """A constant of this name is sparse."""


def read_file(path: Path) -> bytes:
    """Return the content of the model file at ``path``. Raises SourceError if it cannot be read."""
    check_readable(path)
    try:
        return path.read_bytes()
    except OSError as error:
        raise SourceError(f"{path}: cannot read the file: {error.strerror or error}") from error


def read_model(data: bytes, *, source: str = "model") -> Program:
    """Return the program in the flatbuffer ``data``.

    Raises SourceError, naming ``source``, if the bytes are damaged or not a TFLite flatbuffer.
    """
    if data[4:8] != IDENTIFIER:
        raise SourceError(
            f"{source}: not a TFLite model: expected {IDENTIFIER!r} in bytes 4 to 8, got {data[4:8]!r}"
        )
    try:
        _check_count(schema.Model.GetRootAs(data, 0), len(data))
        return verify(_program(schema.ModelT.InitFromPackedBuf(data, 0), data), after="reading")
    except _SparseError as error:
        raise SourceError(
            f"{source}: the constant {str(error)!r} is stored as a sparse tensor, expected dense constants; make "
            "the .tflite without sparsity"
        ) from error
    except _DAMAGE as error:
        raise SourceError(
            f"{source}: damaged or truncated TFLite model ({len(data)} bytes): {error}; download or "
            "convert it again"
        ) from error


def _check_count(model: Any, size: int) -> None:
    """Raise ValueError if a file of ``size`` bytes names the same tables again and again, which takes for ever.

    A table takes 8 bytes or more, with what refers to it; writers do not share tables. Vectors may be shared.
    """
    tables = elements = 0
    for subgraph in map(model.Subgraphs, range(model.SubgraphsLength())):
        tables += 1 + subgraph.TensorsLength() + subgraph.OperatorsLength()
        if 8 * tables > size:
            raise ValueError(f"it names more than {size // 8} tables, which {size} bytes cannot hold")
        for tensor in map(subgraph.Tensors, range(subgraph.TensorsLength())):
            elements += tensor.ShapeLength() + tensor.ShapeSignatureLength()
        for op in map(subgraph.Operators, range(subgraph.OperatorsLength())):
            elements += op.InputsLength() + op.OutputsLength()
        if elements > _SHARED * size:
            raise ValueError(
                f"its ops and shapes have more than {_SHARED * size} numbers, too many for {size} bytes"
            )


_SHARED = 64
"""How often each byte of a file may be read as part of a shared vector."""


def _program(model: Any, data: bytes) -> Program:
    if not model.subgraphs:
        raise ValueError("expected at least one subgraph, got none")
    signatures = tuple(model.signatureDefs or ())
    tells_ranks = any(tensor.hasRank for subgraph in model.subgraphs for tensor in _items(subgraph.tensors))
    graphs, numbered = [], []
    for index, subgraph in enumerate(model.subgraphs):
        values = _values(subgraph, model.buffers, data, tells_ranks=tells_ranks, computed=_computed(subgraph))
        numbered.append(values)
        graphs.append(
            Graph(
                name=_text(subgraph.name) or f"subgraph_{index}",
                inputs=tuple(values[i] for i in _indices(subgraph.inputs, values)),
                outputs=tuple(values[i] for i in _indices(subgraph.outputs, values)),
                ops=tuple(
                    _op(operator, model.operatorCodes, values, data) for operator in _items(subgraph.operators)
                ),
            )
        )
    read = []
    for definition in signatures:
        index = definition.subgraphIndex
        graphs[index], signature = _signature(definition, graphs[index], numbered[index])
        read.append(signature)
    return Program(tuple(graphs), tuple(read), _text(model.description))


def _signature(definition: Any, graph: Graph, values: list[Value]) -> tuple[Graph, Signature]:
    """Return the graph with one input and output per signature entry, in the graph's order, and their names."""
    inputs, input_names = _order(graph.inputs, definition.inputs, values)
    outputs, output_names = _order(graph.outputs, definition.outputs, values)
    signature = Signature(_text(definition.signatureKey), input_names, output_names, definition.subgraphIndex)
    return Graph(graph.name, inputs, outputs, graph.ops), signature


def _order(
    listed: tuple[Value, ...], entries: Any, values: list[Value]
) -> tuple[tuple[Value, ...], tuple[str, ...]]:
    named = [(_text(entry.name), values[entry.tensorIndex]) for entry in _items(entries)]
    known = {value for _, value in named}
    named += [(value.name, value) for value in dict.fromkeys(listed) if value not in known]
    ordered = sorted(named, key=lambda pair: listed.index(pair[1]))
    return tuple(value for _, value in ordered), tuple(name for name, _ in ordered)


def _computed(subgraph: Any) -> frozenset[int]:
    """Return the numbers of the tensors that are inputs of a subgraph, or results of its ops."""
    results = (number for op in _items(subgraph.operators) for number in _items(op.outputs))
    return frozenset(map(int, (*_items(subgraph.inputs), *results)))


def _values(
    subgraph: Any, buffers: Any, file: bytes, *, tells_ranks: bool, computed: frozenset[int]
) -> list[Value]:
    names = Names()
    values = []
    for number, tensor in enumerate(_items(subgraph.tensors)):
        dtype = DTYPES[tensor.type]
        data = _data(buffers[tensor.buffer], file, dtype, tensor)
        if data is None and number not in computed and not tensor.isVariable and dtype.numpy is not None:
            data = _without_elements(dtype, tensor)
        shape = _shape(tensor, tells_ranks=tells_ranks and data is None)
        name = names.fresh(_text(tensor.name) or "tensor")
        values.append(Value(name, TensorType(dtype, shape), data, bool(tensor.isVariable), tensor.quantization))
    return values


def _shape(tensor: Any, *, tells_ranks: bool) -> tuple[int | None, ...] | None:
    shape = _items(tensor.shape)
    if not len(shape) and not tensor.hasRank:
        # Converters that never set has_rank write scalars and tensors of unknown rank alike.
        return () if tensor.buffer and not tells_ranks else None
    signature = _items(tensor.shapeSignature)
    if len(signature) != len(shape):
        signature = shape
    return tuple(None if dim < 0 else int(dim) for dim in signature)


def _data(buffer: Any, file: bytes, dtype: DType, tensor: Any) -> Array | None:
    found = _outside(file, buffer.offset, buffer.size) if buffer.offset > 1 else buffer.data
    if found is None or len(found) == 0:
        return None
    if tensor.sparsity is not None:
        raise _SparseError(_text(tensor.name))
    raw = np.frombuffer(np.asarray(found, np.uint8).tobytes(), np.uint8)
    if dtype.numpy is None:
        return raw
    return raw.view(dtype.numpy).reshape(tuple(_items(tensor.shape)))


def _outside(file: bytes, offset: int, size: int) -> Array:
    """Return what a file holds behind its flatbuffer: files beyond 2 GB have their constants there."""
    if offset + size > len(file):
        raise ValueError(f"expected {size} bytes from byte {offset}, but the file has {len(file)} bytes")
    return np.frombuffer(file, np.uint8, size, offset)


def _without_elements(dtype: DType, tensor: Any) -> Array | None:
    """Return the content of a constant that has no elements, and so no bytes; None for any other tensor."""
    shape = tuple(map(int, _items(tensor.shape)))
    return np.zeros(shape, dtype.numpy) if 0 in shape and min(shape) >= 0 else None


def _op(operator: Any, codes: Any, values: list[Value], file: bytes) -> Op:
    code = codes[operator.opcodeIndex]
    builtin = BUILTIN_NAMES[max(code.builtinCode, code.deprecatedBuiltinCode)]
    options = operator.builtinOptions if operator.builtinOptions is not None else operator.builtinOptions2
    custom, place = operator.customOptions, operator.largeCustomOptionsOffset
    if place > 1:
        custom = _outside(file, place, operator.largeCustomOptionsSize)
    return TfliteOp(
        builtin=builtin,
        operands=tuple(None if i < 0 else values[i] for i in _items(operator.inputs)),
        results=tuple(values[i] for i in _indices(operator.outputs, values)),
        options_type=None if options is None else type(options).__name__.removesuffix("T"),
        options={} if options is None else dict(vars(options)),
        version=code.version,
        custom_code=_text(code.customCode) if builtin == "CUSTOM" else None,
        custom_options=b"" if custom is None else np.asarray(custom, np.uint8).tobytes(),
        intermediates=tuple(values[i] for i in _indices(operator.intermediates, values)),
    )


def _indices(indices: Any, values: list[Value]) -> list[int]:
    numbers = [int(index) for index in _items(indices)]
    for number in numbers:
        if not 0 <= number < len(values):
            raise ValueError(f"expected a tensor number below {len(values)}, got {number}")
    return numbers


def _items(vector: Any) -> Any:
    return () if vector is None else vector


def _text(raw: bytes | str | None) -> str:
    if raw is None:
        return ""
    return raw.decode("utf-8", "replace") if isinstance(raw, bytes) else raw
