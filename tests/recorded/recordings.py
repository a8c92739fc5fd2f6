"""What TFLiteConverter made of models with loops, and what TensorFlow computes with them, recorded.

So importing, raising, recognition and lowering are tested where TensorFlow is not installed. `making.py` makes the
recordings anew, and a test holds them to what TensorFlow makes today.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from converter.importers.source import SIGNATURE_KEY
from converter.importers.tflite_model import import_tflite
from converter.ir import Array, Program, Signature

FILES = Path(__file__).parent / "files"

LSTM, GRU, RNN = "lstm(units=4, activation=tanh)", "gru(units=4, activation=tanh)", "rnn(units=4, activation=tanh)"
PROJECTED = "lstm(units=4, activation=tanh, projection=3)"
EVERYTHING = "lstm(units=4, activation=tanh, peephole, projection=3, cell_clip=0.4, projection_clip=0.2)"
KERAS_GRU = "gru(units=4, activation=tanh, reset_after)"

CELLS: Mapping[str, Sequence[str]] = {
    "tf1-lstm-everything-lengths": [EVERYTHING],
    "tf1-gru-lengths": [GRU],
    "tf1-stack-lengths-state": [PROJECTED, GRU, RNN],
    "tf1-stack-fixed": [PROJECTED, GRU, RNN],
    "tf1-residual-stack": [LSTM, GRU, GRU],
    "tf1-both-directions-lengths": [LSTM, LSTM],
    "tf1-dropout-fixed": [LSTM],
    "keras-loop-lstm": [LSTM],
    "keras-loop-both-directions": [LSTM, LSTM],
    "keras-loop-dense-gru": [KERAS_GRU],
    "keras-marked-masked": [LSTM],
    "marked-both-directions": [LSTM, LSTM],
    "marked-stack": [EVERYTHING, RNN],
    "own-cell": [],
    "while-maxima": [],
    "while-largest": [],
    "while-limited": [],
}
"""The cells that are recognised in each recording, in the order of its recurrences."""


@dataclass(frozen=True, slots=True, eq=False)
class Case:
    """Inputs, and the outputs that TensorFlow computes for them, by name."""

    inputs: Mapping[str, Array]
    outputs: Mapping[str, Array]


@dataclass(frozen=True, slots=True, eq=False)
class Recording:
    """A file of TFLiteConverter's, with CUSTOM ops for lists of tensors and for marked recurrences."""

    model: bytes
    cases: Sequence[Case]

    def program(self, name: str) -> Program:
        """Return the program in the file, as it is imported."""
        first = self.cases[0]
        signature = Signature(SIGNATURE_KEY, tuple(first.inputs), tuple(first.outputs))
        return import_tflite(self.model, source=name, signature=signature)

    def write(self, name: str) -> None:
        """Write the recording to its file."""
        arrays = {"model": np.frombuffer(self.model, np.uint8)}
        for index, case in enumerate(self.cases):
            for kind, values in (("inputs", case.inputs), ("outputs", case.outputs)):
                arrays |= {f"{index}/{kind}/{key}": np.asarray(value) for key, value in values.items()}
        np.savez_compressed(FILES / f"{name}.npz", **arrays)


def read(name: str) -> Recording:
    """Return the recording in a file."""
    with np.load(FILES / f"{name}.npz") as arrays:
        cases: dict[str, dict[str, dict[str, Array]]] = {}
        for key in arrays.files:
            if key != "model":
                index, kind, value = key.split("/", 2)
                cases.setdefault(index, {"inputs": {}, "outputs": {}})[kind][value] = arrays[key]
        return Recording(arrays["model"].tobytes(), [Case(**case) for case in cases.values()])
