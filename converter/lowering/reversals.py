"""Replace recurrences that go backwards by recurrences over reversed sequences."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace

from converter.analysis.reversals import Reversal, reversal_of
from converter.emission.emitter import Emitter
from converter.ir import Names, Op, Recurrence, Value


def spell_reversals(ops: Iterable[Op], names: Names) -> Iterator[Op]:
    """Yield ``ops`` without recurrences that go backwards: these read their x, and their mask, reversed.

    A sequence that is already reversed, by another op or for another recurrence, is not reversed again. ``names``
    are those of the graph.
    """
    reversed_already: dict[Reversal, Value] = {}
    for op in ops:
        if isinstance(op, Recurrence) and op.go_backwards:
            emitter = Emitter(op.name, names)
            x = _reversed(op.x, op, reversed_already, emitter)
            mask = None if op.mask is None else _reversed(op.mask, op, reversed_already, emitter)
            yield from emitter.ops
            yield replace(op, x=x, mask=mask, go_backwards=False)
            continue
        yield op
        reversal = reversal_of(op)
        if reversal is not None:
            reversed_already.setdefault(reversal, op.results[0])


def _reversed(x: Value, op: Recurrence, reversed_already: dict[Reversal, Value], emitter: Emitter) -> Value:
    reversal = Reversal(x, op.time_axis, op.sequence_length)
    if reversal not in reversed_already:
        reversed_already[reversal] = (
            emitter.reverse(x, op.time_axis)
            if op.sequence_length is None
            else emitter.reverse_rows(x, op.sequence_length, op.time_axis)
        )
    return reversed_already[reversal]
