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

from converter.analysis.open_states import OpenState, start_from
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
from converter.passes.refine_shapes import with_known_sizes
from converter.passes.stream_layers import stream_layers, with_main
from converter.passes.variable_states import without_reset, without_variables
from converter.rules import Rule

INITIALIZE = "initialize"
"""The name of the graph that CALL_ONCE runs."""

_REVERSALS = frozenset({"REVERSE_SEQUENCE", "REVERSE_V2"})


def persist_state(program: Program, *, ends: bool = False, signatures: bool = True) -> Program:
    """Keep the open states of the main graph, and the memory of its SVDF ops, in resource variables.

    So do the layers that need earlier chunks; ``ends`` and ``signatures`` are as in `stream_layers`. Raises
    ConversionError if a recurrence cannot continue where the last invoke ended: its batch is unknown, it runs
    backwards in time, or inside control flow; or if a layer cannot run chunk by chunk.
    """
    program = with_main(program, with_known_sizes(program.main))
    rejections = list(_rejections(program))
    if rejections:
        raise ConversionError("cannot keep the state between invokes", rejections)
    streamed = stream_layers(program, ends=ends, signatures=signatures)
    main, memories = settle_filters(streamed.program.main)
    opened = [*streamed.states, *memories]
    program = streamed.program
    if not opened:
        return program
    variables = state_variables(program)
    if variables:
        main = without_variables(main, variables)
        program = without_reset(with_main(program, main))
    known = [OpenState(state.name, state.start, state.read, state.final) for state in variables]
    kept = [*known, *_renamed(opened, known)]
    others = program.graphs[1:] if streamed.flush is None else (*program.graphs[1:], streamed.flush)
    reset = 1 + len(others)
    learned = any(map(_is_learned, kept))
    started = _free_name("started", {state.name: state.initial for state in kept}) if learned else None
    graphs = [_keeping(main, kept, kept[len(known) :], started, reset), *others]
    ending: tuple[Signature, ...] = ()
    if streamed.flush is not None:
        graphs[-1] = _keeping(streamed.flush, streamed.flush_states, streamed.flush_states, started, reset)
        ending = (streamed.flush_signature(reset - 1),)
    signature, *rest = program.signatures or (program.signature,)
    made = (signature, *ending, Signature(RESET, (), (), reset + 1), *rest)
    # Two graphs alike: what CALL_ONCE has run is released, and could not be run as a signature on all runtimes.
    cleared = (_reset_graph(INITIALIZE, kept, started), _reset_graph(RESET, kept, started))
    return replace(program, graphs=(*graphs, *cleared), signatures=made)


def _keeping(
    graph: Graph, kept: Sequence[OpenState], opened: Sequence[OpenState], started: str | None, reset: int
) -> Graph:
    """Return ``graph`` with each state read before its ops and assigned after them; graph ``reset`` runs once."""
    names = graph.names()
    names.update(Names(state.initial.name for state in kept))
    emitter = Emitter(RESET, names)
    emitter.ops.append(new_op("CALL_ONCE", [], [], {"initSubgraphIndex": reset}))
    handles = {state.name: _handle(state.name, emitter) for state in kept}
    flag = None if started is None else _handle(started, emitter)
    for state in kept:
        _read(state, handles[state.name], flag if _is_learned(state) else None, emitter)
    emitter.ops += start_from(graph.ops, opened)
    for state in kept:
        _assign(handles[state.name], state.final, emitter)
    if flag is not None:
        _assign(flag, emitter.weights("one", np.ones((1, 1), np.float32)), emitter)
    return replace(graph, ops=tuple(emitter.ops))


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


def _reset_graph(name: str, kept: Sequence[OpenState], started: str | None) -> Graph:
    emitter = Emitter(name, Names())
    for state in kept:
        start = np.zeros_like(_start(state)) if _is_learned(state) else _start(state)
        _assign(_handle(state.name, emitter), emitter.constant(state.name, start), emitter)
    if started is not None:
        _assign(_handle(started, emitter), emitter.weights("zero", np.zeros((1, 1), np.float32)), emitter)
    return Graph(name, (), (), tuple(emitter.ops))


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
