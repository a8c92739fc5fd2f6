"""Lower a scan to steps: what its body computes from slices alone is moved out of the loop."""

from __future__ import annotations

from collections.abc import Container, Mapping, Sequence
from dataclasses import replace

from converter.analysis.dimensions import Dimensions
from converter.emission.emitter import Emitter
from converter.emission.hoisting import Remainder, hoist
from converter.emission.inlining import inline, resolve
from converter.emission.sizes import emit_size
from converter.ir import Scan, ScanStep, Value, dims
from converter.ir.shapes import Known
from converter.lowering.loop import Collected, Loop


def steps_of_scan(op: Scan, around: Dimensions, emitter: Emitter, *, read: Container[Value]) -> Loop:
    """Emit what all steps of ``op`` share, and return its steps; its body holds TFLite ops only.

    Outputs that are not in ``read`` are not computed; ``around`` are the sizes of the graph that holds the scan.
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
    kept = (*rest.sequences.values(), *rest.invariants.values())
    sizes = _Sizes(op, inside, rest, around, emitter)

    def step(
        inner: Emitter, t: Value, kept: Sequence[Value], states: Sequence[Value]
    ) -> tuple[Sequence[Value], Sequence[Value]]:
        sequences, invariants = kept[: len(rest.sequences)], kept[len(rest.sequences) :]
        given = {inside.t: t, **dict(zip(inside.states, states, strict=True))}
        given |= {
            value: inner.gather(whole, t, "slice") for value, whole in zip(rest.sequences, sequences, strict=True)
        }
        given |= zip(rest.invariants, invariants, strict=True)
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
    """The sizes of the elements of each output, as int32 scalars outside of the loop."""

    def __init__(self, op: Scan, inside: ScanStep, rest: Remainder, around: Dimensions, emitter: Emitter) -> None:
        self._rest = rest
        self._emitter = emitter
        self._states = dict(zip(inside.states, op.initial_state, strict=True))
        self._new_states = dict(zip(inside.new_states, op.initial_state, strict=True))
        self._t = inside.t
        self._probed: Mapping[Value, Value] | None = None
        self._dimensions = self._of_step(around.extended(emitter.ops))

    def _of_step(self, around: Dimensions) -> Dimensions:
        """Return the sizes of a step's values in terms of those outside of the loop; states keep their sizes."""
        states = {**self._new_states, **self._states}
        given = {value: Known(around.shape(initial)) for value, initial in states.items()}
        for value, whole in self._rest.sequences.items():
            shape = around.shape(whole)
            given[value] = Known(None if shape is None else shape[1:])
        for value, outside in self._rest.invariants.items():
            given[value] = Known(around.shape(outside), around.elements(outside))
        return Dimensions.of(self._rest.ops, given)

    def of(self, part: Value) -> tuple[Value, ...]:
        """Emit the sizes of ``part``."""
        return tuple(self._size(part, axis) for axis in range(len(dims(part))))

    def _size(self, part: Value, axis: int) -> Value:
        size = self._dimensions.dimension(part, axis)
        if isinstance(size, int) or not any(self._is_inside(extent.value) for extent, _ in size.extents):
            return emit_size(size, self._emitter)
        return self._emitter.dimension(self._probe()[part], axis)

    def _is_inside(self, value: Value) -> bool:
        return value is self._t or value in self._dimensions.producers

    def _probe(self) -> Mapping[Value, Value]:
        """Emit one step over zeros for the sizes of its results, where no shape rule determines them."""
        if self._probed is None:
            emitter = self._emitter
            given = {self._t: emitter.integer(0), **self._states, **self._rest.invariants}
            given |= {value: self._no_slice(value, whole) for value, whole in self._rest.sequences.items()}
            self._probed = inline(self._rest.ops, given, emitter)
        return self._probed

    def _no_slice(self, value: Value, whole: Value) -> Value:
        sizes = [self._emitter.dimension(whole, axis + 1) for axis in range(len(dims(value)))]
        return self._emitter.zeros(sizes, dims(whole)[1:], "no_slice", dtype=value.type.dtype)
