"""Nothing is trusted before it is run: a scan and what takes its place, on random inputs, in float64."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from converter.errors import InvalidProgramError
from converter.ir import Array, DType, Graph, Op, Scan, Value
from converter.ir.evaluate import evaluate_graph

_TIME = 4
_BATCH = 3
_MAGNITUDES = (0.3, 1.0, 1.0, 4.0, 20.0)
"""Of states and inputs: in the middle of every activation, and beyond clips and saturations."""
_TOLERANCE = 1e-6
"""Relative to the largest number of a result; constants of the step, such as 1 / 6, are rounded to float32."""


def probe(scan: Scan) -> Scan:
    """Return ``scan`` with values in place of its sequences and initial states: constants may be anything too."""
    return replace(
        scan,
        sequences=_open(scan.sequences, "sequence"),
        initial_state=_open(scan.initial_state, "state"),
    )


def _open(values: Sequence[Value], name: str) -> tuple[Value, ...]:
    return tuple(Value(f"{name}_{index}", value.type) for index, value in enumerate(values))


def agree(scan: Scan, ops: Sequence[Op], lengths: Value | None, is_zero: Callable[[Value], bool]) -> bool:
    """True if ``ops`` compute what ``scan`` does, for random inputs of several magnitudes.

    ``lengths`` is the operand of the scan that holds the lengths of the rows.
    """
    operands = dict.fromkeys(value for value in scan.operands if value is not None and value.data is None)
    inputs = tuple(operands)
    before = Graph("before", inputs, scan.results, (scan,))
    after = Graph("after", inputs, scan.results, tuple(ops))
    settled = False
    for seed, magnitude in enumerate(_MAGNITUDES):
        rng = np.random.default_rng(seed)
        given = [_random(rng, value, scan, lengths, is_zero) * _factor(value, magnitude) for value in inputs]
        try:
            with np.errstate(all="ignore"):
                expected, seen = evaluate_graph(before, given), evaluate_graph(after, given)
        except InvalidProgramError:
            return False
        if not all(np.isfinite(array).all() for array in expected):
            continue
        if not all(_close(x, y) for x, y in zip(expected, seen, strict=True)):
            return False
        settled = True
    return settled


def _close(x: Array, y: Array) -> bool:
    return x.shape == y.shape and bool(np.all(np.abs(x - y) <= _TOLERANCE * (1.0 + np.abs(x).max(initial=0.0))))


def _factor(value: Value, magnitude: float) -> float | int:
    return magnitude if value.type.dtype is DType.FLOAT32 else 1


def _random(
    rng: np.random.Generator, value: Value, scan: Scan, lengths: Value | None, is_zero: Callable[[Value], bool]
) -> Array:
    if value is scan.steps or value is scan.length:
        return np.asarray(_TIME, np.int32)
    shape = _shape(value, scan)
    if value is lengths:
        return rng.integers(0, _TIME + 2, shape).astype(np.int32)
    if is_zero(value):
        return np.zeros(shape)
    if value.type.dtype is DType.FLOAT32:
        return rng.standard_normal(shape)
    dtype = value.type.dtype.numpy
    return rng.integers(0, 2, shape).astype(np.int32 if dtype is None else dtype)


def _shape(value: Value, scan: Scan) -> list[int]:
    shape = list(value.type.shape or ())
    if value in scan.sequences:
        shape[0] = _TIME
    return [_BATCH if dim is None else dim for dim in shape]
