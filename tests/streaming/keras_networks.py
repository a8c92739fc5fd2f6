"""Random Keras models over time, each with what it is to be on chunks, stated before it is converted.

The rules of rows: row p of a value that takes ``stride`` input steps a row and comes ``delay`` steps late leaves
with step p * stride + delay, and exists in sequences of at least ``first`` + p * stride steps.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import keras
import numpy as np
from keras import layers

from converter.rules import Rule

FEATURES = 4


@dataclass(frozen=True)
class Rows:
    """A value that has time, and the rule of its rows."""

    tensor: Any
    stride: int = 1
    delay: int = 0
    first: int = 1

    @property
    def width(self) -> int:
        return int(self.tensor.shape[-1])

    def through(self, layer: Callable[[Any], Any]) -> Rows:
        """Return the rows of a layer that looks at one row."""
        return Rows(layer(self.tensor), self.stride, self.delay, self.first)

    def window(self, layer: Callable[[Any], Any], size: int, left: int, right: int, stride: int = 1) -> Rows:
        """Return the rows of a layer that looks at ``size`` of them, behind padding on the left and the right."""
        taken = self.stride * stride
        waits = (size - 1 - left) * self.stride + self.delay
        delay = max(0, taken * math.floor(waits / taken))
        first = self.first + (size - 1 - left - right) * self.stride
        if right < 0:  # a row that is not cut off is one behind which others have come
            delay = max(delay, taken * math.floor((first - 1) / taken))
        return Rows(layer(self.tensor), taken, delay, first)

    def count(self, steps: int) -> int:
        return max(0, (steps - self.first) // self.stride + 1)


@dataclass
class KerasNetwork:
    """A model, and its outcome: the rules by which it is refused, or the rows that leave."""

    batch: int
    rng: np.random.Generator
    names: list[str] = field(default_factory=list)
    outputs: dict[str, Any] = field(default_factory=dict)
    rows: dict[str, Rows] = field(default_factory=dict)
    seen: list[Rows] = field(default_factory=list)
    refusals: set[Rule] = field(default_factory=set)
    looks_ahead: bool = False
    amplifies: bool = False

    def __post_init__(self) -> None:
        self.x = keras.Input(batch_shape=(self.batch, None, FEATURES), name="x")

    def model(self) -> Any:
        model = keras.Model(self.x, self.outputs)
        for layer in model.layers:
            if isinstance(layer, layers.BatchNormalization):
                scale, offset, mean, variance = (self.rng.uniform(0.5, 1.5, w.shape) for w in layer.get_weights())
                layer.set_weights([scale, offset - 1, mean - 1, variance])
        return model

    def fits(self, steps: int) -> bool:
        """Return whether every layer has a row in a sequence of so many steps."""
        return all(rows.count(steps) > 0 for rows in self.seen)

    def takes(self, rows: Rows, name: str) -> Rows:
        """Note a layer."""
        self.names.append(name)
        self.seen.append(rows)
        return rows

    def waits(self, rows: Rows) -> None:
        """Note rows that are needed: those that come later than they exist must know where the sequence ends."""
        self.looks_ahead |= rows.delay > rows.first - 1

    def end(self, rows: Rows) -> None:
        """Make an output of rows, or of what they come to."""
        self.waits(rows)
        kind = self.rng.choice(["rows", "rows", "mean", "max", "last"])
        name = f"y{len(self.outputs)}"
        if kind == "rows":
            self.rows[name] = rows
            self.outputs[name] = layers.Dense(3)(rows.tensor)
        elif kind == "last":
            self.outputs[name] = layers.GRU(3)(rows.tensor)
        else:
            pool = layers.GlobalAveragePooling1D() if kind == "mean" else layers.GlobalMaxPooling1D()
            self.outputs[name] = pool(rows.tensor)
        self.names.append(str(kind))


def draw(seed: int) -> KerasNetwork:
    """Return the network of a seed."""
    network = KerasNetwork(1 + 2 * (seed % 2), np.random.default_rng(seed))
    rows = Rows(network.x)
    for _ in range(int(network.rng.integers(1, 5))):
        rows = _layer(network, rows)
    if network.rng.random() < 0.12:
        _refused(network, rows)
    else:
        network.end(rows)
        if network.rng.random() < 0.3:
            network.end(rows)
    return network


def _layer(network: KerasNetwork, rows: Rows) -> Rows:
    makers = (_convolution, _convolution, _pool, _crop, _padded, _step, _step, _residual, _recurrent, _picture)
    return makers[int(network.rng.integers(len(makers)))](network, rows)


def _activation(network: KerasNetwork) -> str:
    return str(network.rng.choice(["relu", "tanh", "sigmoid", "linear", "elu"]))


def _sides(padding: str, size: int) -> tuple[int, int]:
    if padding == "causal":
        return size - 1, 0
    return ((size - 1) // 2, size - 1 - (size - 1) // 2) if padding == "same" else (0, 0)


def _convolution(network: KerasNetwork, rows: Rows) -> Rows:
    rng = network.rng
    kind = str(rng.choice(["Conv1D", "Conv1D", "DepthwiseConv1D", "SeparableConv1D"]))
    paddings = ["causal", "valid", "same"] if kind == "Conv1D" else ["valid", "same"]
    size, padding = int(rng.integers(1, 5)), str(rng.choice(paddings))
    stride = (
        int(rng.integers(1, 4)) if padding != "same" and kind != "DepthwiseConv1D" and rng.random() < 0.4 else 1
    )
    dilation = int(rng.integers(2, 4)) if stride == 1 and kind == "Conv1D" and rng.random() < 0.3 else 1
    options: dict[str, Any] = {"padding": padding, "strides": stride, "activation": _activation(network)}
    if dilation > 1:
        options["dilation_rate"] = dilation
    if kind == "DepthwiseConv1D":
        layer = layers.DepthwiseConv1D(size, **options)
    else:
        layer = getattr(layers, kind)(int(rng.integers(2, 6)), size, **options)
    span = (size - 1) * dilation + 1
    made = rows.window(layer, span, *_sides(padding, span), stride)
    return network.takes(made, f"{kind} {size} {padding} /{stride} *{dilation}")


def _pool(network: KerasNetwork, rows: Rows) -> Rows:
    size = int(network.rng.integers(2, 4))
    stride = int(network.rng.choice([1, size]))
    kind = layers.MaxPooling1D if network.rng.random() < 0.5 else layers.AveragePooling1D
    made = rows.window(kind(size, strides=stride), size, 0, 0, stride)
    return network.takes(made, f"{kind.__name__} {size} /{stride}")


def _crop(network: KerasNetwork, rows: Rows) -> Rows:
    left, right = (int(number) for number in network.rng.integers(0, 3, 2))
    made = rows.window(layers.Cropping1D((left, right)), 1, -left, -right)
    return network.takes(made, f"Cropping1D {left} {right}")


def _padded(network: KerasNetwork, rows: Rows) -> Rows:
    size = int(network.rng.integers(2, 5))
    padded = layers.ZeroPadding1D((size - 1, 0))
    convolution = layers.Conv1D(3, size)
    made = rows.window(lambda x: convolution(padded(x)), size, size - 1, 0)
    return network.takes(made, f"ZeroPadding1D and Conv1D {size}")


def _step(network: KerasNetwork, rows: Rows) -> Rows:
    layer = (
        layers.Dense(int(network.rng.integers(2, 6)), activation=_activation(network)),
        layers.BatchNormalization(),
        layers.LayerNormalization(),
        layers.Activation(_activation(network)),
        layers.Dropout(0.5),
    )[int(network.rng.integers(5))]
    return network.takes(rows.through(layer), type(layer).__name__)


def _residual(network: KerasNetwork, rows: Rows) -> Rows:
    """Join a branch that looks back, or around, with what it came from."""
    size = int(network.rng.integers(2, 5))
    padding = str(network.rng.choice(["causal", "same"]))
    branch = rows.window(
        layers.Conv1D(rows.width, size, padding=padding, activation="tanh"), size, *_sides(padding, size)
    )
    network.takes(branch, f"Conv1D {size} {padding}")
    join = layers.Add() if network.rng.random() < 0.5 else layers.Concatenate()
    tensor = join([rows.tensor, branch.tensor])
    return network.takes(Rows(tensor, rows.stride, max(rows.delay, branch.delay), rows.first), type(join).__name__)


def _recurrent(network: KerasNetwork, rows: Rows) -> Rows:
    kind = (layers.LSTM, layers.GRU, layers.SimpleRNN)[int(network.rng.integers(3))]
    network.amplifies |= kind is layers.SimpleRNN
    network.waits(rows)
    return network.takes(rows.through(kind(4, return_sequences=True)), kind.__name__)


def _picture(network: KerasNetwork, rows: Rows) -> Rows:
    """A convolution over time and features."""
    size, padding = int(network.rng.integers(1, 4)), str(network.rng.choice(["valid", "same"]))
    width = rows.width
    across = min(2, width) if padding == "valid" else 3
    filters = 2
    convolution = layers.Conv2D(filters, (size, across), padding=padding, activation="relu")
    wide = (width - across + 1 if padding == "valid" else width) * filters

    def layer(x: Any) -> Any:
        return layers.Reshape((-1, wide))(convolution(layers.Reshape((-1, width, 1))(x)))

    return network.takes(rows.window(layer, size, *_sides(padding, size)), f"Conv2D {size} {padding}")


def _refused(network: KerasNetwork, rows: Rows) -> None:
    """End in a layer that needs the whole sequence."""
    network.waits(rows)
    x = rows.tensor
    kind = str(network.rng.choice(["Bidirectional", "Attention", "Softmax", "centred", "GroupNormalization"]))
    if kind == "Bidirectional":
        y, rule = layers.Bidirectional(layers.LSTM(3, return_sequences=True))(x), Rule.STREAMING_BACKWARDS
    elif kind == "Attention":
        y, rule = layers.Attention()([x, x]), Rule.STREAMING_WHOLE_SEQUENCE
    elif kind == "Softmax":
        y, rule = layers.Softmax(axis=1)(x), Rule.STREAMING_WHOLE_SEQUENCE
    elif kind == "centred":
        mean = layers.Reshape((1, rows.width))(layers.GlobalAveragePooling1D()(x))
        y, rule = layers.Subtract()([x, mean]), Rule.STREAMING_WHOLE_SEQUENCE
    else:
        y, rule = layers.GroupNormalization(1)(x), Rule.STREAMING_WHOLE_SEQUENCE
    network.outputs["y0"] = y
    network.refusals.add(rule)
    network.names.append(kind)
