"""The legality of lowerings: each rule refuses one thing that a lowering does not compute exactly.

The kernels' behaviour was measured on tflite-runtime 2.14, ai-edge-litert 2.3 and tf.lite 2.21; a rule's comment
says what they do instead. `choose_lowering` acts on these decisions.
"""

from __future__ import annotations

from collections.abc import Iterator

from converter.errors import Rejection
from converter.ir import (
    Activation,
    DType,
    GruCell,
    LayerNormLstmCell,
    Lowering,
    LstmCell,
    Op,
    Recurrence,
    Recurrent,
    RnnCell,
    Scan,
)
from converter.rules import Rule
from converter.targets import Target, fused_op_rejections

LSTM_ACTIVATIONS = frozenset({Activation.TANH, Activation.RELU, Activation.RELU6})
RNN_ACTIVATIONS = LSTM_ACTIVATIONS | {Activation.LINEAR}

# The types that FILL, GATHER and DYNAMIC_UPDATE_SLICE support on all runtimes.
SEQUENCE_TYPES = frozenset({DType.FLOAT32, DType.INT32, DType.INT64, DType.INT8, DType.BOOL})


def fused_rejections(
    op: Recurrence, unsettled: Op | None, target: Target, *, is_main: bool
) -> Iterator[Rejection]:
    """Yield every reason why the fused op does not compute ``op`` exactly on ``target``.

    ``unsettled`` is an op whose results may be sized at run time before the fused op runs (see `dynamic_shapes`);
    ``is_main`` says whether ``op`` is in the main graph.
    """
    yield from _type_rejections(op)
    yield from _shape_rejections(op, unsettled)
    yield from fused_op_rejections(op, target)
    if op.mask is not None:
        yield from _mask_rejections(op)
    if not is_main:
        yield from _nesting_rejections(op)
    yield from _cell_rejections(op)


def _cell_rejections(op: Recurrence) -> Iterator[Rejection]:
    match op.cell:
        case RnnCell():
            yield from _rnn_rejections(op, op.cell)
        case LstmCell():
            yield from _lstm_rejections(op, op.cell)
        case LayerNormLstmCell():
            # The fused LSTM can normalise its gates, but stores its memory as it is.
            yield Rejection(
                Rule.LAYER_NORM_NO_FUSED_OP,
                op.place,
                "the cell normalises its memory, and no fused op does",
                "use an LSTM cell without layer normalisation (layer_norm=False)",
            )
        case GruCell():
            yield Rejection(
                Rule.GRU_NO_FUSED_OP,
                op.place,
                "there is no fused op for gated recurrent units (GRU)",
                "use an LSTM cell",
            )


def loop_rejections(op: Recurrence) -> Iterator[Rejection]:
    """Yield every reason why a loop does not compute ``op`` exactly."""
    yield from _type_rejections(op)


def unrolled_rejections(op: Recurrent) -> Iterator[Rejection]:
    """Yield every reason why the steps of ``op`` cannot be written out one after another."""
    if op.time is None:
        yield Rejection(
            Rule.UNROLLED_TIME,
            op.place,
            "the number of steps is known only when the model runs, but unrolling needs it now",
            "fix the time dimension in the input signature, or use lowering='while'",
        )


def _unknown_cell(op: Scan) -> Rejection:
    return Rejection(
        Rule.UNKNOWN_CELL,
        op.place,
        "its step is not a known cell, and fused ops compute only known cells",
        "use a cell of tflite_rnn.nn with options that the fused ops have",
    )


def scan_rejections(op: Scan, lowering: Lowering) -> Iterator[Rejection]:
    """Yield every reason why ``lowering`` does not compute ``op`` exactly."""
    if lowering is Lowering.FUSED:
        yield from op.refused or [_unknown_cell(op)]
        return
    for value in (*op.sequences, *op.outputs):
        if value.type.dtype not in SEQUENCE_TYPES:
            yield Rejection(
                Rule.SCAN_TYPE,
                op.place,
                f"{value.name} is {value.type.dtype.value}, which the ops that read and write steps do "
                "not support on all runtimes",
                f"cast it to one of {', '.join(sorted(dtype.value for dtype in SEQUENCE_TYPES))}",
            )
        if value.type.rank is None:
            yield Rejection(
                Rule.SCAN_RANK,
                op.place,
                f"the number of dimensions of {value.name} is unknown",
                "give it a shape, in which sizes may be unknown",
            )
    if lowering is Lowering.UNROLLED:
        yield from unrolled_rejections(op)


