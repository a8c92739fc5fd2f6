"""expose-state: make inputs and outputs of the open states (explicit policy).

A state has the same name on both sides, so that a caller can feed back the outputs. So it is in the graph that
takes the end of a sequence, if there is one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from converter.analysis.open_states import OpenState, start_from
from converter.ir import Graph, Program, Signature
from converter.passes.stream_layers import stream_layers, with_main


def expose_state(program: Program, *, ends: bool = False, signatures: bool = True) -> Program:
    """Make inputs and outputs of the open states of the main graph, and of what its layers keep of earlier chunks.

    ``ends`` and ``signatures`` are as in `stream_layers`. Raises ConversionError if a layer cannot run chunk by
    chunk.
    """
    streamed = stream_layers(program, ends=ends, signatures=signatures)
    program = streamed.program
    if not streamed.states:
        return program
    main, signature = _exposed(program.main, program.signature, streamed.states)
    others = tuple(other for other in program.signatures if other is not program.signature)
    exposed = replace(with_main(program, main), signatures=(signature, *others))
    if streamed.flush is None:
        return exposed
    place = len(program.graphs)
    flush, ending = _exposed(streamed.flush, streamed.flush_signature(place), streamed.flush_states)
    return replace(exposed, graphs=(*exposed.graphs, flush), signatures=(*exposed.signatures, ending))


def _exposed(graph: Graph, signature: Signature, states: Sequence[OpenState]) -> tuple[Graph, Signature]:
    known = set(signature.outputs)
    added = [state for state in states if state.name not in known]
    exposed = replace(
        graph,
        inputs=(*graph.inputs, *(state.initial for state in states)),
        outputs=(*graph.outputs, *(state.final for state in added)),
        ops=start_from(graph.ops, states),
    )
    named = replace(
        signature,
        inputs=(*signature.inputs, *(state.name for state in states)),
        outputs=(*signature.outputs, *(state.name for state in added)),
    )
    return exposed, named
