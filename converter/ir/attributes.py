"""Decode the options and constant operands of TFLite ops. No other module reads options."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from converter.ir.builtins import BUILTINS, UNKNOWN, Trait
from converter.ir.matching import as_tflite
from converter.ir.program import Op, TfliteOp
from converter.ir.traits import has
from converter.ir.types import Value
from converter.ir.versions import least_version

Options = Mapping[str, object]

ACTIVATIONS = ("NONE", "RELU", "RELU_N1_TO_1", "RELU6", "TANH", "SIGN_BIT")
"""The schema's ActivationFunctionType: each name at its number."""


# --- making ops --------------------------------------------------------------------------------------------------


def new_op(
    builtin: str, operands: Sequence[Value | None], results: Sequence[Value], options: Options | None = None
) -> TfliteOp:
    """Return an op with the options table of its builtin, in the lowest version that has the features it uses."""
    given = dict(options or {})
    version = least_version(builtin, operands, given)
    table = BUILTINS.get(builtin, UNKNOWN).options
    return TfliteOp(builtin, tuple(operands), tuple(results), table, given, version)


def _with_options(op: TfliteOp, changed: Options) -> TfliteOp:
    options = {**op.options, **changed}
    version = max(op.version, least_version(op.builtin, op.operands, options))
    return replace(op, options=options, version=version)


def keeping_axes(op: TfliteOp) -> TfliteOp:
    """Return a FULLY_CONNECTED whose result has all axes of x but the last."""
    return _with_options(op, {"keepNumDims": True})


def activation(name: str) -> Options:
    """Return the option of an op whose fused activation is ``name``, one of `ACTIVATIONS`."""
    return {"fusedActivationFunction": ACTIVATIONS.index(name)}


def without_activation(op: TfliteOp) -> TfliteOp:
    """Return ``op`` without its fused activation."""
    return _with_options(op, activation("NONE"))


def without_padding(op: TfliteOp) -> TfliteOp:
    """Return a convolution or pool with one result per window that lies in x."""
    return _with_options(op, {"padding": 1})


def dilated(op: TfliteOp, height: int, width: int) -> TfliteOp:
    """Return a convolution whose filters skip rows and columns."""
    return _with_options(op, {"dilationHFactor": height, "dilationWFactor": width})


def whole_along(op: TfliteOp, place: int) -> TfliteOp | None:
    """Return a STRIDED_SLICE or SLICE that takes all of one axis; None if it takes all of the others, too.

    Its constant operands still say otherwise about that axis.
    """
    if op.builtin == "SLICE":
        begins, sizes = (integers(op.operand(index)) or () for index in (1, 2))
        shape = op.operand(0).type.shape or ()
        others = [
            begin == 0 and size in {-1, known}
            for axis, (begin, size, known) in enumerate(zip(begins, sizes, shape, strict=True))
            if axis != place
        ]
        return None if all(others) else op
    part, strides = StridedSlice.of(op), integers(op.operand(3)) or ()
    rest = (axis for axis in range(len(strides)) if axis != place)
    if all(part.is_whole(axis) and strides[axis] == 1 and not part.drops(axis) for axis in rest):
        return None
    return taking_all(op, place)


def taking_all(op: TfliteOp, axis: int) -> TfliteOp:
    """Return a STRIDED_SLICE that takes all of one axis."""
    return _with_options(op, {name: _integer(op, name) | 1 << axis for name in ("beginMask", "endMask")})


# --- single settings ---------------------------------------------------------------------------------------------


def _integer(op: TfliteOp, name: str, default: int = 0) -> int:
    return int(str(op.options.get(name, default)))


def _number(op: TfliteOp, name: str, default: float = 0.0) -> float:
    return float(str(op.options.get(name, default)))


def _flag(op: TfliteOp, name: str) -> bool:
    return bool(op.options.get(name, False))


def _integers(op: TfliteOp, name: str) -> tuple[int, ...]:
    vector = op.options.get(name)
    return () if vector is None else tuple(int(number) for number in np.asarray(vector).reshape(-1))