def _type_rejections(op: Recurrence) -> Iterator[Rejection]:
    for value in (op.x, *op.initial_state):
        if value is not None and value.type.dtype is not DType.FLOAT32:
            yield Rejection(
                Rule.FLOAT32_ONLY,
                op.place,
                f"{value.name} is {value.type.dtype.value}; the recurrent kernels compute in float32",
                "build the cell and its inputs with dtype tf.float32",
            )


def _shape_rejections(op: Recurrence, unsettled: Op | None) -> Iterator[Rejection]:
    # The arena of state tensors does not grow while a model runs: after a larger batch, h and c would overlap.
    if op.batch is None and unsettled is not None:
        yield Rejection(
            Rule.FUSED_DYNAMIC_BATCH,
            op.place,
            f"the batch is unknown, and {unsettled.name} is sized while the model runs, possibly "
            "before the fused op",
            "fix the batch in the input signature, or reshape with constant shapes (one -1 is fine)",
        )


def _mask_rejections(op: Recurrence) -> Iterator[Rejection]:
    # A fused op can be made to ignore the steps at either end of a row, but a mask may have gaps, too.
    yield Rejection(
        Rule.MASK_NO_FUSED_OP,
        op.place,
        "its steps are masked, and no fused op skips steps in the middle of a row",
        "leave out Masking and mask_zero, or give the lengths of the rows (sequence_length of dynamic_rnn)",
    )


def _nesting_rejections(op: Recurrence) -> Iterator[Rejection]:
    # Inside control flow the runtimes differ in how long they keep state tensors.
    yield Rejection(
        Rule.FUSED_IN_CONTROL_FLOW,
        op.place,
        "the recurrence runs inside a tf.while_loop or tf.cond",
        "call dynamic_rnn outside of it",
    )


def _lstm_rejections(op: Recurrence, cell: LstmCell) -> Iterator[Rejection]:
    place = op.place
    # NONE leaves the kernel's result unwritten; the schema has no number for the other functions.
    if cell.activation not in LSTM_ACTIVATIONS:
        yield Rejection(
            Rule.LSTM_ACTIVATION,
            place,
            f"the fused LSTM has no {cell.activation.value} activation",
            f"use one of {_names(LSTM_ACTIVATIONS)}",
        )
    if cell.recurrent_activation is not Activation.SIGMOID:
        yield Rejection(
            Rule.LSTM_RECURRENT_ACTIVATION,
            place,
            f"the fused LSTM's gates use sigmoid, not {cell.recurrent_activation.value}",
            "use sigmoid",
        )
    # The kernels read 0.0 as "no clipping".
    for name, clip in (("cell_clip", cell.cell_clip), ("proj_clip", cell.projection_clip)):
        if clip == 0.0:
            yield Rejection(
                Rule.LSTM_ZERO_CLIP,
                place,
                f"{name} is 0.0, which clips everything to zero; the fused LSTM reads 0.0 as no clipping",
                f"use {name}=None for no clipping, or a positive bound",
            )
    # A row that has ended is held by its gates, which normalisation would open again; its output is the bias.
    for what, weights in (("layer normalisation", cell.gate_norm), ("a projection bias", cell.projection_bias)):
        if weights is not None and op.sequence_length is not None:
            yield Rejection(
                Rule.LSTM_LENGTHS,
                place,
                f"the fused LSTM cannot stop at the end of a row with {what}",
                "leave out sequence_length, or use lowering='while'",
            )
    # The projection accumulates in a scratch buffer that is sized for n_cell columns.
    if cell.output_size > cell.units:
        yield Rejection(
            Rule.LSTM_WIDE_PROJECTION,
            place,
            f"the projection widens {cell.units} units to {cell.output_size} outputs, which overruns "
            "the fused LSTM's scratch memory",
            f"use num_proj of at most {cell.units}",
        )


def _rnn_rejections(op: Recurrence, cell: RnnCell) -> Iterator[Rejection]:
    if cell.activation not in RNN_ACTIVATIONS:
        yield Rejection(
            Rule.RNN_ACTIVATION,
            op.place,
            f"the fused RNN has no {cell.activation.value} activation",
            f"use one of {_names(RNN_ACTIVATIONS)}",
        )


def _names(activations: frozenset[Activation]) -> str:
    return ", ".join(sorted(activation.value for activation in activations))
