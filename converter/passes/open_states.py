"""The states that nobody gives from outside: what a state policy can expose, or keep.

A state is called ``state_0_c`` and ``state_0_h`` for the first recurrence of the main graph if it is an LSTM, and
``state_1`` for the second if it has one array of state.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace

from converter.flatbuffer import unique_name
from converter.ir import Op, Program, Recurrence, TensorType, Value


@dataclass(frozen=True, slots=True, eq=False)
class OpenState:
    """One array of state that starts from zero (``start`` is None) or from a constant.

    ``name`` is free as an input name, and as an output name unless the output is this very state; ``initial`` is
    a new value for where it is to start from, and ``final`` the state after the last step.
    """

    name: str
    op: Recurrence
    start: Value | None
    initial: Value
    final: Value


def open_states(program: Program) -> Iterator[OpenState]:
    """Yield the open states of the main graph's recurrences, in their order."""
    signature, main = program.signature, program.main
    outputs = dict(zip(signature.outputs, main.outputs, strict=True))
    taken_inputs = set(signature.inputs)
    taken_values = {value.name for value in main.values()}
    recurrences = [op for op in main.ops if isinstance(op, Recurrence)]
    for number, op in enumerate(recurrences):
        states = zip(_parts(op), op.cell.state_sizes, op.initial_state, op.final_state, strict=True)
        for part, size, given, final in states:
            if given is not None and not given.is_constant:
                continue
            name = f"state_{number}{part}"
            while name in taken_inputs or outputs.get(name, final) is not final:
                name += "_"
            taken_inputs.add(name)
            initial = Value(unique_name(f"{name}_in", taken_values), TensorType(op.x.type.dtype, (op.batch, size)))
            yield OpenState(name, op, given, initial, final)


def start_from(ops: Iterable[Op], states: Iterable[OpenState]) -> tuple[Op, ...]:
    """Return ``ops`` with each of ``states`` starting from its ``initial``."""
    starts = {state.final: state.initial for state in states}
    return tuple(_given(op, starts) if isinstance(op, Recurrence) else op for op in ops)


def all_given(program: Program) -> bool:
    """True if no recurrence of the main graph starts from a state of its own."""
    return all(
        state is not None and not state.is_constant
        for op in program.main.ops
        if isinstance(op, Recurrence)
        for state in op.initial_state
    )


def _parts(op: Recurrence) -> tuple[str, ...]:
    return ("_c", "_h") if len(op.final_state) == 2 else ("",)


def _given(op: Recurrence, starts: Mapping[Value, Value]) -> Recurrence:
    states = (starts.get(final, given) for given, final in zip(op.initial_state, op.final_state, strict=True))
    return replace(op, initial_state=tuple(states))
