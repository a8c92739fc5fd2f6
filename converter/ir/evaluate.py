"""The NumPy evaluator, which defines the meaning of programs, in float64.

It is the oracle of every pass and lowering, so it is written for clarity, step by step, and shares no code with
them. Besides recurrences it knows the TFLite ops of `kernels`; any other op is an error.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import numpy as np

from converter.errors import InvalidProgramError
from converter.ir.cells import Activation, Cell, GruCell, LayerNormLstmCell, LstmCell, RnnCell
from converter.ir.gates import Gate, GateNorm, LayerNorm
from converter.ir.kernels import KERNELS
from converter.ir.program import Bidirectional, Graph, MaskedOutput, Op, Program, Recurrence, Scan
from converter.ir.types import Array, Value


def evaluate(program: Program, inputs: Mapping[str, Array]) -> dict[str, Array]:
    """Run the main graph on ``inputs`` (by signature name) and return its outputs by signature name.

    Floating-point values are computed as float64. Raises InvalidProgramError for an op it does not know.
    """
    values = [_widen(np.asarray(inputs[name])) for name in program.signature.inputs]
    outputs = evaluate_graph(program.main, values)
    return dict(zip(program.signature.outputs, outputs, strict=True))


def evaluate_graph(graph: Graph, inputs: Sequence[Array]) -> list[Array]:
    """Run one graph on arrays in the order of its inputs and return those of its outputs.

    Raises InvalidProgramError for an op the evaluator does not know, or whose operands do not fit it.
    """
    known: dict[Value, Array] = dict(zip(graph.inputs, inputs, strict=True))

    def read(value: Value | None) -> Array | None:
        if value is None:
            return None
        return known[value] if value.data is None else _widen(value.data)

    for op in graph.ops:
        results = _evaluate_op(op, [read(operand) for operand in op.operands])
        known.update(zip(op.results, results, strict=True))
    return [known[value] if value.data is None else _widen(value.data) for value in graph.outputs]


def _widen(array: Array) -> Array:
    return array.astype(np.float64) if np.issubdtype(array.dtype, np.floating) else array


def _evaluate_op(op: Op, operands: list[Array | None]) -> Sequence[Array]:
    if isinstance(op, Recurrence):
        return _evaluate_recurrence(op, operands)
    if isinstance(op, Scan):
        return _evaluate_scan(op, operands)
    if isinstance(op, Bidirectional):
        return _evaluate_bidirectional(op, operands)
    present = [operand for operand in operands if operand is not None]
    kernel = KERNELS.get(op.builtin)
    if kernel is None:
        raise InvalidProgramError(f"{op.name}: the evaluator does not implement {op.kind}")
    try:
        return kernel(op, present)
    except (ArithmeticError, LookupError, TypeError, ValueError) as error:
        raise InvalidProgramError(f"{op.name}: {op.kind} cannot be computed: {error}") from error


# --- recurrences ---------------------------------------------------------------------------------------------


def _evaluate_recurrence(op: Recurrence, operands: list[Array | None]) -> list[Array]:
    x, lengths, mask, *initial = operands
    if x is None:
        raise InvalidProgramError(f"{op.name}: expected an input sequence, got none")
    if op.go_backwards:
        x, mask = _reversed(x, lengths, op), None if mask is None else _reversed(mask, lengths, op)
    xs = x if op.time_major else x.swapaxes(0, 1)
    time, batch = xs.shape[:2]
    state = [
        np.zeros((batch, size)) if given is None else np.broadcast_to(given, (batch, size))
        for given, size in zip(initial, op.cell.state_sizes, strict=True)
    ]
    outputs = np.zeros((time, batch, op.cell.output_size))
    held: Array = np.zeros((batch, op.cell.output_size))
    for t in range(time):
        output, new_state = step(op.cell, xs[t], state)
        alive = _alive(op, t, batch, lengths, mask)
        skipped = held if mask is not None and op.masked_output is MaskedOutput.HELD else 0.0
        outputs[t] = held = np.where(alive[:, None], output, skipped)
        state = [np.where(alive[:, None], new, old) for new, old in zip(new_state, state, strict=True)]
    return [outputs if op.time_major else outputs.swapaxes(0, 1), *state]


def _alive(op: Recurrence, t: int, batch: int, lengths: Array | None, mask: Array | None) -> Array:
    """Return which rows take step ``t``: bool [B]."""
    if mask is not None:
        return np.asarray(mask[t] if op.time_major else mask[:, t])
    return np.ones(batch, bool) if lengths is None else np.asarray(t < lengths)


def _evaluate_bidirectional(op: Bidirectional, operands: list[Array | None]) -> list[Array]:
    count = len(op.forward.operands)
    x, lengths, *_ = operands
    forward = _evaluate_recurrence(op.forward, operands[:count])
    output, *state = _evaluate_recurrence(op.backward, [x, lengths, None, *operands[count:]])
    return [*forward, _reversed(output, lengths, op.backward), *state]


def _reversed(sequence: Array, lengths: Array | None, op: Recurrence) -> Array:
    """Reverse each row within its length; the padding stays in place."""
    rows = np.moveaxis(sequence, op.time_axis, 1).copy()
    for number, row in enumerate(rows):
        end = len(row) if lengths is None else min(max(int(lengths[number]), 0), len(row))
        row[:end] = row[:end][::-1].copy()
    return np.moveaxis(rows, 1, op.time_axis)


def _evaluate_scan(op: Scan, operands: list[Array | None]) -> list[Array]:
    *present, length, steps = operands
    given = [array for array in present if array is not None]
    sequences, rest = given[: len(op.sequences)], given[len(op.sequences) :]
    state, invariants = rest[: len(op.initial_state)], rest[len(op.initial_state) :]
    time = len(sequences[0]) if length is None else int(length)
    collected: list[list[Array]] = [[] for _ in op.outputs]
    inside = op.step
    known = dict(zip(inside.invariants, invariants, strict=True))
    for t in range(time if steps is None else min(time, int(steps))):
        known[inside.t] = np.asarray(t, np.int32)
        known |= zip(inside.states, state, strict=True)
        known |= {value: sequence[t] for value, sequence in zip(inside.slices, sequences, strict=True)}
        results = evaluate_graph(op.body, [known[value] for value in op.body.inputs])
        made = dict(zip(op.body.outputs, results, strict=True))
        state = [made[value] for value in inside.new_states]
        for into, value in zip(collected, inside.elements, strict=True):
            into.append(made[value])
    outputs = [_stacked(parts, time, value) for parts, value in zip(collected, op.outputs, strict=True)]
    return [*outputs, *state]


def _stacked(parts: list[Array], time: int, value: Value) -> Array:
    """Stack the elements of the steps, followed by zeros for the steps that were not run."""
    if not parts:
        return np.zeros([time, *(dim or 0 for dim in (value.type.shape or (0,))[1:])])
    return np.stack([*parts, *[np.zeros_like(parts[0])] * (time - len(parts))])


def step(cell: Cell, x: Array, state: Sequence[Array]) -> tuple[Array, list[Array]]:
    """One step of ``cell``: inputs x [B, input] and state arrays [B, n] to output [B, output] and new state."""
    if isinstance(cell, RnnCell):
        h = activate(cell.activation, _affine(cell.gate, x, state[0]))
        return h, [h]
    if isinstance(cell, GruCell):
        return _gru_step(cell, x, state[0])
    if isinstance(cell, LayerNormLstmCell):
        return _lstm_step(cell.lstm, x, state, dict(cell.norms()))
    return _lstm_step(cell, x, state, {})


def _lstm_step(
    cell: LstmCell, x: Array, state: Sequence[Array], norms: Mapping[str, LayerNorm]
) -> tuple[Array, list[Array]]:
    c, h = state
    gates, after = dict(cell.gates()), _gate_norms(cell)
    peephole = cell.peephole

    def gate_sum(name: str, weights: Array | None = None, seen: Array = c) -> Array:
        gate = gates[name]
        if name in after:
            gate = replace(gate, bias=np.zeros_like(gate.bias))
        z = _normalized(_affine(gate, x, h), norms.get(name))
        return _normalized(z if weights is None else z + weights * seen, after.get(name))

    forget = gate_sum("forget_gate", None if peephole is None else peephole.forget)
    f = activate(cell.recurrent_activation, forget + cell.forget_bias)
    i = 1.0 - f
    if cell.input_gate is not None:
        admitted = gate_sum("input_gate", None if peephole is None else peephole.input)
        i = activate(cell.recurrent_activation, admitted)
    g = activate(cell.activation, gate_sum("cell_gate"))
    c = _normalized(_clip(f * c + i * g, cell.cell_clip), norms.get("state"))
    emitted = gate_sum("output_gate", None if peephole is None else peephole.output, c)
    h = activate(cell.recurrent_activation, emitted) * activate(cell.activation, c)
    if cell.projection is not None:
        bias = 0.0 if cell.projection_bias is None else cell.projection_bias
        h = _clip(h @ cell.projection.T.astype(np.float64) + bias, cell.projection_clip)
    return h, [c, h]


def _gate_norms(cell: LstmCell) -> dict[str, LayerNorm]:
    """Return what normalises each gate's sum, its bias included; empty without ``gate_norm``."""
    if cell.gate_norm is None:
        return {}
    gates = dict(cell.gates())
    return {name: LayerNorm(scale, gates[name].bias, GateNorm.EPSILON) for name, scale in cell.gate_norm.scales()}