def fused_activation(op: TfliteOp) -> str:
    """Return the name of the activation that ``op`` applies to its result, one of `ACTIVATIONS`."""
    return ACTIVATIONS[activation_number(op)]


def activation_number(op: TfliteOp) -> int:
    """Return the number of the activation in the schema, which may be unknown."""
    return _integer(op, "fusedActivationFunction")


def axis(op: TfliteOp) -> int:
    """Return the axis of a CONCATENATION, PACK, UNPACK or GATHER; negative axes count from the last."""
    return _integer(op, "axis")


def has_batch_axes(op: TfliteOp) -> bool:
    """Return whether a GATHER has separate indices for each entry of its leading axes."""
    return _integer(op, "batchDims") != 0


def batch_axes(op: TfliteOp) -> int:
    """Return how many leading axes a GATHER's operands share; a negative number counts from the indices' last."""
    return _integer(op, "batchDims")


def block_size(op: TfliteOp) -> int:
    """Return the height and width that SPACE_TO_DEPTH or DEPTH_TO_SPACE moves from or to one element."""
    return _integer(op, "blockSize", 1)


def spans_axes(op: TfliteOp, place: int) -> bool:
    """Return whether an entry of a STRIDED_SLICE is an ellipsis, for all axes without one."""
    return bool(_integer(op, "ellipsisMask") & 1 << place)


def adds_axis(op: TfliteOp, place: int) -> bool:
    """Return whether an entry of a STRIDED_SLICE adds an axis of size one."""
    return bool(_integer(op, "newAxisMask") & 1 << place) and not spans_axes(op, place)


def counts_from_begin(op: TfliteOp) -> bool:
    """Return whether the ends of a STRIDED_SLICE count from its begins."""
    return _flag(op, "offset")


def aligns_corners(op: TfliteOp) -> bool:
    """Return whether the corners of a resized image are those of the image, instead of its edges."""
    return _flag(op, "alignCorners")


def keeps_dims(op: TfliteOp) -> bool:
    """Return whether a reduction keeps the axes that it reduces, with size one."""
    return _flag(op, "keepDims")


def squeezed_axes(op: TfliteOp) -> tuple[int, ...]:
    """Return the axes that a SQUEEZE drops; an empty tuple means all of size one."""
    return _integers(op, "squeezeDims")


def new_shape(op: TfliteOp) -> tuple[int, ...]:
    """Return the shape that a RESHAPE of one operand gives; one size may be -1, the rest then decides."""
    return _integers(op, "newShape")


def adjoints(op: TfliteOp) -> tuple[bool, bool]:
    """Return whether a BATCH_MATMUL transposes the last two axes of its first, and of its second operand."""
    return _flag(op, "adjX"), _flag(op, "adjY")


def reversed_axes(op: TfliteOp) -> tuple[int, int]:
    """Return the axis along which a REVERSE_SEQUENCE reverses, and the axis of the rows that have lengths."""
    return _integer(op, "seqDim"), _integer(op, "batchDim")


def is_exclusive(op: TfliteOp) -> bool:
    """Return whether a CUMSUM leaves each element out of its own sum."""
    return _flag(op, "exclusive")


def is_reverse(op: TfliteOp) -> bool:
    """Return whether a CUMSUM adds up from the end."""
    return _flag(op, "reverse")


def is_approximate(op: TfliteOp) -> bool:
    """Return whether a GELU is the approximation by tanh."""
    return _flag(op, "approximate")


def slope(op: TfliteOp) -> float:
    """Return the factor of a LEAKY_RELU below zero."""
    return _number(op, "alpha")


def beta(op: TfliteOp) -> float:
    """Return the factor of a SOFTMAX's operand."""
    return _number(op, "beta", 1.0)


def is_time_major(op: TfliteOp) -> bool:
    """Return whether the first axis of a fused recurrent op's sequences is time."""
    return _flag(op, "timeMajor")


