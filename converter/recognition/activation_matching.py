"""Match activations by their values: find the ops that together compute a known elementwise function.

Softplus is one op in a framework and six in a file, a hard sigmoid four. So every value that depends elementwise
on a single other value, its root, is evaluated over a range of roots and compared with the known activations.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType

import numpy as np

from converter.analysis.uses import backward_slice
from converter.errors import InvalidProgramError
from converter.ir import Activation, Array, Graph, TfliteOp, Trait, Value, constant, has
from converter.ir.evaluate import activate, evaluate_graph
from converter.recognition.normal_form import Clip, Function

_RANGE = np.concatenate([np.linspace(-8.0, 8.0, 161), [-40.0, -20.0, 20.0, 40.0]])
_TOLERANCE = 1e-6
_UNBOUNDED = 1e29
_FAR = 1e4

_SCALES: Mapping[Activation, Sequence[float]] = MappingProxyType(
    {Activation.SIGMOID: (1.0, 2.0), Activation.TANH: (1.0, 0.5)}
)
"""Factors that a root may have: the half in (1 + tanh(x / 2)) / 2 may have been folded into a kernel.

They are positive: 1 - sigmoid(x) must stay a sum, because cells are recognised by it.
"""


@dataclass(frozen=True, slots=True, eq=False)
class Matched:
    """A value that equals function(scale * root + shift), elementwise."""

    function: Function
    root: Value
    scale: float = 1.0
    shift: float = 0.0


def match_activations(ops: Sequence[TfliteOp], stops: Iterable[Value]) -> dict[Value, Matched]:
    """Return every value of ``ops`` that is an activation or a clip of another one, the most distant match.

    No match reaches across ``stops``, which are new components of the state.
    """
    stopped = frozenset(stops)
    order = {result: index for index, op in enumerate(ops) for result in op.results}
    roots: dict[Value, frozenset[Value]] = {}
    matches: dict[Value, Matched] = {}
    for op in ops:
        found = _roots(op, roots, stopped)
        if not found:
            continue
        (value,) = op.results
        roots[value] = found
        farthest_first = sorted(found, key=lambda root: order.get(root, -1))
        match = next((m for root in farthest_first if (m := _match(value, root, ops)) is not None), None)
        if match is not None:
            matches[value] = match
    return matches


def _roots(op: TfliteOp, roots: Mapping[Value, frozenset[Value]], stops: frozenset[Value]) -> frozenset[Value]:
    """Return the values on each of which alone the result of ``op`` depends, elementwise."""
    if not _is_elementwise(op):
        return frozenset()
    found: frozenset[Value] | None = None
    for operand in op.operands:
        if operand is None:
            return frozenset()
        if operand.data is not None:
            if not is_uniform(operand):
                return frozenset()
            continue
        own = frozenset({operand}) | (frozenset() if operand in stops else roots.get(operand, frozenset()))
        found = own if found is None else found & own
    return frozenset() if found is None else found


def _is_elementwise(op: TfliteOp) -> bool:
    """Whether ``op`` computes one result elementwise and continuously, as activations do."""
    known = has(op, Trait.ELEMENTWISE) or op.builtin in {"DEQUANTIZE", "SELECT"}
    return known and not has(op, Trait.STEPPED) and len(op.results) == 1


def is_uniform(value: Value) -> bool:
    """True if ``value`` is a constant whose elements are all equal, however many."""
    data = value.data
    return (
        data is not None
        and data.size > 0
        and value.type.dtype.numpy is not None
        and bool((data == data.flat[0]).all())
    )


def _match(value: Value, root: Value, ops: Sequence[TfliteOp]) -> Matched | None:
    graph = _between(root, value, ops)

    def function(x: Array) -> Array:
        with np.errstate(all="ignore"):
            (y,) = evaluate_graph(graph, [x[None]])
        return np.asarray(np.broadcast_to(y, (1, len(x)))[0])

    try:
        seen = function(_RANGE)
    except InvalidProgramError:
        return None
    if seen.dtype != np.float64 or not np.isfinite(seen).all():
        return None
    for activation in Activation:
        if activation is Activation.LINEAR:
            continue
        for scale in _SCALES.get(activation, (1.0,)):
            if _close(seen, activate(activation, scale * _RANGE)):
                return Matched(activation, root, scale)
    low, high = (float(end) for end in function(np.array([-1e30, 1e30])))
    if not -_UNBOUNDED < low < high < _UNBOUNDED:
        return None
    return _clip(root, low, high, function) or _hard_sigmoid(root, low, high, function)


def _close(x: Array, y: Array) -> bool:
    return bool(np.allclose(x, y, rtol=_TOLERANCE, atol=_TOLERANCE))


def _clip(root: Value, low: float, high: float, function: Callable[[Array], Array]) -> Matched | None:
    if low != -high:
        return None
    around = np.concatenate([np.linspace(3 * low, 3 * high, 101), _RANGE])
    return Matched(Clip(low, high), root) if _close(function(around), np.clip(around, low, high)) else None


def _hard_sigmoid(root: Value, low: float, high: float, function: Callable[[Array], Array]) -> Matched | None:
    """Return a hard sigmoid of any slope: Keras 2 has x / 5, Keras 3 x / 6, and kernels may hold the factor."""
    if abs(low) > _TOLERANCE or abs(high - 1.0) > _TOLERANCE:
        return None
    first, second = (_where(function, level) for level in (0.25, 0.75))
    if not first < second:
        return None
    # clip(y / 6 + 1/2, 0, 1) is 1/4 for y = -1.5 and 3/4 for 1.5.
    scale = 3.0 / (second - first)
    shift = 1.5 - scale * second
    around = np.concatenate([np.linspace(3 * first - 2 * second, 3 * second - 2 * first, 101), _RANGE])
    expected = activate(Activation.HARD_SIGMOID, scale * around + shift)
    return Matched(Activation.HARD_SIGMOID, root, scale, shift) if _close(function(around), expected) else None


def _where(function: Callable[[Array], Array], level: float) -> float:
    """Return where an increasing function reaches ``level``, by bisection."""
    low, high = -_FAR, _FAR
    for _ in range(80):
        middle = (low + high) / 2
        below = function(np.array([middle]))[0] < level
        low, high = (middle, high) if below else (low, middle)
    return low


def _between(root: Value, value: Value, ops: Sequence[TfliteOp]) -> Graph:
    """Return the graph that computes ``value`` from ``root``, with scalar constants, for any shape."""
    between = set(backward_slice(ops, [value], given={root}).ops)
    scalars = (replace(op, operands=tuple(map(_scalar, op.operands))) for op in ops if op in between)
    return Graph("function", (root,), (value,), tuple(scalars))


def _scalar(operand: Value | None) -> Value | None:
    if operand is None or operand.data is None:
        return operand
    return constant(operand.name, np.asarray(operand.data.flat[0]))
