"""Models to bytes and back, and what happens to bytes that are no model."""

from __future__ import annotations

import random
from pathlib import Path

import flatbuffers
import numpy as np
import pytest

from converter.convert import compile_program
from converter.errors import InvalidProgramError, SourceError
from converter.flatbuffer import build_model, read_file, read_model
from converter.flatbuffer.schema import IDENTIFIER, schema
from converter.ir import DType, Graph, Program, Signature, TensorType, TfliteOp, Value, constant, format_program
from tests.programs import lstm_cell, rnn_cell, stack, tensor

MODEL = compile_program(stack([lstm_cell(peephole=True, projection=2), rnn_cell(depth=2)], given_state=True)).model


def test_a_program_survives_the_round_trip() -> None:
    once = read_model(MODEL)
    again = read_model(build_model(once))
    assert format_program(again) == format_program(once)
    assert again.signatures == once.signatures
    assert again.description == "Converted by tflite-rnn"


def test_equal_programs_give_equal_bytes() -> None:
    once = build_model(read_model(MODEL))
    assert build_model(read_model(once)) == once
    cells = [lstm_cell(peephole=True, projection=2), rnn_cell(depth=2)]
    assert compile_program(stack(cells, given_state=True)).model == MODEL


def test_shapes_constants_options_and_states_survive() -> None:
    fused = next(op for op in read_model(MODEL).ops() if op.name == "layer_0/outputs")
    assert isinstance(fused, TfliteOp)
    assert fused.options["timeMajor"]
    assert fused.results[0].type == TensorType(DType.FLOAT32, (None, None, 2))
    variables = [value for value in fused.operands if value is not None and value.is_variable]
    assert len(variables) == 2
    constants = [value for value in fused.operands if value is not None and value.is_constant]
    assert all(value.data is not None and value.data.dtype == np.float32 for value in constants)


def test_equal_constants_share_a_buffer() -> None:
    def size(second: float) -> int:
        x, y, z = tensor("x", 1000), tensor("y", 1000), tensor("z", 1000)
        a, b = (constant(name, np.full(1000, fill, np.float32)) for name, fill in (("a", 1.0), ("b", second)))
        ops = (TfliteOp("ADD", (x, a), (y,), "AddOptions"), TfliteOp("ADD", (y, b), (z,), "AddOptions"))
        return len(build_model(Program((Graph("main", (x,), (z,), ops),), (Signature("s", ("x",), ("z",)),))))

    assert size(2.0) - size(1.0) >= 4000


def test_types_that_numpy_lacks_are_kept_as_bytes() -> None:
    raw = np.array([1, 0, 0, 0, 8, 0, 0, 0, 9, 0, 0, 0, 65], np.uint8)
    text = Value("text", TensorType(DType.STRING, (1,)), raw)
    x, y = tensor("x", 1), tensor("y", 1)
    source = Program((Graph("main", (x,), (y,), (TfliteOp("CUSTOM", (x, text), (y,), custom_code="f"),)),), ())
    read = next(read_model(build_model(source)).ops())
    assert read.operands[1] is not None
    assert read.operands[1].data is not None
    np.testing.assert_array_equal(read.operands[1].data, raw)


def test_two_outputs_may_be_one_tensor() -> None:
    x, y = tensor("x", 2), tensor("y", 2)
    graph = Graph("main", (x,), (y, y), (TfliteOp("TANH", (x,), (y,)),))
    read = read_model(build_model(Program((graph,), (Signature("s", ("x",), ("a", "b")),))))
    assert read.signature.outputs == ("a", "b")
    assert read.main.outputs[0] is read.main.outputs[1]


def test_a_recurrence_without_a_lowering_cannot_be_written() -> None:
    with pytest.raises(InvalidProgramError, match="layer_0: expected a TFLite op to write, got a Recurrence"):
        build_model(stack([rnn_cell()]))


def test_an_option_that_the_schema_lacks_is_an_error() -> None:
    x, y = tensor("x", 2), tensor("y", 2)
    op = TfliteOp("ADD", (x, x), (y,), "AddOptions", {"colour": 3})
    with pytest.raises(InvalidProgramError, match="unknown fields of AddOptions: colour"):
        build_model(Program((Graph("main", (x,), (y,), (op,)),), ()))


# --- bytes that are no model -----------------------------------------------------------------------------------


@pytest.mark.parametrize("data", [b"", b"short", b"PK\x03\x04 a zip file", bytes(1000), b"TFL3"])
def test_bytes_of_another_kind_are_refused(data: bytes) -> None:
    with pytest.raises(SourceError, match=r"file\.tflite: not a TFLite model"):
        read_model(data, source="file.tflite")


def refusal(data: bytes) -> str | None:
    """Read ``data``; return the words of its refusal. Any other exception than the documented one gets out."""
    try:
        read_model(data)
    except SourceError as error:
        return str(error)
    return None


def test_every_truncation_is_refused_or_read() -> None:
    words = [refusal(MODEL[:length]) for length in range(8, len(MODEL), 97)]
    refused = [text for text in words if text is not None]
    assert len(refused) > 0.9 * len(words)
    assert all("damaged or truncated" in text for text in refused)


def test_every_flipped_byte_is_refused_or_read() -> None:
    rng = random.Random(0)
    words = []
    for _ in range(300):
        damaged = bytearray(MODEL)
        for _ in range(rng.randint(1, 4)):
            damaged[rng.randrange(8, len(damaged))] = rng.randrange(256)
        words.append(refusal(bytes(damaged)))
    assert all("damaged or truncated" in text for text in words if text is not None)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"nowhere\.tflite: no such file or directory"):
        read_file(tmp_path / "nowhere.tflite")


@pytest.mark.parametrize(("tells_ranks", "expected"), [(True, None), (False, ())])
def test_a_tensor_without_a_rank_is_no_scalar_where_scalars_have_one(
    tells_ranks: bool, expected: tuple[()] | None
) -> None:
    """Old converters never set has_rank: there, both look the same."""
    x, y = tensor("x"), tensor("y")
    model = schema.ModelT.InitFromPackedBuf(
        build_model(Program((Graph("main", (x,), (y,), (TfliteOp("TANH", (x,), (y,)),)),), ())), 0
    )
    given, result = model.subgraphs[0].tensors
    given.hasRank, result.hasRank = tells_ranks, False
    model.buffers.append(schema.BufferT())
    result.buffer = 1
    builder = flatbuffers.Builder(1024)
    builder.Finish(model.Pack(builder), IDENTIFIER)
    assert read_model(bytes(builder.Output())).main.outputs[0].type.shape == expected