def is_basic_lstm(op: Op) -> bool:
    """Return whether ``op`` is an LSTM whose kernel is the basic one: its states are operands and results."""
    return isinstance(op, TfliteOp) and op.builtin == "LSTM" and _integer(op, "kernelType") == 1


def cell_clip(op: TfliteOp) -> float:
    """Return the bound of a fused LSTM's memory; there is none unless it is positive."""
    return _number(op, "cellClip")


def projection_clip(op: TfliteOp) -> float:
    """Return the bound of what a fused LSTM projects; there is none unless it is positive."""
    return _number(op, "projClip")


def merges_outputs(op: TfliteOp) -> bool:
    """Return whether a bidirectional op gives the outputs of both directions side by side."""
    return _flag(op, "mergeOutputs")


def shared_name(op: TfliteOp) -> str:
    """Return the name of the variable that a VAR_HANDLE refers to."""
    name = op.options.get("sharedName")
    return name.decode("utf-8", "replace") if isinstance(name, bytes) else str(name or "")


# --- constant operands -------------------------------------------------------------------------------------------


def integers(value: Value | None) -> tuple[int, ...] | None:
    """Return the elements of a constant of integers, None for any other value."""
    return None if value is None or value.data is None else tuple(int(number) for number in value.data.reshape(-1))


def permutation(op: TfliteOp) -> tuple[int, ...] | None:
    """Return the axes of x in the order in which a TRANSPOSE puts them; None if that is computed."""
    return integers(op.operand(1))


def axes(op: TfliteOp) -> tuple[int, ...] | None:
    """Return along which axes a reduction, REVERSE_V2, EXPAND_DIMS or CUMSUM works; None if they are computed."""
    return integers(op.operand(1))


def named_axes(op: TfliteOp) -> Iterator[tuple[int, int]]:
    """Yield each axis that an option or a constant of ``op`` names, with the rank that it is of, if known."""
    rank = op.operands[0].type.rank if op.operands and op.operands[0] is not None else None
    if rank is None:
        return
    if op.builtin in {"CONCATENATION", "GATHER", "UNPACK"}:
        yield axis(op), rank
    elif op.builtin == "PACK":
        yield axis(op), rank + 1
    elif op.builtin == "REVERSE_SEQUENCE":
        yield from ((number, rank) for number in reversed_axes(op))
    elif op.builtin in {"REVERSE_V2", "CUMSUM"} or has(op, Trait.REDUCES):
        yield from ((number, rank) for number in axes(op) or ())
    elif op.builtin == "EXPAND_DIMS":
        yield from ((number, rank + 1) for number in axes(op) or ())


# --- graphs ------------------------------------------------------------------------------------------------------


def graphs(op: TfliteOp) -> tuple[int, ...]:
    """Return the numbers of the graphs that ``op`` may run."""
    return tuple(number for name in _graph_options(op) for number in _integers(op, name))


def with_graphs(op: TfliteOp, numbers: Mapping[int, int]) -> TfliteOp:
    """Return ``op`` with the numbers of graphs replaced by new ones."""
    changed: dict[str, object] = {}
    for name in _graph_options(op):
        new = [numbers[number] for number in _integers(op, name)]
        changed[name] = new if name.endswith("Indices") else new[0]
    return _with_options(op, changed) if changed else op


def _graph_options(op: TfliteOp) -> list[str]:
    ends = ("SubgraphIndex", "SubgraphIndices")
    return [name for name in op.options if name == "subgraph" or name.endswith(ends)]


def loop_graphs(op: TfliteOp) -> tuple[int, int]:
    """Return the numbers of the graphs that are the condition and the body of a WHILE."""
    return _integer(op, "condSubgraphIndex"), _integer(op, "bodySubgraphIndex")


