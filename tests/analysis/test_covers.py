"""How many steps a scan runs: what is known to be enough of them."""

from __future__ import annotations

import numpy as np
import pytest

from converter.emission.emitter import Emitter
from converter.ir import DType, Names, Value, constant
from converter.passes.recognize_cells import covers
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
    producers = {result: op for op in emitter.ops for result in op.results}
    assert covers(steps, X, None, producers) == without_lengths
    assert covers(steps, X, N, producers) == with_lengths


def test_constant_lengths_are_compared_with_constant_steps() -> None:
    lengths = constant("lengths", np.asarray([2, 5], np.int32))
    emitter = Emitter("m", Names())
    assert covers(emitter.integer(5), X, lengths, {})
    assert not covers(emitter.integer(4), X, lengths, {})
    assert covers(None, X, None, {})
