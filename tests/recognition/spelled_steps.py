"""The steps of known cells in many spellings: what frameworks and people write for one and the same cell."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from converter.emission.emitter import Emitter
from converter.ir import (
    Activation,
    Array,
    Cell,
    DType,
    Gate,
    Graph,
    GruCell,
    LstmCell,
    Names,
    Program,
    RnnCell,
    Scan,
    Signature,
    TensorType,
    TfliteOp,
    Value,
)
from converter.lowering.activations import activate
from tests.programs import tensor


@dataclass(frozen=True, slots=True)
class Spelling:
    """How a step is written. ``order`` is that of the gates, ``packed`` whether one array holds all states."""

    order: tuple[int, ...] = (0, 1, 2, 3)
    joined_inputs: bool = True
    joined_gates: bool = True
    split_by_columns: bool = False
    late_bias: bool = False
    states_swapped: bool = False
    packed: bool = False
    update_negated: bool = False
    sigmoid: str = "logistic"
    interpolated: bool = False
    lengths: str | None = None

    @classmethod
    def random(cls, rng: np.random.Generator) -> Spelling:
        """Any spelling."""

        def coin() -> bool:
            return bool(rng.integers(2))

        return cls(
            tuple(int(place) for place in rng.permutation(4)),
            *(coin() for _ in range(7)),
            sigmoid=("logistic", "tanh", "exp")[rng.integers(3)],
            interpolated=coin(),
            lengths=(None, "done", "alive", "select_v2")[rng.integers(4)],
        )


class StepWriter:
    """Writes the ops of one step of a cell."""

    def __init__(self, spelling: Spelling) -> None:
        self.emitter = Emitter("step", Names())
        self.spelling = spelling

    def function(self, activation: Activation, x: Value) -> Value:
        e = self.emitter
        if activation is not Activation.SIGMOID or self.spelling.sigmoid == "logistic":
            return activate(e, activation, x)
        if self.spelling.sigmoid == "tanh":
            half = e.unary("TANH", e.multiply(x, e.number(0.5)), "tanh")
            return e.multiply(e.add(half, e.number(1.0)), e.number(0.5))
        power = e.unary("EXP", e.unary("NEG", x, "negative"), "exp")
        one = e.number(1.0)
        return e.binary("DIV", one, e.add(power, one), Value(e.name("quotient"), power.type))

    def affine(self, x: Value, h: Value, gates: Sequence[Gate]) -> list[Value]:
        """The gates before their activations, in their order."""
        if not self.spelling.joined_gates:
            return [self._sum(x, h, gate) for gate in gates]
        order = [place for place in self.spelling.order if place < len(gates)]
        chosen = [gates[place] for place in order]
        whole = Gate(
            np.concatenate([gate.kernel for gate in chosen]),
            np.concatenate([gate.recurrent_kernel for gate in chosen]),
            np.concatenate([gate.bias for gate in chosen]),
        )
        parts = self._parts(self._sum(x, h, whole), len(gates))
        return [parts[order.index(place)] for place in range(len(gates))]

    def _parts(self, z: Value, count: int) -> list[Value]:
        if not self.spelling.split_by_columns:
            return self.emitter.split(z, count, "gate")
        units = (z.type.shape or (0, 0))[1] or 0
        size = units // count
        return [self.emitter.columns(z, size * place, size * (place + 1), "gate") for place in range(count)]

    def _sum(self, x: Value, h: Value, gate: Gate) -> Value:
        e = self.emitter
        bias = None if self.spelling.late_bias else gate.bias
        if self.spelling.joined_inputs:
            kernel = np.concatenate([gate.recurrent_kernel, gate.kernel], axis=1)
            total = e.fully_connected(e.concatenation([h, x], 1, "joined"), kernel, bias, "gates")
        else:
            recurrent = e.fully_connected(h, gate.recurrent_kernel, None, "recurrent")
            total = e.add(recurrent, e.fully_connected(x, gate.kernel, bias, "inputs"))
        return e.add(total, e.weights("bias", gate.bias)) if self.spelling.late_bias else total

    def clip(self, x: Value, bound: float | None) -> Value:
        e = self.emitter
        return x if bound is None else e.minimum(e.maximum(x, e.number(-bound)), e.number(bound))

    def step(self, cell: Cell, x: Value, state: Sequence[Value]) -> list[Value]:
        """The new state arrays; the last is the output."""
        match cell:
            case RnnCell():
                return [self.function(cell.activation, self.affine(x, state[0], [cell.gate])[0])]
            case LstmCell():
                return self._lstm(cell, x, *state)
            case GruCell():
                return [self._gru(cell, x, state[0])]
            case _:
                raise TypeError(f"{cell} has no spellings")

    def _lstm(self, cell: LstmCell, x: Value, c: Value, h: Value) -> list[Value]:
        e = self.emitter
        named = dict(cell.gates())
        z = dict(zip(named, self.affine(x, h, list(named.values())), strict=True))
        peephole = cell.peephole

        def gate(name: str, seen: Value, weights: Array | None) -> Value:
            total = z[name]
            if weights is not None:
                total = e.add(e.multiply(e.weights("peephole", weights), seen), total)
            if name == "forget_gate" and cell.forget_bias:
                total = e.add(total, e.number(cell.forget_bias))
            return self.function(cell.recurrent_activation, total)

        f = gate("forget_gate", c, None if peephole is None else peephole.forget)
        g = self.function(cell.activation, z["cell_gate"])
        if cell.input_gate is None:
            new = (
                e.add(e.multiply(f, e.subtract(c, g)), g)
                if self.spelling.interpolated
                else e.add(e.multiply(f, c), e.multiply(e.subtract(e.number(1.0), f), g))
            )
        else:
            i = gate("input_gate", c, None if peephole is None else peephole.input)
            new = e.add(e.multiply(g, i), e.multiply(f, c))
        new = self.clip(new, cell.cell_clip)
        o = gate("output_gate", new, None if peephole is None else peephole.output)
        h = e.multiply(self.function(cell.activation, new), o)
        if cell.projection is not None:
            h = self.clip(e.fully_connected(h, cell.projection, None, "projected"), cell.projection_clip)
        return [new, h]

    def _gru(self, cell: GruCell, x: Value, h: Value) -> Value:
        e = self.emitter
        sign = -1.0 if self.spelling.update_negated else 1.0
        update = cell.update_gate
        signed = Gate(sign * update.kernel, sign * update.recurrent_kernel, sign * update.bias)
        u, r = (self.function(cell.recurrent_activation, z) for z in self.affine(x, h, [signed, cell.reset_gate]))
        if cell.candidate_recurrent_bias is None:
            z = self._sum(x, e.multiply(r, h), cell.candidate)
        else:
            inner = e.fully_connected(h, cell.candidate.recurrent_kernel, cell.candidate_recurrent_bias, "inner")
            outer = e.fully_connected(x, cell.candidate.kernel, cell.candidate.bias, "outer")
            z = e.add(e.multiply(inner, r), outer)
        g = self.function(cell.activation, z)
        kept, taken = (g, h) if self.spelling.update_negated else (h, g)
        if self.spelling.interpolated:
            return e.add(taken, e.multiply(u, e.subtract(kept, taken)))
        return e.add(e.multiply(u, kept), e.multiply(e.subtract(e.number(1.0), u), taken))


Wrap = Callable[[Emitter, Value], Value]


def spelled(
    cells: Sequence[Cell], spelling: Spelling, *, batch: int | None = None, around: Wrap | None = None
) -> Program:
    """A scan of a stack of ``cells`` written as ``spelling`` says: x [T, B, depth], lengths n, and all states.

    ``around`` writes what the step makes of the last output before it is the scan's.
    """
    writer = StepWriter(spelling)
    e = writer.emitter
    x, t = tensor("x_t", batch, cells[0].input_size), tensor("t", dtype=DType.INT32)
    states = [
        [tensor(f"s{i}_{k}", batch, n) for k, n in enumerate(cell.state_sizes)] for i, cell in enumerate(cells)
    ]
    lengths = tensor("n_t", batch, dtype=DType.INT32)
    inputs, opened = _state_inputs(e, states, spelling, batch)
    carried, news = x, list[list[Value]]()
    for cell, state in zip(cells, opened, strict=True):
        news.append(writer.step(cell, carried, state))
        carried = news[-1][-1]
    output = carried if around is None else around(e, carried)
    outputs = _state_outputs(e, news, spelling)
    if spelling.lengths is not None:
        hold = _holder(e, t, lengths, spelling.lengths)
        outputs = [hold(old, new) for old, new in zip(inputs, outputs, strict=True)]
        output = hold(e.zeros_like(output), output)
    rows = [lengths] if spelling.lengths else []
    body = Graph("body", (t, *inputs, x, *rows), (*outputs, output), tuple(e.ops))
    return _program(body, inputs, x, lengths if spelling.lengths else None, output, batch)


def _state_inputs(
    e: Emitter, states: list[list[Value]], spelling: Spelling, batch: int | None
) -> tuple[list[Value], list[list[Value]]]:
    """The states as the step gets them, and as its cells do."""
    flat = [state for of_cell in states for state in _swapped(of_cell, spelling)]
    if not spelling.packed:
        return flat, states
    sizes = [(state.type.shape or (0, 0))[1] or 0 for state in flat]
    packed = tensor("packed", batch, sum(sizes))
    stops = np.cumsum(sizes).tolist()
    parts = {
        state: e.columns(packed, stop - size, stop, "state")
        for state, size, stop in zip(flat, sizes, stops, strict=True)
    }
    return [packed], [[parts[state] for state in of_cell] for of_cell in states]


def _state_outputs(e: Emitter, news: list[list[Value]], spelling: Spelling) -> list[Value]:
    flat = [new for of_cell in news for new in _swapped(of_cell, spelling)]
    return [e.concatenation(flat, 1, "packed_state")] if spelling.packed and len(flat) > 1 else flat


def _swapped(values: list[Value], spelling: Spelling) -> list[Value]:
    return values[::-1] if spelling.states_swapped else values


def _holder(e: Emitter, t: Value, lengths: Value, how: str) -> Callable[[Value, Value], Value]:
    condition = Value(e.name("condition"), TensorType(DType.BOOL, lengths.type.shape))
    e.op("LESS" if how == "alive" else "GREATER_EQUAL", [t, lengths], condition)
    if how == "select_v2":
        condition = e.expand_dims(condition, 1, "rows")

    def hold(old: Value, new: Value) -> Value:
        first, second = (new, old) if how == "alive" else (old, new)
        builtin = "SELECT_V2" if how == "select_v2" else "SELECT"
        return e.op(builtin, [condition, first, second], e.value("held", new, new.type.shape or ()))

    return hold


def _program(
    body: Graph, states: list[Value], x: Value, lengths: Value | None, output: Value, batch: int | None
) -> Program:
    sequence = tensor("x", None, *(x.type.shape or ()))
    initial = [tensor(f"initial_{i}", *(state.type.shape or ())) for i, state in enumerate(states)]
    final = [tensor(f"final_{i}", *(state.type.shape or ())) for i, state in enumerate(states)]
    rows = [] if lengths is None else [tensor("n", batch, dtype=DType.INT32)]
    outputs = tensor("y", None, *(output.type.shape or ()))
    scan = Scan("scan", body, (sequence,), tuple(initial), tuple(rows), (outputs,), tuple(final))
    inputs, results = (sequence, *initial, *rows), (outputs, *final)
    signature = Signature(
        "serving_default", tuple(value.name for value in inputs), tuple(value.name for value in results)
    )
    return Program((Graph("main", inputs, results, (scan,)),), (signature,))


def replaced(program: Program, function: Callable[[TfliteOp], TfliteOp]) -> Program:
    """The program with each op of its scan's body as ``function`` has it."""
    from dataclasses import replace

    def changed(op: object) -> object:
        if not isinstance(op, Scan):
            return op
        ops = tuple(function(inner) if isinstance(inner, TfliteOp) else inner for inner in op.body.ops)
        return replace(op, body=replace(op.body, ops=ops))

    return program.map_ops(changed)  # type: ignore[arg-type]
