"""One step of each cell as TFLite ops, its part that depends on x alone taken out.

A cell's `Projection` is one matrix product for all steps at once; the step adds what depends on the state.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from converter.ir import Array, Cell, Gate, LstmCell, RnnCell, Value
from converter.lowering.activations import activate
from converter.lowering.emit import Emitter


@dataclass(frozen=True, slots=True, eq=False)
class Projection:
    """What a cell makes of its inputs before it has a state: x kernel^T + bias, kernel [n, input], bias [n]."""

    kernel: Array
    bias: Array


def input_projection(cell: Cell) -> Projection:
    """Return the cell's gates' input kernels and biases, stacked in the order in which `emit_step` splits them."""
    gates = _gates(cell)
    return Projection(
        np.concatenate([gate.kernel for gate in gates]), np.concatenate([gate.bias for gate in gates])
    )


def emit_step(emitter: Emitter, cell: Cell, x: Value, state: Sequence[Value]) -> tuple[Value, list[Value]]:
    """Emit one step: projected inputs x [B, n] and state arrays [B, size] to output [B, output] and new state."""
    if isinstance(cell, RnnCell):
        h = activate(emitter, cell.activation, _with_recurrence(emitter, cell, x, state[0]))
        return h, [h]
    return _lstm_step(emitter, cell, x, state)


def _gates(cell: Cell) -> list[Gate]:
    return [cell.gate] if isinstance(cell, RnnCell) else [gate for _, gate in cell.gates()]


def _with_recurrence(emitter: Emitter, cell: Cell, x: Value, h: Value) -> Value:
    recurrent_kernel = np.concatenate([gate.recurrent_kernel for gate in _gates(cell)])
    return emitter.add(x, emitter.fully_connected(h, recurrent_kernel, None, "recurrent"), "gates")


def _lstm_step(emitter: Emitter, cell: LstmCell, x: Value, state: Sequence[Value]) -> tuple[Value, list[Value]]:
    c, h = state
    names = [name for name, _ in cell.gates()]
    parts = emitter.split(_with_recurrence(emitter, cell, x, h), len(names), "gate")
    z = dict(zip(names, parts, strict=True))
    peephole = cell.peephole

    def gate(name: str, seen: Value, weights: Array | None) -> Value:
        total = z[name]
        if weights is not None:
            diagonal = emitter.constant("peephole", np.ascontiguousarray(weights, np.float32))
            total = emitter.add(total, emitter.multiply(seen, diagonal))
        return activate(emitter, cell.recurrent_activation, total)

    f = gate("forget_gate", c, None if peephole is None else peephole.forget)
    if cell.input_gate is None:
        i = emitter.subtract(emitter.number(1.0), f, "input_gate")
    else:
        i = gate("input_gate", c, None if peephole is None else peephole.input)
    g = activate(emitter, cell.activation, z["cell_gate"])
    c = clip(emitter, emitter.add(emitter.multiply(f, c), emitter.multiply(i, g), "cell"), cell.cell_clip)
    o = gate("output_gate", c, None if peephole is None else peephole.output)
    h = emitter.multiply(o, activate(emitter, cell.activation, c), "output")
    if cell.projection is not None:
        projected = emitter.fully_connected(h, cell.projection, None, "projected")
        h = clip(emitter, projected, cell.projection_clip)
    return h, [c, h]


def clip(emitter: Emitter, x: Value, bound: float | None) -> Value:
    """Emit ``x`` clipped to [-bound, bound]; nothing for a bound of None."""
    if bound is None:
        return x
    return emitter.maximum(emitter.minimum(x, emitter.number(bound)), emitter.number(-bound), "clipped")
