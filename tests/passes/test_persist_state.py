"""The streaming state policy: chunks continue where the last one ended, on real interpreters, until a reset."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from converter.convert import Converted, compile_program
from converter.errors import ConversionError
from converter.ir import (
    Array,
    Graph,
    Lowering,
    Program,
    Signature,
    TfliteOp,
    constant,
    evaluate,
)
from converter.options import ConvertOptions, StatePolicy
from converter.passes import persist_state
from tests.programs import gru_cell, lstm_cell, program, random_inputs, recurrence, rnn_cell, stack, tensor
from tests.runtimes import QUICK
from tflite_rnn.runtime import RESET_KEY, Runtime, Stream, StreamError, WorkerPool, compare

CUTS = (0, 3, 4, 12)


def streaming(source: Program, lowering: Lowering | None = None) -> Converted:
    return compile_program(source, ConvertOptions(lowering=lowering, state=StatePolicy.STREAMING))


def mixed(batch: int | None = 2) -> Program:
    return stack([lstm_cell(), rnn_cell(depth=4), gru_cell(depth=4)], batch=batch)


def fed(stream: Stream, x: Array, name: str) -> Array:
    return np.concatenate([stream.feed({"x": x[a:b]})[name] for a, b in itertools.pairwise(CUTS)])


@pytest.mark.parametrize("lowering", [None, Lowering.WHILE], ids=["fused", "loops"])
def test_chunks_give_what_the_whole_sequence_gives_and_a_reset_begins_another(
    lowering: Lowering | None, pool: WorkerPool
) -> None:
    source = mixed()
    converted = streaming(source, lowering)
    rng = np.random.default_rng(0)
    sequences = [random_inputs(rng, source, time=12, batch=2) for _ in range(2)]
    for runtime in QUICK:
        with pool.open(runtime, converted.model) as running:
            stream = Stream(running)
            for inputs in sequences:
                expected = evaluate(source, inputs)["layer_2_outputs"]
                np.testing.assert_allclose(fed(stream, inputs["x"], "layer_2_outputs"), expected, atol=1e-5)
                stream.reset()


def test_a_model_with_explicit_state_streams_through_the_same_helper(pool: WorkerPool) -> None:
    source = mixed(batch=None)
    converted = compile_program(source, ConvertOptions(state=StatePolicy.EXPLICIT))
    inputs = random_inputs(np.random.default_rng(0), source, time=12, batch=2)
    with pool.open(Runtime("ai-edge-litert"), converted.model) as running:
        stream = Stream(running, batch=2)
        first = fed(stream, inputs["x"], "layer_2_outputs")
        np.testing.assert_allclose(first, evaluate(source, inputs)["layer_2_outputs"], atol=1e-5)
        stream.reset()
        np.testing.assert_array_equal(fed(stream, inputs["x"], "layer_2_outputs"), first)


def test_a_learned_state_is_where_every_sequence_starts(pool: WorkerPool) -> None:
    x = tensor("x", None, 2, 3)
    learned = constant("learned", np.full((1, 4), 0.7, np.float32))
    op = recurrence(rnn_cell(), x, initial_state=(learned,))
    source = program([x], [op], [op.output])
    inputs = random_inputs(np.random.default_rng(1), source, time=4, batch=2)
    report = compare(
        streaming(source).model, lambda given: evaluate(source, given), [inputs], pool=pool, runtimes=QUICK
    )
    assert report.ok, str(report)


def test_final_states_are_read_in_the_graph_while_they_are_kept(pool: WorkerPool) -> None:
    x = tensor("x", None, 1, 3)
    encoder = recurrence(lstm_cell(), x, name="encoder")
    source = program([x], [encoder], [*encoder.final_state])
    converted = streaming(source)
    assert (
        converted.report.op_counts["ASSIGN_VARIABLE"] == 6
    )  # c and h, in the main graph, at first and at the reset
    whole = random_inputs(np.random.default_rng(2), source, time=6, batch=1)
    final = evaluate(source, whole)["encoder_state_0"]
    for runtime in QUICK:
        with pool.open(runtime, converted.model) as running:
            stream = Stream(running)
            stream.feed({"x": whole["x"][:2]})
            np.testing.assert_allclose(stream.feed({"x": whole["x"][2:]})["encoder_state_0"], final, atol=1e-5)


def test_a_decoder_that_starts_from_the_whole_sequence_cannot_run_on_chunks_of_it() -> None:
    x = tensor("x", None, 1, 3)
    encoder = recurrence(lstm_cell(), x, name="encoder")
    decoder = recurrence(lstm_cell(seed=1), x, name="decoder", initial_state=encoder.final_state)
    with pytest.raises(ConversionError, match=r"decoder: the recurrence starts from what is computed over all"):
        streaming(program([x], [encoder, decoder], [decoder.output]))


def test_a_model_that_keeps_nothing_cannot_stream(pool: WorkerPool) -> None:
    model = compile_program(mixed()).model
    with (
        pool.open(Runtime("ai-edge-litert"), model) as running,
        pytest.raises(StreamError, match="convert it with state='streaming'"),
    ):
        Stream(running)


def test_states_are_fed_by_the_stream_alone(pool: WorkerPool) -> None:
    model = compile_program(mixed(), ConvertOptions(state=StatePolicy.EXPLICIT)).model
    with pool.open(Runtime("ai-edge-litert"), model) as running:
        with pytest.raises(StreamError, match="unknown state h"):
            Stream(running, initial_state={"h": np.zeros((2, 4), np.float32)})
        with pytest.raises(StreamError, match="cannot feed the states state_1"):
            Stream(running).feed({"x": np.zeros((1, 2, 3), np.float32), "state_1": np.zeros((2, 4), np.float32)})


def test_the_signatures_list_the_reset() -> None:
    program = streaming(mixed()).program
    assert [signature.key for signature in program.signatures] == ["serving_default", RESET_KEY]
    assert program.signatures[1].inputs == ()
    assert persist_state.RESET == RESET_KEY


def test_an_unknown_batch_is_refused() -> None:
    with pytest.raises(ConversionError, match="streaming-dynamic-batch"):
        streaming(mixed(batch=None))


def test_a_recurrence_that_runs_backwards_is_refused() -> None:
    x, flipped = tensor("x", 5, 1, 3), tensor("flipped", 5, 1, 3)
    reverse = TfliteOp("REVERSE_V2", (x, constant("axis", np.array([0], np.int32))), (flipped,))
    op = recurrence(rnn_cell(), flipped)
    source = Program(
        (Graph("main", (x,), (op.output,), (reverse, op)),), (Signature("serving_default", ("x",), ("y",)),)
    )
    with pytest.raises(ConversionError, match="streaming-backwards"):
        streaming(source)
