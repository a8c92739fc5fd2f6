"""Rare and hostile files: constants outside of the flatbuffer, sparse ones, shared tables, huge tensors."""

from __future__ import annotations

from typing import Any

import flatbuffers
import numpy as np
import pytest

from converter.analysis.elements import result_elements
from converter.convert import compile_opened, compile_program
from converter.errors import SourceError, TfliteRnnError
from converter.flatbuffer import read_model
from converter.flatbuffer.schema import schema
from converter.importers.marked_cells import build_cell
from converter.importers.tflite_file import load_tflite
from converter.ir import DType, TensorType, Value, new_op
from converter.ir.shapes import Known
from converter.marker import CellSpec
from converter.options import ConvertOptions, Lowering
from tests.programs import lstm_cell, stack
from tflite_rnn.runtime import AI_EDGE_LITERT, Runtime, WorkerPool

HERE = 4096
"""Where the constants outside of the flatbuffer begin."""


def tensor(name: str, shape: list[int], buffer: int = 0, dtype: int = 0) -> Any:
    made = schema.TensorT()
    made.name, made.shape, made.buffer = name, np.array(shape, np.int32), buffer
    made.type, made.hasRank = dtype, True
    return made


def op(code: int, reads: list[int], writes: list[int], options: Any, kind: int) -> Any:
    made = schema.OperatorT()
    made.opcodeIndex, made.builtinOptions, made.builtinOptionsType = code, options, kind
    made.inputs, made.outputs = np.array(reads, np.int32), np.array(writes, np.int32)
    return made


def model(
    tensors: list[Any], ops: list[Any], builtins: list[str], output: int, buffers: list[bytes | None]
) -> Any:
    made, graph = schema.ModelT(), schema.SubGraphT()
    graph.name, graph.tensors, graph.operators = "main", tensors, ops
    graph.inputs, graph.outputs = np.array([0], np.int32), np.array([output], np.int32)
    made.version, made.subgraphs, made.operatorCodes, made.buffers = 3, [graph], [], [schema.BufferT()]
    for name in builtins:
        code = schema.OperatorCodeT()
        code.builtinCode = getattr(schema.BuiltinOperator, name)
        code.deprecatedBuiltinCode, code.version = min(code.builtinCode, 127), 1
        made.operatorCodes.append(code)
    for content in buffers:
        buffer = schema.BufferT()
        buffer.data = None if content is None else np.frombuffer(content, np.uint8)
        made.buffers.append(buffer)
    return made


def packed(made: Any) -> bytes:
    builder = flatbuffers.Builder(1024)
    builder.Finish(made.Pack(builder), b"TFL3")
    return bytes(builder.Output())


def addition(content: bytes | None) -> Any:
    """Return a model of y = x + c, where c holds ``content``."""
    tensors = [tensor("x", [2]), tensor("c", [2], 1), tensor("y", [2])]
    add = op(0, [0, 1], [2], schema.AddOptionsT(), schema.BuiltinOptions.AddOptions)
    return model(tensors, [add], ["ADD"], 2, [content])


def adds_a_constant_outside(size: int = 8) -> bytes:
    made = addition(None)
    made.buffers[1].offset, made.buffers[1].size = HERE, size
    data = packed(made)
    return data.ljust(HERE, b"\0") + np.array([3, 4], np.float32).tobytes()


def test_constants_outside_of_the_flatbuffer_are_read(pool: WorkerPool) -> None:
    data = adds_a_constant_outside()
    converted = compile_opened(load_tflite(data))
    x = np.array([1.0, 2.0], np.float32)
    for file in (data, converted.model):  # the runtime reads the file itself alike
        with pool.open(Runtime(AI_EDGE_LITERT), file) as running:
            (y,) = running.run({running.signature.inputs[0].name: x}).values()
        np.testing.assert_array_equal(y, [4.0, 6.0])


def test_constants_beyond_the_end_of_the_file_are_refused() -> None:
    with pytest.raises(SourceError, match="expected 80 bytes from byte 4096, but the file has 4104 bytes"):
        read_model(adds_a_constant_outside(80))


def test_sparse_constants_are_refused_by_name() -> None:
    made = addition(bytes(8))
    made.subgraphs[0].tensors[1].sparsity = schema.SparsityParametersT()
    with pytest.raises(SourceError, match="the constant 'c' is stored as a sparse tensor"):
        read_model(packed(made))


