"""Measure how far an array is from its reference."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from tflite_rnn.runtime.signature import Array


@dataclass(frozen=True, slots=True)
class Difference:
    """The distance of one array from its reference.

    ``max_abs_error`` is the largest |d|; infinite if the arrays cannot be compared, or have NaN or infinity in
    different places. ``max_rel_error`` is the largest |d| / |reference| over the elements whose reference exceeds
    ``atol``: below it the absolute tolerance alone decides. ``elements`` is how many were compared. ``problem``
    says in words why the array is not within tolerance, and is None if it is.
    """

    max_abs_error: float
    max_rel_error: float
    elements: int
    problem: str | None = None


def difference(actual: Array, expected: Array, *, atol: float, rtol: float) -> Difference:
    """Compare a model's output with its reference.

    Floats are within tolerance if |actual - expected| <= atol + rtol * |expected| for every element, NaN and
    infinities standing in the same places; everything else must be equal. Shapes and dtypes must be equal too,
    except that the reference of a float may be float64, as a more precise oracle gives.
    """
    problem = _mismatch(actual, expected)
    if problem is not None:
        return Difference(math.inf, math.inf, 0, problem)
    if actual.dtype.kind != "f":
        return _exact(actual, expected)
    return _close(actual.astype(np.float64), expected.astype(np.float64), atol, rtol)


def bits_equal(first: Array, second: Array) -> bool:
    """Whether two arrays are the same bit for bit, dtype and shape included."""
    return first.dtype == second.dtype and first.shape == second.shape and first.tobytes() == second.tobytes()


def _mismatch(actual: Array, expected: Array) -> str | None:
    if actual.shape != expected.shape:
        return f"shape {list(actual.shape)}, the reference has {list(expected.shape)}"
    more_precise = actual.dtype.kind == "f" and expected.dtype == np.float64
    if actual.dtype != expected.dtype and not more_precise:
        return f"dtype {actual.dtype}, the reference has {expected.dtype}"
    return None


def _exact(actual: Array, expected: Array) -> Difference:
    wrong = actual != expected
    if not wrong.any():
        return Difference(0.0, 0.0, actual.size)
    if actual.dtype.kind not in "iub":
        return Difference(math.inf, math.inf, actual.size, _words(actual, expected, wrong, wrong))
    wide, wide_expected = actual.astype(np.float64), expected.astype(np.float64)
    error = np.asarray(np.abs(wide - wide_expected))
    relative = _relative(error, np.abs(wide_expected), 0.0)
    return Difference(float(error.max()), relative, actual.size, _words(actual, expected, wrong, error))


def _close(actual: Array, expected: Array, atol: float, rtol: float) -> Difference:
    finite = np.isfinite(expected)
    same = (actual == expected) | (np.isnan(actual) & np.isnan(expected))
    comparable = finite & np.isfinite(actual)
    error = np.full(expected.shape, math.inf)
    error[same] = 0.0
    np.subtract(actual, expected, out=error, where=comparable)
    np.abs(error, out=error)
    size = np.where(finite, np.abs(expected), 0.0)
    wrong = error > atol + rtol * size
    problem = _words(actual, expected, wrong, error) if wrong.any() else None
    return Difference(float(error.max(initial=0.0)), _relative(error, size, atol), expected.size, problem)


def _relative(error: Array, size: Array, floor: float) -> float:
    judged = size > floor
    ratios: Array = error[judged] / size[judged]
    return float(ratios.max(initial=0.0))


def _words(actual: Array, expected: Array, wrong: Array, error: Array) -> str:
    worst = np.unravel_index(int(np.argmax(error)), error.shape)
    place = [int(index) for index in worst]
    return (
        f"{int(wrong.sum())} of {wrong.size} elements differ, most at {place}: "
        f"{_text(actual[worst])}, the reference has {_text(expected[worst])}"
    )


def _text(element: object) -> str:
    return f"{element:.6g}" if isinstance(element, np.floating) else str(element)
