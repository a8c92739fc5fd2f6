"""Emit symbolic sizes as TFLite ops."""

from __future__ import annotations

from converter.emission.emitter import Emitter
from converter.ir import DType, Value
from converter.ir.dimensions import Dimension, Extent


def emit_size(size: Dimension, emitter: Emitter) -> Value:
    """Emit ``size`` as an int32 scalar: a constant, or a product of sizes of values."""
    if isinstance(size, int):
        return emitter.integer(size)
    extents = sorted(size.extents, key=lambda power: (power[0].value.name, power[0].axis or 0))
    factors = [_extent(extent, emitter) for extent, power in extents for _ in range(power)]
    if size.factor != 1:
        factors.append(emitter.integer(size.factor))
    total, *others = factors
    for factor in others:
        total = emitter.multiply(total, factor, "size")
    return total


def _extent(extent: Extent, emitter: Emitter) -> Value:
    if extent.axis is not None:
        return emitter.dimension(extent.value, extent.axis)
    number = extent.value if extent.value.type.shape == () else emitter.scalar(extent.value, "number")
    return number if number.type.dtype is DType.INT32 else emitter.cast(number, DType.INT32, "number")
