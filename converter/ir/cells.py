"""Recurrent cells with their weights: what one step of a recurrence computes.

Every array is in the layout of the TFLite kernels: one matrix per gate, ``[units, input]`` and
``[units, output]``, whatever the source stored.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import Enum
from typing import TypeAlias

from converter.ir.types import Array


class Activation(Enum):
    """Activation functions by their Keras names."""

    LINEAR = "linear"
    TANH = "tanh"
    SIGMOID = "sigmoid"
    HARD_SIGMOID = "hard_sigmoid"
    RELU = "relu"
    RELU6 = "relu6"
    ELU = "elu"
    SELU = "selu"
    SOFTPLUS = "softplus"
    SOFTSIGN = "softsign"
    SILU = "silu"
    GELU = "gelu"
    EXPONENTIAL = "exponential"


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
                raise ValueError(f"{name} has shape {list(array.shape)}, expected rank {rank}")
            if array.shape[0] != self.bias.shape[0]:
                raise ValueError(f"{name} has {array.shape[0]} rows, the bias has {self.bias.shape[0]}")

    @property
    def units(self) -> int:
        """Number of units of the gate."""
        return int(self.bias.shape[0])


@dataclass(frozen=True, slots=True, eq=False)
class Peephole:
    """Diagonal weights [units] from the cell state: input and forget gate see the old c, output the new one.

    ``input`` is None exactly when the cell couples its input gate (CIFG).
    """

    input: Array | None
    forget: Array
    output: Array


@dataclass(frozen=True, slots=True, eq=False)
class RnnCell:
    """The simple recurrent cell (Elman 1990): h' = activation(W x + R h + b), output h'. State: (h,)."""

    gate: Gate
    activation: Activation

    def __post_init__(self) -> None:
        if self.gate.recurrent_kernel.shape[1] != self.gate.units:
            raise ValueError(
                f"recurrent_kernel is {list(self.gate.recurrent_kernel.shape)}, a simple RNN's is square"
            )

    @property
    def input_size(self) -> int:
        """Depth of the inputs."""
        return int(self.gate.kernel.shape[1])

    @property
    def output_size(self) -> int:
        """Depth of the outputs."""
        return self.gate.units

    @property
    def state_sizes(self) -> tuple[int, ...]:
        """Depth of each state array: (h,)."""
        return (self.gate.units,)

    def __str__(self) -> str:
        return f"rnn(units={self.gate.units}, activation={self.activation.value})"


@dataclass(frozen=True, slots=True, eq=False)
class LstmCell:
    """The LSTM cell (Hochreiter 1997; Gers 2000 and 2002; Sak 2014), state (c [units], h [output])::

        i = s(Wi x + Ri h + bi + pi * c)                     i = 1 - f if there is no input gate (CIFG)
        f = s(Wf x + Rf h + bf + pf * c + forget_bias)
        g = activation(Wg x + Rg h + bg)
        c' = clip(f * c + i * g, cell_clip)
        o = s(Wo x + Ro h + bo + po * c')
        h' = o * activation(c')                              without projection
        h' = clip(P (o * activation(c')), projection_clip)   with projection P [output, units]

    s is ``recurrent_activation``, * elementwise. A clip of None does nothing; 0.0 is a bound like any other.
    """

    input_gate: Gate | None
    forget_gate: Gate
    cell_gate: Gate
    output_gate: Gate
    peephole: Peephole | None = None
    projection: Array | None = None
    activation: Activation = Activation.TANH
    recurrent_activation: Activation = Activation.SIGMOID
    cell_clip: float | None = None
    projection_clip: float | None = None
    forget_bias: float = 0.0

    def __post_init__(self) -> None:
        for name, gate in self.gates():
            for kind, array, depth in (
                ("kernel", gate.kernel, self.input_size),
                ("recurrent_kernel", gate.recurrent_kernel, self.output_size),
            ):
                if array.shape != (self.units, depth):
                    raise ValueError(f"{name}.{kind} is {list(array.shape)}, not {[self.units, depth]}")
        if self.peephole is not None:
            self._check_peephole(self.peephole)
        if self.projection is not None and self.projection.shape[1:] != (self.units,):
            raise ValueError(f"projection is {list(self.projection.shape)}, not [output, {self.units}]")
        for name, clip in (("cell_clip", self.cell_clip), ("projection_clip", self.projection_clip)):
            if clip is not None and not clip >= 0.0:
                raise ValueError(f"{name} is {clip}; a clip is a bound of at least 0, or None")
        if not math.isfinite(self.forget_bias):
            raise ValueError(f"forget_bias is {self.forget_bias}")

    def _check_peephole(self, peephole: Peephole) -> None:
        if (peephole.input is None) != (self.input_gate is None):
            raise ValueError("the input gate and its peephole weights come together or not at all")
        for array in (peephole.input, peephole.forget, peephole.output):
            if array is not None and array.shape != (self.units,):
                raise ValueError(f"peephole weights are {list(array.shape)}, not [{self.units}]")

    def gates(self) -> tuple[tuple[str, Gate], ...]:
        """Return the gates that exist, by name."""
        named = (
            ("input_gate", self.input_gate),
            ("forget_gate", self.forget_gate),
            ("cell_gate", self.cell_gate),
            ("output_gate", self.output_gate),
        )
        return tuple((name, gate) for name, gate in named if gate is not None)

    @property
    def units(self) -> int:
        """Number of memory cells."""
        return self.forget_gate.units

    @property
    def input_size(self) -> int:
        """Depth of the inputs."""
        return int(self.forget_gate.kernel.shape[1])

    @property
    def output_size(self) -> int:
        """Depth of the outputs: of the projection if there is one, else units."""
        return self.units if self.projection is None else int(self.projection.shape[0])

    @property
    def state_sizes(self) -> tuple[int, ...]:
        """Depth of each state array: (c, h)."""
        return (self.units, self.output_size)

    def __str__(self) -> str:
        parts = [f"units={self.units}", f"activation={self.activation.value}"]
        if self.recurrent_activation is not Activation.SIGMOID:
            parts.append(f"recurrent_activation={self.recurrent_activation.value}")
        if self.input_gate is None:
            parts.append("cifg")
        if self.peephole is not None:
            parts.append("peephole")
        if self.projection is not None:
            parts.append(f"projection={self.output_size}")
        if self.cell_clip is not None:
            parts.append(f"cell_clip={self.cell_clip:g}")
        if self.projection_clip is not None:
            parts.append(f"projection_clip={self.projection_clip:g}")
        if self.forget_bias:
            parts.append(f"forget_bias={self.forget_bias:g}")
        return f"lstm({', '.join(parts)})"


Cell: TypeAlias = RnnCell | LstmCell
