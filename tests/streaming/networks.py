"""Random networks over time: each as a program, as a function in NumPy, and with what becomes of it on chunks.

The functions share no code with the compiler: every layer is written out once more, on whole sequences in float64.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from fractions import Fraction

import numpy as np

from converter.emission.emitter import Emitter
from converter.ir import (
    Array,
    DType,
    Graph,
    Names,
    Program,
    Recurrence,
    Signature,
    TensorType,
    Value,
    constant,
    dims,
    evaluate,
)
from tests.programs import gru_cell, lstm_cell, program, recurrence, rnn_cell, tensor

Function = Callable[[Array], Array]
CHANNELS = 3
LONG = 2**6 * 3**4
"""A number of steps of which every network has whole chunks."""


@dataclass(frozen=True)
class Rows:
    """A sequence [batch, time, channels] within a network, and the function from the input to it."""

    value: Value
    function: Function
    stride: Fraction = Fraction(1)
    """How many steps a row covers."""
    count: Callable[[int], int] = lambda steps: steps
    """How many rows there are of a sequence of so many steps."""
    ahead: Fraction = Fraction(0)
    """How many steps after its own a row needs, or must see to know whether it is of the sequence."""

    @property
    def lacks(self) -> int:
        """How many rows fewer there are of long sequences than these have steps for."""
        return int(LONG / self.stride) - self.count(LONG)

    @property
    def known(self) -> Fraction:
        """How many steps after its own a row is known, and known to be of the sequence."""
        return max(self.ahead, self.lacks * self.stride)


@dataclass
class Network:
    """A network while it is drawn."""

    rng: np.random.Generator
    batch: int
    time: int | None = None
    looks_ahead: bool = False
    needs_all: bool = False
    is_reversed: bool = False
    layers: list[str] = field(default_factory=list)
    lengths: list[Callable[[int], bool]] = field(default_factory=list)
    """What must hold for the length of a whole sequence."""
    needs: list[Callable[[int], bool]] = field(default_factory=list)
    """The same, of what the contract of a model must say."""
    multiple: int = 1
    """The number of steps of which sequences must hold a multiple, so that rows come in blocks of one size."""
    outputs: list[tuple[str, Value, Function, bool]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.emitter = Emitter("net", Names(["x"]))
        self.x = tensor("x", self.batch, self.time, CHANNELS)

    @property
    def refusals(self) -> set[str]:
        """The rules by which it may be refused."""
        ahead = {"streaming-lookahead"} if self.looks_ahead else set()
        return ahead | ({"streaming-whole-sequence", "streaming-backwards"} if self.needs_all else set())

    def start(self) -> Rows:
        return Rows(self.x, lambda x: x.astype(np.float64))

    def program(self) -> Program:
        names = tuple(name for name, *_ in self.outputs)
        values = tuple(value for _, value, *_ in self.outputs)
        graph = Graph("main", (self.x,), values, tuple(self.emitter.ops))
        return Program((graph,), (Signature("serving_default", ("x",), names),))

    def expected(self, x: Array) -> dict[str, Array]:
        return {name: function(x) for name, _, function, _ in self.outputs}

    def weights(self, *shape: int) -> Array:
        fan = math.prod(shape[1:]) or 1
        return (self.rng.standard_normal(shape) / math.sqrt(fan)).astype(np.float32)

    def value(self, name: str, *shape: int | None) -> Value:
        return Value(self.emitter.name(name), TensorType(DType.FLOAT32, shape))

    # --- layers ------------------------------------------------------------------------------------------------

    def convolution(
        self,
        rows: Rows,
        *,
        size: int,
        stride: int = 1,
        dilation: int = 1,
        padding: str = "causal",
        depthwise: bool,
    ) -> Rows:
        """Keras' Conv1D or DepthwiseConv1D: height 1, time along the width."""
        depth = dims(rows.value)[2] or 0
        channels = depth if depthwise else int(self.rng.integers(1, 5))
        kernel = self.weights(channels, 1, size, depth) if not depthwise else self.weights(1, 1, size, depth)
        bias = self.weights(channels) + np.float32(0.3)
        reach = (size - 1) * dilation + 1
        x = self._padded(rows, reach - 1, 0) if padding == "causal" else rows.value
        image = self._image(x)
        made = self.value("conv", self.batch, 1, None, channels)
        options = {"padding": 0 if padding == "same" else 1, "strideW": stride, "strideH": stride}
        options |= {"dilationWFactor": dilation, "dilationHFactor": 1, "fusedActivationFunction": 0}
        kind = "DEPTHWISE_CONV_2D" if depthwise else "CONV_2D"
        options |= {"depthMultiplier": 1} if depthwise else {}
        weights = [self.emitter.constant(name, data) for name, data in (("kernel", kernel), ("bias", bias))]
        self.emitter.op(kind, [image, *weights], made, options)

        def function(x: Array) -> Array:
            before = rows.function(x)
            left, right = around(before.shape[1], reach, stride, padding)
            wide = np.pad(before, ((0, 0), (left, right), (0, 0)))
            count = max(0, (wide.shape[1] - reach) // stride + 1)
            total = np.zeros((x.shape[0], count, channels))
            for tap in range(size):
                seen = wide[:, tap * dilation : tap * dilation + (count - 1) * stride + 1 : stride][:, :count]
                total += seen * kernel[0, 0, tap] if depthwise else seen @ kernel[:, 0, tap].T.astype(np.float64)
            return total + bias

        return self._windowed(rows, self._sequence(made, channels), function, reach, stride, padding)

    def pool(self, rows: Rows, *, size: int, stride: int, padding: str, largest: bool) -> Rows:
        """Keras' MaxPooling1D or AveragePooling1D."""
        depth = dims(rows.value)[2] or 0
        made = self.value("pool", self.batch, 1, None, depth)
        options = {"padding": 0 if padding == "same" else 1, "strideW": stride, "strideH": stride}
        options |= {"filterWidth": size, "filterHeight": 1, "fusedActivationFunction": 0}
        kind = "MAX_POOL_2D" if largest else "AVERAGE_POOL_2D"
        self.emitter.op(kind, [self._image(rows.value)], made, options)

        def function(x: Array) -> Array:
            before = rows.function(x)
            time = before.shape[1]
            left, right = around(time, size, stride, padding)
            count = max(0, (time + left + right - size) // stride + 1)
            seen = [before[:, max(0, i * stride - left) : i * stride - left + size] for i in range(count)]
            reduced = [part.max(1) if largest else part.mean(1) for part in seen]
            return np.stack(reduced, 1) if reduced else before[:, :0]

        return self._windowed(rows, self._sequence(made, depth), function, size, stride, padding)

    def _windowed(
        self, rows: Rows, value: Value, function: Function, reach: int, stride: int, padding: str
    ) -> Rows:
        left, right = around(rows.count(LONG), reach, stride, padding)
        if padding == "same" and is_steady(reach, stride):
            right = reach - 1 - left  # of the longest rest
        ahead = (reach - 1 - left) * rows.stride + (rows.known if right > 0 else rows.ahead)
        self.layers.append(f"window({reach}, {stride}, {padding})")

        def count(steps: int) -> int:
            before = rows.count(steps)
            return max(0, (before + sum(around(before, reach, stride, padding)) - reach) // stride + 1)

        return Rows(value, function, rows.stride * stride, count, ahead)

    def crop(self, rows: Rows, front: int, end: int) -> Rows:
        depth = dims(rows.value)[2] or 0
        made = self.value("crop", self.batch, None, depth)
        bounds = [self.emitter.integers(*bound) for bound in ((0, front, 0), (0, -end, 0), (1, 1, 1))]
        masks = {"beginMask": 5, "endMask": 5 if end else 7, "shrinkAxisMask": 0}
        self.emitter.op("STRIDED_SLICE", [rows.value, *bounds], made, masks)
        self.layers.append(f"crop({front}, {end})")

        def function(x: Array) -> Array:
            before = rows.function(x)
            return before[:, front : before.shape[1] - end]

        return replace(
            rows,
            value=made,
            function=function,
            count=lambda steps: max(0, rows.count(steps) - front - end),
            ahead=rows.ahead + front * rows.stride,
        )

    def frames(self, rows: Rows, count: int) -> Rows:
        """``count`` consecutive rows side by side, as one."""
        depth = dims(rows.value)[2] or 0
        made = self.value("frames", self.batch, None, count * depth)
        self.emitter.op("RESHAPE", [rows.value, self.emitter.integers(self.batch, -1, count * depth)], made)
        self.layers.append(f"frames({count})")

        def function(x: Array) -> Array:
            before = rows.function(x)
            return before.reshape(before.shape[0], -1, count * depth)

        self.lengths.append(lambda steps: rows.count(steps) % count == 0)
        if rows.count(LONG) % count:
            self.looks_ahead = True  # whole chunks leave rows over
        reach = (count - 1) * rows.stride
        return Rows(
            made, function, rows.stride * count, lambda steps: rows.count(steps) // count, rows.ahead + reach
        )

    def dense(self, rows: Rows, units: int) -> Rows:
        kernel = self.weights(units, dims(rows.value)[2] or 0)
        wide = kernel.T.astype(np.float64)
        made = self.emitter.fully_connected(rows.value, kernel, None, "dense")
        made = self.emitter.unary("TANH", made, "tanh")
        self.layers.append(f"dense({units})")
        return replace(rows, value=made, function=lambda x: np.tanh(rows.function(x) @ wide))

    def recurrent(self, rows: Rows, kind: str) -> Rows:
        depth = dims(rows.value)[2] or 0
        cell = {"lstm": lstm_cell, "gru": gru_cell, "rnn": rnn_cell}[kind](
            depth=depth, units=3, seed=len(self.layers)
        )
        op = recurrence(cell, rows.value, name=self.emitter.name(kind), time_major=False)
        self.emitter.ops.append(op)
        self.layers.append(kind)
        rows = self._complete(rows)
        free = tensor("x", self.batch, None, depth)
        alone = recurrence(cell, free, time_major=False)
        whole = program([free], [alone], [alone.output])

        def function(x: Array) -> Array:
            before = rows.function(x)
            if not before.shape[1]:
                return np.zeros((before.shape[0], 0, 3))
            return next(iter(evaluate(whole, {"x": before}).values()))

        return replace(rows, value=op.output, function=function)

    def joined(self, one: Rows, other: Rows, kind: str) -> Rows:
        """The sum, or both side by side; the two have equally many rows."""
        self.layers.append(kind)
        if kind == "add":
            made = self.emitter.add(one.value, other.value)
            ahead = max(one.ahead, other.ahead)
            return replace(one, value=made, function=lambda x: one.function(x) + other.function(x), ahead=ahead)
        made = self.emitter.concatenation([one.value, other.value], 2, "side_by_side")
        return replace(
            one,
            value=made,
            function=lambda x: np.concatenate([one.function(x), other.function(x)], 2),
            ahead=max(one.ahead, other.ahead),
        )

    def total(self, rows: Rows, kind: str) -> None:
        """A reduction over time as an output: there must be a row."""
        rows = self._complete(rows)
        self.lengths.append(lambda steps: rows.count(steps) > 0)
        depth = dims(rows.value)[2] or 0
        made = self.value(kind, self.batch, depth)
        if kind == "last":
            bounds = [self.emitter.integers(*bound) for bound in ((0, -1, 0), (0, 0, 0), (1, 1, 1))]
            masks = {"beginMask": 5, "endMask": 5, "shrinkAxisMask": 2}
            self.emitter.op("STRIDED_SLICE", [rows.value, *bounds], made, masks)
        else:
            self.emitter.op(kind, [rows.value, self.emitter.integers(1)], made, {"keepDims": False})
        reduce = {
            "MEAN": lambda y: y.mean(1),
            "SUM": lambda y: y.sum(1),
            "REDUCE_MAX": lambda y: y.max(1),
            "REDUCE_MIN": lambda y: y.min(1),
            "last": lambda y: y[:, -1],
        }[kind]
        self.layers.append(kind)
        self.outputs.append((f"y{len(self.outputs)}", made, lambda x: reduce(rows.function(x)), True))

    def end(self, rows: Rows) -> None:
        self._complete(rows)
        self.outputs.append((f"y{len(self.outputs)}", rows.value, rows.function, False))

    def whole(self, rows: Rows, kind: str) -> Rows:
        """A layer that needs the whole sequence."""
        self.needs_all = True
        self.layers.append(kind)
        value = rows.value
        made = self.value(kind, *dims(value))
        if kind == "reverse":
            self.is_reversed = True
            made = self.emitter.reverse(value, 1)
        elif kind == "normalise":
            mean = self.value("mean", self.batch, 1, dims(value)[2])
            self.emitter.op("MEAN", [value, self.emitter.integers(1)], mean, {"keepDims": True})
            made = self.emitter.subtract(value, mean, "normalised")
        elif kind == "attention":
            scores = self.value("scores", self.batch, None, None)
            self.emitter.op("BATCH_MATMUL", [value, value], scores, {"adjX": False, "adjY": True})
            self.emitter.op("BATCH_MATMUL", [scores, value], made)
        else:
            swapped = self.value("swapped", self.batch, dims(value)[2], None)
            order = constant(self.emitter.name("order"), np.array([0, 2, 1], np.int32))
            self.emitter.op("TRANSPOSE", [value, order], swapped)
            soft = self.value("softmax", *dims(swapped))
            self.emitter.op("SOFTMAX", [swapped], soft, {"beta": 1.0})
            self.emitter.op("TRANSPOSE", [soft, order], made)
        return replace(rows, value=made)

    def _complete(self, rows: Rows) -> Rows:
        """Note whether the last of ``rows`` would be missing at the end of a sequence of whole chunks."""
        if rows.ahead // rows.stride > rows.lacks:
            self.looks_ahead = True
        return replace(rows, ahead=rows.known)

    # --- shapes ------------------------------------------------------------------------------------------------

    def _padded(self, rows: Rows, left: int, right: int) -> Value:
        made = self.value("pad", self.batch, None, dims(rows.value)[2])
        pairs = self.emitter.constant("pairs", np.array([[0, 0], [left, right], [0, 0]], np.int32))
        return self.emitter.op("PAD", [rows.value, pairs], made)

    def _image(self, x: Value) -> Value:
        made = self.value("image", self.batch, 1, None, dims(x)[2])
        return self.emitter.op("EXPAND_DIMS", [x, self.emitter.integer(1)], made)

    def _sequence(self, image: Value, channels: int) -> Value:
        made = self.value("sequence", self.batch, None, channels)
        return self.emitter.op("RESHAPE", [image, self.emitter.integers(self.batch, -1, channels)], made)


def around(time: int, reach: int, stride: int, padding: str) -> tuple[int, int]:
    """How many rows padding puts before and behind ``time`` rows."""
    if padding != "same":
        return (reach - 1, 0) if padding == "causal" else (0, 0)
    total = max((-(-time // stride) - 1) * stride + reach - time, 0)
    return total // 2, total - total // 2


def is_steady(reach: int, stride: int) -> bool:
    """Whether padding "same" begins alike for every length."""
    return len({around(100 * stride + rest, reach, stride, "same")[0] for rest in range(stride)}) == 1


# --- drawing -----------------------------------------------------------------------------------------------------


def draw(seed: int, *, batch: int, static: bool = False) -> Network:
    """Return the network of a seed. With ``static``, its strides are small enough for short chunks."""
    rng = np.random.default_rng(seed)
    network = Network(rng, batch)
    rows = network.start()
    for _ in range(int(rng.integers(1, 5))):
        rows = layer(network, rows, rng, most=2 if static else 4)
    if rng.random() < 0.12:
        rows = network.whole(rows, str(rng.choice(["reverse", "normalise", "attention", "softmax"])))
        if network.is_reversed:
            rows = network.recurrent(rows, "lstm")
    if not any(isinstance(op, Recurrence) for op in network.emitter.ops) or rng.random() < 0.3:
        rows = network.recurrent(rows, str(rng.choice(["lstm", "gru", "rnn"])))
    if rng.random() < 0.4:
        network.total(rows, str(rng.choice(["MEAN", "SUM", "REDUCE_MAX", "REDUCE_MIN", "last"])))
    if not network.outputs or rng.random() < 0.7:
        network.end(rows)
    return network


def layer(network: Network, rows: Rows, rng: np.random.Generator, most: int) -> Rows:
    kinds = ["window", "window", "window", "crop", "dense", "recurrent", "residual", "frames"]
    kind = rng.choice(kinds)
    if kind == "window":
        return _window(network, rows, rng, most)
    if kind == "crop":
        return network.crop(rows, int(rng.integers(0, 3)), int(rng.integers(0, 3)))
    if kind == "recurrent":
        return network.recurrent(rows, str(rng.choice(["lstm", "gru", "rnn"])))
    if kind == "frames" and rows.stride * 2 <= most:
        return network.frames(rows, 2)
    return _residual(network, rows, rng) if kind == "residual" else network.dense(rows, int(rng.integers(1, 5)))


def _window(network: Network, rows: Rows, rng: np.random.Generator, most: int) -> Rows:
    stride = int(rng.choice([1, 1, 1, 2, 3])) if rows.stride * 3 <= most else 1
    padding = str(rng.choice(["causal", "causal", "valid", "same"]))
    size = int(rng.integers(1, 6))
    if padding == "same" and not is_steady(size, stride):
        padding = "valid"
    if rng.random() < 0.3:
        padding = "same" if padding == "same" else "valid"
        return network.pool(rows, size=size, stride=stride, padding=padding, largest=bool(rng.integers(2)))
    dilation = int(rng.choice([1, 1, 2, 3])) if stride == 1 and padding != "same" else 1
    depthwise = bool(rng.integers(2))
    return network.convolution(
        rows, size=size, stride=stride, dilation=dilation, padding=padding, depthwise=depthwise
    )


def _residual(network: Network, rows: Rows, rng: np.random.Generator) -> Rows:
    size = int(rng.integers(1, 5))
    if rng.random() < 0.5:
        inner = network.convolution(rows, size=size, padding="causal", depthwise=True)
        return network.joined(rows, inner, "add")
    inner = network.convolution(rows, size=size, padding="valid", depthwise=False)
    front = int(rng.integers(0, size))
    return network.joined(network.crop(rows, front, size - 1 - front), inner, "concatenate")
