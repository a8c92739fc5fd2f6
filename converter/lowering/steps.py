"""Emit one step of each cell as TFLite ops, without the part that depends on x alone.

A cell's `Projection` is one matrix product for all steps at once; the step adds what depends on the state.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from converter.emission.emitter import Emitter
from converter.ir import (
    Array,
    Cell,
    Gate,
    GateNorm,
    GruCell,
    LayerNorm,
    LayerNormLstmCell,
    LstmCell,
    RnnCell,
    Value,
)
from converter.lowering.activations import activate


@dataclass(frozen=True, slots=True, eq=False)
class Projection:
    """The part of a cell that does not depend on its state: x kernel^T + bias, kernel [n, input], bias [n]."""

    kernel: Array
    bias: Array


def input_projection(cell: Cell) -> Projection:
    """Return the cell's gates' input kernels and biases, stacked in the order in which `emit_step` splits them."""
    gates = [gate for _, gate in cell.gates()]
    bias = np.concatenate([gate.bias for gate in gates])
    if isinstance(cell, LstmCell) and cell.gate_norm is not None:
        bias = np.zeros_like(bias)  # the biases are added after the normalisation
    return Projection(np.concatenate([gate.kernel for gate in gates]), bias)


def emit_step(emitter: Emitter, cell: Cell, x: Value, state: Sequence[Value]) -> tuple[Value, list[Value]]:
    """Emit one step: projected inputs x [B, n] and state arrays [B, size] to output [B, output] and new state."""
    match cell:
        case RnnCell():
            h = activate(emitter, cell.activation, _with_recurrence(emitter, cell, x, state[0]))
            return h, [h]
        case LstmCell():
            return _lstm_step(emitter, cell, {}, x, state)
        case LayerNormLstmCell():
            return _lstm_step(emitter, cell.lstm, dict(cell.norms()), x, state)
        case GruCell():
            recur = _reset_after if cell.reset_after else _reset_before
            h = recur(emitter, cell, x, state[0])
            return h, [h]


def _recurrent_kernel(gates: Iterable[Gate]) -> Array:
    return np.concatenate([gate.recurrent_kernel for gate in gates])


def _with_recurrence(emitter: Emitter, cell: Cell, x: Value, h: Value) -> Value:
    kernel = _recurrent_kernel(gate for _, gate in cell.gates())
    return emitter.add(x, emitter.fully_connected(h, kernel, None, "recurrent"), "gates")


def _lstm_step(
    emitter: Emitter, cell: LstmCell, norms: Mapping[str, LayerNorm], x: Value, state: Sequence[Value]
) -> tuple[Value, list[Value]]:
    c, h = state
    names = [name for name, _ in cell.gates()]
    parts = emitter.split(_with_recurrence(emitter, cell, x, h), len(names), "gate")
    z = {name: _normalized(emitter, part, norms.get(name)) for name, part in zip(names, parts, strict=True)}
    peephole, after = cell.peephole, _gate_norms(cell)

    def gate(name: str, seen: Value, weights: Array | None) -> Value:
        total = z[name]
        if name == "forget_gate" and cell.forget_bias and name not in after:
            total = emitter.add(total, emitter.number(cell.forget_bias))
        if weights is not None:
            total = emitter.add(total, emitter.multiply(seen, emitter.weights("peephole", weights)))
        return activate(emitter, cell.recurrent_activation, _normalized(emitter, total, after.get(name)))

    f = gate("forget_gate", c, None if peephole is None else peephole.forget)
    if cell.input_gate is None:
        i = emitter.subtract(emitter.number(1.0), f, "input_gate")
    else:
        i = gate("input_gate", c, None if peephole is None else peephole.input)
    g = activate(emitter, cell.activation, _normalized(emitter, z["cell_gate"], after.get("cell_gate")))
    c = clip(emitter, emitter.add(emitter.multiply(f, c), emitter.multiply(i, g), "cell"), cell.cell_clip)
    c = _normalized(emitter, c, norms.get("state"))
    o = gate("output_gate", c, None if peephole is None else peephole.output)
    h = emitter.multiply(o, activate(emitter, cell.activation, c), "output")
    if cell.projection is not None:
        projected = emitter.fully_connected(h, cell.projection, cell.projection_bias, "projected")
        h = clip(emitter, projected, cell.projection_clip)
    return h, [c, h]


def _gate_norms(cell: LstmCell) -> Mapping[str, LayerNorm]:
    """Return what normalises each gate's sum, its biases included; empty without ``gate_norm``."""
    if cell.gate_norm is None:
        return {}
    biases = {name: gate.bias for name, gate in cell.gates()}
    biases["forget_gate"] = biases["forget_gate"] + cell.forget_bias
    return {name: LayerNorm(scale, biases[name], GateNorm.EPSILON) for name, scale in cell.gate_norm.scales()}


