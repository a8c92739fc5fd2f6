"""Generate random inputs for a model's signature, in sizes that reveal faulty recurrent models."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Final

import numpy as np

from tflite_rnn.runtime.errors import CheckError
from tflite_rnn.runtime.signature import Array, Shape, Signature, TensorSpec

#: (batch, time): the smallest, a longer one, both dimensions changed at once, and back to one seen before.
SIZES: Final = ((1, 1), (1, 20), (7, 5), (1, 20))


def example_inputs(
    signature: Signature,
    rng: np.random.Generator,
    *,
    batch: int,
    time: int,
    time_major: bool,
    bounds: Mapping[str, int] = MappingProxyType({}),
    is_padded: bool = False,
) -> dict[str, Array]:
    """Make one set of random inputs.

    Floats are standard normal; rank-1 integers are sequence lengths in [0, time], where a static time dimension
    of a sequence of rank 3 or more takes precedence over ``time``; other integers are 0 or 1; bool is random.
    An input in ``bounds`` holds whole numbers from 0 to below its bound, whatever its type. If sequences are to be
    padded (``is_padded``), each row has a random length, up to which no step is zero, and behind which all are.

    A dynamic dimension is filled by its place. If the two leading dimensions are dynamic, or the rank is 3 or
    more, they are (time, batch) if ``time_major``, else (batch, time). A dynamic leading dimension alone, at
    rank 1 or 2, is the batch; a dynamic second dimension alone, at rank 2, goes by the layout again.

    Raises:
        CheckError: if a later dimension is dynamic, or a dtype is none of the above.
    """
    sizes = (time, batch) if time_major else (batch, time)
    longest = _longest(signature, time, time_major=time_major)
    made = {
        spec.name: _random(spec, _filled(spec, batch, sizes), longest, rng, bounds.get(spec.name))
        for spec in signature.inputs
    }
    return _padded(made, rng, 0 if time_major else 1) if is_padded else made


def _padded(inputs: dict[str, Array], rng: np.random.Generator, axis: int) -> dict[str, Array]:
    """Return ``inputs`` with zeros behind a random length of each row, and no zero before."""
    shapes = {array.shape[:2] for array in inputs.values() if array.ndim >= 2}
    lengths = {shape: rng.integers(0, shape[axis] + 1, shape[1 - axis]) for shape in sorted(shapes)}
    padded = {}
    for name, array in inputs.items():
        if array.ndim < 2:
            padded[name] = array
            continue
        steps = np.arange(array.shape[axis])
        inside = steps[None, :] < lengths[array.shape[:2]][:, None]
        inside = inside if axis else inside.T
        filled = np.where(array == 0, np.ones((), array.dtype), array)
        padded[name] = np.where(inside.reshape(inside.shape + (1,) * (array.ndim - 2)), filled, 0).astype(
            array.dtype
        )
    return padded


def example_cases(
    signature: Signature,
    rng: np.random.Generator,
    *,
    time_major: bool = False,
    bounds: Mapping[str, int] = MappingProxyType({}),
    sizes: Sequence[tuple[int, int]] = SIZES,
    is_padded: bool = False,
) -> tuple[dict[str, Array], ...]:
    """Make inputs for each (batch, time) of ``sizes``, less those whose shapes repeat the case before.

    A model without dynamic dimensions thus has one case. Errors as `example_inputs`.
    """
    cases: list[dict[str, Array]] = []
    for batch, time in sizes:
        case = example_inputs(
            signature, rng, batch=batch, time=time, time_major=time_major, bounds=bounds, is_padded=is_padded
        )
        if not cases or _shapes(case) != _shapes(cases[-1]):
            cases.append(case)
    return tuple(cases)


def _shapes(case: dict[str, Array]) -> list[tuple[int, ...]]:
    return [array.shape for array in case.values()]


def _longest(signature: Signature, time: int, *, time_major: bool) -> int:
    """The number of steps every sequence has: no sequence length may exceed it."""
    axis = 0 if time_major else 1
    steps = [spec.shape[axis] for spec in signature.inputs if len(spec.shape) >= 3]
    return min([size for size in steps if size is not None], default=time)


def _filled(spec: TensorSpec, batch: int, sizes: tuple[int, int]) -> tuple[int, ...]:
    if None in spec.shape[2:]:
        raise CheckError(
            f"input {spec.name!r}: cannot make an example of shape {_text(spec.shape)}: only unknown "
            "batch and time dimensions (the first two) can be chosen; give inputs (--inputs FILE.npz)"
        )
    leading = (batch, *sizes[1:]) if _is_batch_alone(spec.shape) else sizes
    return tuple(leading[axis] if size is None else size for axis, size in enumerate(spec.shape))


def _is_batch_alone(shape: Shape) -> bool:
    return len(shape) == 1 or (len(shape) == 2 and shape[0] is None and shape[1] is not None)


def _text(shape: Shape) -> str:
    return f"[{', '.join('?' if size is None else str(size) for size in shape)}]"


def _random(
    spec: TensorSpec, shape: tuple[int, ...], longest: int, rng: np.random.Generator, bound: int | None
) -> Array:
    if bound is not None and spec.dtype.kind in "iuf":
        return np.asarray(rng.integers(0, bound, shape), spec.dtype)
    if spec.dtype.kind == "f":
        return np.asarray(rng.standard_normal(shape), spec.dtype)
    if spec.dtype.kind == "b":
        return np.asarray(rng.integers(0, 2, shape), spec.dtype)
    if spec.dtype.kind in "iu":
        highest = longest if len(shape) == 1 else 1
        return np.asarray(rng.integers(0, highest, shape, endpoint=True), spec.dtype)
    raise CheckError(
        f"input {spec.name!r}: cannot make an example of type {spec.dtype}; give inputs (--inputs FILE.npz)"
    )
