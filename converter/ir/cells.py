"""Recurrent cells with their weights: what one step of a recurrence computes."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from enum import Enum
from typing import TypeAlias

from converter.ir.gates import Gate, GateNorm, LayerNorm, Peephole
from converter.ir.types import Array


class Activation(Enum):
    """Activation functions by their Keras names, with the parameters they have when called by name.

    ``hard_sigmoid`` is Keras 3's, x / 6 + 1/2 clipped to [0, 1]; ``keras2_hard_sigmoid`` is x / 5 + 1/2, clipped.
    ``celu`` has no entry: with its alpha of 1 it equals ``elu``.
    """

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
    KERAS2_HARD_SIGMOID = "keras2_hard_sigmoid"
    HARD_SHRINK = "hard_shrink"
    HARD_SILU = "hard_silu"
    HARD_TANH = "hard_tanh"
    LEAKY_RELU = "leaky_relu"
    LOG_SIGMOID = "log_sigmoid"
    MISH = "mish"
    SOFT_SHRINK = "soft_shrink"
    SPARSE_PLUS = "sparse_plus"
    SPARSE_SIGMOID = "sparse_sigmoid"
    SQUAREPLUS = "squareplus"
    TANH_SHRINK = "tanh_shrink"


@dataclass(frozen=True, slots=True, eq=False)
class RnnCell:
    """The simple recurrent cell (Elman 1990): h' = activation(W x + R h + b), output h'. State: (h,)."""

    gate: Gate
    activation: Activation

    def __post_init__(self) -> None:
        if self.gate.recurrent_kernel.shape[1] != self.gate.units:
            raise ValueError(
                f"recurrent_kernel: expected a square matrix, got shape {list(self.gate.recurrent_kernel.shape)}"
            )

    def gates(self) -> tuple[tuple[str, Gate], ...]:
        """Return the one gate by name."""
        return (("gate", self.gate),)

    def map_gates(self, function: Callable[[str, Gate], Gate]) -> RnnCell:
        """Return the cell with ``function`` applied to its gate, given its name."""
        return replace(self, gate=function("gate", self.gate))

    def map_weights(self, function: Callable[[Array], Array]) -> RnnCell:
        """Return the cell with ``function`` applied to each of its arrays."""
        return replace(self, gate=self.gate.map_weights(function))

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
        h' = clip(P (o * activation(c')) + p, projection_clip)   with projection P [output, units]

    With ``gate_norm``, the layer normalisation of the fused ops, each gate normalises its sum z before the bias:
    (z - mean) / sqrt(variance + 1e-8) * scale + bias, where z is Wi x + Ri h + pi * c for the input gate.

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
    projection_bias: Array | None = None
    gate_norm: GateNorm | None = None

    def __post_init__(self) -> None:
        for name, gate in self.gates():
            for kind, array, depth in (
                ("kernel", gate.kernel, self.input_size),
                ("recurrent_kernel", gate.recurrent_kernel, self.output_size),
            ):
                if array.shape != (self.units, depth):
                    raise ValueError(
                        f"{name}.{kind}: expected shape {[self.units, depth]}, got {list(array.shape)}"
                    )
        if self.peephole is not None:
            self._check_peephole(self.peephole)
        if self.gate_norm is not None:
            self._check_gate_norm(self.gate_norm)
        self._check_projection()
        for name, clip in (("cell_clip", self.cell_clip), ("projection_clip", self.projection_clip)):
            if clip is not None and not clip >= 0.0:
                raise ValueError(f"{name}: expected a bound of at least 0, or None, got {clip}")
        if not math.isfinite(self.forget_bias):
            raise ValueError(f"forget_bias: expected a finite number, got {self.forget_bias}")

    def _check_peephole(self, peephole: Peephole) -> None:
        if (peephole.input is None) != (self.input_gate is None):
            raise ValueError("expected both an input gate and its peephole weights, or neither")
        for array in (peephole.input, peephole.forget, peephole.output):
            if array is not None and array.shape != (self.units,):
                raise ValueError(f"peephole weights: expected shape [{self.units}], got {list(array.shape)}")

    def _check_projection(self) -> None:
        if self.projection is not None and self.projection.shape[1:] != (self.units,):
            raise ValueError(
                f"projection: expected shape [output, {self.units}], got {list(self.projection.shape)}"
            )
        bias = self.projection_bias
        if bias is not None and (self.projection is None or bias.shape != (self.output_size,)):
            raise ValueError(f"projection_bias: expected the size of a projection, got {list(bias.shape)}")

    def _check_gate_norm(self, norm: GateNorm) -> None:
        if [name for name, _ in norm.scales()] != [name for name, _ in self.gates()]:
            raise ValueError("expected both an input gate and its normalisation, or neither")
        for name, scale in norm.scales():
            if scale.shape != (self.units,):
                raise ValueError(f"scale of {name}: expected shape [{self.units}], got {list(scale.shape)}")

    def gates(self) -> tuple[tuple[str, Gate], ...]:
        """Return the gates that exist, by name."""
        named = (
            ("input_gate", self.input_gate),
            ("forget_gate", self.forget_gate),
            ("cell_gate", self.cell_gate),
            ("output_gate", self.output_gate),
        )
        return tuple((name, gate) for name, gate in named if gate is not None)

    def map_gates(self, function: Callable[[str, Gate], Gate]) -> LstmCell:
        """Return the cell with ``function`` applied to each gate that exists, given its name."""
        return replace(
            self,
            input_gate=None if self.input_gate is None else function("input_gate", self.input_gate),
            forget_gate=function("forget_gate", self.forget_gate),
            cell_gate=function("cell_gate", self.cell_gate),
            output_gate=function("output_gate", self.output_gate),
        )

    def map_weights(self, function: Callable[[Array], Array]) -> LstmCell:
        """Return the cell with ``function`` applied to each of its arrays."""
        return replace(
            self.map_gates(lambda _, gate: gate.map_weights(function)),
            peephole=None if self.peephole is None else self.peephole.map_weights(function),
            projection=None if self.projection is None else function(self.projection),
            projection_bias=None if self.projection_bias is None else function(self.projection_bias),
            gate_norm=None if self.gate_norm is None else self.gate_norm.map_weights(function),
        )

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
        if self.gate_norm is not None:
            parts.append("gate_norm")
        if self.projection is not None:
            parts.append(f"projection={self.output_size}")
        if self.projection_bias is not None:
            parts.append("projection_bias")
        if self.cell_clip is not None:
            parts.append(f"cell_clip={self.cell_clip:g}")
        if self.projection_clip is not None:
            parts.append(f"projection_clip={self.projection_clip:g}")
        if self.forget_bias:
            parts.append(f"forget_bias={self.forget_bias:g}")
        return f"lstm({', '.join(parts)})"


@dataclass(frozen=True, slots=True, eq=False)
class LayerNormLstmCell:
    """The LSTM cell of ``tf.contrib.rnn`` with layer normalisation, state (c [units], h [output]).

    Every gate of ``lstm`` is normalised before peepholes and forget_bias are added, and the new memory, clipped,
    before it is used and stored::

        i = s(N_input(Wi x + Ri h + bi) + pi * c)            i = 1 - f if there is no input gate (CIFG)
        f = s(N_forget(Wf x + Rf h + bf) + pf * c + forget_bias)
        g = activation(N_cell(Wg x + Rg h + bg))
        c' = N_state(clip(f * c + i * g, cell_clip))
        o = s(N_output(Wo x + Ro h + bo) + po * c')
        h' as in `LstmCell`

    This is not what the layer normalisation of the fused ops computes: they do not normalise the memory, and add
    the bias afterwards.
    """

    lstm: LstmCell
    input_norm: LayerNorm | None
    forget_norm: LayerNorm
    cell_norm: LayerNorm
    output_norm: LayerNorm
    state_norm: LayerNorm

    def __post_init__(self) -> None:
        if (self.input_norm is None) != (self.lstm.input_gate is None):
            raise ValueError("expected both an input gate and its layer normalisation, or neither")
        for name, norm in self.norms():
            if norm.gamma.shape != (self.lstm.units,):
                raise ValueError(
                    f"gamma of {name}: expected shape [{self.lstm.units}], got {list(norm.gamma.shape)}"
                )

    def gates(self) -> tuple[tuple[str, Gate], ...]:
        """Return the gates that exist, by name."""
        return self.lstm.gates()

    def norms(self) -> tuple[tuple[str, LayerNorm], ...]:
        """Return the normalisations that exist, by the name of the gate they follow; ``state`` is that of c."""
        named = (
            ("input_gate", self.input_norm),
            ("forget_gate", self.forget_norm),
            ("cell_gate", self.cell_norm),
            ("output_gate", self.output_norm),
            ("state", self.state_norm),
        )
        return tuple((name, norm) for name, norm in named if norm is not None)

    def map_gates(self, function: Callable[[str, Gate], Gate]) -> LayerNormLstmCell:
        """Return the cell with ``function`` applied to each gate that exists, given its name."""
        return replace(self, lstm=self.lstm.map_gates(function))

    def map_weights(self, function: Callable[[Array], Array]) -> LayerNormLstmCell:
        """Return the cell with ``function`` applied to each of its arrays."""
        return LayerNormLstmCell(
            self.lstm.map_weights(function),
            None if self.input_norm is None else self.input_norm.map_weights(function),
            self.forget_norm.map_weights(function),
            self.cell_norm.map_weights(function),
            self.output_norm.map_weights(function),
            self.state_norm.map_weights(function),
        )

    @property
    def input_size(self) -> int:
        """Depth of the inputs."""
        return self.lstm.input_size

    @property
    def output_size(self) -> int:
        """Depth of the outputs."""
        return self.lstm.output_size

    @property
    def state_sizes(self) -> tuple[int, ...]:
        """Depth of each state array: (c, h)."""
        return self.lstm.state_sizes

    def __str__(self) -> str:
        return f"layer_norm_{self.lstm}"


@dataclass(frozen=True, slots=True, eq=False)
class GruCell:
    """The gated recurrent unit (Cho 2014), state and output h [units]::

        u = s(Wu x + Ru h + bu)
        r = s(Wr x + Rr h + br)
        g = activation(Wg x + Rg (r * h) + bg)               reset before the recurrent product
        g = activation(Wg x + bg + r * (Rg h + cg))          reset after it, with candidate_recurrent_bias cg
        h' = u * h + (1 - u) * g

    s is ``recurrent_activation``, * elementwise. ``candidate_recurrent_bias`` [units] is None exactly when the
    reset comes before. What cuDNN, Keras and PyTorch keep as two biases of u and r is one here: their sum.
    """

    update_gate: Gate
    reset_gate: Gate
    candidate: Gate
    candidate_recurrent_bias: Array | None = None
    activation: Activation = Activation.TANH
    recurrent_activation: Activation = Activation.SIGMOID

    def __post_init__(self) -> None:
        for name, gate in self.gates():
            for kind, array, depth in (
                ("kernel", gate.kernel, self.input_size),
                ("recurrent_kernel", gate.recurrent_kernel, self.units),
            ):
                if array.shape != (self.units, depth):
                    raise ValueError(
                        f"{name}.{kind}: expected shape {[self.units, depth]}, got {list(array.shape)}"
                    )
        bias = self.candidate_recurrent_bias
        if bias is not None and bias.shape != (self.units,):
            raise ValueError(f"candidate_recurrent_bias: expected shape [{self.units}], got {list(bias.shape)}")

    def gates(self) -> tuple[tuple[str, Gate], ...]:
        """Return the gates by name."""
        return (
            ("update_gate", self.update_gate),
            ("reset_gate", self.reset_gate),
            ("candidate", self.candidate),
        )

    def map_gates(self, function: Callable[[str, Gate], Gate]) -> GruCell:
        """Return the cell with ``function`` applied to each gate, given its name."""
        return replace(
            self,
            update_gate=function("update_gate", self.update_gate),
            reset_gate=function("reset_gate", self.reset_gate),
            candidate=function("candidate", self.candidate),
        )

    def map_weights(self, function: Callable[[Array], Array]) -> GruCell:
        """Return the cell with ``function`` applied to each of its arrays."""
        bias = self.candidate_recurrent_bias
        return replace(
            self.map_gates(lambda _, gate: gate.map_weights(function)),
            candidate_recurrent_bias=None if bias is None else function(bias),
        )

    @property
    def reset_after(self) -> bool:
        """Whether the reset gate is applied after the recurrent product."""
        return self.candidate_recurrent_bias is not None

    @property
    def units(self) -> int:
        """Number of units."""
        return self.update_gate.units

    @property
    def input_size(self) -> int:
        """Depth of the inputs."""
        return int(self.update_gate.kernel.shape[1])

    @property
    def output_size(self) -> int:
        """Depth of the outputs."""
        return self.units

    @property
    def state_sizes(self) -> tuple[int, ...]:
        """Depth of each state array: (h,)."""
        return (self.units,)

    def __str__(self) -> str:
        parts = [f"units={self.units}", f"activation={self.activation.value}"]
        if self.recurrent_activation is not Activation.SIGMOID:
            parts.append(f"recurrent_activation={self.recurrent_activation.value}")
        if self.reset_after:
            parts.append("reset_after")
        return f"gru({', '.join(parts)})"


Cell: TypeAlias = RnnCell | LstmCell | LayerNormLstmCell | GruCell
"""A cell of any kind. All have ``gates`` and ``map_gates``, whose order is that of the gates' fields."""