def _normalized(emitter: Emitter, z: Value, norm: LayerNorm | None) -> Value:
    """Emit (z - mean) / sqrt(variance + epsilon) * gamma + beta over each row; ``z`` itself without a norm."""
    if norm is None:
        return z
    deviation = emitter.subtract(z, emitter.mean(z, 1, "mean"), "deviation")
    variance = emitter.mean(emitter.multiply(deviation, deviation, "square"), 1, "variance")
    scale = emitter.unary("RSQRT", emitter.add(variance, emitter.number(norm.epsilon)), "scale")
    standard = emitter.multiply(deviation, scale, "standard")
    scaled = emitter.multiply(standard, emitter.weights("gamma", norm.gamma))
    return emitter.add(scaled, emitter.weights("beta", norm.beta), "normalized")


def _reset_before(emitter: Emitter, cell: GruCell, x: Value, h: Value) -> Value:
    units = cell.units
    recurrent = _recurrent_kernel([cell.update_gate, cell.reset_gate])
    of_gates = emitter.columns(x, 0, 2 * units, "inputs_of_gates")
    z = emitter.add(of_gates, emitter.fully_connected(h, recurrent, None, "recurrent"), "gates")
    u, r = emitter.split(activate(emitter, cell.recurrent_activation, z), 2, "gate")
    remembered = emitter.fully_connected(
        emitter.multiply(r, h), cell.candidate.recurrent_kernel, None, "remembered"
    )
    inputs = emitter.columns(x, 2 * units, 3 * units, "inputs_of_candidate")
    return _updated(emitter, u, h, activate(emitter, cell.activation, emitter.add(inputs, remembered)))


def _reset_after(emitter: Emitter, cell: GruCell, x: Value, h: Value) -> Value:
    bias = np.zeros(3 * cell.units)
    bias[2 * cell.units :] = cell.candidate_recurrent_bias
    kernel = _recurrent_kernel(gate for _, gate in cell.gates())
    recurrent = emitter.fully_connected(h, kernel, bias, "recurrent")
    xu, xr, xg = emitter.split(x, 3, "input")
    hu, hr, hg = emitter.split(recurrent, 3, "remembered")
    u = activate(emitter, cell.recurrent_activation, emitter.add(xu, hu))
    r = activate(emitter, cell.recurrent_activation, emitter.add(xr, hr))
    return _updated(emitter, u, h, activate(emitter, cell.activation, emitter.add(xg, emitter.multiply(r, hg))))


def _updated(emitter: Emitter, u: Value, h: Value, candidate: Value) -> Value:
    """Emit u * h + (1 - u) * candidate, as candidate + u * (h - candidate)."""
    return emitter.add(candidate, emitter.multiply(u, emitter.subtract(h, candidate)), "output")


def clip(emitter: Emitter, x: Value, bound: float | None) -> Value:
    """Emit ``x`` clipped to [-bound, bound]; return it unchanged for a bound of None."""
    if bound is None:
        return x
    return emitter.maximum(emitter.minimum(x, emitter.number(bound)), emitter.number(-bound), "clipped")
