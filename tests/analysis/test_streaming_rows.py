"""How many rows there are, and when they leave: the arithmetic of windows and rates against counting."""

from __future__ import annotations

import itertools
from fractions import Fraction

import numpy as np
import pytest

from converter.analysis.streaming.facts import Rows
from converter.analysis.streaming.windows import Window, matched, same_padding, through
from converter.chunks import OutputRows

STEPS = range(24, 90)


def count(rows: Rows, steps: int) -> int:
    return OutputRows(0, rows.stride, rows.delay, rows.first, rows.block, rows.short).rows_of(steps)


@pytest.mark.parametrize("seed", range(40))
def test_rows_are_as_many_as_are_counted(seed: int) -> None:
    rng = np.random.default_rng(seed)
    rows, counts = Rows(0), {steps: steps for steps in STEPS}
    for _ in range(4):
        if rng.random() < 0.5:
            factor = int(rng.integers(1, 4))
            rows, counts = rows.refined(factor), {steps: n * factor for steps, n in counts.items()}
            continue
        reach, stride, left, right = (int(rng.integers(*bounds)) for bounds in ((1, 5), (1, 4), (-2, 3), (-2, 3)))
        rows, _ = through(rows, Window(reach, stride, left, right))
        counts = {steps: max(0, (n + left + right - reach) // stride + 1) for steps, n in counts.items()}
    for steps in STEPS:
        if steps % rows.lengths == 0:
            assert count(rows, steps) == counts[steps]
    whole = np.lcm(rows.period, rows.lengths) * 24
    assert count(rows, whole) - whole / rows.stride == rows.surplus


def test_rows_of_blocks_leave_with_a_fraction_of_a_step() -> None:
    rows = Rows(0).refined(4)
    made, feed = through(rows, Window(left=-3))
    assert (made.stride, made.delay, made.warm_up, made.missing) == (Fraction(1, 4), Fraction(3, 4), 3, 0)
    assert feed.is_plain
    assert (made.first, made.block, made.short) == (1, 4, 3)
    assert made.tail == 0


def test_rows_of_several_elements_are_rows_of_one() -> None:
    assert Rows(0, after=3).separated() == Rows(0).refined(3)
    assert Rows(0, before=2, after=3).separated() == Rows(0, before=2, after=3)


def test_rates_that_are_no_whole_number_need_several_blocks() -> None:
    made, _ = through(Rows(0).refined(3), Window(stride=2))
    assert (made.stride, made.block, made.period, made.lengths) == (Fraction(2, 3), 3, 2, 2)
    again, _ = through(Rows(0).refined(6), Window(stride=2))
    assert (again.stride, again.block, again.period, again.lengths) == (Fraction(1, 3), 3, 1, 1)


def test_sequences_of_equal_length_match() -> None:
    rows = Rows(0)
    halved, _ = through(rows, Window(2, 2))
    found = matched(rows, halved.refined(2))
    assert found is not None
    assert (found.lengths, found.block) == (2, 1)
    assert matched(rows, rows) == rows
    shorter, _ = through(halved.refined(2), Window(right=-1))
    assert matched(rows, shorter) is None


@pytest.mark.parametrize(("reach", "stride"), list(itertools.product(range(1, 7), range(1, 5))))
def test_same_padding_is_that_of_the_lengths_which_are_meant(reach: int, stride: int) -> None:
    for rows in (Rows(0), Rows(0, first=3), Rows(0).refined(2), through(Rows(0), Window(2, 2))[0]):
        found, window = same_padding(rows, reach, stride)
        made, _ = through(found, window)
        for steps in (n for n in STEPS if n % made.lengths == 0):
            size = count(rows, steps)
            total = max(0, (-(-size // stride) - 1) * stride + reach - size)
            assert window.left == total // 2
            assert count(made, steps) == -(-size // stride)