# --- ops with many settings --------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, eq=False)
class FullyConnected:
    """``activation(x weights^T + bias)``, weights [units, depth].

    If it ``keeps_axes``, the result has the axes of x, with units in place of the last; else x counts as a matrix
    [rows, depth]. Weights that are ``shuffled`` are in an order of the kernel's own.
    """

    x: Value
    weights: Value
    bias: Value | None
    activation: str
    keeps_axes: bool
    shuffled: bool

    @classmethod
    def of(cls, op: TfliteOp) -> FullyConnected:
        """Return the view of a FULLY_CONNECTED."""
        bias = op.operands[2] if len(op.operands) > 2 else None
        shuffled = _integer(op, "weightsFormat") != 0
        return cls(op.operand(0), op.operand(1), bias, fused_activation(op), _flag(op, "keepNumDims"), shuffled)

    @classmethod
    def match(cls, op: Op | None) -> FullyConnected | None:
        """Return the view of ``op`` if it is a FULLY_CONNECTED."""
        dense = as_tflite(op, "FULLY_CONNECTED")
        return None if dense is None else cls.of(dense)


@dataclass(frozen=True, slots=True)
class Windows:
    """How a convolution or a pool moves over axes, in the order height, width, or depth, height, width.

    If x ``is_padded``, there is one result per stride that begins in it, else one per window that lies in it.
    ``sizes`` are those of a pool's windows; a convolution's are the sizes of its filters.
    """

    is_padded: bool
    strides: tuple[int, ...]
    dilations: tuple[int, ...]
    sizes: tuple[int, ...]

    @classmethod
    def of(cls, op: TfliteOp, *, axes: str = "HW") -> Windows:
        """Return the windows of an op over the given axes."""
        sides = {"D": "Depth", "H": "Height", "W": "Width"}
        return cls(
            _integer(op, "padding") == 0,
            tuple(_integer(op, f"stride{axis}", 1) for axis in axes),
            tuple(_integer(op, f"dilation{axis}Factor", 1) for axis in axes),
            tuple(_integer(op, f"filter{sides[axis]}", 1) for axis in axes),
        )


@dataclass(frozen=True, slots=True, eq=False)
class StridedSlice:
    """``x[begin:end:strides]``, one entry per axis; the last axes have none and are whole.

    An open begin or end is that of x, whatever the operand holds. A dropped axis selects the element at begin.
    ``is_plain`` excludes an ellipsis, new axes, and ends that count from begin.
    """

    x: Value
    begin: Value
    end: Value
    strides: Value
    is_plain: bool
    _open_begins: int
    _open_ends: int
    _dropped: int

    @classmethod
    def of(cls, op: TfliteOp) -> StridedSlice:
        """Return the view of a STRIDED_SLICE."""
        plain = not any(_flag(op, name) for name in ("ellipsisMask", "newAxisMask", "offset"))
        begins, ends, dropped = (_integer(op, name) for name in ("beginMask", "endMask", "shrinkAxisMask"))
        x, begin, end, strides = (op.operand(index) for index in range(4))
        return cls(x, begin, end, strides, plain, begins, ends, dropped)

    @classmethod
    def match(cls, op: Op | None) -> StridedSlice | None:
        """Return the view of ``op`` if it is a STRIDED_SLICE."""
        sliced = as_tflite(op, "STRIDED_SLICE")
        return None if sliced is None else cls.of(sliced)

    def has_open_begin(self, axis: int) -> bool:
        """Return whether the slice begins where the axis does."""
        return bool(self._open_begins & 1 << axis)

    def has_open_end(self, axis: int) -> bool:
        """Return whether the slice ends where the axis does."""
        return bool(self._open_ends & 1 << axis)

    def drops(self, axis: int) -> bool:
        """Return whether the axis is dropped."""
        return bool(self._dropped & 1 << axis)

    def is_whole(self, axis: int) -> bool:
        """Return whether both ends of the axis are open."""
        return self.has_open_begin(axis) and self.has_open_end(axis)

    @property
    def dropped_axis(self) -> int | None:
        """The dropped axis, if there is exactly one."""
        mask = self._dropped
        return mask.bit_length() - 1 if mask and not mask & (mask - 1) else None

    @property
    def has_unit_strides(self) -> bool:
        """Whether all strides are 1."""
        return set(integers(self.strides) or (0,)) == {1}
