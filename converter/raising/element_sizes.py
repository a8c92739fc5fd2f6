"""Emit the sizes of what a loop collects, before the loop."""

from __future__ import annotations

from dataclasses import dataclass

from converter.analysis.dimensions import Dimensions
from converter.emission.emitter import Emitter
from converter.emission.sizes import emit_size
from converter.ir import DType, TensorType, Trait, Value, has, made_by
from converter.ir.dimensions import Dimension
from converter.ir.shapes import Known
from converter.raising.loop import Loop


def emit_element_sizes(element: Value, loop: Loop, emitter: Emitter) -> list[Value] | None:
    """Emit each size of a value of the loop's body as an int32 scalar, before the loop; None if one is unknown.

    The elements of a list have equal sizes, so those of the first step, which the initial values decide, are
    those of all steps.
    """
    given = {
        inside: Known(loop.around.shape(before), loop.around.elements(before))
        for inside, before in ((loop.body.inputs[place], loop.initial(place)) for place in loop.positions)
    }
    sizes = _Sizes(loop, Dimensions.of(loop.body.ops, given), emitter)
    shape = sizes.inside.shape(element)
    if shape is None:
        return None
    found = [sizes.emit(element, axis) for axis in range(len(shape))]
    known = [size for size in found if size is not None]
    return known if len(known) == len(found) else None


@dataclass(frozen=True, slots=True, eq=False)
class _Sizes:
    """The sizes of the body of a loop in its first step."""

    loop: Loop
    inside: Dimensions
    emitter: Emitter

    def emit(self, value: Value, axis: int) -> Value | None:
        """Emit one size of ``value``."""
        size = self.inside.dimension(value, axis)
        if self._is_outside(size):
            return emit_size(size, self.emitter)
        op, shape = made_by(value, self.loop.inside), self.inside.shape(value)
        if op is None or shape is None or not has(op, Trait.ELEMENTWISE):
            return None
        total: Value | None = None
        for operand in op.operands:
            other = None if operand is None else self.inside.shape(operand)
            if operand is None or other is None:
                return None
            place = axis - len(shape) + len(other)
            if place < 0:
                continue
            found = self.emit(operand, place)
            if found is None:
                return None
            total = found if total is None else self._broadcast(total, found)
        return total

    def _is_outside(self, size: Dimension) -> bool:
        """Return whether the size is known before the loop."""
        return isinstance(size, int) or not any(
            extent.value in self.loop.inside or extent.value in self.loop.body.inputs for extent, _ in size.extents
        )

    def _broadcast(self, x: Value, y: Value) -> Value:
        """Emit the size of what two axes of sizes ``x`` and ``y`` broadcast to: n for 1 and n, also for n = 0."""
        if x is y:
            return x
        is_one = Value(self.emitter.name("is_one"), TensorType(DType.BOOL, ()))
        self.emitter.op("EQUAL", [x, self.emitter.integer(1)], is_one)
        return self.emitter.select(is_one, y, x, "broadcast")
