"""Unroll all steps, for runtimes or compilers without control flow.

Every step reads the same constants; only the ops are repeated.
"""

from __future__ import annotations

from collections.abc import Sequence

from converter.emission.emitter import Emitter
from converter.ir import Value
from converter.lowering.loop import Collected, Loop

MOST_OPERANDS = 10
"""The most operands of a CONCATENATION on every runtime; microcontrollers have the lowest limit."""


def emit_unrolled(loop: Loop, emitter: Emitter) -> None:
    """Emit every step of ``loop``, whose time is a constant. Raises ValueError if it is not."""
    if loop.time.data is None:
        raise ValueError(f"{loop.name}: expected a constant number of steps")
    parts: list[Sequence[Value]] = []
    states: Sequence[Value] = loop.states
    for number in range(int(loop.time.data)):
        t = emitter.integer(number)
        made, new = loop.step(emitter, t, loop.kept, states)
        if not loop.ends_itself and loop.end is not loop.time:
            runs = emitter.less(t, loop.end, "runs")
            made = [emitter.select(runs, part, emitter.zero(part.type.dtype)) for part in made]
            new = [emitter.select(runs, fresh, old) for fresh, old in zip(new, states, strict=True)]
        parts.append(made)
        states = new
    for index, output in enumerate(loop.outputs):
        _emit_output(emitter, output, [made[index] for made in parts])
    for state, final in zip(states, loop.finals, strict=True):
        emitter.copy(state, final)


def _emit_output(emitter: Emitter, output: Collected, parts: Sequence[Value]) -> None:
    """Emit the parts one after another along a new first axis, joined ten by ten."""
    rows = [emitter.expand_dims(part, 0, "row") for part in parts]
    if not rows:
        shape = (0, *(output.element.shape or ()))
        rows = [
            emitter.zeros([emitter.integer(0), *output.sizes], shape, "no_outputs", dtype=output.element.dtype)
        ]
    while len(rows) > MOST_OPERANDS:
        chunks = [rows[start : start + MOST_OPERANDS] for start in range(0, len(rows), MOST_OPERANDS)]
        rows = [emitter.concatenation(chunk, 0, "rows") for chunk in chunks]
    emitter.concatenation(rows, 0, output.into)
