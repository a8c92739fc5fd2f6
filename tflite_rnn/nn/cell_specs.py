"""Describe cells to the compiler.

A cell without a description keeps its TensorFlow loop. Only the exact classes of this package have one: a
subclass, or any other class, may compute anything.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from numbers import Real
from types import MappingProxyType
from typing import Any

from converter.marker import Attribute, CellSpec
from tflite_rnn.nn.activations import activation_name
from tflite_rnn.nn.basic_rnn import BasicRNNCell
from tflite_rnn.nn.coupled_lstm import CoupledInputForgetGateLSTMCell
from tflite_rnn.nn.gru import CudnnCompatibleGRUCell, GRUCell
from tflite_rnn.nn.keeping import is_kept
from tflite_rnn.nn.layer_norm import EPSILON, LayerNormBasicLSTMCell
from tflite_rnn.nn.leaf import LeafCell, Step
from tflite_rnn.nn.lstm import BasicLSTMCell, LSTMCell
from tflite_rnn.nn.stack import MultiRNNCell
from tflite_rnn.nn.tflite_cells import TFLiteLSTMCell, TfLiteRNNCell
from tflite_rnn.nn.wrappers import CellWrapper, DeviceWrapper, DropoutWrapper, ResidualWrapper


def recurrent_cell(cell: object) -> CellSpec | None:
    """Return the compiler's description of ``cell``, None if it has none."""
    describe = _CELLS.get(type(cell))
    return None if describe is None else describe(cell)


@dataclass(frozen=True, slots=True)
class Leaf:
    """A leaf cell as its recurrence runs it: its step, its flat state, the devices around it (outermost first)."""

    step: Step
    state_sizes: tuple[int, ...]
    devices: tuple[Any, ...]


def leaves(cell: Any) -> tuple[Leaf, ...]:
    """Return the leaf cells of a cell that has a `CellSpec`, in the order of ``CellSpec.leaves()``."""
    return tuple(Leaf(leaf.step(), leaf.state_sizes, devices) for leaf, devices in _leaf_cells(cell))


def cell_weights(cell: Any) -> tuple[Any, ...]:
    """Return the weights of a cell that has a `CellSpec`, of every leaf in order, in the order of its spec."""
    return tuple(weight for leaf, _ in _leaf_cells(cell) for weight in leaf.weights_by_name().values())


def check_types(cell: Any, inputs: Any, *others: Any) -> None:
    """Check the types of inputs and all other operands of a cell that has a `CellSpec`, as its leaves do."""
    for leaf, _ in _leaf_cells(cell):
        leaf.check_types(inputs, *others)


def _leaf_cells(cell: Any, devices: tuple[Any, ...] = ()) -> Iterator[tuple[LeafCell, tuple[Any, ...]]]:
    if isinstance(cell, MultiRNNCell):
        for inner in cell.cells:
            yield from _leaf_cells(inner, devices)
    elif isinstance(cell, DeviceWrapper):
        yield from _leaf_cells(cell.cell, (*devices, cell.device))
    elif isinstance(cell, CellWrapper):
        yield from _leaf_cells(cell.cell, devices)
    else:
        yield cell, devices


def _stack(cell: MultiRNNCell) -> CellSpec | None:
    cells = [spec for inner in cell.cells if (spec := recurrent_cell(inner)) is not None]
    return CellSpec("stack", cell.name, cells=tuple(cells)) if len(cells) == len(cell.cells) else None


def _residual(cell: ResidualWrapper) -> CellSpec | None:
    inner = recurrent_cell(cell.cell) if cell.residual_fn is None else None
    return None if inner is None else CellSpec("residual", cell.name, cells=(inner,))


def _dropout(cell: DropoutWrapper) -> CellSpec | None:
    return recurrent_cell(cell.cell) if cell.keeps_everything else None


def _device(cell: DeviceWrapper) -> CellSpec | None:
    return recurrent_cell(cell.cell)


def _basic_rnn(cell: BasicRNNCell) -> CellSpec | None:
    return _leaf("basic_rnn", cell)


