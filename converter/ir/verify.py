"""The rules every program keeps, checked after each importer and pass."""

from __future__ import annotations

from collections.abc import Container, Iterator

from converter.errors import InvalidProgramError
from converter.ir.program import Bidirectional, Graph, Op, Program, Recurrence, Scan
from converter.ir.types import DType, Shape, Value, agree


def verify(program: Program, *, after: str) -> Program:
    """Return ``program`` unchanged, or raise InvalidProgramError naming the stage and every broken rule."""
    broken = [f"{graph.name}: {rule}" for graph in program.graphs for rule in _broken_rules(graph)]
    broken += _broken_signature(program)
    if broken:
        raise InvalidProgramError(f"after {after}, the program is invalid:\n  " + "\n  ".join(broken))
    return program


def verify_states(program: Program, *, after: str, kept: Container[Value] = ()) -> Program:
    """Return ``program`` unchanged if no state survives an invoke in a variable tensor, apart from those ``kept``.

    Raises InvalidProgramError naming the stage, and each variable tensor that nothing writes.
    """
    leaks = [value.name for graph in program.graphs for value in unwritten_states(graph) if value not in kept]
    if leaks:
        raise InvalidProgramError(f"after {after}, nothing writes the variable tensors {', '.join(leaks)}")
    return program


def unwritten_states(graph: Graph) -> tuple[Value, ...]:
    """Return the variable tensors of a graph that neither an op nor the caller writes, in their order."""
    written = {*graph.inputs, *(result for op in graph.ops for result in op.results)}
    return tuple(value for value in graph.values() if value.is_variable and value not in written)


def _broken_rules(graph: Graph) -> Iterator[str]:
    yield from _broken_names(graph)
    defined = set(graph.inputs)
    for op in graph.ops:
        for operand in op.operands:
            if operand is not None and not _is_readable(operand, defined):
                yield f"{op.name} reads {operand.name}, which no earlier op defines"
        for result in op.results:
            if result in defined or result.is_constant:
                yield f"{op.name} defines {result.name}, which is defined already"
            defined.add(result)
        yield from _broken_op(op)
    for output in graph.outputs:
        if not _is_readable(output, defined):
            yield f"output {output.name} is defined by no op"


def _is_readable(value: Value, defined: set[Value]) -> bool:
    return value.is_constant or value.is_variable or value in defined


def _broken_names(graph: Graph) -> Iterator[str]:
    seen: set[str] = set()
    for value in graph.values():
        if value.name in seen:
            yield f"two values are called {value.name!r}"
        seen.add(value.name)


def _broken_op(op: Op) -> Iterator[str]:
    if isinstance(op, Scan):
        yield from _broken_scan(op)
    if isinstance(op, Bidirectional):
        yield from _broken_bidirectional(op)
    if isinstance(op, Recurrence):
        yield from broken_recurrence(op)


def _broken_bidirectional(op: Bidirectional) -> Iterator[str]:
    yield from broken_recurrence(op.forward)
    yield from broken_recurrence(op.backward)
    for what, one, other in (
        ("x", op.forward.x, op.backward.x),
        ("sequence_length", op.forward.sequence_length, op.backward.sequence_length),
    ):
        if one is not other:
            yield f"{op.name}: its directions read {_name(one)} and {_name(other)} as {what}"
    if op.forward.go_backwards or not op.backward.go_backwards:
        yield f"{op.name}: its backward recurrence, and no other, goes backwards"


def _name(value: Value | None) -> str:
    return "nothing" if value is None else value.name


def broken_recurrence(op: Recurrence) -> Iterator[str]:
    """Yield each rule that a recurrence breaks."""
    cell = op.cell
    yield from _mismatch(op, "x", op.x, (None, None, cell.input_size))
    yield from _mismatch(op, "output", op.output, (None, None, cell.output_size))
    for name, states in (("initial_state", op.initial_state), ("final_state", op.final_state)):
        if len(states) != len(cell.state_sizes):
            yield f"{op.name} has {len(states)} arrays of {name}, its cell has {len(cell.state_sizes)}"
        for state, size in zip(states, cell.state_sizes, strict=False):
            if state is not None:
                yield from _mismatch(op, name, state, (None, size))
    if op.sequence_length is not None:
        yield from _mismatch(op, "sequence_length", op.sequence_length, (None,))
    yield from _broken_mask(op)


def _broken_mask(op: Recurrence) -> Iterator[str]:
    mask = op.mask
    if mask is None:
        return
    yield from _mismatch(op, "mask", mask, (None, None))
    if mask.type.dtype is not DType.BOOL:
        yield f"{op.name}: mask {mask.name} is {mask.type}, expected bool"
    if op.sequence_length is not None:
        yield f"{op.name} has both lengths and a mask"


def _broken_scan(op: Scan) -> Iterator[str]:
    inputs = 1 + len(op.initial_state) + len(op.sequences) + len(op.invariants)
    if len(op.body.inputs) != inputs:
        yield f"{op.name}: its body has {len(op.body.inputs)} inputs, its operands make {inputs}"
    if len(op.body.outputs) != len(op.results):
        yield f"{op.name}: its body has {len(op.body.outputs)} outputs for {len(op.results)} results"
    if len(op.initial_state) != len(op.final_state):
        yield f"{op.name} has {len(op.initial_state)} initial and {len(op.final_state)} final states"
    if not op.sequences and op.length is None:
        yield f"{op.name} has neither sequences nor a length"
    for rule in _broken_rules(op.body):
        yield f"{op.name}: in its body, {rule}"


def _mismatch(op: Recurrence, what: str, value: Value, expected: Shape) -> Iterator[str]:
    if not agree(value.type.shape, expected):
        yield f"{op.name}: {what} {value.name} is {value.type}, expected {_dims(expected)}"


def _dims(shape: Shape) -> str:
    return "[" + ",".join("?" if dim is None else str(dim) for dim in shape) + "]"


def _broken_signature(program: Program) -> Iterator[str]:
    for signature in program.signatures:
        graph = program.graphs[signature.graph]
        for what, names, values in (
            ("inputs", signature.inputs, graph.inputs),
            ("outputs", signature.outputs, graph.outputs),
        ):
            if len(names) != len(values):
                yield f"signature {signature.key} names {len(names)} {what}, its graph has {len(values)}"
            if len(set(names)) != len(names):
                yield f"the {what} of signature {signature.key} are not unique: {', '.join(names)}"
