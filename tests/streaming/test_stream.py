"""What a stream through a model on chunks takes and gives, and what it refuses."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from converter.convert import compile_program
from converter.errors import ConversionError, OptionError
from converter.ir import evaluate
from converter.options import ConvertOptions
from converter.rules import Rule
from tests.programs import lstm_cell, program, recurrence, stack, tensor
from tests.runtimes import skip_if_missing
from tests.streaming.networks import Network
from tflite_rnn.runtime import AI_EDGE_LITERT, MICRO, Runtime, Stream, StreamError, WorkerPool, read_metadata

LITERT = Runtime(AI_EDGE_LITERT)


def network(padding: str, *, size: int = 3, stride: int = 1, time: int | None = None) -> Network:
    """A convolution and an LSTM."""
    made = Network(np.random.default_rng(0), 1, time)
    rows = made.convolution(made.start(), size=size, stride=stride, padding=padding, depthwise=False)
    made.end(made.recurrent(rows, "lstm"))
    return made


def opened(pool: WorkerPool, made: Network, **options: str) -> Stream:
    model = compile_program(made.program(), ConvertOptions.parse(state="streaming", **options)).model
    return Stream(pool.open(LITERT, model), metadata=read_metadata(model))


def x_of(steps: int) -> np.ndarray:
    return np.random.default_rng(1).standard_normal((1, steps, 3)).astype(np.float32)


def test_a_piece_may_be_too_short_for_a_row(pool: WorkerPool) -> None:
    made, x = network("valid", stride=2), x_of(7)
    stream = opened(pool, made)
    assert stream.feed({"x": x[:, :1]}) == {}
    assert stream.feed({"x": x[:, 1:2]})["y0"].shape == (1, 0, 3)
    found = stream.feed({"x": x[:, 2:6]})["y0"]
    np.testing.assert_allclose(found, made.expected(x[:, :6])["y0"], atol=1e-5)
    assert stream.flush() == {}


def test_a_rest_that_fills_no_stride_is_refused_without_a_look_ahead(pool: WorkerPool) -> None:
    stream = opened(pool, network("valid", stride=2))
    stream.feed({"x": x_of(7)})
    with pytest.raises(StreamError, match="1 steps remain, and the model takes 2 at a time"):
        stream.flush()


def test_what_looks_ahead_is_flushed(pool: WorkerPool) -> None:
    made, x = network("same", size=5), x_of(6)
    stream = opened(pool, made, lookahead="delay")
    parts = [stream.feed({"x": x[:, :4]})["y0"], stream.feed({"x": x[:, 4:]})["y0"], stream.flush()["y0"]]
    assert [part.shape[1] for part in parts] == [2, 2, 2]
    np.testing.assert_allclose(np.concatenate(parts, 1), made.expected(x)["y0"], atol=1e-5)
    with pytest.raises(StreamError, match="the sequence has ended"):
        stream.feed({"x": x})
    with pytest.raises(StreamError, match="has ended already"):
        stream.flush()
    stream.reset()
    assert stream.feed({"x": x})["y0"].shape == (1, 4, 3)


@pytest.mark.parametrize("steps", [0, 1, 2, 5])
def test_sequences_shorter_than_the_delay_are_flushed_whole(steps: int, pool: WorkerPool) -> None:
    made, x = network("same", size=5), x_of(steps)
    stream = opened(pool, made, lookahead="delay")
    parts = [stream.feed({"x": x}), stream.flush()]
    found = [part["y0"] for part in parts if "y0" in part]
    joined = np.concatenate(found, 1) if found else np.zeros((1, 0, 3))
    np.testing.assert_allclose(joined, made.expected(x)["y0"].reshape(1, -1, 3), atol=1e-5)


def test_how_many_steps_an_invoke_takes_can_be_chosen(pool: WorkerPool) -> None:
    made, x = network("causal"), x_of(12)
    model = compile_program(made.program(), ConvertOptions.parse(state="streaming")).model
    running = pool.open(LITERT, model)
    stream = Stream(running, metadata=read_metadata(model), steps=4)
    assert [stream.feed({"x": x[:, :3]}), stream.feed({"x": x[:, 3:6]})["y0"].shape] == [{}, (1, 4, 3)]
    with pytest.raises(StreamError, match="expected a multiple of 1, got 0"):
        Stream(running, metadata=read_metadata(model), steps=0)


@pytest.mark.parametrize(
    ("piece", "complaint"),
    [
        ({"x": np.zeros((1, 2, 4), np.float32)}, r"x: expected shape \[1, \?, 3\], got \[1, 2, 4\]"),
        ({"x": np.zeros((2, 2, 3), np.float32)}, "x: expected shape"),
        ({"x": np.zeros((2, 3), np.float32)}, "x: expected shape"),
        ({"x": np.zeros((1, 2, 3), np.float64)}, "x: expected float32, got float64"),
        ({"z": np.zeros((1, 2, 3), np.float32)}, "expected the inputs x, got z"),
        ({}, "expected the inputs x, got none"),
    ],
)
def test_a_piece_that_breaks_the_contract_is_refused(
    piece: dict[str, np.ndarray], complaint: str, pool: WorkerPool
) -> None:
    with pytest.raises(StreamError, match=complaint):
        opened(pool, network("causal")).feed(piece)


def test_a_chunk_of_fixed_size_holds_whole_strides() -> None:
    with pytest.raises(ConversionError, match="a chunk has 9 steps") as refused:
        compile_program(network("causal", stride=2, time=9).program(), ConvertOptions.parse(state="streaming"))
    assert [one.rule for one in refused.value.rejections] == [Rule.STREAMING_CHUNK]


def test_microcontrollers_have_an_input_for_the_end_of_a_sequence(pool: WorkerPool) -> None:
    skip_if_missing(MICRO)
    made, x = network("same", size=5, time=4), x_of(14)
    options = ConvertOptions.parse(state="streaming", target="tflm", lookahead="delay")
    model = compile_program(made.program(), options).model
    metadata = read_metadata(model)
    with pool.open(Runtime(MICRO), model) as running:
        stream = Stream(running, metadata=metadata)
        parts = [stream.feed({"x": x[:, :3]}), stream.feed({"x": x[:, 3:]}), stream.flush()]
    found = np.concatenate([part["y0"] for part in parts if part], 1)
    np.testing.assert_allclose(found, made.expected(x)["y0"], atol=1e-5)


def test_a_look_ahead_needs_a_model_on_chunks() -> None:
    with pytest.raises(OptionError, match="lookahead: 'delay' is for models that run on chunks"):
        ConvertOptions.parse(lookahead="delay")


def test_a_layer_that_looks_ahead_is_named() -> None:
    with pytest.raises(ConversionError, match="net/conv: it looks 2 steps ahead"):
        compile_program(network("same", size=5).program(), ConvertOptions.parse(state="streaming"))


def test_a_stack_over_a_fixed_batch_and_an_open_time_streams(pool: WorkerPool) -> None:
    """TFLiteConverter does not infer the batch behind a loop."""
    x = tensor("x", None, 1, 3)
    first = recurrence(lstm_cell(), x, name="first")
    first = replace(first, output=tensor("between", None, None, 4))
    second = recurrence(lstm_cell(depth=4, seed=1), first.output, name="second")
    source = program([x], [first, second], [second.output])
    model = compile_program(source, ConvertOptions.parse(state="streaming")).model
    array = np.random.default_rng(2).standard_normal((6, 1, 3)).astype(np.float32)
    with pool.open(LITERT, model) as running:
        stream = Stream(running, metadata=read_metadata(model))
        parts = [next(iter(stream.feed({"x": piece}).values())) for piece in (array[:2], array[2:])]
    expected = next(iter(evaluate(source, {"x": array}).values()))
    np.testing.assert_allclose(np.concatenate(parts), expected, atol=1e-5)


@pytest.mark.parametrize("kind", ["MEAN", "SUM", "REDUCE_MAX", "last"])
@pytest.mark.parametrize(("front", "end"), [(0, 3), (2, 2), (3, 0)])
@pytest.mark.parametrize("lookahead", [None, "delay"])
def test_what_is_of_all_rows_leaves_out_those_that_are_cut_off(
    kind: str, front: int, end: int, lookahead: str | None, pool: WorkerPool
) -> None:
    made = Network(np.random.default_rng(0), 1)
    rows = made.convolution(made.start(), size=3, stride=2, padding="valid", depthwise=False)
    made.total(made.crop(rows, front, end), kind)
    model = compile_program(made.program(), ConvertOptions.parse(state="streaming", lookahead=lookahead)).model
    stream = Stream(pool.open(LITERT, model), metadata=read_metadata(model))
    for steps in (16, 18) if lookahead is None else (13, 16):
        stream.reset()
        parts = [stream.feed({"x": x_of(steps)[:, place : place + 3]}) for place in range(0, steps, 3)]
        found = [part["y0"] for part in (*parts, stream.flush()) if "y0" in part]
        np.testing.assert_allclose(found[-1], made.expected(x_of(steps))["y0"], atol=1e-5)


def test_a_model_without_states_streams(pool: WorkerPool) -> None:
    made = Network(np.random.default_rng(0), 1)
    made.end(made.crop(made.start(), 2, 0))
    for state in ("streaming", "explicit"):
        model = compile_program(made.program(), ConvertOptions.parse(state=state)).model
        stream = Stream(pool.open(LITERT, model), metadata=read_metadata(model))
        parts = [stream.feed({"x": x_of(7)[:, place : place + 2]})["y0"] for place in range(0, 7, 2)]
        np.testing.assert_array_equal(np.concatenate(parts, 1), x_of(7)[:, 2:])


def test_a_file_says_what_it_takes() -> None:
    made = network("same", size=5, stride=1)
    report = compile_program(made.program(), ConvertOptions.parse(state="streaming", lookahead="delay")).report
    text = str(report)
    assert "chunks of any number of steps of x" in text
    assert "y0: a row per step, 2 steps late: the first 2 are of no step" in text
    assert "the signature flush" in text


def test_recurrences_alone_keep_their_bytes() -> None:
    """Nothing is written anew where every layer looks at one step."""
    counts = compile_program(
        stack([lstm_cell()], batch=1), ConvertOptions.parse(state="streaming")
    ).report.op_counts
    assert "SELECT_V2" not in counts
    assert counts["READ_VARIABLE"] == 2


def test_a_model_of_one_step_says_that_its_windows_see_no_other() -> None:
    """An axis of size one looks like any other: time cannot be found behind a RESHAPE."""
    made = network("causal", size=3, time=1)
    report = compile_program(made.program(), ConvertOptions.parse(state="streaming")).report
    assert "each invoke is one step: net/conv sees no steps before it" in str(report)
    assert report.chunks is None
