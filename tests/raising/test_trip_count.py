"""The length and the steps of a scan, as ops, against the numbers that they compute."""

from __future__ import annotations

import numpy as np
import pytest

from converter.analysis.dimensions import Dimensions
from converter.emission.emitter import Emitter
from converter.ir import Array, DType, Graph, Names, Value
from converter.ir.evaluate import evaluate_graph
from converter.raising.trip_count import EmittedTripCount, emit_trip_count
from tests.programs import tensor

X, Y = tensor("x", None, None, 3), tensor("y", None, None, 3)
N, M = tensor("n", dtype=DType.INT32), tensor("m", dtype=DType.INT64)


def _emitter() -> Emitter:
    return Emitter("m", Names(["x", "y", "n", "m"]))


def _trip_count(
    emitter: Emitter,
    limits: list[Value],
    counts: list[Value] | None = None,
    sequences: tuple[Value, ...] = (),
    *,
    grows: bool = False,
) -> EmittedTripCount:
    around = Dimensions.of(emitter.ops)
    trips = emit_trip_count(limits, counts or [], sequences, around, emitter, grows=grows)
    assert trips is not None
    return trips


def _value(value: Value | None, emitter: Emitter, *, n: int, m: int = 0) -> int:
    """What a scalar is if x has 5 steps and y has 6."""
    assert value is not None
    given: list[Array] = [np.zeros((5, 2, 3)), np.zeros((6, 2, 3)), np.asarray(n, np.int32), np.asarray(m)]
    (array,) = evaluate_graph(Graph("main", (X, Y, N, M), (value,), tuple(emitter.ops)), given)
    return int(array)


def test_a_loop_over_a_whole_sequence_has_neither_length_nor_steps() -> None:
    emitter = _emitter()
    trips = _trip_count(emitter, [emitter.dimension(Y, 0)], sequences=(X, Y))
    assert (trips.length, trips.steps, trips.sequences) == (None, None, (Y, X))
    assert _value(trips.count(emitter), emitter, n=0) == 6


@pytest.mark.parametrize("n", [0, 3, 9])
def test_a_limit_of_an_output_that_is_made_before_is_the_number_of_steps(n: int) -> None:
    emitter = _emitter()
    trips = _trip_count(emitter, [N], [emitter.dimension(X, 0)], (X,))
    assert trips.length is None
    assert _value(trips.steps, emitter, n=n) == min(n, 5)
    assert _value(trips.count(emitter), emitter, n=-n) == 0


def test_outputs_that_grow_are_as_long_as_the_least_limit() -> None:
    emitter = _emitter()
    trips = _trip_count(emitter, [N, M], sequences=(X,), grows=True)
    assert trips.steps is None
    assert _value(trips.length, emitter, n=4, m=3) == 3
    assert trips.length is not None
    assert trips.length.type.dtype is DType.INT32


def test_a_length_that_is_computed_is_held_by_the_scalar_that_there_is() -> None:
    emitter = _emitter()
    trips = _trip_count(emitter, [N], [N])
    assert (trips.length, trips.steps) == (N, None)


def test_what_is_known_of_a_loop_of_constant_limits() -> None:
    emitter = _emitter()
    trips = _trip_count(emitter, [emitter.integer(4)], [emitter.integer(7)])
    assert (trips.known, trips.surely_runs()) == (7, True)
    assert _value(trips.length, emitter, n=0) == 7
    assert _value(trips.steps, emitter, n=0) == 4
    assert not _trip_count(emitter, [N], [emitter.integer(7)]).surely_runs()
