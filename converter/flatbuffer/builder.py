"""Write a program of TFLite ops as the bytes of a ``.tflite``: equal programs give equal bytes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import flatbuffers
import numpy as np

from converter.errors import InvalidProgramError
from converter.flatbuffer.schema import (
    BUILTIN_NUMBERS,
    DTYPE_NUMBERS,
    IDENTIFIER,
    LAST_DEPRECATED_BUILTIN,
    OPTIONS2_NUMBERS,
    OPTIONS_NUMBERS,
    SCHEMA_VERSION,
    schema,
)
from converter.ir import Graph, Names, Program, Signature, TfliteOp, Value


def build_model(program: Program, *, metadata: Mapping[str, bytes] | None = None) -> bytes:
    """Return ``program`` as a TFLite flatbuffer, with entries of ``metadata`` by their names.

    Raises InvalidProgramError if a recurrence has not been lowered.
    """
    tables = _Tables()
    model = schema.ModelT()
    model.version = SCHEMA_VERSION
    model.description = program.description
    numberings = [{value: index for index, value in enumerate(graph.values())} for graph in program.graphs]
    signed = {0, *(signature.graph for signature in program.signatures)}
    names = Names()  # viewers find graphs by their names
    model.subgraphs = [
        _subgraph(replace(graph, name=names.fresh(graph.name)), numbering, tables, is_signed=number in signed)
        for number, (graph, numbering) in enumerate(zip(program.graphs, numberings, strict=True))
    ]
    model.signatureDefs = [
        _signature(signature, program.graphs[signature.graph], numberings[signature.graph])
        for signature in program.signatures
    ]
    if metadata:
        model.metadata = [_metadata(name, content, tables) for name, content in metadata.items()]
    model.operatorCodes, model.buffers = tables.codes, tables.buffers
    builder = flatbuffers.Builder(1024)
    builder.Finish(model.Pack(builder), IDENTIFIER)
    return bytes(builder.Output())


class _Tables:
    """The model-wide tables of op codes and buffers, which grow while graphs are written; entries are unique."""

    def __init__(self) -> None:
        self.codes: list[Any] = []
        self.buffers: list[Any] = [schema.BufferT()]
        self._code_index: dict[tuple[str, int, str | None], int] = {}
        self._buffer_index: dict[bytes, int] = {}

    def code(self, op: TfliteOp) -> int:
        key = (op.builtin, op.version, op.custom_code)
        if key not in self._code_index:
            code = schema.OperatorCodeT()
            code.builtinCode = BUILTIN_NUMBERS[op.builtin]
            code.deprecatedBuiltinCode = min(code.builtinCode, LAST_DEPRECATED_BUILTIN)
            code.version = op.version
            code.customCode = op.custom_code
            self._code_index[key] = len(self.codes)
            self.codes.append(code)
        return self._code_index[key]

    def buffer(self, raw: bytes | None) -> int:
        if raw is None:
            return 0
        if raw not in self._buffer_index:
            buffer = schema.BufferT()
            buffer.data = np.frombuffer(raw, np.uint8)
            self._buffer_index[raw] = len(self.buffers)
            self.buffers.append(buffer)
        return self._buffer_index[raw]


def _metadata(name: str, content: bytes, tables: _Tables) -> Any:
    entry = schema.MetadataT()
    entry.name, entry.buffer = name, tables.buffer(content)
    return entry


def _subgraph(graph: Graph, numbering: dict[Value, int], tables: _Tables, *, is_signed: bool) -> Any:
    subgraph = schema.SubGraphT()
    subgraph.name = graph.name
    subgraph.tensors = [_tensor(value, tables) for value in numbering]
    subgraph.inputs = [numbering[value] for value in graph.inputs]
    # A tensor that two signature entries share is listed once: the interpreter identifies outputs by tensor.
    # Those of bodies and branches are identified by their places.
    listed = dict.fromkeys(graph.outputs) if is_signed else graph.outputs
    subgraph.outputs = [numbering[value] for value in listed]
    subgraph.operators = []
    for op in graph.ops:
        if not isinstance(op, TfliteOp):
            raise InvalidProgramError(
                f"{op.name}: expected a TFLite op to write, got a {type(op).__name__}; lower it first"
            )
        subgraph.operators.append(_operator(op, numbering, tables))
    return subgraph


def _tensor(value: Value, tables: _Tables) -> Any:
    tensor = schema.TensorT()
    tensor.name = value.name
    tensor.type = DTYPE_NUMBERS[value.type.dtype]
    tensor.buffer = tables.buffer(None if value.data is None else value.data.tobytes())
    tensor.isVariable = value.is_variable
    tensor.quantization = value.quantization
    shape = value.type.shape
    tensor.hasRank = shape is not None
    tensor.shape = [1 if dim is None else dim for dim in shape or ()]
    if not value.type.is_static and shape is not None:
        tensor.shapeSignature = [-1 if dim is None else dim for dim in shape]
    return tensor


def _operator(op: TfliteOp, numbering: dict[Value, int], tables: _Tables) -> Any:
    operator = schema.OperatorT()
    operator.opcodeIndex = tables.code(op)
    operator.inputs = [-1 if value is None else numbering[value] for value in op.operands]
    operator.outputs = [numbering[value] for value in op.results]
    if op.intermediates:
        operator.intermediates = [numbering[value] for value in op.intermediates]
    if op.custom_options:
        operator.customOptions = np.frombuffer(op.custom_options, np.uint8)
    if op.options_type is not None:
        _set_options(operator, op, op.options_type)
    return operator


def _set_options(operator: Any, op: TfliteOp, options_type: str) -> None:
    options = getattr(schema, options_type + "T")()
    unknown = op.options.keys() - vars(options).keys()
    if unknown:
        raise InvalidProgramError(f"{op.name}: unknown fields of {options_type}: {', '.join(sorted(unknown))}")
    for name, setting in op.options.items():
        setattr(options, name, setting)
    if options_type in OPTIONS_NUMBERS:
        operator.builtinOptionsType, operator.builtinOptions = OPTIONS_NUMBERS[options_type], options
    else:
        operator.builtinOptions2Type, operator.builtinOptions2 = OPTIONS2_NUMBERS[options_type], options


def _signature(signature: Signature, graph: Graph, numbering: dict[Value, int]) -> Any:
    definition = schema.SignatureDefT()
    definition.signatureKey = signature.key
    definition.subgraphIndex = signature.graph
    definition.inputs = _entries(signature.inputs, graph.inputs, numbering)
    definition.outputs = _entries(signature.outputs, graph.outputs, numbering)
    return definition


def _entries(names: tuple[str, ...], values: tuple[Value, ...], numbering: dict[Value, int]) -> list[Any]:
    entries = []
    for name, value in zip(names, values, strict=True):
        entry = schema.TensorMapT()
        entry.name, entry.tensorIndex = name, numbering[value]
        entries.append(entry)
    return entries
