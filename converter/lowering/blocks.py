"""Plan the sizes of the blocks of outputs that nested loops carry, before anything is emitted."""

from __future__ import annotations

from dataclasses import dataclass

from converter.emission.emitter import Emitter
from converter.ir import Value

BLOCK = 20
"""Outputs in a block of the innermost loop: what each time step copies."""

LARGE = 100
"""Outputs in a block of the loop around it, about: what each run of the innermost loop copies."""


@dataclass(frozen=True, slots=True)
class BlockPlan:
    """The numbers of outputs that the loops of one nest carry, from the innermost to the outermost.

    Each size is a multiple of the one before, and the last is at least ``time``, the number of time steps.
    Blocks are of even sizes, so that few of them go beyond the end. Where ``time`` is known only when the model
    runs, so are all sizes but the first: they are None.
    """

    time: int | None
    sizes: tuple[int | None, ...]

    @classmethod
    def of(cls, time: int | None) -> BlockPlan:
        """Return the plan for a number of time steps, None if it is not known."""
        if time is None:
            return cls(None, (BLOCK, None, None))
        if time <= BLOCK:
            return cls(time, (max(1, time),))
        count = -(-time // LARGE)
        larger = -(-time // (count * BLOCK)) * BLOCK
        return cls(time, tuple(sorted({BLOCK, larger, larger * count})))

    @property
    def is_exact(self) -> bool:
        """Whether the outermost loop carries exactly the outputs that are wanted."""
        return self.time is not None and self.sizes[-1] == self.time

    def emit_sizes(self, time: Value, emitter: Emitter) -> list[Value]:
        """Emit the sizes as int32 scalars; ``time`` is the number of time steps as one."""
        if self.time is None:
            return _computed_sizes(time, emitter)
        return [emitter.integer(size) for size in self.sizes if size is not None]


def _computed_sizes(time: Value, emitter: Emitter) -> list[Value]:
    """Emit `BlockPlan.of` for a number of time steps that is computed while the model runs."""
    one, smallest = emitter.integer(1), emitter.integer(BLOCK)
    blocks = emitter.ceil_div(time, BLOCK, "blocks")
    count = emitter.maximum(emitter.ceil_div(time, LARGE, "large_blocks"), one)
    above = emitter.subtract(emitter.add(blocks, count), one)
    each = emitter.binary("FLOOR_DIV", above, count, "blocks_of_each")
    larger = emitter.multiply(emitter.maximum(each, one), smallest, "large_block")
    return [smallest, larger, emitter.multiply(larger, count, "padded_time")]
