"""The parts of cells with their weights: gates, peepholes and layer normalisation.

Every array is in the layout of the TFLite kernels: one matrix per gate, ``[units, input]`` and ``[units,
output]``.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

from converter.ir.types import Array


@dataclass(frozen=True, slots=True, eq=False)
class Gate:
    """One gate's parameters: kernel [units, input], recurrent_kernel [units, output], bias [units]."""

    kernel: Array
    recurrent_kernel: Array
    bias: Array

    def __post_init__(self) -> None:
        for name, array, rank in (
            ("kernel", self.kernel, 2),
            ("recurrent_kernel", self.recurrent_kernel, 2),
            ("bias", self.bias, 1),
        ):
            if array.ndim != rank:
                raise ValueError(f"{name}: expected rank {rank}, got shape {list(array.shape)}")
            if array.shape[0] != self.bias.shape[0]:
                raise ValueError(
                    f"{name}: expected {self.bias.shape[0]} rows, as the bias has, got {array.shape[0]}"
                )

    @property
    def units(self) -> int:
        """Number of units of the gate."""
        return int(self.bias.shape[0])

    def map_weights(self, function: Callable[[Array], Array]) -> Gate:
        """Return the gate with ``function`` applied to each of its arrays."""
        return Gate(function(self.kernel), function(self.recurrent_kernel), function(self.bias))


@dataclass(frozen=True, slots=True, eq=False)
class Peephole:
    """Diagonal weights [units] from the cell state: input and forget gate see the old c, output the new one.

    ``input`` is None exactly when the cell couples its input gate (CIFG).
    """

    input: Array | None
    forget: Array
    output: Array

    def map_weights(self, function: Callable[[Array], Array]) -> Peephole:
        """Return the weights with ``function`` applied to each of them."""
        return Peephole(
            None if self.input is None else function(self.input), function(self.forget), function(self.output)
        )


@dataclass(frozen=True, slots=True, eq=False)
class GateNorm:
    """Layer normalisation of an LSTM's gates before their biases: the scale [units] of each gate.

    ``input`` is None exactly when the cell couples its input gate (CIFG).
    """

    input: Array | None
    forget: Array
    cell: Array
    output: Array

    EPSILON: ClassVar[float] = 1e-8
    """What the fused ops add to the variance."""

    def scales(self) -> tuple[tuple[str, Array], ...]:
        """Return the scales that exist, by the name of the gate they belong to."""
        named = (
            ("input_gate", self.input),
            ("forget_gate", self.forget),
            ("cell_gate", self.cell),
            ("output_gate", self.output),
        )
        return tuple((name, scale) for name, scale in named if scale is not None)

    def map_weights(self, function: Callable[[Array], Array]) -> GateNorm:
        """Return the normalisation with ``function`` applied to each scale."""
        return GateNorm(
            None if self.input is None else function(self.input),
            function(self.forget),
            function(self.cell),
            function(self.output),
        )


@dataclass(frozen=True, slots=True, eq=False)
class LayerNorm:
    """Layer normalisation (Ba 2016) of a vector of units: (z - mean) / sqrt(variance + epsilon) * gamma + beta.

    gamma and beta are [units]; the variance is that of the vector, without Bessel's correction.
    """

    gamma: Array
    beta: Array
    epsilon: float

    def __post_init__(self) -> None:
        if self.gamma.ndim != 1 or self.gamma.shape != self.beta.shape:
            raise ValueError(
                f"gamma and beta: expected one shape [units], got {list(self.gamma.shape)} and "
                f"{list(self.beta.shape)}"
            )
        if not self.epsilon > 0.0:
            raise ValueError(f"epsilon: expected a number above 0, got {self.epsilon}")

    def map_weights(self, function: Callable[[Array], Array]) -> LayerNorm:
        """Return the normalisation with ``function`` applied to gamma and beta."""
        return LayerNorm(function(self.gamma), function(self.beta), self.epsilon)
