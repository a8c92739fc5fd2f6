"""States that a program keeps in resource variables, with a signature that resets them.

This is what the streaming policy makes: the main graph reads each variable before it assigns it, CALL_ONCE runs a
graph that gives all of them their first values, and so does the signature ``reset``.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from converter.ir import DType, Graph, Op, Program, TfliteOp, Value, as_tflite, attributes
from converter.ir.builtins import VARIABLE_OPS

RESET = "reset"
"""The key of the signature that resets every state to its start value."""


FLUSH = "flush"
"""The key of the signature that takes the end of a sequence: its last steps, and how many they are."""

REMAINING = "remaining"
"""The input that tells a graph how many of the steps that it gets, and of later ones, are of the sequence."""


@dataclass(frozen=True, slots=True, eq=False)
class StateVariable:
    """A resource variable of the main graph: its value before (``read``) and after (``final``) an invoke.

    ``start`` is the constant that it holds at first; ``copies`` are what it is read as besides.
    """

    name: str
    start: Value
    read: Value
    final: Value
    copies: tuple[Value, ...] = ()


def state_variables(program: Program) -> tuple[StateVariable, ...]:
    """Return the states that a program keeps in resource variables and resets.

    There are none if any variable is used in another way than the streaming policy does.
    """
    resets = {signature.graph for signature in program.signatures if signature.key == RESET}
    started = {number for op in _ops(program.main, "CALL_ONCE") for number in attributes.graphs(op)}
    starts = [_starts(program.graphs[number]) for number in sorted(resets | started)]
    if not resets or not started or not all(_same_starts(starts[0], other) for other in starts):
        return ()
    others = (graph for number, graph in enumerate(program.graphs) if number not in {0, *started, *resets})
    if any(_ops(graph, *VARIABLE_OPS) for graph in others):
        return ()
    return tuple(_states(program.main, starts[0]))


def is_variable_op(op: Op) -> bool:
    """Whether ``op`` is one by which a main graph keeps states in variables."""
    return as_tflite(op, "CALL_ONCE", *VARIABLE_OPS) is not None


def _ops(graph: Graph, *builtins: str) -> list[TfliteOp]:
    return [op for op in graph.ops if isinstance(op, TfliteOp) and op.builtin in builtins]


def _handles(graph: Graph) -> dict[Value | None, str]:
    return {op.results[0]: attributes.shared_name(op) for op in _ops(graph, "VAR_HANDLE")}


def _starts(graph: Graph) -> Mapping[str, Value]:
    """Return the constant that a graph assigns to each variable; empty if it does anything else."""
    handles = _handles(graph)
    found: dict[str, Value] = {}
    for op in graph.ops:
        if as_tflite(op, "VAR_HANDLE"):
            continue
        assign = as_tflite(op, "ASSIGN_VARIABLE")
        name = None if assign is None else handles.get(assign.operand(0))
        if assign is None or name is None or name in found or not assign.operand(1).is_constant:
            return {}
        found[name] = assign.operand(1)
    return found


def _same_starts(one: Mapping[str, Value], other: Mapping[str, Value]) -> bool:
    return one.keys() == other.keys() and all(
        one[name].type == other[name].type and _bytes(one[name]) == _bytes(other[name]) for name in one
    )


def _bytes(value: Value) -> bytes | None:
    return None if value.data is None else value.data.tobytes()


def _states(main: Graph, starts: Mapping[str, Value]) -> Iterator[StateVariable]:
    """Yield the states of the main graph; none if it does not read each of them, and then assign it once."""
    handles = _handles(main)
    reads: dict[str, list[Value]] = {}
    finals: dict[str, Value] = {}
    for op in main.ops:
        resources = [value for value in op.operands if value is not None and value.type.dtype is DType.RESOURCE]
        if not resources:
            continue
        name = handles.get(resources[0])
        if name is None or name not in starts:
            return
        if as_tflite(op, "READ_VARIABLE") and name not in finals:
            reads.setdefault(name, []).append(op.results[0])
        elif as_tflite(op, "ASSIGN_VARIABLE") and name in reads and name not in finals:
            final = op.operands[1]
            if final is None:
                return
            finals[name] = final
        else:
            return
    if reads.keys() == finals.keys() == starts.keys():
        for name, (read, *copies) in reads.items():
            yield StateVariable(name, starts[name], read, finals[name], tuple(copies))
