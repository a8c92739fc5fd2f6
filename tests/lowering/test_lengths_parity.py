"""sequence_length in both lowerings, on real interpreters against the float64 evaluator."""

from __future__ import annotations

import numpy as np
import pytest

from converter.convert import compile_program
from converter.ir import Activation, Array, Cell, DType, Lowering, LstmCell, Program, RnnCell, evaluate
from converter.options import ConvertOptions
from tests.programs import gru_cell, layer_norm_lstm_cell, lstm_cell, program, recurrence, rnn_cell, tensor
from tests.runtimes import QUICK
from tflite_rnn.runtime import WorkerPool, compare

SIZES = ((5, 3), (1, 1), (20, 7), (45, 2), (3, 9))

CELLS: dict[str, Cell] = {
    "lstm": lstm_cell(),
    "lstm with everything": lstm_cell(peephole=True, projection=3, cell_clip=0.4, projection_clip=0.2),
    "lstm cifg": lstm_cell(cifg=True),
    "lstm relu with large weights": lstm_cell(activation=Activation.RELU6, forget_bias=80.0),
    "rnn": rnn_cell(),
    "gru": gru_cell(),
    "layer norm": layer_norm_lstm_cell(),
    "rnn linear": rnn_cell(units=2, activation=Activation.LINEAR),
}


def with_lengths(cell: Cell, *, time_major: bool, given_state: bool) -> Program:
    x, lengths = tensor("x", None, None, 3), tensor("lengths", None, dtype=DType.INT32)
    states = tuple(tensor(f"s{i}", None, size) for i, size in enumerate(cell.state_sizes)) if given_state else ()
    op = recurrence(cell, x, time_major=time_major, sequence_length=lengths, initial_state=states or None)
    return program([x, lengths, *states], [op], [op.output, *op.final_state])


def length_cases(source: Program, *, time_major: bool) -> list[dict[str, Array]]:
    """Lengths of zero, within, all and beyond the steps; in one case the padding is not a number."""
    rng = np.random.default_rng(5)
    cases = []
    for time, batch in SIZES:
        leading = (time, batch) if time_major else (batch, time)
        case: dict[str, Array] = {
            "x": rng.standard_normal((*leading, 3)).astype(np.float32),
            "lengths": rng.integers(-1, time + 2, batch).astype(np.int32),
        }
        for name, value in zip(source.signature.inputs[2:], source.main.inputs[2:], strict=True):
            case[name] = rng.standard_normal((batch, (value.type.shape or (0,))[-1])).astype(np.float32)
        cases.append(case)
    cases[0]["lengths"][:] = 5, 0, 6
    for row, length in enumerate(cases[-1]["lengths"]):
        (cases[-1]["x"] if not time_major else cases[-1]["x"].swapaxes(0, 1))[row, max(length, 0) :] = np.nan
    return cases


FORMS = [
    (name, lowering)
    for name, cell in CELLS.items()
    for lowering in (Lowering.FUSED, Lowering.WHILE)
    if lowering is Lowering.WHILE or isinstance(cell, LstmCell | RnnCell)
]


@pytest.mark.parametrize("given_state", [False, True], ids=["zero", "given"])
@pytest.mark.parametrize("time_major", [True, False], ids=["time", "batch"])
@pytest.mark.parametrize(("name", "lowering"), FORMS)
def test_rows_end_at_their_lengths(
    name: str, time_major: bool, given_state: bool, lowering: Lowering, pool: WorkerPool
) -> None:
    source = with_lengths(CELLS[name], time_major=time_major, given_state=given_state)
    converted = compile_program(source, ConvertOptions(lowering=lowering))
    fused = any(kind.startswith("UNIDIRECTIONAL") for kind in converted.report.op_counts)
    assert fused is (lowering is Lowering.FUSED)
    cases = length_cases(source, time_major=time_major)
    report = compare(converted.model, lambda inputs: evaluate(source, inputs), cases, pool=pool, runtimes=QUICK)
    assert report.ok, str(report)


@pytest.mark.parametrize("cell", [lstm_cell(), rnn_cell()], ids=["lstm", "rnn"])
def test_a_fused_row_stands_still_to_the_bit(cell: Cell, pool: WorkerPool) -> None:
    source = with_lengths(cell, time_major=True, given_state=True)
    model = compile_program(source, ConvertOptions(lowering=Lowering.FUSED)).model
    rng = np.random.default_rng(0)
    case: dict[str, Array] = {
        name: rng.standard_normal((1, (value.type.shape or (0,))[-1])).astype(np.float32)
        for name, value in zip(source.signature.inputs[2:], source.main.inputs[2:], strict=True)
    }
    x = rng.standard_normal((30, 1, 3)).astype(np.float32)
    lengths = np.array([11], np.int32)
    for runtime in QUICK:
        with pool.open(runtime, model) as running:
            padded = running.run({**case, "x": x, "lengths": lengths})
            exact = running.run({**case, "x": x[:11], "lengths": lengths})
        assert not padded["rnn_outputs"][11:].any()
        np.testing.assert_array_equal(padded["rnn_outputs"][:11], exact["rnn_outputs"])
        for index in range(len(cell.state_sizes)):
            np.testing.assert_array_equal(padded[f"rnn_state_{index}"], exact[f"rnn_state_{index}"])