def _normalized(z: Array, norm: LayerNorm | None) -> Array:
    if norm is None:
        return z
    deviation = z - z.mean(axis=1, keepdims=True)
    variance = (deviation**2).mean(axis=1, keepdims=True)
    return np.asarray(deviation / np.sqrt(variance + norm.epsilon) * norm.gamma + norm.beta)


def _gru_step(cell: GruCell, x: Array, h: Array) -> tuple[Array, list[Array]]:
    u = activate(cell.recurrent_activation, _affine(cell.update_gate, x, h))
    r = activate(cell.recurrent_activation, _affine(cell.reset_gate, x, h))
    if cell.candidate_recurrent_bias is None:
        z = _affine(cell.candidate, x, r * h)
    else:
        nothing = np.zeros_like(h)
        recurrent = h @ cell.candidate.recurrent_kernel.T.astype(np.float64) + cell.candidate_recurrent_bias
        z = _affine(cell.candidate, x, nothing) + r * recurrent
    h = u * h + (1.0 - u) * activate(cell.activation, z)
    return h, [h]


def _affine(gate: Gate, x: Array, h: Array) -> Array:
    kernel, recurrent = gate.kernel.astype(np.float64), gate.recurrent_kernel.astype(np.float64)
    total: Array = x @ kernel.T + h @ recurrent.T + gate.bias
    return total