def _tflite_rnn(cell: TfLiteRNNCell) -> CellSpec | None:
    return _leaf("tflite_rnn", cell)


def _gru(cell: GRUCell) -> CellSpec | None:
    return _leaf("gru", cell, reset_after=False)


def _reset_after_gru(cell: CudnnCompatibleGRUCell) -> CellSpec | None:
    return _leaf("gru", cell, reset_after=True)


def _lstm(cell: LSTMCell) -> CellSpec | None:
    if _number(cell.forget_bias) is None or not (_is_bound(cell.cell_clip) and _is_bound(_proj_clip(cell))):
        return None
    return _leaf(
        "lstm",
        cell,
        forget_bias=_number(cell.forget_bias),
        cell_clip=_number(cell.cell_clip),
        proj_clip=_number(_proj_clip(cell)),
    )


def _basic_lstm(cell: BasicLSTMCell) -> CellSpec | None:
    forget_bias = _number(cell.forget_bias)
    if forget_bias is None:
        return None
    return _leaf("lstm", cell, forget_bias=forget_bias, cell_clip=None, proj_clip=None)


def _tflite_lstm(cell: TFLiteLSTMCell) -> CellSpec | None:
    if not (_is_bound(cell.cell_clip) and _is_bound(_proj_clip(cell))):
        return None
    return _leaf("tflite_lstm", cell, cell_clip=_number(cell.cell_clip), proj_clip=_number(_proj_clip(cell)))


def _coupled_lstm(cell: CoupledInputForgetGateLSTMCell) -> CellSpec | None:
    forget_bias = _number(cell.forget_bias)
    if forget_bias is None or not _is_bound(_proj_clip(cell)):
        return None
    epsilon = EPSILON if cell.layer_norm else None
    proj_clip = _number(_proj_clip(cell))
    return _leaf("coupled_lstm", cell, forget_bias=forget_bias, proj_clip=proj_clip, epsilon=epsilon)


def _layer_norm_lstm(cell: LayerNormBasicLSTMCell) -> CellSpec | None:
    forget_bias = _number(cell.forget_bias)
    if forget_bias is None or not is_kept(cell.dropout_keep_prob):
        return None
    if not cell.layer_norm:
        return _leaf("lstm", cell, forget_bias=forget_bias, cell_clip=None, proj_clip=None)
    return _leaf("layer_norm_lstm", cell, forget_bias=forget_bias, epsilon=EPSILON)


_CELLS: Mapping[type, Callable[[Any], CellSpec | None]] = MappingProxyType(
    {
        BasicLSTMCell: _basic_lstm,
        BasicRNNCell: _basic_rnn,
        CoupledInputForgetGateLSTMCell: _coupled_lstm,
        CudnnCompatibleGRUCell: _reset_after_gru,
        DeviceWrapper: _device,
        DropoutWrapper: _dropout,
        GRUCell: _gru,
        LSTMCell: _lstm,
        LayerNormBasicLSTMCell: _layer_norm_lstm,
        MultiRNNCell: _stack,
        ResidualWrapper: _residual,
        TFLiteLSTMCell: _tflite_lstm,
        TfLiteRNNCell: _tflite_rnn,
    }
)


def _leaf(kind: str, cell: Any, **attributes: Attribute) -> CellSpec | None:
    """Return the spec of a leaf cell, None if its activation has no Keras name."""
    activation = activation_name(cell.activation)
    if activation is None:
        return None
    named = {"units": cell.num_units, "activation": activation, **attributes}
    return CellSpec(kind, cell.name, tuple(named.items()), cell.weight_names)


def _proj_clip(cell: Any) -> Any:
    """Return the clip of the projection, None without a projection."""
    return cell.proj_clip if cell.num_proj is not None else None


def _number(value: Any) -> float | None:
    """Return a finite number as a float; None for anything else, a tensor for instance."""
    return float(value) if isinstance(value, Real) and math.isfinite(value) else None


def _is_bound(clip: Any) -> bool:
    number = _number(clip)
    return clip is None or (number is not None and number >= 0.0)
