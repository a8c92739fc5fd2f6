"""The sizes of blocks are decided before a loop is emitted."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from converter.emission.emitter import Emitter
from converter.ir import Array, DType, Names, TfliteOp, Value
from converter.lowering.blocks import BLOCK, LARGE, BlockPlan
from tests.programs import tensor

TIMES = [0, 1, 3, BLOCK - 1, BLOCK, BLOCK + 1, 2 * BLOCK, LARGE, LARGE + 1, 2 * LARGE + 7, 1000, 1003]


@pytest.mark.parametrize("time", TIMES)
def test_blocks_fit_into_each_other_and_hold_every_output(time: int) -> None:
    plan = BlockPlan.of(time)
    sizes = [size for size in plan.sizes if size is not None]
    assert len(sizes) == len(plan.sizes) <= 3
    assert sizes[-1] >= time
    assert all(larger % smaller == 0 and larger > smaller for smaller, larger in pairwise(sizes))
    assert sizes[0] <= BLOCK
    assert plan.is_exact is (sizes[-1] == time)


@pytest.mark.parametrize("time", TIMES)
def test_little_goes_beyond_the_end(time: int) -> None:
    (*_, whole) = BlockPlan.of(time).sizes
    assert whole is not None
    assert whole - time < max(BLOCK * -(-time // LARGE), 2)


@pytest.mark.parametrize(("time", "sizes"), [(7, (7,)), (40, (20, 40)), (100, (20, 100)), (205, (20, 80, 240))])
def test_short_sequences_need_fewer_loops(time: int, sizes: tuple[int, ...]) -> None:
    assert BlockPlan.of(time).sizes == sizes


ARITHMETIC = {
    "ADD": np.add,
    "FLOOR_DIV": np.floor_divide,
    "MAXIMUM": np.maximum,
    "MUL": np.multiply,
    "SUB": np.subtract,
}


@pytest.mark.parametrize("time", TIMES)
def test_sizes_that_are_computed_are_those_of_the_plan_for_the_same_time(time: int) -> None:
    plan = BlockPlan.of(None)
    assert plan.sizes == (BLOCK, None, None)
    assert not plan.is_exact
    given = tensor("time", dtype=DType.INT32)
    emitter = Emitter("sizes", Names(["time"]))
    sizes = plan.emit_sizes(given, emitter)
    known = {given: np.array(time)}

    def read(value: Value) -> Array:
        return known[value] if value.data is None else value.data

    for op in emitter.ops:
        assert isinstance(op, TfliteOp)
        known[op.results[0]] = ARITHMETIC[op.builtin](read(op.operand(0)), read(op.operand(1)))
    seen = [int(read(size)) for size in sizes]
    assert seen[0] == BLOCK
    assert seen[1] % seen[0] == seen[2] % seen[1] == 0
    assert seen[2] >= time
    if time > BLOCK:
        assert {*seen} == {*BlockPlan.of(time).sizes}
