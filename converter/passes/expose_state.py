"""expose-state: under the explicit policy, states that nobody gives are inputs, and final ones outputs.

A state is called alike on both sides, so that a caller feeds back what it got: ``state_0_c`` and ``state_0_h`` for
the first recurrence if it is an LSTM, ``state_1`` for the second if it has one array of state.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from converter.flatbuffer import unique_name
from converter.ir import Op, Program, Recurrence, Signature, TensorType, Value
from converter.options import StatePolicy


def expose_state(program: Program, policy: StatePolicy) -> Program:
    """Make inputs and outputs of the states of the main graph's recurrences, if ``policy`` is explicit."""
    if policy is not StatePolicy.EXPLICIT or not any(isinstance(op, Recurrence) for op in program.main.ops):
        return program
    exposed = list(_exposed(program))
    starts = {item.final: item.initial for item in exposed}
    ops = tuple(_given(op, starts) if isinstance(op, Recurrence) else op for op in program.main.ops)
    inputs = [(item.name, item.initial) for item in exposed]
    known = set(program.signature.outputs)
    outputs = [(item.name, item.final) for item in exposed if item.name not in known]
    main = replace(
        program.main,
        inputs=(*program.main.inputs, *(value for _, value in inputs)),
        outputs=(*program.main.outputs, *(value for _, value in outputs)),
        ops=ops,
    )
    signature = replace(
        program.signature,
        inputs=(*program.signature.inputs, *(name for name, _ in inputs)),
        outputs=(*program.signature.outputs, *(name for name, _ in outputs)),
    )
    return replace(program, graphs=(main, *program.graphs[1:]), signatures=_replaced(program, signature))


def state_exposed(program: Program, policy: StatePolicy) -> bool:
    """True if no recurrence of the main graph starts from a state of its own, or the policy lets it."""
    if policy is not StatePolicy.EXPLICIT:
        return True
    return all(
        state is not None and not state.is_constant
        for op in program.main.ops
        if isinstance(op, Recurrence)
        for state in op.initial_state
    )


@dataclass(frozen=True, slots=True, eq=False)
class _Exposed:
    """One state array: its name for callers, the new input, and the final state."""

    name: str
    initial: Value
    final: Value


def _exposed(program: Program) -> Iterator[_Exposed]:
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
            yield _Exposed(name, initial, final)


def _parts(op: Recurrence) -> tuple[str, ...]:
    return ("_c", "_h") if len(op.final_state) == 2 else ("",)


def _given(op: Recurrence, starts: dict[Value, Value]) -> Op:
    states = (starts.get(final, given) for given, final in zip(op.initial_state, op.final_state, strict=True))
    return replace(op, initial_state=tuple(states))


def _replaced(program: Program, signature: Signature) -> tuple[Signature, ...]:
    if not program.signatures:
        return (signature,)
    return tuple(signature if known is program.signature else known for known in program.signatures)
