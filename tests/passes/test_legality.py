"""Whatever the fused ops do not compute exactly they do not get: a loop does, or it is refused by name."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from converter.convert import compile_program
from converter.errors import ConversionError, TfliteRnnError
from converter.ir import (
    Activation,
    Cell,
    DType,
    Graph,
    Lowering,
    Program,
    Recurrence,
    Signature,
    TensorType,
    TfliteOp,
    Value,
    constant,
)
from converter.options import ConvertOptions
from tests.programs import (
    gru_cell,
    layer_norm_lstm_cell,
    lstm_cell,
    masked,
    program,
    recurrence,
    rnn_cell,
    stack,
    tensor,
)

REFUSED: dict[str, tuple[Cell, str, str]] = {
    "linear LSTM": (lstm_cell(activation=Activation.LINEAR), "lstm-activation", "no linear activation"),
    "sigmoid LSTM": (lstm_cell(activation=Activation.SIGMOID), "lstm-activation", "no sigmoid activation"),
    "hard sigmoid gates": (
        lstm_cell(recurrent_activation=Activation.HARD_SIGMOID),
        "lstm-recurrent-activation",
        "gates use sigmoid, not hard_sigmoid",
    ),
    "cell_clip=0.0": (lstm_cell(cell_clip=0.0), "lstm-zero-clip", "cell_clip is 0.0"),
    "proj_clip=0.0": (lstm_cell(projection=2, projection_clip=0.0), "lstm-zero-clip", "proj_clip is 0.0"),
    "wide projection": (lstm_cell(units=4, projection=5), "lstm-wide-projection", "4 units to 5 outputs"),
    "GRU": (gru_cell(), "gru-no-fused-op", "no fused op for gated recurrent units"),
    "GRU, reset after": (gru_cell(reset_after=True), "gru-no-fused-op", "no fused op for gated recurrent units"),
    "layer-normalised LSTM": (
        layer_norm_lstm_cell(),
        "layer-norm-no-fused-op",
        "the cell normalises its memory, and no fused op does",
    ),
    "elu RNN": (rnn_cell(activation=Activation.ELU), "rnn-activation", "no elu activation"),
}


FUSED = ConvertOptions(lowering=Lowering.FUSED)


def rejections(source: Program, options: ConvertOptions = FUSED) -> list[tuple[str, str]]:
    with pytest.raises(ConversionError) as caught:
        compile_program(source, options)
    assert all(rejection.hint and rejection.op for rejection in caught.value.rejections)
    return [(rejection.rule, rejection.detail) for rejection in caught.value.rejections]


def test_a_masked_recurrence_is_a_loop() -> None:
    assert rejections(masked([lstm_cell()]))[0][0] == "mask-no-fused-op"
    assert "WHILE" in compile_program(masked([lstm_cell()])).report.op_counts


@pytest.mark.parametrize("name", REFUSED)
def test_a_cell_that_the_fused_op_gets_wrong_is_refused(name: str) -> None:
    cell, rule, words = REFUSED[name]
    (found,) = rejections(stack([cell]))
    assert found[0] == rule
    assert words in found[1]


@pytest.mark.parametrize("name", REFUSED)
def test_a_cell_that_the_fused_op_gets_wrong_becomes_a_loop_that_says_why(name: str) -> None:
    cell, rule, _ = REFUSED[name]
    report = compile_program(stack([cell])).report
    (record,) = report.lowerings
    assert record.lowering == "while"
    assert [reason.rule for reason in record.refused] == [rule]
    assert f"[{rule}]" in str(report)


def test_a_loop_on_request_is_a_loop() -> None:
    options = ConvertOptions(lowering=Lowering.WHILE)
    counts = compile_program(stack([lstm_cell()]), options).report.op_counts
    assert counts["WHILE"] == 3  # one inside the other
    assert "UNIDIRECTIONAL_SEQUENCE_LSTM" not in counts


def test_an_unknown_lowering_is_refused_with_the_known_ones() -> None:
    with pytest.raises(TfliteRnnError, match="expected one of auto, fused, while, unrolled, got 'fastest'"):
        ConvertOptions.parse(lowering="fastest")


def test_every_reason_is_given_at_once() -> None:
    cells = [lstm_cell(activation=Activation.LINEAR, cell_clip=0.0), rnn_cell(depth=4, activation=Activation.ELU)]
    rules = [rule for rule, _ in rejections(stack(cells))]
    assert rules == ["lstm-activation", "lstm-zero-clip", "rnn-activation"]


def test_a_refused_cell_that_nobody_reads_does_not_stop_the_conversion() -> None:
    x = tensor("x", None, None, 3)
    good, bad = recurrence(lstm_cell(), x, name="good"), recurrence(lstm_cell(cell_clip=0.0), x, name="bad")
    assert len(compile_program(program([x], [good, bad], [good.output]), FUSED).report.lowerings) == 1


def test_a_float64_recurrence_is_refused() -> None:
    x = tensor("x", None, None, 3, dtype=DType.FLOAT64)
    op = recurrence(lstm_cell(), x)
    source = program([x], [op], [op.output])
    assert [rule for rule, _ in rejections(source)] == ["float32-only"]
    assert [rule for rule, _ in rejections(source, ConvertOptions())] == ["float32-only"]


def behind_a_reshape(shape: Value, batch: int | None) -> Program:
    flat = tensor("flat", None, 12)
    reshape = TfliteOp("RESHAPE", (flat, shape), (tensor("x", 4, batch, 3),), "ReshapeOptions")
    op = recurrence(lstm_cell(), reshape.results[0])
    inputs = (flat,) if shape.is_constant else (flat, shape)
    graph = Graph("main", inputs, (op.output,), (reshape, op))
    return Program((graph,), (Signature("s", tuple(value.name for value in inputs), ("y",)),))


def test_an_unknown_batch_behind_a_computed_shape_is_refused() -> None:
    ((rule, detail),) = rejections(behind_a_reshape(tensor("shape", 3, dtype=DType.INT32), None))
    assert rule == "fused-dynamic-batch"
    assert "the batch is unknown, and x is sized while the model runs" in detail


def test_a_fixed_batch_behind_a_computed_shape_is_let_through() -> None:
    assert compile_program(behind_a_reshape(tensor("shape", 3, dtype=DType.INT32), 2), FUSED).model


def test_an_unknown_batch_behind_a_constant_shape_is_let_through() -> None:
    shape = constant("shape", np.array([4, -1, 3], np.int32))
    assert compile_program(behind_a_reshape(shape, None), FUSED).model


def test_what_follows_a_loop_is_dynamic() -> None:
    first, second = lstm_cell(cell_clip=0.0), lstm_cell(depth=4)
    assert lowerings(stack([first, second])) == ["while", "while"]
    assert lowerings(stack([first, second], batch=2)) == ["while", "fused"]
    assert lowerings(stack([lstm_cell(), lstm_cell(depth=4, cell_clip=0.0)])) == ["fused", "while"]


def beside_a_loop(*, loop_first: bool, batch: int | None = None) -> Program:
    """A recurrence that could be fused, beside one that cannot, both reading x."""
    x = tensor("x", None, batch, 3)
    fine, loop = recurrence(lstm_cell(), x, name="fine"), recurrence(gru_cell(), x, name="loop")
    return program([x], [loop, fine] if loop_first else [fine, loop], [fine.output, loop.output])


@pytest.mark.parametrize("loop_first", [True, False])
def test_a_recurrence_beside_a_loop_is_a_loop_too_unless_the_batch_is_fixed(loop_first: bool) -> None:
    assert lowerings(beside_a_loop(loop_first=loop_first)) == ["while", "while"]
    assert sorted(lowerings(beside_a_loop(loop_first=loop_first, batch=2))) == ["fused", "while"]


@pytest.mark.parametrize("filled_first", [True, False])
def test_a_tensor_sized_during_the_run_keeps_every_recurrence_beside_it_from_fusing(filled_first: bool) -> None:
    x, dims = tensor("x", None, None, 3), tensor("dims", 2, dtype=DType.INT32)
    fill = TfliteOp("FILL", (dims, constant("one", np.array(1, np.float32))), (tensor("filled", None, None),))
    op = recurrence(rnn_cell(), x)
    ops = [fill, op] if filled_first else [op, fill]
    assert lowerings(program([x, dims], ops, [op.output, fill.results[0]])) == ["while"]


def test_a_tensor_sized_from_what_a_recurrence_gives_does_not_matter_to_it() -> None:
    x, dims = tensor("x", None, None, 3), tensor("dims", 2, dtype=DType.INT32)
    op = recurrence(rnn_cell(), x)
    reshape = TfliteOp("RESHAPE", (op.output, dims), (tensor("flat", None, None),), "ReshapeOptions")
    assert lowerings(program([x, dims], [op, reshape], [reshape.results[0]])) == ["fused"]


def lowerings(source: Program) -> list[str]:
    return [record.lowering for record in compile_program(source).report.lowerings]


def test_a_recurrence_inside_control_flow_is_refused() -> None:
    source = stack([rnn_cell()])
    inner = replace(source.main, name="body")
    x, y = tensor("x", None, None, 3), tensor("y", None, None, 3)
    outer = Graph("main", (x,), (y,), (TfliteOp("TANH", (x,), (y,)),))
    nested = Program((outer, inner), (Signature("s", ("x",), ("y",)),))
    assert [rule for rule, _ in rejections(nested)] == ["fused-in-control-flow"]


def test_an_op_that_no_runtime_has_is_refused() -> None:
    source = stack([rnn_cell()])
    custom = TfliteOp(
        "CUSTOM",
        (source.main.outputs[0],),
        (Value("y", TensorType(DType.FLOAT32, (None, None, 4))),),
        custom_code="FlexErfinv",
    )
    graph = replace(source.main, ops=(*source.main.ops, custom), outputs=custom.results)
    found = rejections(Program((graph,), (Signature("s", ("x",), ("y",)),)))
    assert found == [("builtin-ops-only", "the TensorFlow op Erfinv has no TFLite equivalent")]


@pytest.mark.parametrize("activation", [Activation.TANH, Activation.RELU, Activation.RELU6])
def test_every_activation_of_the_fused_lstm_is_let_through(activation: Activation) -> None:
    converted = compile_program(stack([lstm_cell(activation=activation)]))
    assert converted.report.op_counts["UNIDIRECTIONAL_SEQUENCE_LSTM"] == 1


def test_recurrences_are_counted() -> None:
    converted = compile_program(stack([lstm_cell(), lstm_cell(depth=4), rnn_cell(depth=4)]))
    counts = converted.report.op_counts
    assert (counts["UNIDIRECTIONAL_SEQUENCE_LSTM"], counts["UNIDIRECTIONAL_SEQUENCE_RNN"]) == (2, 1)
    assert [type(op) for op in converted.program.recurrences()] == [Recurrence] * 3


def test_an_op_that_nothing_is_known_of_is_not_settled() -> None:
    x, y = tensor("x", None, None, 3), tensor("y", 2)
    unknown = TfliteOp("RANDOM_UNIFORM", (tensor("dims", 2, dtype=DType.INT32),), (y,))
    op = recurrence(rnn_cell(), x)
    source = program([x, unknown.operands[0]], [unknown, op], [op.output, y])
    assert lowerings(source) == ["while"]
