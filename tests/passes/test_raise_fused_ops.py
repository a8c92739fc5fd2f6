"""Fused recurrent ops become recurrences that compute the same; what is not computed as it says is refused."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import numpy as np
import pytest

from converter.errors import ConversionError, InvalidProgramError
from converter.flatbuffer import build_model, read_model
from converter.ir import (
    Activation,
    Array,
    DType,
    Graph,
    LstmCell,
    Op,
    Program,
    Recurrence,
    Signature,
    TensorType,
    TfliteOp,
    Value,
    constant,
    evaluate,
)
from converter.ir.operands import LstmOperand, RnnOperand
from converter.ir.verify import verify_states
from converter.options import StatePolicy
from converter.passes.raise_fused_ops import fused_ops_raised, raise_fused_ops
from converter.passes.require_state_policy import require_state_policy
from converter.raising.fused_notes import fused_notes
from converter.rules import Rule
from tests.faults.fused_files import (
    DEPTH,
    TIME,
    Storage,
    Svdf,
    bidirectional_lstm,
    one_step,
    quantization,
    sequence_lstm,
    sequence_rnn,
    state_tensor,
)
from tests.passes.settled import assert_settled
from tests.programs import lstm_cell, rnn_cell, stack, tensor

Change = Callable[[TfliteOp], TfliteOp]


def with_operand(op: TfliteOp, place: int, value: Value | None) -> TfliteOp:
    operands = list(op.operands)
    operands[place] = value
    return replace(op, operands=tuple(operands))


def with_option(op: TfliteOp, **options: object) -> TfliteOp:
    return replace(op, options={**op.options, **options})


def changed(data: bytes, change: Change) -> Program:
    """The program in a file, its fused op (the last one) changed."""
    program = read_model(data)
    *others, op = program.main.ops
    assert isinstance(op, TfliteOp)
    main = replace(program.main, ops=(*others, change(op)))
    return replace(program, graphs=(main, *program.graphs[1:]))


def rejection_of(program: Program) -> tuple[Rule, str]:
    with pytest.raises(ConversionError) as refusal:
        raise_fused_ops(program)
    (rejection,) = refusal.value.rejections
    return rejection.rule, rejection.detail


def outputs_of(program: Program, inputs: Mapping[str, Array]) -> dict[str, Array]:
    raised = raise_fused_ops(program)
    assert fused_ops_raised(raised)
    verify_states(raised, after="raising")
    return evaluate(raised, inputs)


X = {"x": np.random.default_rng(5).standard_normal((TIME, 2, DEPTH)).astype(np.float32)}


def meaning(cell: LstmCell, inputs: Mapping[str, Array] = X) -> Array:
    return evaluate(stack([cell], batch=2), inputs)["layer_0_outputs"]


# --- what is read --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("cifg", [False, True])
def test_layer_normalisation_and_projection_bias_are_read(cifg: bool) -> None:
    cell = lstm_cell(gate_norm=True, cifg=cifg, peephole=True, projection=3, projection_bias=True)
    assert cell.gate_norm is not None
    scales = dict(cell.gate_norm.scales())
    bias = cell.projection_bias

    def complete(op: TfliteOp) -> TfliteOp:
        for name, scale in scales.items():
            place = LstmOperand[f"{name.removesuffix('_gate').upper()}_LAYER_NORM_COEFFICIENTS"]
            op = with_operand(op, place, constant(f"norm of {name}", scale))
        assert bias is not None
        return with_operand(op, LstmOperand.PROJECTION_BIAS, constant("projection bias", bias))

    program = changed(sequence_lstm(cell).data, complete)
    np.testing.assert_allclose(outputs_of(program, X)["y"], meaning(cell), atol=1e-12)


def test_the_activation_between_minus_one_and_one_is_read() -> None:
    program = changed(sequence_lstm(lstm_cell()).data, lambda op: with_option(op, fusedActivationFunction=2))
    expected = meaning(lstm_cell(activation=Activation.HARD_TANH))
    np.testing.assert_allclose(outputs_of(program, X)["y"], expected, atol=1e-12)


@pytest.mark.parametrize("clip", [0.0, -1.0, float("nan")])
def test_a_bound_that_is_not_positive_is_none(clip: float) -> None:
    program = changed(
        sequence_lstm(lstm_cell(projection=2)).data, lambda op: with_option(op, cellClip=clip, projClip=clip)
    )
    np.testing.assert_allclose(outputs_of(program, X)["y"], meaning(lstm_cell(projection=2)), atol=1e-12)


def test_the_clip_of_a_projection_is_ignored_without_one() -> None:
    program = changed(sequence_lstm(lstm_cell()).data, lambda op: with_option(op, projClip=0.01))
    np.testing.assert_allclose(outputs_of(program, X)["y"], meaning(lstm_cell()), atol=1e-12)


def test_the_bytes_of_uint8_weights_count_as_int8() -> None:
    file = sequence_lstm(lstm_cell(), storage=Storage("int8"))

    def unsigned(op: TfliteOp) -> TfliteOp:
        for place in range(1, 9):
            value = op.operand(place)
            assert value.data is not None
            kind = TensorType(DType.UINT8, value.type.shape)
            op = with_operand(op, place, replace(value, type=kind, data=value.data.view(np.uint8)))
        return op

    program = changed(file.data, unsigned)
    expected = evaluate(file.meaning, X)["layer_0_outputs"]
    np.testing.assert_allclose(outputs_of(program, X)["y"], expected, atol=1e-6)
    assert any("uint8 weights" in note for note in fused_notes(program, StatePolicy.STATELESS))


@pytest.mark.parametrize("axis", [0, 1, None])
def test_integer_weights_behind_dequantize_are_read_with_all_their_scales(axis: int | None) -> None:
    kernel = np.random.default_rng(3).integers(-127, 128, (4, DEPTH)).astype(np.int8)
    record = quantization(0.01)
    points = np.array(0.0)
    scales = np.array([0.01])
    if axis is not None:
        scales = np.linspace(0.01, 0.02, kernel.shape[axis])
        points = np.arange(kernel.shape[axis])
        record.scale, record.zeroPoint, record.quantizedDimension = [*scales], [*points], axis
        shape = [1, 1]
        shape[axis] = len(scales)
        scales, points = scales.reshape(shape), points.reshape(shape)
    stored = Value("stored", TensorType(DType.INT8, (4, DEPTH)), kernel, quantization=record)
    widened = tensor("widened", 4, DEPTH)
    program = changed(
        sequence_lstm(lstm_cell()).data,
        lambda op: with_operand(op, LstmOperand.INPUT_TO_CELL_WEIGHTS, widened),
    )
    ops = (TfliteOp("DEQUANTIZE", (stored,), (widened,), "DequantizeOptions"), *program.main.ops)
    program = replace(program, graphs=(replace(program.main, ops=ops),))
    cell = lstm_cell()
    wanted = (kernel - points) * scales
    cell = replace(cell, cell_gate=replace(cell.cell_gate, kernel=wanted.astype(np.float32)))
    np.testing.assert_allclose(outputs_of(program, X)["y"], meaning(cell), atol=1e-6)


def test_a_program_without_fused_ops_stays_as_it_is() -> None:
    source = stack([lstm_cell()])
    assert raise_fused_ops(source).main is source.main


def test_nothing_is_left_to_raise() -> None:
    file = bidirectional_lstm(lstm_cell(), lstm_cell(seed=1), merged=True)
    assert_settled(raise_fused_ops, raise_fused_ops(read_model(file.data)))


# --- states --------------------------------------------------------------------------------------------------


def lstm_between(
    before: Callable[[Value, Value], Sequence[Op]], after: Callable[[Value, Value], Sequence[Op]], outputs: str
) -> Program:
    """A fused LSTM over the states h and c [2, 4], ops before and after it, and outputs by their names."""
    program = read_model(sequence_lstm(lstm_cell()).data)
    (op,) = program.main.ops
    assert isinstance(op, TfliteOp)
    h, c = op.operand(LstmOperand.OUTPUT_STATE), op.operand(LstmOperand.CELL_STATE)
    ops = (*before(h, c), op, *after(h, c))
    known = {value.name: value for other in ops for value in (*other.operands, *other.results) if value}
    inputs = (*program.main.inputs, *(known[name] for name in ("h0", "c0") if name in known))
    found = tuple(known[name] for name in outputs.split())
    names = tuple(value.name for value in inputs), tuple(outputs.split())
    return Program((Graph("main", inputs, found, ops),), (Signature("serving_default", *names),))


def copy(source: str, into: Value) -> TfliteOp:
    given = tensor(source, 2, 4)
    return TfliteOp("CONCATENATION", (given,), (into,), "ConcatenationOptions", {"axis": 0})


def nothing(*_: Value) -> Sequence[Op]:
    return ()


def test_what_an_op_wrote_before_is_the_initial_state_and_what_is_read_after_the_final_one() -> None:
    def read(h: Value, c: Value) -> Sequence[Op]:
        return [TfliteOp("TANH", (h,), (tensor("th", 2, 4),)), TfliteOp("TANH", (c,), (tensor("tc", 2, 4),))]

    program = lstm_between(lambda h, c: [copy("h0", h), copy("c0", c)], read, "y th tc h")
    rng = np.random.default_rng(1)
    case = {**X, "h0": rng.standard_normal((2, 4)), "c0": rng.standard_normal((2, 4))}
    given = evaluate(
        stack([lstm_cell()], batch=2, given_state=True), {**X, "s0_0": case["c0"], "s0_1": case["h0"]}
    )
    found = outputs_of(program, case)
    np.testing.assert_allclose(found["y"], given["layer_0_outputs"])
    np.testing.assert_allclose(found["tc"], np.tanh(given["layer_0_state_0"]))
    np.testing.assert_allclose(found["th"], np.tanh(given["layer_0_state_1"]))
    np.testing.assert_allclose(found["h"], given["layer_0_state_1"])


def test_a_state_may_be_flat() -> None:
    file = sequence_lstm(lstm_cell(), flat_state=True)
    program = read_model(file.data)
    (op,) = program.main.ops
    assert isinstance(op, TfliteOp)
    state = op.operand(LstmOperand.CELL_STATE)
    main = replace(program.main, outputs=(*program.main.outputs, state))
    signature = replace(program.signature, outputs=("y", "c"))
    program = replace(program, graphs=(main,), signatures=(signature,))
    expected = evaluate(stack([lstm_cell()], batch=2), X)["layer_0_state_0"]
    np.testing.assert_allclose(outputs_of(program, X)["c"], expected.reshape(-1))
    given = replace(main, inputs=(*main.inputs, state))
    signature = replace(signature, inputs=("x", "c"))
    start = np.random.default_rng(2).standard_normal(8)
    found = outputs_of(replace(program, graphs=(given,), signatures=(signature,)), {**X, "c": start})["y"]
    states = {"s0_0": start.reshape(2, 4), "s0_1": np.zeros((2, 4))}
    expected = evaluate(stack([lstm_cell()], batch=2, given_state=True), {**X, **states})["layer_0_outputs"]
    np.testing.assert_allclose(found, expected)


STATES = {
    "read before": (lambda h, _: [TfliteOp("TANH", (h,), (tensor("t", 2, 4),))], nothing, "reads it before"),
    "written after": (nothing, lambda h, _: [copy("h0", h)], "writes it after"),
    "written twice": (lambda h, _: [copy("h0", h), copy("c0", h)], nothing, "writes it after"),
}


@pytest.mark.parametrize("name", STATES)
def test_a_state_that_is_used_in_another_order_is_refused(name: str) -> None:
    before, after, words = STATES[name]
    rule, detail = rejection_of(lstm_between(before, after, "y"))
    assert rule is Rule.FUSED_OP_STATE
    assert words in detail


def test_a_state_of_two_ops_is_refused() -> None:
    one = read_model(sequence_lstm(lstm_cell()).data)
    (op,) = one.main.ops
    again = replace(op, results=(tensor("again", TIME, 2, 4),))
    program = replace(one, graphs=(replace(one.main, ops=(op, again)),))
    with pytest.raises(ConversionError, match="shares it with another state"):
        raise_fused_ops(program)


def test_one_tensor_for_both_states_is_refused() -> None:
    def shared(op: TfliteOp) -> TfliteOp:
        return with_operand(op, LstmOperand.CELL_STATE, op.operand(LstmOperand.OUTPUT_STATE))

    rule, _ = rejection_of(changed(sequence_lstm(lstm_cell()).data, shared))
    assert rule is Rule.FUSED_OP_STATE


def test_a_leak_is_found_after_the_last_pass() -> None:
    program = read_model(sequence_lstm(lstm_cell()).data)
    with pytest.raises(InvalidProgramError, match="nothing writes the variable tensors h, c"):
        verify_states(program, after="clean-up")
    states = {value for value in program.main.values() if value.is_variable}
    assert verify_states(program, after="clean-up", kept=states) is program


# --- files that see one step ---------------------------------------------------------------------------------


def test_a_sequence_of_open_time_needs_no_word_on_its_state() -> None:
    program = read_model(sequence_lstm(lstm_cell(), time=None).data)
    assert require_state_policy(program, None) is program


def test_a_step_whose_state_is_given_needs_no_word_on_it() -> None:
    program = read_model(one_step("RNN").data)
    (op,) = program.main.ops
    assert isinstance(op, TfliteOp)
    state = op.operand(RnnOperand.HIDDEN_STATE)
    main = replace(program.main, inputs=(*program.main.inputs, state), outputs=(*program.main.outputs, state))
    program = replace(program, graphs=(main,), signatures=())
    assert require_state_policy(program, None) is program


@pytest.mark.parametrize("policy", StatePolicy)
def test_a_step_is_taken_under_any_policy_that_was_given(policy: StatePolicy) -> None:
    program = read_model(one_step("LSTM").data)
    assert require_state_policy(program, policy) is program


@pytest.mark.parametrize("policy", [None, StatePolicy.STATELESS, StatePolicy.EXPLICIT])
def test_an_svdf_streams_or_is_refused(policy: StatePolicy | None) -> None:
    program = read_model(Svdf().data())
    with pytest.raises(ConversionError) as refusal:
        require_state_policy(program, policy)
    assert [rejection.rule for rejection in refusal.value.rejections] == [Rule.SVDF_STATE]
    assert require_state_policy(program, StatePolicy.STREAMING) is program


# --- what is refused -----------------------------------------------------------------------------------------


def _without(place: int) -> Change:
    return lambda op: with_operand(op, place, None)


def _other_scales(op: TfliteOp) -> TfliteOp:
    value = op.operand(LstmOperand.INPUT_TO_CELL_WEIGHTS)
    record = quantization(0.1)
    record.scale = [0.1, 0.2, 0.3, 0.4]
    return with_operand(op, LstmOperand.INPUT_TO_CELL_WEIGHTS, replace(value, quantization=record))


def _without_scale(op: TfliteOp) -> TfliteOp:
    value = op.operand(LstmOperand.INPUT_TO_CELL_WEIGHTS)
    return with_operand(op, LstmOperand.INPUT_TO_CELL_WEIGHTS, replace(value, quantization=None))


def _narrow(op: TfliteOp) -> TfliteOp:
    kernel = constant("narrow", np.zeros((4, DEPTH - 1), np.float32))
    return with_operand(op, LstmOperand.INPUT_TO_CELL_WEIGHTS, kernel)


def _half(op: TfliteOp) -> TfliteOp:
    kernel = constant("half", np.zeros((4, DEPTH), np.float16))
    return with_operand(op, LstmOperand.INPUT_TO_CELL_WEIGHTS, kernel)


PLAIN, HYBRID = sequence_lstm(lstm_cell()).data, sequence_lstm(lstm_cell(), storage=Storage("int8")).data
REFUSED: dict[str, tuple[bytes, Change, Rule, str]] = {
    "no activation": (
        PLAIN,
        lambda op: with_option(op, fusedActivationFunction=0),
        Rule.FUSED_OP_ACTIVATION,
        "no",
    ),
    "sign bit": (
        PLAIN,
        lambda op: with_option(op, fusedActivationFunction=5),
        Rule.FUSED_OP_ACTIVATION,
        "SIGN_BIT",
    ),
    "scales per row": (HYBRID, _other_scales, Rule.FUSED_OP_PER_CHANNEL, "4 scales"),
    "no scale": (HYBRID, _without_scale, Rule.FUSED_OP_FORM, "without a scale"),
    "float16 as it is": (PLAIN, _half, Rule.FUSED_OP_INTEGER, "float16"),
    "computed weights": (
        PLAIN,
        lambda op: with_operand(op, LstmOperand.INPUT_TO_CELL_WEIGHTS, tensor("w", 4, DEPTH)),
        Rule.CONSTANT_WEIGHTS,
        "computed",
    ),
    "no bias of the input gate": (
        PLAIN,
        _without(LstmOperand.INPUT_GATE_BIAS),
        Rule.FUSED_OP_FORM,
        "some of the weights of the input gate",
    ),
    "no bias": (PLAIN, _without(LstmOperand.CELL_GATE_BIAS), Rule.FUSED_OP_FORM, "bias of the cell gate"),
    "no kernel": (PLAIN, _without(LstmOperand.INPUT_TO_FORGET_WEIGHTS), Rule.FUSED_OP_FORM, "of the forget gate"),
    "a narrow kernel": (PLAIN, _narrow, Rule.FUSED_OP_FORM, "cell_gate.kernel"),
    "one peephole": (
        PLAIN,
        lambda op: with_operand(op, LstmOperand.CELL_TO_FORGET_WEIGHTS, constant("p", np.zeros(4, np.float32))),
        Rule.FUSED_OP_FORM,
        "peephole of the input gate",
    ),
    "a state of another size": (
        PLAIN,
        lambda op: with_operand(op, LstmOperand.CELL_STATE, state_tensor("wide", 2, 5)),
        Rule.FUSED_OP_FORM,
        "wide",
    ),
    "a state of another type": (
        PLAIN,
        lambda op: with_operand(
            op,
            LstmOperand.OUTPUT_STATE,
            replace(state_tensor("narrow", 2, 4), type=TensorType(DType.INT8, (2, 4))),
        ),
        Rule.FUSED_OP_FORM,
        "narrow is int8",
    ),
    "a state that is no variable": (
        PLAIN,
        lambda op: with_operand(op, LstmOperand.CELL_STATE, constant("c", np.zeros((2, 4), np.float32))),
        Rule.FUSED_OP_FORM,
        "not a variable tensor",
    ),
    "outputs of another size": (
        PLAIN,
        lambda op: replace(op, results=(tensor("wide", TIME, 2, 5),)),
        Rule.FUSED_OP_FORM,
        "result wide",
    ),
    "an input of two axes": (
        PLAIN,
        lambda op: with_operand(op, LstmOperand.INPUT, tensor("flat", TIME, DEPTH)),
        Rule.FUSED_OP_FORM,
        "expected 3 axes",
    ),
    "a recurrent kernel of an rnn": (
        sequence_rnn(rnn_cell()).data,
        lambda op: with_operand(op, RnnOperand.RECURRENT_WEIGHTS, constant("r", np.zeros((4, 3), np.float32))),
        Rule.FUSED_OP_FORM,
        "square",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_read_exactly_is_refused(name: str) -> None:
    data, change, rule, words = REFUSED[name]
    found, detail = rejection_of(changed(data, change))
    assert found is rule
    assert words in detail


def test_every_op_that_is_refused_is_named() -> None:
    one = changed(PLAIN, _without(LstmOperand.CELL_GATE_BIAS))
    (op,) = one.main.ops
    assert isinstance(op, TfliteOp)
    other = with_operand(op, LstmOperand.OUTPUT_STATE, state_tensor("h2", 2, 4))
    other = with_operand(other, LstmOperand.CELL_STATE, state_tensor("c2", 2, 4))
    other = replace(other, results=(tensor("z", TIME, 2, 4),))
    program = replace(one, graphs=(replace(one.main, ops=(op, other)),))
    with pytest.raises(ConversionError) as refusal:
        raise_fused_ops(program)
    assert [rejection.op for rejection in refusal.value.rejections] == ["y", "z"]


def test_raised_recurrences_are_in_a_file_as_what_they_are() -> None:
    """The last pass over a file of ours and the first one over it again agree on what is there."""
    program = read_model(build_model(read_model(PLAIN)))
    (op,) = (op for op in raise_fused_ops(program).main.ops if isinstance(op, Recurrence))
    assert op.initial_state == (None, None)
    assert op.time_major
