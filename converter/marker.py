"""The contract between the frontend and the compiler: how a recurrence is written down in a graph.

The frontend wraps each recurrence in a ``tf.function`` that carries ``experimental_implements``.
``TFLiteConverter`` turns the call into one CUSTOM op named `MARKER` whose only option, `SPEC`, is the JSON of
a `RecurrenceSpec`; the importer reads it back. This module is that JSON and the order of the op's operands, and
nothing else: it imports neither TensorFlow nor the IR.

Operands of a marked op, in the order of `RecurrenceSpec.pack` and `RecurrenceSpec.unpack`::

    inputs                              [T, B, D] if time_major, else [B, T, D]
    sequence_length                     [B] int32, only if spec.sequence_length
    mask                                bool, [T, B] if time_major, else [B, T]; only if spec.mask is not None
    initial state, flat                 [B, n] each, only if spec.initial_state (otherwise the state is zero)
    weights                             of every leaf cell in order, each in the order of its ``weights``

Results, in order: outputs ([T, B, O] or [B, T, O]), then the final state, flat.

A leaf cell's flat state: all kinds of LSTM have (c [B, units], h [B, output]), all other kinds (h [B, units]);
its last tensor is as deep as the cell's output. Two kinds are not leaves and have no weights:
``stack`` feeds each of its ``cells`` the output of the one before, ``residual`` adds the inputs of its one cell to
the outputs of that cell. Their state is that of their cells, one after the other.

Weights are in the layout of the TensorFlow cell; most have gates side by side in columns, those of TFLite's own
cells a matrix to each gate and a row to each unit:

=============== ======================================================================================
kind            weights
=============== ======================================================================================
basic_rnn       kernel [D+U, U], bias [U]
tflite_rnn      input_weights [U, D], recurrent_weights [U, U], bias [U]
gru             gates_kernel [D+U, 2U] (columns r, u), gates_bias [2U]; with the reset before the
                recurrent product candidate_kernel [D+U, U], candidate_bias [U]; with the reset after it
                candidate_input_kernel [D, U], candidate_hidden_kernel [U, U], candidate_input_bias [U],
                candidate_hidden_bias [U]
lstm            kernel [D+O, 4U] (columns i, j, f, o), bias [4U];
                with peepholes w_f_diag, w_i_diag, w_o_diag [U]; with projection projection_kernel [U, O]
tflite_lstm     input_to_input_w, input_to_forget_w, input_to_cell_w, input_to_output_w [U, D];
                cell_to_input_w, cell_to_forget_w, cell_to_cell_w, cell_to_output_w [U, O];
                input_bias, forget_bias, cell_bias, output_bias [U];
                with peepholes w_f_diag, w_i_diag, w_o_diag [U]; with projection projection_kernel [O, U]
coupled_lstm    kernel [D+O, 3U] (columns j, f, o), and bias [3U] unless there is an epsilon;
                with peepholes w_f_diag, w_o_diag [U]; with an epsilon transform_gamma, transform_beta [U]
                and likewise for forget, output and state; with projection projection_kernel [U, O]
layer_norm_lstm kernel [D+U, 4U] (columns i, j, f, o); input_gamma, input_beta [U] and likewise for
                transform, forget, output and state
keras_rnn       kernel [D, U], recurrent_kernel [U, U]; bias [U] unless the cell has none
keras_lstm      kernel [D, 4U] (columns i, f, c, o), recurrent_kernel [U, 4U]; bias [4U] unless it has none
keras_gru       kernel [D, 3U] (columns z, r, h), recurrent_kernel [U, 3U]; bias unless it has none: [3U], or
                with the reset after the recurrent product [2, 3U]
=============== ======================================================================================

Attributes: every leaf has ``units`` and ``activation`` (a Keras name, ``"linear"`` included). ``gru`` and
``keras_gru`` have ``reset_after``, ``keras_lstm`` and ``keras_gru`` a ``recurrent_activation``. ``lstm``,
``coupled_lstm`` and ``layer_norm_lstm`` have ``forget_bias`` (added to f on every step). ``lstm`` and
``tflite_lstm`` have ``cell_clip``; these two and ``coupled_lstm`` have ``proj_clip``: a number, or None for no
clipping; 0.0 is a bound like any other. ``layer_norm_lstm`` has ``epsilon``, the number added to a variance; that
of a ``coupled_lstm`` is None without layer normalisation.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeAlias, TypeVar

MARKER = "tflite_rnn.recurrence"
SPEC = "spec"
FORMAT = 1

Attribute: TypeAlias = str | int | float | bool | None
T = TypeVar("T")

_LSTM_KINDS = frozenset({"coupled_lstm", "keras_lstm", "layer_norm_lstm", "lstm", "tflite_lstm"})


@dataclass(frozen=True, slots=True)
class CellSpec:
    """One cell of a recurrence: a leaf, or a ``stack`` or ``residual`` of cells; its attributes sort by name."""

    kind: str
    name: str
    attributes: tuple[tuple[str, Attribute], ...] = ()
    weights: tuple[str, ...] = ()
    cells: tuple[CellSpec, ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "attributes", tuple(sorted(self.attributes)))

    def attribute(self, name: str) -> Any:
        """Return the attribute ``name``. Raises ValueError if the cell has none of that name."""
        found = dict(self.attributes)
        if name not in found:
            raise ValueError(f"the cell {self.name} has no attribute {name}")
        return found[name]

    def leaves(self) -> tuple[CellSpec, ...]:
        """Return the leaf cells in the order in which they run."""
        return tuple(leaf for cell in self.cells for leaf in cell.leaves()) if self.cells else (self,)

    @property
    def state_count(self) -> int:
        """How many tensors the flat state of the cell has."""
        if self.cells:
            return sum(cell.state_count for cell in self.cells)
        return 2 if self.kind in _LSTM_KINDS else 1


@dataclass(frozen=True, slots=True, eq=False)
class Operands(Generic[T]):
    """The operands of a marked op by name; the flat initial state is None if the state starts from zero."""

    inputs: T
    weights: tuple[T, ...]
    sequence_length: T | None = None
    mask: T | None = None
    initial_state: tuple[T, ...] | None = None


@dataclass(frozen=True, slots=True)
class RecurrenceSpec:
    """A whole recurrence: the cell, the layout of its inputs, and which optional operands are present."""

    name: str
    cell: CellSpec
    time_major: bool
    sequence_length: bool = False
    initial_state: bool = False
    mask: str | None = None
    """What outputs are at masked steps, ``"held"`` or ``"zero"``; None if there is no mask."""

    @property
    def weight_count(self) -> int:
        """How many weights the leaf cells have together."""
        return sum(len(leaf.weights) for leaf in self.cell.leaves())

    def pack(self, operands: Operands[T]) -> list[T]:
        """Return the operands in order. Raises ValueError if they are not those that this specification has."""
        state = operands.initial_state or ()
        optional = [value for value in (operands.sequence_length, operands.mask) if value is not None]
        flat = [operands.inputs, *optional, *state, *operands.weights]
        self._check_count(flat)
        return flat

    def unpack(self, flat: Sequence[T]) -> Operands[T]:
        """Return operands by name. Raises ValueError if they are not as many as this specification has."""
        self._check_count(flat)
        inputs, *rest = flat
        return Operands(
            inputs=inputs,
            sequence_length=rest.pop(0) if self.sequence_length else None,
            mask=None if self.mask is None else rest.pop(0),
            initial_state=tuple(rest.pop(0) for _ in range(self.cell.state_count)) if self.initial_state else None,
            weights=tuple(rest),
        )

    def _check_count(self, flat: Sequence[T]) -> None:
        optional = self.sequence_length + (self.mask is not None)
        expected = 1 + optional + self.cell.state_count * self.initial_state + self.weight_count
        if len(flat) != expected:
            raise ValueError(f"{self.name}: expected {expected} operands, got {len(flat)}")

    def to_json(self) -> str:
        """Return the specification as canonical JSON: equal specifications give equal text."""
        document = {
            "format": FORMAT,
            "name": self.name,
            "time_major": self.time_major,
            "sequence_length": self.sequence_length,
            "initial_state": self.initial_state,
            "mask": self.mask,
            "cell": _cell_document(self.cell),
        }
        return json.dumps(document, sort_keys=True, separators=(",", ":"))

    @classmethod
    def from_json(cls, text: str) -> RecurrenceSpec:
        """Read a specification back. ValueError if the text is none, or of a format this version cannot read."""
        document = json.loads(text)
        if not isinstance(document, dict) or document.get("format") != FORMAT:
            raise ValueError(f"expected a recurrence specification of format {FORMAT}, got {text[:80]!r}")
        try:
            return cls(
                name=document["name"],
                cell=_cell(document["cell"]),
                time_major=document["time_major"],
                sequence_length=document["sequence_length"],
                initial_state=document["initial_state"],
                mask=document["mask"],
            )
        except (KeyError, TypeError) as error:
            raise ValueError(f"incomplete recurrence specification ({error}): got {text[:80]!r}") from error

    def implements(self) -> str:
        """Return the value of ``experimental_implements`` (a text-format NameAttrList) that marks a function."""
        escaped = self.to_json().replace("\\", "\\\\").replace('"', '\\"')
        return (
            f'name: "{MARKER}" '
            'attr { key: "tfl_fusable_op" value { b: true } } '
            f'attr {{ key: "{SPEC}" value {{ s: "{escaped}" }} }}'
        )


def _cell_document(cell: CellSpec) -> dict[str, object]:
    return {
        "kind": cell.kind,
        "name": cell.name,
        "attributes": dict(cell.attributes),
        "weights": cell.weights,
        "cells": [_cell_document(inner) for inner in cell.cells],
    }


def _cell(document: Mapping[str, Any]) -> CellSpec:
    return CellSpec(
        kind=document["kind"],
        name=document["name"],
        attributes=tuple(document["attributes"].items()),
        weights=tuple(document["weights"]),
        cells=tuple(_cell(inner) for inner in document["cells"]),
    )
