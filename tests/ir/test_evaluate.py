"""The evaluator against the equations, written here once more, scalar by scalar, in plain Python."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from converter.errors import InvalidProgramError
from converter.ir import (
    Activation,
    Array,
    Bidirectional,
    DType,
    Gate,
    Graph,
    GruCell,
    LayerNorm,
    LayerNormLstmCell,
    LstmCell,
    MaskedOutput,
    Program,
    Recurrence,
    RnnCell,
    Signature,
    TfliteOp,
    constant,
    evaluate,
)
from converter.ir.evaluate import activate
from tests.programs import (
    gru_cell,
    layer_norm_lstm_cell,
    lstm_cell,
    masked,
    program,
    random_inputs,
    recurrence,
    rnn_cell,
    stack,
    tensor,
)

SCALAR: dict[Activation, Callable[[float], float]] = {
    Activation.LINEAR: lambda v: v,
    Activation.TANH: math.tanh,
    Activation.SIGMOID: lambda v: 1 / (1 + math.exp(-v)),
    Activation.HARD_SIGMOID: lambda v: min(1.0, max(0.0, v / 6 + 0.5)),
    Activation.RELU: lambda v: max(v, 0.0),
    Activation.RELU6: lambda v: min(max(v, 0.0), 6.0),
    Activation.ELU: lambda v: v if v > 0 else math.exp(v) - 1,
    Activation.SELU: lambda v: 1.0507009873554805 * (v if v > 0 else 1.6732632423543772 * (math.exp(v) - 1)),
    Activation.SOFTPLUS: lambda v: math.log(1 + math.exp(v)),
    Activation.SOFTSIGN: lambda v: v / (1 + abs(v)),
    Activation.SILU: lambda v: v / (1 + math.exp(-v)),
    Activation.GELU: lambda v: v * 0.5 * (1 + math.erf(v / math.sqrt(2))),
    Activation.EXPONENTIAL: math.exp,
    Activation.KERAS2_HARD_SIGMOID: lambda v: min(1.0, max(0.0, v / 5 + 0.5)),
    Activation.HARD_SHRINK: lambda v: v if abs(v) > 0.5 else 0.0,
    Activation.HARD_SILU: lambda v: v * min(1.0, max(0.0, v / 6 + 0.5)),
    Activation.HARD_TANH: lambda v: min(1.0, max(-1.0, v)),
    Activation.LEAKY_RELU: lambda v: v if v > 0 else v / 5,
    Activation.LOG_SIGMOID: lambda v: -math.log(1 + math.exp(-v)),
    Activation.MISH: lambda v: v * math.tanh(math.log(1 + math.exp(v))),
    Activation.SOFT_SHRINK: lambda v: v - math.copysign(0.5, v) if abs(v) > 0.5 else 0.0,
    Activation.SPARSE_PLUS: lambda v: 0.0 if v <= -1 else (v if v >= 1 else (v + 1) ** 2 / 4),
    Activation.SPARSE_SIGMOID: lambda v: 0.0 if v <= -1 else (1.0 if v >= 1 else (v + 1) / 2),
    Activation.SQUAREPLUS: lambda v: (v + math.sqrt(v * v + 4)) / 2,
    Activation.TANH_SHRINK: lambda v: v - math.tanh(v),
}


def dot(row: Array, vector: list[float]) -> float:
    return sum(float(a) * b for a, b in zip(row, vector, strict=True))


def norm_by_hand(z: list[float], norm: LayerNorm | None) -> list[float]:
    if norm is None:
        return z
    mean = sum(z) / len(z)
    variance = sum((v - mean) ** 2 for v in z) / len(z)
    scaled = [(v - mean) / math.sqrt(variance + norm.epsilon) for v in z]
    return [float(g) * v + float(b) for g, v, b in zip(norm.gamma, scaled, norm.beta, strict=True)]


def layer_norm_lstm_by_hand(whole: LayerNormLstmCell, steps: Array) -> tuple[list[list[float]], list[float]]:
    cell = whole.lstm
    s, a, units, peep = (
        SCALAR[cell.recurrent_activation],
        SCALAR[cell.activation],
        range(cell.units),
        cell.peephole,
    )
    c, h = [0.0] * cell.units, [0.0] * cell.output_size
    outputs = []
    for x in steps.tolist():
        rows = {
            name: [dot(gate.kernel[k], x) + dot(gate.recurrent_kernel[k], h) + float(gate.bias[k]) for k in units]
            for name, gate in cell.gates()
        }
        zf = norm_by_hand(rows["forget_gate"], whole.forget_norm)
        zg = norm_by_hand(rows["cell_gate"], whole.cell_norm)
        zo = norm_by_hand(rows["output_gate"], whole.output_norm)
        f = [s(zf[k] + cell.forget_bias + (float(peep.forget[k]) * c[k] if peep else 0.0)) for k in units]
        if cell.input_gate is None:
            i = [1.0 - v for v in f]
        else:
            zi = norm_by_hand(rows["input_gate"], whole.input_norm)
            seen = peep.input if peep else None
            i = [s(zi[k] + (0.0 if seen is None else float(seen[k]) * c[k])) for k in units]
        c = norm_by_hand([f[k] * c[k] + i[k] * a(zg[k]) for k in units], whole.state_norm)
        h = [s(zo[k] + (float(peep.output[k]) * c[k] if peep else 0.0)) * a(c[k]) for k in units]
        if cell.projection is not None:
            h = [dot(row, h) for row in cell.projection]
        outputs.append(h)
    return outputs, c


def gru_by_hand(cell: GruCell, steps: Array) -> list[list[float]]:
    s, a = SCALAR[cell.recurrent_activation], SCALAR[cell.activation]
    h = [0.0] * cell.units
    outputs = []
    for x in steps.tolist():

        def fed(gate: Gate, k: int, x: list[float] = x) -> float:
            return dot(gate.kernel[k], x) + float(gate.bias[k])

        u, r = (
            [s(fed(gate, k) + dot(gate.recurrent_kernel[k], h)) for k in range(cell.units)]
            for gate in (cell.update_gate, cell.reset_gate)
        )
        gate, bias, fresh = cell.candidate, cell.candidate_recurrent_bias, []
        for k in range(cell.units):
            if bias is None:
                past = dot(gate.recurrent_kernel[k], [rk * hk for rk, hk in zip(r, h, strict=True)])
            else:
                past = r[k] * (dot(gate.recurrent_kernel[k], h) + float(bias[k]))
            fresh.append(a(fed(gate, k) + past))
        h = [u[k] * h[k] + (1.0 - u[k]) * fresh[k] for k in range(cell.units)]
        outputs.append(h)
    return outputs


def lstm_by_hand(cell: LstmCell, steps: Array) -> tuple[list[list[float]], list[float]]:
    s, a = SCALAR[cell.recurrent_activation], SCALAR[cell.activation]
    units, peep, gates = range(cell.units), cell.peephole, dict(cell.gates())
    scales = {} if cell.gate_norm is None else dict(cell.gate_norm.scales())
    c, h = [0.0] * cell.units, [0.0] * cell.output_size
    outputs = []
    for x in steps.tolist():

        def z(
            name: str, seen: Array | None, c: list[float], x: list[float] = x, h: list[float] = h
        ) -> list[float]:
            gate, diagonal = gates[name], np.zeros(cell.units) if seen is None else seen
            rows = [
                dot(gate.kernel[k], x) + dot(gate.recurrent_kernel[k], h) + float(diagonal[k]) * c[k]
                for k in units
            ]
            if name in scales:
                return norm_by_hand(rows, LayerNorm(scales[name], gate.bias, 1e-8))
            return [rows[k] + float(gate.bias[k]) for k in units]

        f = [s(v + cell.forget_bias) for v in z("forget_gate", peep.forget if peep else None, c)]
        if cell.input_gate is None:
            i = [1.0 - v for v in f]
        else:
            i = [s(v) for v in z("input_gate", peep.input if peep else None, c)]
        g = [a(v) for v in z("cell_gate", None, c)]
        c = [f[k] * c[k] + i[k] * g[k] for k in units]
        if cell.cell_clip is not None:
            c = [max(-cell.cell_clip, min(cell.cell_clip, v)) for v in c]
        o = [s(v) for v in z("output_gate", peep.output if peep else None, c)]
        h = [o[k] * a(c[k]) for k in units]
        if cell.projection is not None:
            h = [dot(row, h) for row in cell.projection]
            if cell.projection_bias is not None:
                h = [v + float(b) for v, b in zip(h, cell.projection_bias, strict=True)]
            if cell.projection_clip is not None:
                h = [max(-cell.projection_clip, min(cell.projection_clip, v)) for v in h]
        outputs.append(h)
    return outputs, c


LSTMS = {
    "plain": lstm_cell(),
    "forget_bias": lstm_cell(forget_bias=1.0),
    "peephole": lstm_cell(peephole=True),
    "cifg": lstm_cell(cifg=True),
    "cifg_peephole": lstm_cell(cifg=True, peephole=True),
    "projection": lstm_cell(projection=2),
    "clips": lstm_cell(projection=2, cell_clip=0.2, projection_clip=0.05),
    "zero_clip": lstm_cell(cell_clip=0.0),
    "relu_hard": lstm_cell(activation=Activation.RELU, recurrent_activation=Activation.HARD_SIGMOID),
    "everything": lstm_cell(peephole=True, projection=3, cell_clip=0.5, projection_clip=0.1, forget_bias=0.5),
    "projection_bias": lstm_cell(projection=2, projection_bias=True, projection_clip=0.3),
    "gate_norm": lstm_cell(gate_norm=True, forget_bias=0.5),
    "gate_norm_cifg": lstm_cell(gate_norm=True, cifg=True, peephole=True, projection=2, projection_bias=True),
}


@pytest.mark.parametrize("name", LSTMS)
def test_lstm_follows_its_equations(name: str) -> None:
    cell = LSTMS[name]
    source = stack([cell])
    x = np.random.default_rng(1).standard_normal((6, 1, cell.input_size))
    outputs, final_c = lstm_by_hand(cell, x[:, 0])
    got = evaluate(source, {"x": x})
    np.testing.assert_allclose(got["layer_0_outputs"][:, 0], outputs, rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(got["layer_0_state_0"][0], final_c, rtol=1e-12, atol=1e-12)
    np.testing.assert_array_equal(got["layer_0_state_1"][0], got["layer_0_outputs"][-1, 0])


LAYER_NORM_LSTMS = {
    "plain": layer_norm_lstm_cell(),
    "forget_bias": layer_norm_lstm_cell(lstm_cell(forget_bias=1.0, activation=Activation.RELU)),
    "cifg": layer_norm_lstm_cell(lstm_cell(cifg=True, peephole=True, projection=2)),
    "peephole": layer_norm_lstm_cell(lstm_cell(peephole=True)),
}


@pytest.mark.parametrize("name", LAYER_NORM_LSTMS)
def test_layer_normalised_lstm_follows_its_equations(name: str) -> None:
    cell = LAYER_NORM_LSTMS[name]
    x = np.random.default_rng(1).standard_normal((6, 1, cell.input_size))
    outputs, final_c = layer_norm_lstm_by_hand(cell, x[:, 0])
    got = evaluate(stack([cell]), {"x": x})
    np.testing.assert_allclose(got["layer_0_outputs"][:, 0], outputs, rtol=1e-10, atol=1e-12)
    np.testing.assert_allclose(got["layer_0_state_0"][0], final_c, rtol=1e-10, atol=1e-12)


GRUS = {
    "reset_before": gru_cell(),
    "reset_after": gru_cell(reset_after=True),
    "relu_hard": gru_cell(activation=Activation.RELU, recurrent_activation=Activation.HARD_SIGMOID),
}


@pytest.mark.parametrize("name", GRUS)
def test_gru_follows_its_equations(name: str) -> None:
    cell = GRUS[name]
    x = np.random.default_rng(1).standard_normal((6, 1, cell.input_size))
    got = evaluate(stack([cell]), {"x": x})
    np.testing.assert_allclose(got["layer_0_outputs"][:, 0], gru_by_hand(cell, x[:, 0]), rtol=1e-12, atol=1e-12)
    np.testing.assert_array_equal(got["layer_0_state_0"][0], got["layer_0_outputs"][-1, 0])


def test_rnn_follows_its_equation() -> None:
    cell: RnnCell = rnn_cell(activation=Activation.RELU)
    x = np.random.default_rng(1).standard_normal((5, 1, 3))
    h = [0.0] * 4
    for step in x[:, 0].tolist():
        h = [
            max(
                0.0,
                dot(cell.gate.kernel[k], step) + dot(cell.gate.recurrent_kernel[k], h) + float(cell.gate.bias[k]),
            )
            for k in range(4)
        ]
    np.testing.assert_allclose(evaluate(stack([cell]), {"x": x})["layer_0_state_0"][0], h, rtol=1e-12)


@pytest.mark.parametrize("activation", Activation)
def test_activations_are_those_of_their_names(activation: Activation) -> None:
    points = np.linspace(-8.0, 8.0, 33)
    expected = [SCALAR[activation](float(v)) for v in points]
    np.testing.assert_allclose(activate(activation, points), expected, rtol=1e-12, atol=1e-12)


def test_a_stack_feeds_each_layer_the_outputs_of_the_one_before() -> None:
    first, second = rnn_cell(seed=1), lstm_cell(depth=4, seed=2)
    both = stack([first, second])
    inputs = random_inputs(np.random.default_rng(0), both, time=4, batch=2)
    between = evaluate(stack([first]), inputs)["layer_0_outputs"]
    alone = evaluate(stack([second]), {"x": between})
    np.testing.assert_array_equal(evaluate(both, inputs)["layer_1_outputs"], alone["layer_0_outputs"])


def test_batch_major_is_time_major_transposed() -> None:
    cell = lstm_cell()
    x = np.random.default_rng(0).standard_normal((5, 2, 3))
    time_major = evaluate(stack([cell]), {"x": x})["layer_0_outputs"]
    batch_major = evaluate(stack([cell], time_major=False), {"x": x.swapaxes(0, 1)})["layer_0_outputs"]
    np.testing.assert_array_equal(batch_major, time_major.swapaxes(0, 1))


def with_lengths(cell: LstmCell, *, time_major: bool = True) -> Program:
    x, lengths = tensor("x", None, None, 3), tensor("lengths", None, dtype=DType.INT32)
    op: Recurrence = recurrence(cell, x, time_major=time_major, sequence_length=lengths)
    return program([x, lengths], [op], [op.output, *op.final_state])


def test_rows_past_their_length_give_zero_and_keep_their_state() -> None:
    cell = lstm_cell()
    x = np.random.default_rng(0).standard_normal((5, 3, 3))
    got = evaluate(with_lengths(cell), {"x": x, "lengths": np.array([2, 0, 9])})
    short = evaluate(stack([cell]), {"x": x[:2, :1]})
    np.testing.assert_allclose(got["rnn_outputs"][:2, :1], short["layer_0_outputs"], rtol=1e-12)
    assert not got["rnn_outputs"][2:, 0].any()
    np.testing.assert_allclose(got["rnn_state_0"][0], short["layer_0_state_0"][0], rtol=1e-12)
    assert not got["rnn_outputs"][:, 1].any()
    assert not got["rnn_state_0"][1].any()
    assert got["rnn_outputs"][4, 2].all()


@pytest.mark.parametrize("time_major", [True, False])
def test_a_masked_step_is_no_step(time_major: bool) -> None:
    source = masked([lstm_cell()], time_major=time_major)
    x = np.random.default_rng(0).standard_normal((6, 1, 3))
    mask = np.array([False, True, True, False, True, False])[:, None]
    inputs = {"x": x, "mask": mask} if time_major else {"x": x.swapaxes(0, 1), "mask": mask.T}
    got = evaluate(source, inputs)
    taken = evaluate(stack([lstm_cell()]), {"x": x[mask[:, 0]]})
    outputs = got["rnn_0_outputs"] if time_major else got["rnn_0_outputs"].swapaxes(0, 1)
    np.testing.assert_allclose(outputs[mask], taken["layer_0_outputs"][:, 0], rtol=1e-12)
    np.testing.assert_allclose(got["rnn_0_state_0"], taken["layer_0_state_0"], rtol=1e-12)
    np.testing.assert_array_equal(outputs[3], outputs[2])
    assert not outputs[0].any()


def test_masked_outputs_are_held_or_zero_and_never_the_initial_state() -> None:
    x, mask, state = np.ones((3, 1, 3)), np.array([[False], [True], [False]]), np.full((1, 4), 0.5)
    for kind, last in ((MaskedOutput.HELD, True), (MaskedOutput.ZERO, False)):
        source = masked([rnn_cell()], masked_output=kind, given_state=True)
        outputs = evaluate(source, {"x": x, "mask": mask, "s0_0": state})["rnn_0_outputs"]
        assert not outputs[0].any()
        assert outputs[1].any()
        assert outputs[2].any() == last


@pytest.mark.parametrize("time_major", [True, False])
def test_a_recurrence_that_goes_backwards_reads_each_row_from_its_end(time_major: bool) -> None:
    """Row by row: the outputs are those of the reversed row, in the order of its steps."""
    forwards = with_lengths(lstm_cell(), time_major=time_major)
    source = forwards.map_ops(lambda op: replace(op, go_backwards=True) if isinstance(op, Recurrence) else op)
    x, lengths = np.random.default_rng(0).standard_normal((5, 3, 3)), [5, 2, 0]
    got = evaluate(source, {"x": x if time_major else x.swapaxes(0, 1), "lengths": np.array(lengths)})
    outputs = got["rnn_outputs"] if time_major else got["rnn_outputs"].swapaxes(0, 1)
    alone = stack([lstm_cell()])
    for row, n in enumerate(lengths):
        expected = evaluate(alone, {"x": x[:n][::-1, row : row + 1]})
        np.testing.assert_allclose(outputs[:n, row], expected["layer_0_outputs"][:, 0], rtol=1e-12)
        assert not outputs[n:, row].any()
        for state in ("state_0", "state_1"):
            np.testing.assert_allclose(got[f"rnn_{state}"][row], expected[f"layer_0_{state}"][0], rtol=1e-12)


def test_a_mask_is_read_backwards_like_its_sequence() -> None:
    source = masked([gru_cell()])
    backwards = source.map_ops(lambda op: replace(op, go_backwards=True) if isinstance(op, Recurrence) else op)
    rng = np.random.default_rng(0)
    x, mask = rng.standard_normal((5, 2, 3)), rng.random((5, 2)) < 0.6
    expected, got = (
        evaluate(source, {"x": x[::-1], "mask": mask[::-1]}),
        evaluate(backwards, {"x": x, "mask": mask}),
    )
    for name, array in expected.items():
        np.testing.assert_array_equal(got[name], array)


def test_a_bidirectional_op_gives_both_outputs_in_the_order_of_x() -> None:
    x, lengths = tensor("x", None, None, 3), tensor("lengths", None, dtype=DType.INT32)
    forward = recurrence(rnn_cell(), x, name="forward", sequence_length=lengths)
    backward = recurrence(rnn_cell(seed=1), x, name="backward", sequence_length=lengths)
    backward = replace(backward, go_backwards=True)
    apart = program([x, lengths], [forward, backward], [*forward.results, *backward.results])
    main = replace(apart.main, ops=(Bidirectional(forward, backward),))
    given = {"x": np.random.default_rng(0).standard_normal((4, 2, 3)), "lengths": np.array([4, 2])}
    expected, got = evaluate(apart, given), evaluate(replace(apart, graphs=(main,)), given)
    back = expected.pop("backward_outputs")
    np.testing.assert_array_equal(got["backward_outputs"][:, 0], back[::-1, 0])
    np.testing.assert_array_equal(got["backward_outputs"][:2, 1], back[:2][::-1, 1])
    assert not got["backward_outputs"][2:, 1].any()
    for name, array in expected.items():
        np.testing.assert_array_equal(got[name], array)


def test_padding_that_is_not_a_number_stays_out_of_the_state() -> None:
    x = np.random.default_rng(0).standard_normal((4, 1, 3))
    x[2:] = np.nan
    got = evaluate(with_lengths(lstm_cell()), {"x": x, "lengths": np.array([2])})
    assert all(np.isfinite(array).all() for array in got.values())


def test_a_sequence_of_no_steps_leaves_the_initial_state() -> None:
    source = stack([lstm_cell()], given_state=True)
    inputs = random_inputs(np.random.default_rng(0), source, time=0, batch=2)
    got = evaluate(source, inputs)
    assert got["layer_0_outputs"].shape == (0, 2, 4)
    np.testing.assert_array_equal(got["layer_0_state_0"], inputs["s0_0"])


def test_a_reverse_cumsum_is_an_error() -> None:
    x, axis, y = tensor("x", 2), constant("axis", np.array(0, np.int32)), tensor("y", 2)
    op = TfliteOp("CUMSUM", (x, axis), (y,), "CumsumOptions", {"exclusive": False, "reverse": True})
    graph = Graph("main", (x,), (y,), (op,))
    with pytest.raises(InvalidProgramError, match="y: the evaluator does not implement a reverse CUMSUM"):
        evaluate(Program((graph,), (Signature("s", ("x",), ("y",)),)), {"x": np.zeros(2)})


def test_an_op_that_the_evaluator_does_not_know_is_an_error() -> None:
    x, y = tensor("x", 2), tensor("y", 2)
    graph = Graph("main", (x,), (y,), (TfliteOp("FLOOR_DIV", (x,), (y,)),))
    with pytest.raises(InvalidProgramError, match="y: the evaluator does not implement FLOOR_DIV"):
        evaluate(Program((graph,), (Signature("s", ("x",), ("y",)),)), {"x": np.zeros(2)})


@pytest.mark.parametrize("activation", Activation)
def test_no_activation_warns_of_what_is_not_a_number(activation: Activation) -> None:
    assert activate(activation, np.array([np.nan])).shape == (1,)


def test_operands_that_do_not_fit_an_op_are_refused() -> None:
    """A file of a stranger may have any."""
    x, kernel = tensor("x", 4, 7), constant("kernel", np.ones((2, 8), np.float32))
    y = tensor("y", 4, 2)
    graph = Graph("main", (x,), (y,), (TfliteOp("FULLY_CONNECTED", (x, kernel, None), (y,)),))
    broken = Program((graph,), (Signature("serving_default", ("x",), ("y",)),))
    with pytest.raises(InvalidProgramError, match="y: FULLY_CONNECTED cannot be computed: cannot reshape"):
        evaluate(broken, {"x": np.ones((4, 7), np.float32)})