def _clip(x: Array, bound: float | None) -> Array:
    return x if bound is None else np.clip(x, -bound, bound)


def activate(activation: Activation, x: Array) -> Array:
    """Apply an activation function elementwise."""
    return np.asarray(_ACTIVATIONS[activation](x))


def _sigmoid(x: Array) -> Array:
    # tanh does not overflow, unlike 1 / (1 + exp(-x)) for large negative x.
    return np.asarray(0.5 * (1.0 + np.tanh(0.5 * x)))


def _softplus(x: Array) -> Array:
    # logaddexp warns of NaN, and rows may hold anything past their length.
    return np.asarray(np.maximum(x, 0.0) + np.log1p(np.exp(-np.abs(x))))


_erf = np.vectorize(math.erf, otypes=[np.float64])

_ACTIVATIONS: Mapping[Activation, Callable[[Array], Array]] = {
    Activation.LINEAR: lambda x: x,
    Activation.TANH: np.tanh,
    Activation.SIGMOID: _sigmoid,
    Activation.HARD_SIGMOID: lambda x: np.clip(x / 6.0 + 0.5, 0.0, 1.0),
    Activation.RELU: lambda x: np.maximum(x, 0.0),
    Activation.RELU6: lambda x: np.clip(x, 0.0, 6.0),
    Activation.ELU: lambda x: np.where(x > 0.0, x, np.expm1(np.minimum(x, 0.0))),
    Activation.SELU: lambda x: (
        1.0507009873554805 * np.where(x > 0.0, x, 1.6732632423543772 * np.expm1(np.minimum(x, 0.0)))
    ),
    Activation.SOFTPLUS: _softplus,
    Activation.SOFTSIGN: lambda x: x / (1.0 + np.abs(x)),
    Activation.SILU: lambda x: x * _sigmoid(x),
    Activation.GELU: lambda x: 0.5 * x * (1.0 + _erf(x / np.sqrt(2.0))),
    Activation.EXPONENTIAL: np.exp,
    Activation.KERAS2_HARD_SIGMOID: lambda x: np.clip(0.2 * x + 0.5, 0.0, 1.0),
    Activation.HARD_SHRINK: lambda x: np.where(np.abs(x) > 0.5, x, 0.0),
    Activation.HARD_SILU: lambda x: x * np.clip(x / 6.0 + 0.5, 0.0, 1.0),
    Activation.HARD_TANH: lambda x: np.clip(x, -1.0, 1.0),
    Activation.LEAKY_RELU: lambda x: np.where(x > 0.0, x, 0.2 * x),
    Activation.LOG_SIGMOID: lambda x: -_softplus(-x),
    Activation.MISH: lambda x: x * np.tanh(_softplus(x)),
    Activation.SOFT_SHRINK: lambda x: np.where(np.abs(x) > 0.5, x - 0.5 * np.sign(x), 0.0),
    Activation.SPARSE_PLUS: lambda x: np.where(x <= -1.0, 0.0, np.where(x < 1.0, 0.25 * (x + 1.0) ** 2, x)),
    Activation.SPARSE_SIGMOID: lambda x: np.clip(0.5 * (x + 1.0), 0.0, 1.0),
    Activation.SQUAREPLUS: lambda x: 0.5 * (x + np.sqrt(x * x + 4.0)),
    Activation.TANH_SHRINK: lambda x: x - np.tanh(x),
}
