"""expose-state: make inputs and outputs of the open states (explicit policy).

A state has the same name on both sides, so that a caller can feed back the outputs.
"""

from __future__ import annotations

from dataclasses import replace

from converter.analysis.open_states import open_states, start_from
from converter.ir import Program
from converter.passes.stream_layers import stream_layers


def expose_state(program: Program) -> Program:
    """Make inputs and outputs of the open states of the main graph, and of what its layers keep of earlier chunks.

    Raises ConversionError if a layer cannot run chunk by chunk.
    """
    program, kept = stream_layers(program)
    exposed = [*open_states(program), *kept]
    if not exposed:
        return program
    known = set(program.signature.outputs)
    added = [state for state in exposed if state.name not in known]
    main = replace(
        program.main,
        inputs=(*program.main.inputs, *(state.initial for state in exposed)),
        outputs=(*program.main.outputs, *(state.final for state in added)),
        ops=start_from(program.main.ops, exposed),
    )
    signature = replace(
        program.signature,
        inputs=(*program.signature.inputs, *(state.name for state in exposed)),
        outputs=(*program.signature.outputs, *(state.name for state in added)),
    )
    others = (known for known in program.signatures if known is not program.signature)
    return replace(program, graphs=(main, *program.graphs[1:]), signatures=(signature, *others))
