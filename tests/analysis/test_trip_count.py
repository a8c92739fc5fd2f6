"""How many steps a scan runs: what is known to be enough of them."""

from __future__ import annotations

import numpy as np
import pytest

from converter.analysis.dimensions import Dimensions
from converter.analysis.trip_count import TripCount, covers, trip_count
from converter.emission.emitter import Emitter
from converter.ir import DType, Names, Value, constant
from converter.ir.dimensions import unknown
from tests.programs import tensor

X = tensor("x", None, None, 3)
N, OTHER = tensor("n", None, dtype=DType.INT32), tensor("other", None, dtype=DType.INT32)


def _steps(emitter: Emitter, what: str) -> Value:
    """Steps as TensorFlow writes them, by their formula."""
    time = emitter.dimension(X, 0)
    longest, other = emitter.reduce_max(N, 0, "longest"), emitter.reduce_max(OTHER, 0, "other")
    one = emitter.integer(1)
    return {
        "time": time,
        "batch": emitter.dimension(X, 1),
        "longest": longest,
        "min(time, max(1, longest))": emitter.minimum(time, emitter.maximum(one, longest)),
        "min(time, max(1, time))": emitter.minimum(time, emitter.maximum(one, time)),
        "min(time, other)": emitter.minimum(time, other),
        "5": emitter.integer(5),
    }[what]


@pytest.mark.parametrize(
    ("what", "without_lengths", "with_lengths"),
    [
        ("time", True, True),
        ("batch", False, False),
        ("longest", False, True),
        ("min(time, max(1, longest))", False, True),
        ("min(time, max(1, time))", True, True),
        ("min(time, other)", False, False),
        ("5", False, False),
    ],
)
def test_steps_that_reach_the_end_are_known(what: str, without_lengths: bool, with_lengths: bool) -> None:
    emitter = Emitter("m", Names())
    steps = _steps(emitter, what)
    around = Dimensions.of(emitter.ops)
    assert covers(steps, X, None, around) == without_lengths
    assert covers(steps, X, N, around) == with_lengths


def test_constant_lengths_are_compared_with_constant_steps() -> None:
    lengths = constant("lengths", np.asarray([2, 5], np.int32))
    emitter = Emitter("m", Names())
    assert covers(emitter.integer(5), X, lengths, Dimensions.of([]))
    assert not covers(emitter.integer(4), X, lengths, Dimensions.of([]))
    assert covers(None, X, None, Dimensions.of([]))


# --- how long a loop runs ----------------------------------------------------------------------------------------

Y = tensor("y", None, None, 3)


def _counted(
    limits: list[Value], counts: list[Value], sequences: list[Value], emitter: Emitter, *, grows: bool = False
) -> TripCount:
    count = trip_count(limits, counts, sequences, Dimensions.of(emitter.ops), grows=grows)
    assert count is not None
    return count


def test_a_loop_over_a_whole_sequence_has_no_other_limits() -> None:
    emitter = Emitter("m", Names())
    time = emitter.dimension(X, 0)
    count = _counted([time], [], [Y, X], emitter)
    assert (count.size, count.holders, count.limits) == (unknown(X, 0), (), ())


def test_a_limit_that_may_be_less_ends_the_loop_before() -> None:
    emitter = Emitter("m", Names())
    least = emitter.minimum(emitter.dimension(X, 0), emitter.reduce_max(N, 0, "longest"))
    count = _counted([least], [], [X], emitter)
    assert (count.size, count.limits, count.is_bounded) == (unknown(X, 0), (least,), True)


def test_the_outputs_say_how_long_the_loop_may_run() -> None:
    emitter = Emitter("m", Names())
    limit, size = tensor("limit", dtype=DType.INT32), emitter.integer(7)
    count = _counted([limit], [size, emitter.integer(7)], [], emitter)
    assert (count.size, count.holders, count.limits, count.is_bounded) == (7, (size,), (limit,), False)


def test_outputs_that_grow_are_as_long_as_the_loop_runs() -> None:
    limits = [tensor(name, dtype=DType.INT32) for name in ("n", "m")]
    one = _counted(limits[:1], [], [X], Emitter("m", Names()), grows=True)
    assert (one.size, one.holders, one.limits) == (unknown(limits[0]), tuple(limits[:1]), ())
    both = _counted(limits, [], [X], Emitter("m", Names()), grows=True)
    assert (both.size, both.holders, both.limits) == (None, tuple(limits), ())


def test_outputs_of_several_lengths_are_no_sequence() -> None:
    emitter = Emitter("m", Names())
    around = Dimensions.of([])
    limit, counts = tensor("limit", dtype=DType.INT32), [emitter.integer(5), emitter.integer(6)]
    assert trip_count([limit], counts, [], around, grows=False) is None
    assert trip_count([limit], counts[:1], [], around, grows=True) is None
