"""The contract of a program on chunks."""

from __future__ import annotations

import math
from collections.abc import Mapping
from fractions import Fraction

from converter.analysis.streaming.facts import Rows, Running
from converter.analysis.streaming.flow import Flow
from converter.chunks import ChunkContract, OutputRows
from converter.ir import Program


def contract_of(
    program: Program, flow: Flow, *, flush: str | None, names: Mapping[str, str]
) -> ChunkContract | None:
    """Return the contract of ``program`` on chunks; None if each invoke is one step. ``names`` are new names."""
    if not flow.starts:
        return None
    signature, main = program.signature, program.main
    facts: list[Rows | Running] = []
    outputs: dict[str, OutputRows] = {}
    running: dict[str, Fraction] = {}
    for name, value in zip(signature.outputs, main.outputs, strict=True):
        fact = flow.outputs[value][0] if value in flow.outputs else flow.facts.get(value)
        if isinstance(fact, Rows | Running):
            facts.append(fact)
        if isinstance(fact, Rows):
            outputs[names.get(name, name)] = OutputRows(
                fact.axis, fact.stride, fact.delay, fact.first, fact.block, fact.short
            )
        elif isinstance(fact, Running):
            running[names.get(name, name)] = fact.delay
    inputs = zip(signature.inputs, main.inputs, strict=True)
    timed = {names.get(name, name): flow.starts[value] for name, value in inputs if value in flow.starts}
    return ChunkContract(
        flow.multiple, timed, outputs, running, flush, flow.lengths, math.ceil(Running.of(facts).tail)
    )
