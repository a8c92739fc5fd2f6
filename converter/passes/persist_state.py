"""persist-state: keep the states that nobody gives in the model, from one invoke to the next (streaming policy).

Each is a resource variable: read before its recurrence starts, and assigned from the final state. CALL_ONCE runs
the graph that gives all of them their first values, and the signature ``reset`` runs the same graph again.
Variable tensors would suffice for the fused ops, but no signature can reset them, and no loop can write them.

A trained initial state is selected until an extra variable says that the model has run: microcontrollers only run
the main signature, and their interpreter resets all variables to zero.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace

import numpy as np

from converter.analysis.open_states import OpenState, open_states, start_from
from converter.analysis.variables import RESET, state_variables
from converter.emission.emitter import Emitter
from converter.errors import ConversionError, Rejection
from converter.ir import (
    Array,
    DType,
    Graph,
    Names,
    Op,
    Program,
    Recurrence,
    Recurrent,
    Scan,
    Signature,
    TensorType,
    TfliteOp,
    Value,
    dims,
    new_op,
)
from converter.passes.filter_states import settle_filters
from converter.passes.stream_layers import stream_layers
from converter.passes.variable_states import without_reset, without_variables
from converter.rules import Rule

_REVERSALS = frozenset({"REVERSE_SEQUENCE", "REVERSE_V2"})


def persist_state(program: Program) -> Program:
    """Keep the open states of the main graph, and the memory of its SVDF ops, in resource variables.

    Raises ConversionError if a recurrence cannot continue where the last invoke ended: its batch is unknown, it
    runs backwards in time, or inside control flow.
    """
    rejections = list(_rejections(program))
    if rejections:
        raise ConversionError("cannot keep the state between invokes", rejections)
    program, layers = stream_layers(program)
    main, memories = settle_filters(program.main)
    opened = [*open_states(program), *layers, *memories]
    if not opened:
        return program
    variables = state_variables(program)
    if variables:
        main = without_variables(main, variables)
        program = without_reset(replace(program, graphs=(main, *program.graphs[1:])))
    known = [OpenState(state.name, state.start, state.read, state.final) for state in variables]
    kept = [*known, *_renamed(opened, known)]
    reset = len(program.graphs)
    names = main.names()
    names.update(Names(state.initial.name for state in kept))
    emitter = Emitter(RESET, names)
    emitter.ops.append(new_op("CALL_ONCE", [], [], {"initSubgraphIndex": reset}))
    handles = {state.name: _handle(state.name, emitter) for state in kept}
    learned = [state for state in kept if _is_learned(state)]
    started = _handle(_free_name("started", handles), emitter) if learned else None
    for state in kept:
        _read(state, handles[state.name], started if state in learned else None, emitter)
    emitter.ops += start_from(main.ops, kept[len(known) :])
    for state in kept:
        _assign(handles[state.name], state.final, emitter)
    if started is not None:
        _assign(started, emitter.weights("one", np.ones((1, 1), np.float32)), emitter)
    signatures = (program.signature, Signature(RESET, (), (), reset), *program.signatures[1:])
    cleared = _reset_graph(kept, None if started is None else _free_name("started", handles))
    graphs = (replace(main, ops=tuple(emitter.ops)), *program.graphs[1:], cleared)
    return replace(program, graphs=graphs, signatures=signatures)


def _renamed(states: Iterable[OpenState], others: Iterable[OpenState]) -> Iterator[OpenState]:
    """Yield ``states`` under names that none of ``others`` has."""
    taken = {state.name: state.initial for state in others}
    for state in states:
        yield replace(state, name=_free_name(state.name, taken))


def _rejections(program: Program) -> Iterator[Rejection]:
    backward: set[Value] = set()
    for op in program.main.ops:
        if isinstance(op, Recurrence | Scan):
            read = (op.x,) if isinstance(op, Recurrence) else op.sequences
            yield from _steps_rejections(op, is_backward=_reverses(op) or bool(backward.intersection(read)))
        if _reverses(op) or backward.intersection(op.operands):
            backward.update(op.results)
    for graph in program.graphs[1:]:
        for inner in graph.ops:
            if isinstance(inner, Recurrence | Scan):
                yield Rejection(
                    Rule.STREAMING_IN_CONTROL_FLOW,
                    inner.place,
                    "the recurrence runs inside a tf.while_loop or tf.cond, so it has no single state to keep",
                    "call dynamic_rnn outside of the loop or branch",
                )


def _reverses(op: Op) -> bool:
    """Whether ``op`` reverses time: its first results depend on its last inputs."""
    if isinstance(op, TfliteOp):
        return op.builtin in _REVERSALS
    return isinstance(op, Recurrence) and op.go_backwards


def _steps_rejections(op: Recurrent, *, is_backward: bool) -> Iterator[Rejection]:
    is_known = op.batch is not None if isinstance(op, Recurrence) else _is_static(op)
    if not is_known:
        yield Rejection(
            Rule.STREAMING_DYNAMIC_BATCH,
            op.place,
            "the state has one row per batch element, and the batch is unknown",
            "fix the batch in the input signature, usually to 1",
        )
    if is_backward:
        yield Rejection(
            Rule.STREAMING_BACKWARDS,
            op.place,
            "the recurrence runs backwards, so it cannot continue in the next chunk",
            "use state='stateless' with whole sequences",
        )


def _is_static(op: Scan) -> bool:
    return all(value.type.is_static for value in op.initial_state)


def _is_learned(state: OpenState) -> bool:
    """Whether a float32 state starts from numbers that are not all zero."""
    start = None if state.start is None else state.start.data
    return start is not None and state.final.type.dtype is DType.FLOAT32 and bool(start.any())


def _free_name(name: str, taken: Mapping[str, Value]) -> str:
    while name in taken:
        name += "_"
    return name


def _read(state: OpenState, handle: Value, started: Value | None, emitter: Emitter) -> None:
    """Emit the start of a state: its variable, or its trained initial state before the first run."""
    if started is None:
        emitter.op("READ_VARIABLE", [handle], state.initial)
        return
    kept = emitter.value(f"{state.name}_kept", state.initial, dims(state.initial))
    emitter.op("READ_VARIABLE", [handle], kept)
    flag = Value(emitter.name("started_now"), TensorType(DType.FLOAT32, (1, 1)))
    emitter.op("READ_VARIABLE", [started], flag)
    has_started = emitter.less(emitter.number(0.5), flag, "has_started")
    emitter.select(has_started, kept, emitter.weights("learned", _start(state)), state.initial)


def _reset_graph(kept: Sequence[OpenState], started: str | None) -> Graph:
    emitter = Emitter(RESET, Names())
    for state in kept:
        start = np.zeros_like(_start(state)) if _is_learned(state) else _start(state)
        _assign(_handle(state.name, emitter), emitter.constant(state.name, start), emitter)
    if started is not None:
        _assign(_handle(started, emitter), emitter.weights("zero", np.zeros((1, 1), np.float32)), emitter)
    return Graph(RESET, (), (), tuple(emitter.ops))


def _start(state: OpenState) -> Array:
    """Return the initial value of a state, one row per batch element."""
    nothing = np.zeros((), state.final.type.dtype.numpy)
    start = nothing if state.start is None or state.start.data is None else state.start.data
    shape = [dim or 0 for dim in dims(state.initial)]  # _rejections has checked that it is static
    return np.ascontiguousarray(np.broadcast_to(start, shape)).reshape(shape)


def _handle(name: str, emitter: Emitter) -> Value:
    handle = Value(emitter.name(f"{name}_handle"), TensorType(DType.RESOURCE, ()))
    options = {"container": "", "sharedName": name}
    return emitter.op("VAR_HANDLE", [], handle, options)


def _assign(handle: Value, value: Value, emitter: Emitter) -> None:
    emitter.ops.append(new_op("ASSIGN_VARIABLE", [handle, value], []))
