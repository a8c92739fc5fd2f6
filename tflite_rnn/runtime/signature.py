"""What a model takes and returns, as a runtime describes it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

Array: TypeAlias = npt.NDArray[Any]
Shape: TypeAlias = tuple[int | None, ...]

DEFAULT_KEY = "serving_default"

RESET_KEY = "reset"
"""The signature by which a model that keeps its state between invokes goes back to its start."""


FLUSH_KEY = "flush"
"""The signature that takes the end of a sequence, in a model that looks ahead."""

REMAINING = "remaining"
"""The input, int32 [1], that says how many of the steps from here on are of the sequence."""


@dataclass(frozen=True, slots=True)
class TensorSpec:
    """One input or output: its name, its dtype, and its shape with None for every dynamic dimension."""

    name: str
    dtype: np.dtype[Any]
    shape: Shape


@dataclass(frozen=True, slots=True)
class Signature:
    """One entry point of a model; ``key`` is None in a file that has only tensor names and no signature."""

    key: str | None
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]


def known_shape(dimensions: Iterable[int]) -> Shape:
    """Return a shape as the runtimes write it, with None for every dimension that is -1 there."""
    return tuple(int(size) if size >= 0 else None for size in dimensions)


def default_signature(signatures: tuple[Signature, ...]) -> Signature:
    """Return ``serving_default`` if the model has it, else its first signature (every model has at least one)."""
    named = [signature for signature in signatures if signature.key == DEFAULT_KEY]
    return (named or list(signatures))[0]


def describe_shapes(arrays: Mapping[str, Array]) -> str:
    """Return the names and shapes of arrays in one line, such as ``x [1, 20, 3], lengths [1]``."""
    return ", ".join(f"{name} {list(array.shape)}" for name, array in arrays.items()) or "no inputs"
