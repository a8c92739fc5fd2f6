"""The open states of a program, which its caller does not provide: a state policy can expose or persist them.

The states of recurrence 0 of the main graph are called ``state_0_c`` and ``state_0_h`` if it is an LSTM, those of
recurrence 1 ``state_1`` if it has one state, those of scan 2 ``state_2_0``, ``state_2_1``, ….
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace

from converter.analysis.zeros import is_zero
from converter.ir import DType, Op, Producers, Program, Recurrence, Recurrent, Scan, Shape, TensorType, Value

_NO_NUMBERS = frozenset({DType.BOOL, DType.STRING, DType.RESOURCE, DType.VARIANT})


@dataclass(frozen=True, slots=True, eq=False)
class OpenState:
    """One array of state that starts from zero (``start`` is None) or from a constant.

    ``name`` is not yet the name of an input, nor of an output other than this state. ``initial`` is a new value
    for its start, ``final`` the state after the last step.
    """

    name: str
    start: Value | None
    initial: Value
    final: Value


def open_states(program: Program) -> Iterator[OpenState]:
    """Yield the open states of the main graph's recurrences and scans, in their order."""
    signature, main = program.signature, program.main
    outputs = dict(zip(signature.outputs, main.outputs, strict=True))
    taken_inputs = set(signature.inputs)
    taken_values = main.names()
    producers = main.producers()
    for number, op in enumerate(op for op in main.ops if isinstance(op, Recurrence | Scan)):
        states = zip(_parts(op), op.initial_state, op.final_state, strict=True)
        for index, (part, given, final) in enumerate(states):
            if not _is_open(op, given, producers):
                continue
            name = f"state_{number}{part}"
            while name in taken_inputs or outputs.get(name, final) is not final:
                name += "_"
            taken_inputs.add(name)
            kind = TensorType(final.type.dtype, _shape(op, index))
            initial = Value(taken_values.fresh(f"{name}_in"), kind)
            start = given if given is not None and given.is_constant else None
            yield OpenState(name, start, initial, final)


def start_from(ops: Iterable[Op], states: Iterable[OpenState]) -> tuple[Op, ...]:
    """Return ``ops`` with each of ``states`` starting from its ``initial``."""
    starts = {state.final: state.initial for state in states}
    return tuple(_given(op, starts) if isinstance(op, Recurrence | Scan) else op for op in ops)


def all_given(program: Program) -> bool:
    """True if no recurrence or scan of the main graph has an open state."""
    return next(open_states(program), None) is None


def _is_open(op: Recurrent, given: Value | None, producers: Producers) -> bool:
    if given is None or isinstance(op, Recurrence):
        return given is None or given.is_constant
    # A recurrence's zero state is absent by now; a scan's is explicit, and computed if the batch is unknown.
    return given.type.dtype not in _NO_NUMBERS and (given.is_constant or is_zero(given, producers))


def _shape(op: Recurrent, index: int) -> Shape | None:
    """Return the shape of a state, as far as it is known."""
    if isinstance(op, Recurrence):
        return (op.batch, op.cell.state_sizes[index])
    given = op.initial_state[index].type
    return given.shape if given.is_static else op.step.new_states[index].type.shape


def _parts(op: Recurrent) -> Iterable[str]:
    if isinstance(op, Scan):
        return ("",) if len(op.final_state) == 1 else (f"_{index}" for index in range(len(op.final_state)))
    return ("_c", "_h") if len(op.final_state) == 2 else ("",)


def _given(op: Recurrent, starts: Mapping[Value, Value]) -> Recurrent:
    states = tuple(starts.get(final, given) for given, final in zip(op.initial_state, op.final_state, strict=True))
    if isinstance(op, Recurrence):
        return replace(op, initial_state=states)
    return replace(op, initial_state=tuple(state for state in states if state is not None))
