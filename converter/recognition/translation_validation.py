"""Validate a replacement: run a scan and its replacement on random inputs, in float64."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from converter.analysis.zeros import is_zero
from converter.errors import InvalidProgramError
from converter.ir import Array, DType, Graph, Op, Producers, Scan, Value
from converter.ir.evaluate import evaluate_graph

_TIMES = (4, 1)
"""Numbers of steps to try: several, then one in case the numbers grow too fast."""
_BATCH = 3
_MAGNITUDES = (0.3, 1.0, 1.0, 4.0, 20.0)
"""Magnitudes of states and inputs: in the linear range of activations, and beyond clips and saturation."""
_LARGEST = 1e6
"""Results beyond this are not compared: rounding dominates them."""
_TOLERANCE = 1e-6
"""Relative to the largest number of a result; constants of the step, such as 1 / 6, are rounded to float32."""


def with_open_inputs(scan: Scan) -> Scan:
    """Return ``scan`` with new values as sequences and initial states, so that constants are varied as well."""
    return replace(
        scan,
        sequences=_open(scan.sequences, "sequence"),
        initial_state=_open(scan.initial_state, "state"),
    )


def _open(values: Sequence[Value], name: str) -> tuple[Value, ...]:
    return tuple(Value(f"{name}_{index}", value.type) for index, value in enumerate(values))


def computes_the_same(scan: Scan, ops: Sequence[Op], lengths: Value | None, around: Producers) -> bool:
    """True if ``ops`` compute what ``scan`` does, for random inputs of several magnitudes.

    ``lengths`` is the operand of the scan that holds the lengths of the rows; ``around`` are the producers of the
    graph that holds the scan.
    """
    for time in _TIMES:
        runs = [_Run(scan, lengths, around, time, seed) for seed in range(len(_MAGNITUDES))]
        outcomes = {run.agrees(ops) for run in runs}
        if False in outcomes:
            return False
        if True in outcomes:
            return True
    return False


@dataclass(frozen=True, slots=True, eq=False)
class _Run:
    """One run of scan and replacement over sequences of ``time`` steps."""

    scan: Scan
    lengths: Value | None
    around: Producers
    time: int
    seed: int

    def agrees(self, ops: Sequence[Op]) -> bool | None:
        """Return whether both compute the same, None if the numbers are too large to compare."""
        scan = self.scan
        inputs = tuple(dict.fromkeys(value for value in scan.operands if value is not None and value.data is None))
        rng = np.random.default_rng(self.seed)
        given = [self._random(rng, value) for value in inputs]
        try:
            with np.errstate(all="ignore"):
                expected = evaluate_graph(Graph("before", inputs, scan.results, (scan,)), given)
                seen = evaluate_graph(Graph("after", inputs, scan.results, tuple(ops)), given)
        except (InvalidProgramError, LookupError, ValueError):  # an unknown op, or shapes or axes that do not fit
            return False
        if not all((np.abs(array) <= _LARGEST).all() for array in expected):
            return None
        return all(_close(x, y) for x, y in zip(expected, seen, strict=True))

    def _random(self, rng: np.random.Generator, value: Value) -> Array:
        if value is self.scan.steps or value is self.scan.length:
            return np.asarray(self.time, np.int32)
        shape = [_BATCH if dim is None else dim for dim in value.type.shape or ()]
        if value in self.scan.sequences:
            shape[0] = self.time
        if value is self.lengths:
            return rng.integers(0, self.time + 2, shape).astype(np.int32)
        if is_zero(value, self.around):
            return np.zeros(shape)
        if value.type.dtype is DType.FLOAT32:
            return rng.standard_normal(shape) * _MAGNITUDES[self.seed]
        dtype = value.type.dtype.numpy
        return rng.integers(0, 2, shape).astype(np.int32 if dtype is None else dtype)


def _close(x: Array, y: Array) -> bool:
    return x.shape == y.shape and bool(np.all(np.abs(x - y) <= _TOLERANCE * (1.0 + np.abs(x).max(initial=0.0))))
