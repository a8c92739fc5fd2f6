"""stream-layers: let layers that look at several steps go on from the chunk before.

How time flows through the program (`converter.analysis.streaming`) says what each op needs of the past: a
convolution the rows before the chunk, a sum the sum so far. These become states like those of recurrences, so that
the state policies keep or expose them alike. A program of recurrences and layers of one step stays as it is.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from converter.analysis.open_states import OpenState
from converter.analysis.streaming.flow import Flow, flow_of
from converter.emission.streaming.chunks import chunked
from converter.errors import ConversionError, Rejection
from converter.ir import Program, Recurrence, Scan
from converter.passes.refine_shapes import with_known_sizes
from converter.rules import Rule


def stream_layers(program: Program) -> tuple[Program, tuple[OpenState, ...]]:
    """Return ``program`` on chunks, and the states that it has beside those of its recurrences.

    A recurrence that runs backwards leaves the program as it is: its states can be given and returned, but not from
    chunk to chunk. Raises ConversionError if an op cannot run chunk by chunk.
    """
    program = replace(program, graphs=(with_known_sizes(program.main), *program.graphs[1:]))
    flow = flow_of(program)
    if not flow.starts or runs_backwards(flow):
        return program, ()
    rejections = [*flow.rejections, *_unrelated(program, flow)]
    if rejections:
        raise ConversionError("cannot run the model chunk by chunk", rejections)
    if not flow.changes:
        return program, ()
    rejections = list(_sizes(program, flow))
    if rejections:
        raise ConversionError("cannot run the model chunk by chunk", rejections)
    found = chunked(program.main, flow)
    return replace(program, graphs=(found.graph, *program.graphs[1:])), found.states


def runs_backwards(flow: Flow) -> bool:
    """Return whether all that keeps a program from running on chunks are recurrences that run backwards."""
    return bool(flow.rejections) and all(one.rule is Rule.STREAMING_BACKWARDS for one in flow.rejections)


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
        if any(size is None for place, size in enumerate(shape) if place != axis):
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
