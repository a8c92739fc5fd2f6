"""A scan as steps: what its body computes from slices alone is taken out of it, the rest is a step."""

from __future__ import annotations

from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass, replace

from converter.analysis.origins import origin
from converter.emission.emitter import Emitter
from converter.emission.hoisting import Remainder, hoist
from converter.emission.inlining import inline, resolve
from converter.ir import Graph, Scan, Value, dims
from converter.lowering.loop import Carried, Collected, Loop


def steps_of_scan(op: Scan, emitter: Emitter, *, read: Container[Value]) -> Loop:
    """Emit what all steps of ``op`` share, and return its steps; its body holds TFLite ops only.

    Outputs that are not in ``read`` are not computed.
    """
    body, wanted = _wanted(op, read)
    inputs = _Inputs.of(op)
    rest = hoist(
        body,
        dict(zip(inputs.slices, op.sequences, strict=True)),
        dict(zip(inputs.invariants, op.invariants, strict=True)),
        emitter,
    )
    time = emitter.dimension(op.sequences[0], 0) if op.length is None else op.length
    kept = {f"sequence_{index}": whole for index, whole in enumerate(rest.sequences.values())}
    kept |= {f"invariant_{index}": whole for index, whole in enumerate(rest.invariants.values())}
    sizes = _Sizes(op, rest, inputs, emitter)

    def step(
        inner: Emitter, t: Value, at: Carried, states: Sequence[Value]
    ) -> tuple[Sequence[Value], Sequence[Value]]:
        given = {inputs.step: t, **dict(zip(inputs.states, states, strict=True))}
        given |= {
            value: inner.gather(at[f"sequence_{index}"], t, "slice") for index, value in enumerate(rest.sequences)
        }
        given |= {value: at[f"invariant_{index}"] for index, value in enumerate(rest.invariants)}
        made = inline(rest.ops, given, inner)
        results = [resolve(value, made, inner) for value in rest.outputs]
        return results[len(states) :], results[: len(states)]

    parts = rest.outputs[len(op.final_state) :]
    return Loop(
        op.name,
        time,
        time if op.steps is None else op.steps,
        kept,
        op.initial_state,
        op.final_state,
        tuple(Collected(part.type, sizes.of(part), whole) for part, whole in zip(parts, wanted, strict=True)),
        step,
    )


@dataclass(frozen=True, slots=True, eq=False)
class _Inputs:
    """The inputs of a body by what they are."""

    step: Value
    states: tuple[Value, ...]
    slices: tuple[Value, ...]
    invariants: tuple[Value, ...]

    @classmethod
    def of(cls, op: Scan) -> _Inputs:
        step, *others = op.body.inputs
        states, slices = len(op.initial_state), len(op.initial_state) + len(op.sequences)
        return cls(step, tuple(others[:states]), tuple(others[states:slices]), tuple(others[slices:]))


def _wanted(op: Scan, read: Container[Value]) -> tuple[Graph, tuple[Value, ...]]:
    """Return the body without the outputs that nobody reads, and the outputs that somebody does."""
    states = op.body.outputs[: len(op.final_state)]
    parts = zip(op.body.outputs[len(states) :], op.outputs, strict=True)
    kept = [(part, whole) for part, whole in parts if whole in read]
    body = replace(op.body, outputs=(*states, *(part for part, _ in kept)))
    return body, tuple(whole for _, whole in kept)


class _Sizes:
    """The dimensions of what a step adds to each output, as int32 scalars outside of the loop."""

    def __init__(self, op: Scan, rest: Remainder, inputs: _Inputs, emitter: Emitter) -> None:
        self._rest = rest
        self._emitter = emitter
        self._producers = {result: step for step in rest.ops for result in step.results}
        self._states = dict(zip(inputs.states, op.initial_state, strict=True))
        self._step = inputs.step
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
            given = {self._step: emitter.integer(0), **self._states, **self._rest.invariants}
            given |= {value: self._no_slice(value, whole) for value, whole in self._rest.sequences.items()}
            self._probed = inline(self._rest.ops, given, emitter)
        return self._probed

    def _no_slice(self, value: Value, whole: Value) -> Value:
        sizes = [self._emitter.dimension(whole, axis + 1) for axis in range(len(dims(value)))]
        return self._emitter.zeros(sizes, dims(whole)[1:], "no_slice", dtype=value.type.dtype)
