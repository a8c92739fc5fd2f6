"""stream-layers: let layers that look at several steps go on from the chunk before.

How time flows through the program (`converter.analysis.streaming`) says what each op needs of the past: a
convolution the rows before the chunk, a sum the sum so far. These become states like those of recurrences, so that
the state policies keep or expose them alike. A program of recurrences and layers of one step stays as it is.

Layers that look ahead give their last outputs only when the sequence has ended. An input ``remaining``
says so: how many of the steps from here on are of the sequence. A second graph has it, of the signature
``flush``, or the main graph itself where only that can be run.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from converter.analysis.open_states import OpenState, open_states
from converter.analysis.streaming.flow import Flow, flow_of
from converter.analysis.variables import FLUSH, REMAINING
from converter.emission.streaming.chunks import chunked
from converter.errors import ConversionError, Rejection
from converter.ir import DType, Graph, Program, Recurrence, Scan, Signature, TensorType, Value, copied, new_op
from converter.passes.refine_shapes import with_known_sizes
from converter.rules import Rule


@dataclass(frozen=True, slots=True, eq=False)
class Streamed:
    """A program on chunks, the open states of its main graph, and the graph that takes the end of a sequence.

    ``flush`` is that graph, None if there is none; ``flush_states`` are the same states in it. What a state starts
    from is not defined yet in any graph.
    """

    program: Program
    states: tuple[OpenState, ...]
    flush: Graph | None = None
    flush_states: tuple[OpenState, ...] = ()

    def flush_signature(self, graph: int) -> Signature:
        """Return the signature of the graph that takes the end of a sequence, at number ``graph``."""
        main = self.program.signature
        return Signature(FLUSH, (*main.inputs, REMAINING), main.outputs, graph)


def stream_layers(program: Program, *, ends: bool = False, signatures: bool = True) -> Streamed:
    """Return ``program`` on chunks.

    ``ends`` says whether sequences may end within a chunk, ``signatures`` whether another graph than the main one
    can be run then. A recurrence that runs backwards leaves the program as it is: its states can be given and
    returned, but not from chunk to chunk. Raises ConversionError if an op cannot run chunk by chunk.
    """
    program = with_main(program, with_known_sizes(program.main))
    flow = flow_of(program, ends=ends)
    if not flow.starts or runs_backwards(flow):
        return Streamed(program, tuple(open_states(program)))
    _check([*flow.rejections, *_unrelated(program, flow)])
    if not flow.changes and not ends:
        return Streamed(program, tuple(open_states(program)))
    _check(_sizes(program, flow))
    if ends and not signatures:
        main, states = _ending(program, flow)
        signature = replace(program.signature, inputs=(*program.signature.inputs, REMAINING))
        return Streamed(_with_signature(with_main(program, main), signature), states)
    if not ends:
        found = chunked(program.main, flow)
        return Streamed(with_main(program, found.graph), _states(program, found.graph, found.states))
    copy = with_main(program, copied(program.main, FLUSH))
    flush, flush_states = _ending(copy, flow_of(copy, ends=True))
    counts = any(state.name == "steps" for state in flush_states)
    found = chunked(program.main, flow, counts=counts)
    states = _states(program, found.graph, found.states)
    return Streamed(with_main(program, found.graph), states, flush, flush_states)


def runs_backwards(flow: Flow) -> bool:
    """Return whether all that keeps a program from running on chunks are recurrences that run backwards."""
    return bool(flow.rejections) and all(one.rule is Rule.STREAMING_BACKWARDS for one in flow.rejections)


def with_main(program: Program, main: Graph) -> Program:
    """Return ``program`` with another main graph."""
    return replace(program, graphs=(main, *program.graphs[1:]))


def _with_signature(program: Program, signature: Signature) -> Program:
    others = (other for other in program.signatures if other is not program.signature)
    return replace(program, signatures=(signature, *others))


def _ending(program: Program, flow: Flow) -> tuple[Graph, tuple[OpenState, ...]]:
    """Return the main graph with the input ``remaining``, and its states."""
    names = program.main.names()
    given = Value(names.fresh(REMAINING), TensorType(DType.INT32, (1,)))
    remaining = Value(names.fresh(f"{REMAINING}_steps"), TensorType(DType.FLOAT32, (1,)))
    cast = new_op("CAST", [given], [remaining])
    main = replace(program.main, inputs=(*program.main.inputs, given), ops=(cast, *program.main.ops))
    found = chunked(main, flow, remaining=remaining, counts=True)
    return found.graph, _states(program, found.graph, found.states)


def _states(program: Program, main: Graph, layers: Sequence[OpenState]) -> tuple[OpenState, ...]:
    """Return the states of recurrences and of layers, with names that the signature does not have."""
    signature = program.signature
    known = replace(signature, inputs=signature.inputs[: len(main.inputs)])
    recurrent = tuple(open_states(_with_signature(with_main(program, main), known)))
    taken = {*signature.inputs, *signature.outputs, REMAINING, *(state.name for state in recurrent)}
    renamed = []
    for state in layers:
        name = state.name
        while name in taken:
            name += "_"
        taken.add(name)
        renamed.append(replace(state, name=name))
    return (*recurrent, *renamed)


def _check(rejections: Iterator[Rejection] | Sequence[Rejection]) -> None:
    found = list(rejections)
    if found:
        raise ConversionError("cannot run the model chunk by chunk", found)


def _unrelated(program: Program, flow: Flow) -> Iterator[Rejection]:
    for op in program.main.ops:
        if isinstance(op, Recurrence | Scan) and op not in flow.plans:
            yield Rejection(
                Rule.STREAMING_OP,
                op.place,
                "the recurrence runs over something else than the sequence, so it starts anew at each chunk",
                "compute it once, outside of the streamed model",
            )


def _sizes(program: Program, flow: Flow) -> Iterator[Rejection]:
    for name, value in zip(program.signature.inputs, program.main.inputs, strict=True):
        if value not in flow.starts:
            continue
        shape, axis = value.type.shape or (), flow.starts[value]
        if flow.rewrites and any(size is None for place, size in enumerate(shape) if place != axis):
            yield Rejection(
                Rule.STREAMING_DYNAMIC_BATCH,
                name,
                "rows of earlier chunks are kept, and the batch is unknown",
                "fix the batch in the input signature, usually to 1",
            )
        size = shape[axis]
        if size is not None and size % flow.multiple:
            yield Rejection(
                Rule.STREAMING_CHUNK,
                name,
                f"a chunk has {size} steps, and the strides of the layers need a multiple of {flow.multiple}",
                f"leave the number of steps open, or fix it to a multiple of {flow.multiple}",
            )
