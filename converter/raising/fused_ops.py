"""Fused recurrent ops as recurrences.

What a fused op keeps from one invoke to the next is still the initial state of its recurrence here: the state
tensor itself. `converter.passes.raise_fused_ops` says what is in it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from converter.emission.emitter import Emitter
from converter.ir import (
    DType,
    LstmCell,
    Names,
    Op,
    Producers,
    Recurrence,
    RnnCell,
    TensorType,
    TfliteOp,
    Value,
    attributes,
    dims,
)
from converter.ir.operands import (
    STATE_OPERANDS,
    BasicLstmOperand,
    BasicLstmResult,
    BidirectionalLstmOperand,
    BidirectionalRnnOperand,
    RnnOperand,
)
from converter.ir.types import agree
from converter.raising.fused_cells import basic_lstm_cell, lstm_cell, rnn_cell
from converter.raising.fused_weights import FusedWeights, refusal
from converter.rules import Rule


def is_raised(op: Op) -> bool:
    """Return whether ``op`` is a fused recurrent op that becomes recurrences, or is refused."""
    if not isinstance(op, TfliteOp) or op.builtin not in _READERS:
        return False
    # The state of a basic LSTM is not kept: one that is not float can stay as it is.
    return not attributes.is_basic_lstm(op) or (_is_float(op) and attributes.fused_activation(op) == "TANH")


def raise_fused_op(op: TfliteOp, producers: Producers, names: Names) -> tuple[Op, ...]:
    """Return the ops that compute a fused recurrent op, which `is_raised`.

    The initial states of the recurrences are the state tensors of the op, and their final states are new values.
    Raises ConversionError if the op is not complete, computes in integers, or is not computed as it says.
    """
    if not _is_float(op):
        raise refusal(
            op,
            Rule.FUSED_OP_INTEGER,
            f"it computes in {op.operand(0).type.dtype.value}; recurrent ops are read in float32",
            "make the .tflite without quantization, or with dynamic-range quantization",
        )
    for value in op.results:
        if value.type.dtype is not DType.FLOAT32:
            raise refusal(op, Rule.FUSED_OP_FORM, f"its result {value.name} is {value.type}, expected float32")
    reading = _Reading(op, FusedWeights(op, producers), Emitter(op.name, names), names)
    return tuple(_READERS[op.builtin](reading))


def _is_float(op: TfliteOp) -> bool:
    return op.operand(0).type.dtype is DType.FLOAT32


@dataclass(frozen=True, slots=True, eq=False)
class _Reading:
    """A fused op while it is read: its weights, and what writes the ops beside the recurrences."""

    op: TfliteOp
    weights: FusedWeights
    emitter: Emitter
    names: Names

    @property
    def x(self) -> Value:
        return self.op.operand(0)

    def ranked(self, value: Value, rank: int) -> Value:
        """Return ``value`` if it has ``rank`` axes."""
        if value.type.rank != rank:
            detail = f"{value.name} is {value.type}, expected {rank} axes"
            raise refusal(self.op, Rule.FUSED_OP_FORM, detail)
        return value

    def recurrence(
        self,
        part: str,
        cell: LstmCell | RnnCell,
        x: Value,
        output: Value | None = None,
        *,
        time_major: bool,
        states: Sequence[int],
        go_backwards: bool = False,
    ) -> Recurrence:
        """Return the recurrence of ``cell`` over ``x``; ``states`` are the positions of its state tensors."""
        name = self.names.fresh(f"{self.op.name}/{part}")
        leading = dims(x)[:2]
        batch = leading[1 if time_major else 0]
        return Recurrence(
            name=name,
            cell=cell,
            x=x,
            output=output or self.value(f"{name}/outputs", (*leading, cell.output_size)),
            initial_state=tuple(self._state(place) for place in states),
            final_state=tuple(
                self.value(f"{name}/{part}", (batch, size))
                for part, size in zip(_state_names(cell), cell.state_sizes, strict=True)
            ),
            time_major=time_major,
            go_backwards=go_backwards,
        )

    def _state(self, place: int) -> Value:
        value = self.op.operand(place)
        if value.type.dtype is not DType.FLOAT32:
            detail = f"its state {value.name} is {value.type}, expected float32"
            raise refusal(self.op, Rule.FUSED_OP_FORM, detail)
        return value

    def result(self, place: int, *shape: int | None) -> Value:
        """Return a result of the op, which must have this ``shape`` as far as sizes are known."""
        value = self.op.results[place]
        if not agree(value.type.shape, shape):
            detail = f"its result {value.name} is {value.type}, expected {TensorType(DType.FLOAT32, shape)}"
            raise refusal(self.op, Rule.FUSED_OP_FORM, detail)
        return value

    def value(self, name: str, shape: tuple[int | None, ...]) -> Value:
        return Value(self.names.fresh(name), TensorType(DType.FLOAT32, shape))


def _state_names(cell: LstmCell | RnnCell) -> tuple[str, ...]:
    return ("final_c", "final_h") if isinstance(cell, LstmCell) else ("final_h",)


# --- sequences in one direction ----------------------------------------------------------------------------------


def _sequence(reading: _Reading) -> Iterator[Op]:
    (part, cell), x = _named_cell(reading), reading.ranked(reading.x, 3)
    yield reading.recurrence(
        part,
        cell,
        x,
        reading.result(0, *dims(x)[:2], cell.output_size),
        time_major=attributes.is_time_major(reading.op),
        states=_states(reading.op),
    )


def _named_cell(reading: _Reading) -> tuple[str, LstmCell | RnnCell]:
    if reading.op.builtin in {"LSTM", "UNIDIRECTIONAL_SEQUENCE_LSTM"}:
        return "lstm", lstm_cell(reading.weights)
    return "rnn", rnn_cell(reading.weights)


def _states(op: TfliteOp) -> tuple[int, ...]:
    """Return the positions of the state tensors of one direction, in the order of ``state_sizes``."""
    return tuple(reversed(STATE_OPERANDS[op.builtin]))  # the ops have (h, c)


# --- single steps ------------------------------------------------------------------------------------------------


def _step(reading: _Reading) -> Iterator[Op]:
    """Yield a recurrence over a sequence of one step, and what gives that step its axis of time."""
    if attributes.is_basic_lstm(reading.op):
        yield from _basic_step(reading)
        return
    x = _one_step(reading)
    made = reading.recurrence(*_named_cell(reading), x, time_major=True, states=_states(reading.op))
    result = reading.result(0, dims(reading.x)[0], made.cell.output_size)
    sizes = reading.emitter.integers(-1, made.cell.output_size)
    yield from reading.emitter.ops
    yield made
    yield from _emitted(reading, lambda emitter: emitter.op("RESHAPE", [made.output, sizes], result))


def _basic_step(reading: _Reading) -> Iterator[Op]:
    cell, x = basic_lstm_cell(reading.weights), _one_step(reading)
    yield from reading.emitter.ops
    results = reading.op.results
    places = (BasicLstmOperand.CELL_STATE, BasicLstmOperand.OUTPUT_STATE)
    made = reading.recurrence("lstm", cell, x, time_major=True, states=places)
    if len(results) <= BasicLstmResult.CELL_STATE:
        raise refusal(reading.op, Rule.FUSED_OP_FORM, f"it has {len(results)} results")
    batch = dims(reading.x)[0]
    final = tuple(
        reading.result(place, batch, cell.units)
        for place in (BasicLstmResult.CELL_STATE, BasicLstmResult.OUTPUT_STATE)
    )
    yield replace(made, final_state=final)


def _one_step(reading: _Reading) -> Value:
    return reading.emitter.expand_dims(reading.ranked(reading.x, 2), 0, "inputs_of_step")


def _emitted(reading: _Reading, emit: Callable[[Emitter], object]) -> list[Op]:
    """Return what ``emit`` appends to the ops that were emitted before."""
    before = len(reading.emitter.ops)
    emit(reading.emitter)
    return reading.emitter.ops[before:]


# --- both directions ---------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, eq=False)
class _Direction:
    """What one direction of a bidirectional op reads: a sequence, its cell, and the positions of its states."""

    cell: LstmCell | RnnCell
    x: Value
    states: tuple[int, ...]


def _both(reading: _Reading) -> Iterator[Op]:
    op, time_major = reading.op, attributes.is_time_major(reading.op)
    there, back = _directions(reading)
    merged = attributes.merges_outputs(op)
    if len(op.results) != (1 if merged else 2):
        raise refusal(op, Rule.FUSED_OP_FORM, f"it has {len(op.results)} results")
    leading, sizes = dims(there.x)[:2], (there.cell.output_size, back.cell.output_size)
    first = reading.result(0, *leading, sum(sizes) if merged else sizes[0])
    second = None if merged else reading.result(1, *leading, sizes[1])
    yield from reading.emitter.ops
    forward = reading.recurrence(
        "forward", there.cell, there.x, None if merged else first, time_major=time_major, states=there.states
    )
    backward = reading.recurrence(
        "backward", back.cell, back.x, time_major=time_major, states=back.states, go_backwards=True
    )
    yield forward
    yield backward

    def emit(emitter: Emitter) -> None:
        restored = emitter.reverse(backward.output, backward.time_axis, second or "restored")
        if merged:
            emitter.concatenation([forward.output, restored], 2, first)

    yield from _emitted(reading, emit)


def _directions(reading: _Reading) -> tuple[_Direction, _Direction]:
    op, weights = reading.op, reading.weights
    x = reading.ranked(reading.x, 3)
    if op.builtin == "BIDIRECTIONAL_SEQUENCE_LSTM":
        of_lstm = BidirectionalLstmOperand
        there, back, places = _auxiliary(
            reading,
            x,
            of_lstm.AUXILIARY_INPUT,
            (of_lstm.FORWARD_AUXILIARY_WEIGHTS, of_lstm.BACKWARD_AUXILIARY_WEIGHTS),
        )
        return (
            _Direction(
                lstm_cell(weights, of_lstm.FORWARD, places[0]),
                there,
                (of_lstm.FORWARD_CELL_STATE, of_lstm.FORWARD_OUTPUT_STATE),
            ),
            _Direction(
                lstm_cell(weights, of_lstm.BACKWARD, places[1]),
                back,
                (of_lstm.BACKWARD_CELL_STATE, of_lstm.BACKWARD_OUTPUT_STATE),
            ),
        )
    of_rnn = BidirectionalRnnOperand
    there, back, places = _auxiliary(
        reading,
        x,
        of_rnn.AUXILIARY_INPUT,
        (of_rnn.FORWARD_AUXILIARY_WEIGHTS, of_rnn.BACKWARD_AUXILIARY_WEIGHTS),
    )
    return (
        _Direction(
            rnn_cell(weights, of_rnn.FORWARD, places[0]), there, (RnnOperand.HIDDEN_STATE + of_rnn.FORWARD,)
        ),
        _Direction(
            rnn_cell(weights, of_rnn.BACKWARD, places[1]), back, (RnnOperand.HIDDEN_STATE + of_rnn.BACKWARD,)
        ),
    )


def _auxiliary(
    reading: _Reading, x: Value, place: int, kernels: tuple[int, int]
) -> tuple[Value, Value, tuple[int | None, int | None]]:
    """Return what both directions read, and where the kernels of the auxiliary input are, if they are added.

    With kernels the auxiliary input is added in both directions; without, the backward one reads it in place of x.
    """
    # The input gate has none if it is coupled.
    has_kernels = any(reading.weights.has(kernel + offset) for kernel in kernels for offset in _offsets(kernels))
    if not reading.weights.has(place):
        if has_kernels:
            raise refusal(reading.op, Rule.FUSED_OP_FORM, "it has auxiliary kernels, but no auxiliary input")
        return x, x, (None, None)
    other = reading.ranked(reading.op.operand(place), 3)
    if not has_kernels:
        return x, other, (None, None)
    beside = reading.emitter.concatenation([x, other], 2, "inputs_beside")
    return beside, beside, kernels


def _offsets(kernels: tuple[int, int]) -> range:
    """Return the distances of a direction's kernels from its first."""
    return range(kernels[1] - kernels[0])


_READERS: Mapping[str, Callable[[_Reading], Iterator[Op]]] = {
    "BIDIRECTIONAL_SEQUENCE_LSTM": _both,
    "BIDIRECTIONAL_SEQUENCE_RNN": _both,
    "LSTM": _step,
    "RNN": _step,
    "UNIDIRECTIONAL_SEQUENCE_LSTM": _sequence,
    "UNIDIRECTIONAL_SEQUENCE_RNN": _sequence,
}
