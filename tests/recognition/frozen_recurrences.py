"""Graphs that TensorFlow 1's own dynamic_rnn writes over its own cells, frozen, with random weights."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tests.frozen_graphs import control_flow_v1

DEPTH, UNITS = 5, 4
BATCH, TIME = 3, 6


@dataclass(frozen=True, slots=True)
class Variant:
    """One graph: its cell, how dynamic_rnn runs it, and what should be recognised.

    ``cells`` are the words of the recognised cells, one per recurrence; ``fused`` is how many become fused ops, of
    one direction or two.
    """

    cell: Callable[[Any], Any]
    cells: tuple[str, ...]
    fused: int
    batch: int | None = None
    time: int | None = None
    time_major: bool = False
    lengths: bool = False
    initial_state: bool = False
    bidirectional: bool = False


def variants() -> dict[str, Variant]:
    """Every variant by its name."""
    return {**_cells(), **_settings(), **_several()}


def _lstm(**options: Any) -> Callable[[Any], Any]:
    return lambda module: module.LSTMCell(UNITS, **options)


def _basic(**options: Any) -> Callable[[Any], Any]:
    return lambda module: module.BasicLSTMCell(UNITS, **options)


def _rnn(**options: Any) -> Callable[[Any], Any]:
    return lambda module: module.BasicRNNCell(UNITS, **options)


def _gru(**options: Any) -> Callable[[Any], Any]:
    return lambda module: module.GRUCell(UNITS, **options)


def _stack(*cells: Callable[[Any], Any], **options: Any) -> Callable[[Any], Any]:
    return lambda module: module.MultiRNNCell([cell(module) for cell in cells], **options)


LSTM = "lstm(units=4, activation=tanh)"
RNN = "rnn(units=4, activation=tanh)"
GRU = "gru(units=4, activation=tanh)"
EVERYTHING = {"use_peepholes": True, "num_proj": 3, "cell_clip": 0.4, "proj_clip": 0.2}
ALL = "lstm(units=4, activation=tanh, peephole, projection=3, cell_clip=0.4, projection_clip=0.2)"


def _cells() -> dict[str, Variant]:
    """Every cell and option, over sequences of unknown sizes."""
    return {
        "rnn": Variant(_rnn(), (RNN,), 1),
        "rnn relu": Variant(_rnn(activation="relu"), ("rnn(units=4, activation=relu)",), 1),
        "rnn sigmoid": Variant(_rnn(activation="sigmoid"), ("rnn(units=4, activation=sigmoid)",), 0),
        "rnn linear": Variant(_rnn(activation="linear"), ("rnn(units=4, activation=linear)",), 1),
        "rnn elu": Variant(_rnn(activation="elu"), ("rnn(units=4, activation=elu)",), 0),
        "rnn softplus": Variant(_rnn(activation="softplus"), ("rnn(units=4, activation=softplus)",), 0),
        "rnn selu": Variant(_rnn(activation="selu"), ("rnn(units=4, activation=selu)",), 0),
        "rnn hard sigmoid": Variant(
            _rnn(activation="hard_sigmoid"), ("rnn(units=4, activation=hard_sigmoid)",), 0
        ),
        "basic lstm": Variant(_basic(), (LSTM,), 1),
        "basic lstm forget bias": Variant(_basic(forget_bias=2.5), (LSTM,), 1),
        "basic lstm relu": Variant(_basic(activation="relu"), ("lstm(units=4, activation=relu)",), 1),
        "basic lstm flat": Variant(_basic(state_is_tuple=False), (LSTM,), 1),
        "lstm": Variant(_lstm(), (LSTM,), 1),
        "lstm softsign": Variant(_lstm(activation="softsign"), ("lstm(units=4, activation=softsign)",), 0),
        "lstm peephole": Variant(_lstm(use_peepholes=True), ("lstm(units=4, activation=tanh, peephole)",), 1),
        "lstm clip": Variant(_lstm(cell_clip=0.5), ("lstm(units=4, activation=tanh, cell_clip=0.5)",), 1),
        "lstm projection": Variant(_lstm(num_proj=3), ("lstm(units=4, activation=tanh, projection=3)",), 1),
        "lstm projection of its width": Variant(
            _lstm(num_proj=4), ("lstm(units=4, activation=tanh, projection=4)",), 1
        ),
        "lstm everything": Variant(_lstm(**EVERYTHING), (ALL,), 1),
        "lstm everything flat": Variant(_lstm(**EVERYTHING, state_is_tuple=False), (ALL,), 1),
        "lstm linear": Variant(_lstm(activation="linear"), ("lstm(units=4, activation=linear)",), 0),
        "gru": Variant(_gru(), (GRU,), 0),
        "gru relu": Variant(_gru(activation="relu"), ("gru(units=4, activation=relu)",), 0),
        "gru linear": Variant(_gru(activation="linear"), ("gru(units=4, activation=linear)",), 0),
    }


def _settings() -> dict[str, Variant]:
    """Every way to run a cell."""
    fixed = {"batch": BATCH, "time": TIME}
    return {
        "rnn fixed": Variant(_rnn(), (RNN,), 1, **fixed),
        "lstm fixed": Variant(_lstm(), (LSTM,), 1, **fixed),
        "lstm fixed batch": Variant(_lstm(), (LSTM,), 1, batch=BATCH),
        "lstm fixed time": Variant(_lstm(), (LSTM,), 1, time=TIME),
        "lstm time major": Variant(_lstm(), (LSTM,), 1, time_major=True),
        "lstm time major fixed": Variant(_lstm(), (LSTM,), 1, time_major=True, **fixed),
        "gru fixed": Variant(_gru(), (GRU,), 0, **fixed),
        "gru time major": Variant(_gru(), (GRU,), 0, time_major=True),
        "rnn lengths": Variant(_rnn(), (RNN,), 1, lengths=True),
        "lstm lengths": Variant(_lstm(**EVERYTHING), (ALL,), 1, lengths=True),
        "lstm lengths fixed": Variant(_lstm(), (LSTM,), 1, lengths=True, **fixed),
        "lstm lengths time major": Variant(_lstm(), (LSTM,), 1, lengths=True, time_major=True),
        "lstm flat lengths": Variant(_basic(state_is_tuple=False), (LSTM,), 1, lengths=True),
        "gru lengths": Variant(_gru(), (GRU,), 0, lengths=True),
        "gru lengths fixed": Variant(_gru(), (GRU,), 0, lengths=True, **fixed),
        "rnn state": Variant(_rnn(), (RNN,), 1, initial_state=True),
        "lstm state": Variant(
            _lstm(num_proj=3), ("lstm(units=4, activation=tanh, projection=3)",), 1, initial_state=True
        ),
        "lstm state fixed": Variant(_lstm(), (LSTM,), 1, initial_state=True, **fixed),
        "lstm state lengths": Variant(_lstm(), (LSTM,), 1, initial_state=True, lengths=True),
        "gru state lengths": Variant(_gru(), (GRU,), 0, initial_state=True, lengths=True, time_major=True),
        "lstm flat state": Variant(_basic(state_is_tuple=False), (LSTM,), 1, initial_state=True),
    }


def _several() -> dict[str, Variant]:
    """Cells in stacks and wrappers, and in both directions."""

    def residual(module: Any) -> Any:
        return module.ResidualWrapper(module.LSTMCell(DEPTH))

    def dropout(module: Any) -> Any:
        return module.DropoutWrapper(module.LSTMCell(UNITS), 1.0, 1.0, 1.0)

    def residual_stack(module: Any) -> Any:
        wide = [module.ResidualWrapper(module.GRUCell(UNITS)) for _ in range(2)]
        return module.MultiRNNCell([module.LSTMCell(UNITS), *wide])

    wide = "lstm(units=5, activation=tanh)"
    mixed = _stack(_lstm(num_proj=3), _gru(), _rnn())
    projected = "lstm(units=4, activation=tanh, projection=3)"
    fixed = {"batch": BATCH, "time": TIME}
    return {
        "stack": Variant(_stack(_basic(), _basic()), (LSTM, LSTM), 2),
        "stack fixed": Variant(_stack(_basic(), _basic()), (LSTM, LSTM), 2, **fixed),
        "stack lengths": Variant(_stack(_lstm(), _lstm(), _lstm()), (LSTM, LSTM, LSTM), 3, lengths=True),
        # Without its time known, what follows a loop is sized while the model runs: no place for a fused op.
        "stack mixed": Variant(mixed, (projected, GRU, RNN), 1),
        "stack mixed fixed": Variant(mixed, (projected, GRU, RNN), 2, **fixed),
        "stack mixed lengths state": Variant(mixed, (projected, GRU, RNN), 1, lengths=True, initial_state=True),
        "stack flat": Variant(
            _stack(_basic(state_is_tuple=False), _gru(), state_is_tuple=False), (LSTM, GRU), 1, lengths=True
        ),
        "stack of gru": Variant(_stack(_gru(), _gru()), (GRU, GRU), 0, time_major=True, **fixed),
        "residual": Variant(residual, (wide,), 1),
        "residual lengths": Variant(residual, (wide,), 1, lengths=True),
        "residual stack": Variant(residual_stack, (LSTM, GRU, GRU), 1),
        "residual stack lengths": Variant(residual_stack, (LSTM, GRU, GRU), 1, lengths=True),
        "dropout that keeps all": Variant(dropout, (LSTM,), 1),
        "both directions": Variant(_lstm(), (LSTM, LSTM), 2, bidirectional=True),
        "both directions fixed": Variant(_lstm(), (LSTM, LSTM), 2, bidirectional=True, **fixed),
        "both directions lengths": Variant(_lstm(), (LSTM, LSTM), 2, bidirectional=True, lengths=True),
        "both directions gru": Variant(_gru(), (GRU, GRU), 0, bidirectional=True, time_major=True),
        "both directions stack": Variant(
            _stack(_basic(), _basic()), (LSTM, LSTM, LSTM, LSTM), 4, bidirectional=True, lengths=True
        ),
    }


def write_frozen(variant: Variant, path: Path) -> tuple[list[str], list[str]]:
    """Write the graph of ``variant``; return the names of its inputs and outputs."""
    import tensorflow as tf

    tf1 = tf.compat.v1
    with control_flow_v1(), warnings.catch_warnings(), tf.Graph().as_default() as graph:
        warnings.simplefilter("ignore")
        inputs, outputs = _build(tf, variant)
        rng = np.random.default_rng(3)
        with tf1.Session(graph=graph) as session:
            for variable in tf1.global_variables():
                variable.load(rng.standard_normal(variable.shape).astype(np.float32) * 0.5, session)
            definition = graph.as_graph_def()
            made = tf1.graph_util.convert_variables_to_constants(session, definition, outputs)
    path.write_bytes(made.SerializeToString())
    return inputs, outputs


def _build(tf: Any, variant: Variant) -> tuple[list[str], list[str]]:
    from tensorflow.python.ops import rnn, rnn_cell_impl

    tf1 = tf.compat.v1
    leading = (variant.time, variant.batch) if variant.time_major else (variant.batch, variant.time)
    x = tf1.placeholder(tf.float32, [*leading, DEPTH], name="x")
    inputs, options = ["x"], {"dtype": tf.float32, "time_major": variant.time_major}
    if variant.lengths:
        options["sequence_length"] = tf1.placeholder(tf.int32, [variant.batch], name="n")
        inputs.append("n")
    cell = variant.cell(rnn_cell_impl)
    if variant.bidirectional:
        ys, states = rnn.bidirectional_dynamic_rnn(cell, variant.cell(rnn_cell_impl), x, **options)
        return inputs, _named(tf, [*ys, *tf.nest.flatten(states)])
    if variant.initial_state:
        sizes = tf.nest.flatten(cell.state_size)
        given = [
            tf1.placeholder(tf.float32, [variant.batch, size], name=f"s{index}")
            for index, size in enumerate(sizes)
        ]
        options["initial_state"] = tf.nest.pack_sequence_as(cell.state_size, given)
        inputs += [f"s{index}" for index in range(len(given))]
    y, state = rnn.dynamic_rnn(cell, x, **options)
    return inputs, _named(tf, [y, *tf.nest.flatten(state)])


def _named(tf: Any, values: list[Any]) -> list[str]:
    for index, value in enumerate(values):
        tf.identity(value, name=f"out{index}")
    return [f"out{index}" for index in range(len(values))]


def random_case(
    rng: np.random.Generator, shapes: Mapping[str, tuple[int | None, ...]], variant: Variant, time: int, batch: int
) -> dict[str, np.ndarray]:
    """Values for the inputs of a graph: lengths from nothing to everything."""
    case: dict[str, np.ndarray] = {}
    for name, shape in shapes.items():
        if name == "n":
            case[name] = rng.integers(0, time + 1, batch).astype(np.int32)
            continue
        leading = ((time, batch) if variant.time_major else (batch, time)) if name == "x" else (batch,)
        case[name] = rng.standard_normal((*leading, shape[-1])).astype(np.float32)
    return case
