"""Both directions in one op, on real interpreters against the float64 evaluator."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from converter.convert import Converted, compile_program
from converter.ir import (
    Cell,
    DType,
    Graph,
    Op,
    Program,
    Recurrence,
    Signature,
    TfliteOp,
    Value,
    constant,
    evaluate,
)
from converter.options import ConvertOptions
from converter.targets import Target
from tests.programs import gru_cell, lstm_cell, recurrence, rnn_cell, tensor
from tests.runtimes import QUICK
from tflite_rnn.runtime import WorkerPool, compare

SIZES = ((5, 2), (1, 1), (9, 4), (3, 7))

PAIRS: dict[str, tuple[Cell, Cell, str]] = {
    "lstm": (lstm_cell(), lstm_cell(seed=1), "BIDIRECTIONAL_SEQUENCE_LSTM"),
    "lstm with a given state": (lstm_cell(), lstm_cell(seed=1), "BIDIRECTIONAL_SEQUENCE_LSTM"),
    "lstm with everything": (
        lstm_cell(peephole=True, projection=3, cell_clip=0.4, projection_clip=0.2),
        lstm_cell(peephole=True, projection=3, cell_clip=0.4, projection_clip=0.2, seed=1),
        "BIDIRECTIONAL_SEQUENCE_LSTM",
    ),
    "cifg": (lstm_cell(cifg=True), lstm_cell(cifg=True, seed=1), "BIDIRECTIONAL_SEQUENCE_LSTM"),
    "rnn": (rnn_cell(), rnn_cell(units=6, seed=1), "BIDIRECTIONAL_SEQUENCE_RNN"),
}


def both(
    forward: Cell,
    backward: Cell,
    *,
    time_major: bool = True,
    lengths: bool = False,
    given: bool = False,
    batch: int | None = None,
) -> Program:
    """A bidirectional layer as importers bring it: the backward cell between two reversals."""
    x = tensor("x", *((None, batch) if time_major else (batch, None)), 3)
    ends = tensor("lengths", batch, dtype=DType.INT32) if lengths else None
    states = [tensor(f"start_{i}", batch, size) for i, size in enumerate(backward.state_sizes)] if given else []
    flipped = Value("flipped", x.type)
    first = recurrence(forward, x, name="forward", time_major=time_major, sequence_length=ends)
    second = recurrence(
        backward, flipped, name="backward", time_major=time_major, sequence_length=ends,
        initial_state=tuple(states) or None,
    )  # fmt: skip
    restored = Value("restored", second.output.type)
    axis = 0 if time_major else 1
    ops: list[Op] = [
        _reverse(x, ends, flipped, axis),
        second,
        _reverse(second.output, ends, restored, axis),
        first,
    ]
    inputs = (x, *([] if ends is None else [ends]), *states)
    outputs = (first.output, restored, *first.final_state, *second.final_state)
    names = tuple(value.name.replace("/", "_") for value in outputs)
    signature = Signature("serving_default", tuple(value.name for value in inputs), names)
    return Program((Graph("main", inputs, outputs, tuple(ops)),), (signature,))


def _reverse(x: Value, lengths: Value | None, into: Value, axis: int) -> TfliteOp:
    if lengths is None:
        return TfliteOp("REVERSE_V2", (x, constant(f"{into.name}/axis", np.array([axis], np.int32))), (into,))
    options = {"seqDim": axis, "batchDim": 1 - axis}
    return TfliteOp("REVERSE_SEQUENCE", (x, lengths), (into,), "ReverseSequenceOptions", options)


def cases(source: Program, time_major: bool) -> list[dict[str, np.ndarray]]:
    rng = np.random.default_rng(0)
    made = []
    for time, batch in SIZES:
        case = {"x": rng.standard_normal((time, batch, 3) if time_major else (batch, time, 3)).astype(np.float32)}
        for name, value in zip(source.signature.inputs[1:], source.main.inputs[1:], strict=True):
            if name == "lengths":
                case[name] = rng.integers(0, time + 1, batch).astype(np.int32)
            else:
                case[name] = rng.standard_normal((batch, value.type.shape[-1])).astype(np.float32)
        made.append(case)
    return made


def converted(source: Program, **options: object) -> Converted:
    return compile_program(source, ConvertOptions(**options))


@pytest.mark.parametrize("time_major", [True, False], ids=["time-major", "batch-major"])
@pytest.mark.parametrize("name", PAIRS)
def test_one_op_computes_both_directions(name: str, time_major: bool, pool: WorkerPool) -> None:
    forward, backward, builtin = PAIRS[name]
    source = both(forward, backward, time_major=time_major, given=name == "lstm with a given state")
    result = converted(source)
    assert result.report.op_counts[builtin] == 1
    assert "REVERSE_V2" not in result.report.op_counts
    assert {record.lowering for record in result.report.lowerings} == {"bidirectional"}
    report = compare(
        result.model, lambda given: evaluate(source, given), cases(source, time_major), pool=pool, runtimes=QUICK
    )
    assert report.ok, str(report)


@pytest.mark.parametrize("time_major", [True, False], ids=["time-major", "batch-major"])
@pytest.mark.parametrize("name", ["lstm", "lstm with everything", "cifg"])
def test_lengths_of_both_directions_are_one_mask(name: str, time_major: bool, pool: WorkerPool) -> None:
    forward, backward, builtin = PAIRS[name]
    source = both(forward, backward, time_major=time_major, lengths=True)
    result = converted(source)
    assert result.report.op_counts[builtin] == 1
    assert "REVERSE_SEQUENCE" not in result.report.op_counts
    given = cases(source, time_major)
    for case in given:  # what is past the end may be anything
        rows = case["x"].swapaxes(0, 1) if time_major else case["x"]
        for row, length in zip(rows, case["lengths"], strict=True):
            row[length:] = np.nan
    clean = [{**case, "x": np.nan_to_num(case["x"])} for case in given]
    for inputs in (given, clean):
        report = compare(
            result.model,
            lambda case: evaluate(source, {**case, "x": np.nan_to_num(case["x"])}),
            inputs, pool=pool, runtimes=QUICK,
        )  # fmt: skip
        assert report.ok, str(report)


def forms(source: Program, **options: object) -> set[str]:
    return {record.lowering for record in converted(source, **options).report.lowerings}


@pytest.mark.parametrize(
    "source",
    [
        pytest.param(both(lstm_cell(), lstm_cell(cell_clip=1.0)), id="clips differ"),
        pytest.param(both(lstm_cell(), rnn_cell()), id="kinds differ"),
        pytest.param(both(lstm_cell(), lstm_cell(units=5)), id="widths differ"),
        pytest.param(both(rnn_cell(), rnn_cell(), lengths=True), id="an RNN with lengths"),
        pytest.param(both(lstm_cell(), lstm_cell(), lengths=True, given=True), id="lengths and a given state"),
    ],
)
def test_what_one_op_does_not_compute_stays_two(source: Program) -> None:
    assert forms(source) == {"fused"}


def test_cells_without_a_fused_op_stay_loops() -> None:
    assert forms(both(gru_cell(), gru_cell(), batch=2)) == {"while"}


def test_directions_are_kept_apart_on_request_and_where_the_target_has_no_such_op() -> None:
    source = both(lstm_cell(), lstm_cell())
    assert forms(source, pair_directions=False) == {"fused"}
    fixed = both(lstm_cell(), lstm_cell(), batch=2)
    x = fixed.main.inputs[0]
    assert x.type.shape == (None, 2, 3)
    assert forms(source, target=Target.TFLITE_RUNTIME) == {"bidirectional"}


def test_outputs_that_are_also_read_backwards_stay_two() -> None:
    source = both(rnn_cell(), rnn_cell())
    backward = next(op for op in source.recurrences() if op.name == "backward")
    main = replace(source.main, outputs=(*source.main.outputs, backward.output))
    names = replace(source.signature, outputs=(*source.signature.outputs, "raw"))
    assert forms(Program((main,), (names,))) == {"fused"}


def test_a_direction_that_starts_where_the_other_ends_stays_apart() -> None:
    source = both(rnn_cell(), rnn_cell())
    forward, backward = sorted(source.recurrences(), key=lambda op: op.name, reverse=True)

    def chained(op: Op) -> Op:
        if isinstance(op, Recurrence) and op is backward:
            return replace(op, initial_state=forward.final_state)
        return op

    reordered = replace(source.main, ops=(forward, *(chained(op) for op in source.main.ops if op is not forward)))
    assert forms(Program((reordered,), source.signatures)) == {"fused"}
