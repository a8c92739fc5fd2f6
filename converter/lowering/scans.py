"""A scan as steps: what its body computes from slices alone is taken out of it, the rest is a step."""

from __future__ import annotations

from collections.abc import Container, Mapping, Sequence
from dataclasses import replace

from converter.analysis.origins import origin
from converter.emission.emitter import Emitter
from converter.emission.hoisting import Remainder, hoist
from converter.emission.inlining import inline, resolve
from converter.ir import Scan, ScanStep, Value, dims
from converter.lowering.loop import Carried, Collected, Loop


def steps_of_scan(op: Scan, emitter: Emitter, *, read: Container[Value]) -> Loop:
    """Emit what all steps of ``op`` share, and return its steps; its body holds TFLite ops only.

    Outputs that are not in ``read`` are not computed.
    """
    inside = op.step
    wanted = [pair for pair in zip(inside.elements, op.outputs, strict=True) if pair[1] in read]
    inside = replace(inside, elements=tuple(element for element, _ in wanted))
    rest = hoist(
        inside.body(op.body.name, op.body.ops),
        dict(zip(inside.slices, op.sequences, strict=True)),
        dict(zip(inside.invariants, op.invariants, strict=True)),
        emitter,
    )
    time = emitter.dimension(op.sequences[0], 0) if op.length is None else op.length
    kept = {f"sequence_{index}": whole for index, whole in enumerate(rest.sequences.values())}
    kept |= {f"invariant_{index}": whole for index, whole in enumerate(rest.invariants.values())}
    sizes = _Sizes(op, inside, rest, emitter)

    def step(
        inner: Emitter, t: Value, at: Carried, states: Sequence[Value]
    ) -> tuple[Sequence[Value], Sequence[Value]]:
        given = {inside.t: t, **dict(zip(inside.states, states, strict=True))}
        given |= {
            value: inner.gather(at[f"sequence_{index}"], t, "slice") for index, value in enumerate(rest.sequences)
        }
        given |= {value: at[f"invariant_{index}"] for index, value in enumerate(rest.invariants)}
        made = inline(rest.ops, given, inner)
        new = [resolve(value, made, inner) for value in inside.new_states]
        return [resolve(value, made, inner) for value in inside.elements], new

    return Loop(
        op.name,
        time,
        time if op.steps is None else op.steps,
        kept,
        op.initial_state,
        op.final_state,
        tuple(Collected(element.type, sizes.of(element), whole) for element, whole in wanted),
        step,
    )


class _Sizes:
    """The dimensions of what a step adds to each output, as int32 scalars outside of the loop."""

    def __init__(self, op: Scan, inside: ScanStep, rest: Remainder, emitter: Emitter) -> None:
        self._rest = rest
        self._emitter = emitter
        self._producers = {result: made for made in rest.ops for result in made.results}
        self._states = dict(zip(inside.states, op.initial_state, strict=True))
        self._t = inside.t
        self._probed: Mapping[Value, Value] | None = None

    def of(self, part: Value) -> tuple[Value, ...]:
        """Emit the dimensions of ``part``."""
        return tuple(
            self._unknown(part, axis) if known is None else self._emitter.integer(known)
            for axis, known in enumerate(dims(part))
        )

    def _unknown(self, part: Value, axis: int) -> Value:
        found = origin(part, axis, self._producers)
        if found is None:
            return self._emitter.dimension(self._probe()[part], axis)
        value, place = found
        if value in self._rest.sequences:
            return self._emitter.dimension(self._rest.sequences[value], place + 1)
        return self._emitter.dimension(self._rest.invariants.get(value) or self._states[value], place)

    def _probe(self) -> Mapping[Value, Value]:
        """Emit one step over zeros, for the sizes of its results: where only running an op tells them."""
        if self._probed is None:
            emitter = self._emitter
            given = {self._t: emitter.integer(0), **self._states, **self._rest.invariants}
            given |= {value: self._no_slice(value, whole) for value, whole in self._rest.sequences.items()}
            self._probed = inline(self._rest.ops, given, emitter)
        return self._probed

    def _no_slice(self, value: Value, whole: Value) -> Value:
        sizes = [self._emitter.dimension(whole, axis + 1) for axis in range(len(dims(value)))]
        return self._emitter.zeros(sizes, dims(whole)[1:], "no_slice", dtype=value.type.dtype)