def test_tables_that_a_file_names_again_and_again_are_refused() -> None:
    count, builder = 900, flatbuffers.Builder(1024)
    name = builder.CreateString("t")
    schema.TensorStart(builder)
    schema.TensorAddName(builder, name)
    one = schema.TensorEnd(builder)
    schema.SubGraphStartTensorsVector(builder, count)
    for _ in range(count):
        builder.PrependUOffsetTRelative(one)
    tensors = builder.EndVector()
    schema.SubGraphStart(builder)
    schema.SubGraphAddTensors(builder, tensors)
    graph = schema.SubGraphEnd(builder)
    schema.ModelStartSubgraphsVector(builder, count)
    for _ in range(count):
        builder.PrependUOffsetTRelative(graph)
    graphs = builder.EndVector()
    schema.ModelStart(builder)
    schema.ModelAddSubgraphs(builder, graphs)
    builder.Finish(schema.ModelEnd(builder), b"TFL3")
    with pytest.raises(SourceError, match=r"it names more than \d+ tables"):
        read_model(bytes(builder.Output()))


def test_tensors_beyond_any_kernel_are_refused() -> None:
    size = 100_000
    tensors = [
        tensor("x", [1]),
        tensor("d", [2], 1, 2),
        tensor("v", [], 2),
        tensor("f", [size, size]),
        tensor("y", [size, size]),
    ]
    ops = [
        op(0, [1, 2], [3], schema.FillOptionsT(), schema.BuiltinOptions.FillOptions),
        op(1, [3, 0], [4], schema.AddOptionsT(), schema.BuiltinOptions.AddOptions),
    ]
    contents: list[bytes | None] = [np.array([size, size], np.int32).tobytes(), np.float32(1).tobytes()]
    data = packed(model(tensors, ops, ["FILL", "ADD"], 4, contents))
    with pytest.raises(SourceError, match="more elements than a tensor can have"):
        compile_opened(load_tflite(data))


def lstm_file(lowering: Lowering) -> Any:
    """Return the file of an LSTM, unpacked."""
    file = compile_program(stack([lstm_cell()]), ConvertOptions(lowering=lowering)).model
    return schema.ModelT.InitFromPackedBuf(file, 0)


def first_op(made: Any, builtin: int) -> tuple[Any, Any]:
    """Return the first op of a kind, and the graph that holds it."""
    return next(
        (graph, one)
        for graph in made.subgraphs
        for one in graph.operators
        if made.operatorCodes[one.opcodeIndex].builtinCode == builtin
    )


def test_a_fused_op_of_another_type_is_refused() -> None:
    made = lstm_file(Lowering.FUSED)
    graph, lstm = first_op(made, schema.BuiltinOperator.UNIDIRECTIONAL_SEQUENCE_LSTM)
    graph.tensors[lstm.outputs[0]].type = schema.TensorType.INT16
    with pytest.raises(TfliteRnnError, match="int16"):
        compile_opened(load_tflite(packed(made)))


def test_a_cell_without_an_attribute_is_refused() -> None:
    leaf = CellSpec("basic_rnn", "cell", (("units", 2),), ("kernel", "bias"))
    with pytest.raises(ValueError, match="the cell cell has no attribute activation"):
        build_cell(leaf, {"kernel": np.zeros((5, 2), np.float32), "bias": np.zeros(2, np.float32)})


def test_a_loop_whose_result_has_another_rank_is_refused() -> None:
    made = lstm_file(Lowering.WHILE)
    graph, loop = first_op(made, schema.BuiltinOperator.WHILE)
    place = next(number for number in loop.outputs if len(graph.tensors[number].shape) == 2)
    graph.tensors[place].shape = np.array([1, 4, 3], np.int32)
    graph.tensors[place].shapeSignature = None
    with pytest.raises(SourceError, match="malformed model"):
        compile_opened(load_tflite(packed(made)))


def test_a_constant_that_is_declared_huge_is_not_followed() -> None:
    count = Known((1 << 40,), None)
    op = new_op("CONCATENATION", [], [Value("y", TensorType(DType.INT32, (None,)))])
    assert result_elements(op, [count]) == (None,)
