"""Models made for a target, run on it: LiteRT's CompiledModel, and TensorFlow Lite for Microcontrollers."""

from __future__ import annotations

import numpy as np
import pytest

from converter.convert import Converted, compile_program
from converter.errors import ConversionError
from converter.flatbuffer import read_model
from converter.ir import Activation, Cell, DType, Lowering, Program, constant, evaluate
from converter.options import ConvertOptions, StatePolicy
from converter.targets import Target, target_rejections
from tests.programs import (
    gru_cell,
    layer_norm_lstm_cell,
    lstm_cell,
    program,
    random_inputs,
    recurrence,
    rnn_cell,
    stack,
    tensor,
)
from tflite_rnn.runtime import COMPILED_MODEL, MICRO, Runtime, Stream, WorkerPool, compare

RUNTIME_OF = {
    Target.LITERT_COMPILED: Runtime(COMPILED_MODEL),
    Target.LITERT_WEB: Runtime(COMPILED_MODEL),  # LiteRT.js is built on it
    Target.TFLM: Runtime(MICRO),
}
TARGETS = [Target.LITERT_COMPILED, Target.TFLM]
CELLS: dict[str, list[Cell]] = {
    "rnn": [rnn_cell()],
    "lstm": [lstm_cell(cell_clip=0.4)],
    "lstm with everything": [lstm_cell(peephole=True, projection=3, projection_clip=0.2)],
    "cifg": [lstm_cell(cifg=True)],
    "relu": [lstm_cell(activation=Activation.RELU)],
    "gru": [gru_cell()],
    "gru reset after": [gru_cell(reset_after=True)],
    "gate norm": [lstm_cell(gate_norm=True, peephole=True, projection=2, projection_bias=True)],
    "layer norm": [layer_norm_lstm_cell()],
    "stack": [lstm_cell(), gru_cell(depth=4), rnn_cell(depth=4)],
}


def converted(source: Program, target: Target, state: StatePolicy = StatePolicy.STATELESS) -> Converted:
    return compile_program(source, ConvertOptions(state=state, target=target))


@pytest.mark.parametrize("target", TARGETS, ids=lambda target: target.value)
@pytest.mark.parametrize("name", CELLS)
def test_every_cell_runs_on_the_target(name: str, target: Target, pool: WorkerPool) -> None:
    # 40 steps are whole blocks of the loop: its result is then the model's output.
    for time, batch, time_major in ((7, 2, False), (40, 1, True)):
        source = stack(CELLS[name], time=time, batch=batch, time_major=time_major)
        result = converted(source, target)
        assert not list(target_rejections(read_model(result.model), target))
        cases = [random_inputs(np.random.default_rng(seed), source, time=time, batch=batch) for seed in (0, 1)]
        report = compare(
            result.model, lambda given, source=source: evaluate(source, given), cases,
            pool=pool, runtimes=[RUNTIME_OF[target]],
        )  # fmt: skip
        assert report.ok, str(report)


def test_microcontrollers_get_the_fused_op_for_a_plain_lstm() -> None:
    source = stack([lstm_cell()], time=7, batch=1)
    assert converted(source, Target.TFLM).report.op_counts["UNIDIRECTIONAL_SEQUENCE_LSTM"] == 1


@pytest.mark.parametrize(
    ("name", "rule"),
    [("rnn", "target-op"), ("lstm with everything", "target-fused-lstm"), ("relu", "target-fused-lstm")],
)
def test_microcontrollers_get_loops_for_what_their_fused_op_lacks(name: str, rule: str) -> None:
    (record,) = converted(stack(CELLS[name], time=7, batch=1), Target.TFLM).report.lowerings
    assert record.lowering == Lowering.WHILE.value
    assert rule in {reason.rule for reason in record.refused}


@pytest.mark.parametrize("target", TARGETS, ids=lambda target: target.value)
@pytest.mark.parametrize("state", [StatePolicy.EXPLICIT, StatePolicy.STREAMING], ids=lambda state: state.value)
def test_states_are_given_or_kept_on_the_target(target: Target, state: StatePolicy, pool: WorkerPool) -> None:
    cells = CELLS["stack"]
    full = stack(cells, time=6, batch=1)
    source = program(list(full.main.inputs), list(full.recurrences()), [full.main.outputs[0]])
    halves = stack(cells, time=3, batch=1)
    half = program(list(halves.main.inputs), list(halves.recurrences()), [halves.main.outputs[0]])
    inputs = random_inputs(np.random.default_rng(3), source, time=6, batch=1)
    expected = evaluate(source, inputs)["layer_2_outputs"]
    with pool.open(RUNTIME_OF[target], converted(half, target, state).model) as running:
        for _ in range(2):
            stream = Stream(running)
            parts = [stream.feed({"x": inputs["x"][start : start + 3]})["layer_2_outputs"] for start in (0, 3)]
            np.testing.assert_allclose(np.concatenate(parts), expected, atol=1e-5)


@pytest.mark.parametrize("target", TARGETS, ids=lambda target: target.value)
@pytest.mark.parametrize("cell", [rnn_cell(), lstm_cell()], ids=["rnn", "lstm"])
def test_a_reset_brings_back_a_learned_state(cell: Cell, target: Target, pool: WorkerPool) -> None:
    """Microcontrollers have no signature to run: the reset of their interpreter makes zeros of all variables."""
    x = tensor("x", 2, 1, 3)
    learned = tuple(
        constant(f"learned_{index}", np.full((1, size), 0.5, np.float32))
        for index, size in enumerate(cell.state_sizes)
    )
    op = recurrence(cell, x, initial_state=learned)
    source = program([x], [op], [op.output])
    whole = {"x": np.random.default_rng(1).standard_normal((4, 1, 3)).astype(np.float32)}
    expected = evaluate(source, whole)["rnn_outputs"]
    with pool.open(RUNTIME_OF[target], converted(source, target, StatePolicy.STREAMING).model) as running:
        stream = Stream(running)
        for _ in range(3):
            parts = [stream.feed({"x": whole["x"][start : start + 2]})["rnn_outputs"] for start in (0, 2)]
            np.testing.assert_allclose(np.concatenate(parts), expected, atol=1e-5)
            stream.reset()


@pytest.mark.parametrize("target", TARGETS, ids=lambda target: target.value)
def test_lengths_are_kept_on_the_target(target: Target, pool: WorkerPool) -> None:
    x, lengths = tensor("x", 6, 3, 3), tensor("lengths", 3, dtype=DType.INT32)
    for cell in (lstm_cell(), gru_cell()):
        op = recurrence(cell, x, sequence_length=lengths)
        source = program([x, lengths], [op], [op.output, *op.final_state])
        rng = np.random.default_rng(0)
        case = {"x": rng.standard_normal((6, 3, 3)).astype(np.float32), "lengths": np.array([0, 4, 6], np.int32)}
        report = compare(
            converted(source, target).model, lambda given, source=source: evaluate(source, given), [case],
            pool=pool, runtimes=[RUNTIME_OF[target]],
        )  # fmt: skip
        assert report.ok, str(report)


@pytest.mark.parametrize("target", [Target.LITERT_COMPILED, Target.LITERT_WEB, Target.TFLM])
def test_open_dimensions_are_refused(target: Target) -> None:
    with pytest.raises(ConversionError, match="target-static-shapes"):
        converted(stack([gru_cell()]), target)
