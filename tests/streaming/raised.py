"""Random networks with layers that raise the rate of time: transposed convolutions, repeated rows and U-Nets."""

from __future__ import annotations

import itertools

import numpy as np

from converter.ir import Array, Value, dims
from tests.streaming.networks import LONG, Network, Rows, around, is_steady, layer

ROWS_PER_STEP = 6
"""The highest rate that is drawn."""

# --- layers ------------------------------------------------------------------------------------------------------


def spread(x: Array, filters: Array, bias: Array, strides: tuple[int, ...], sizes: list[tuple[int, int]]) -> Array:
    """A transposed convolution of [batch, height, width, channels]; ``sizes`` are what is cut off and left."""
    taps = filters.shape[1:3]
    shape = [
        max(n * u + k, cut + size) for n, u, k, (cut, size) in zip(x.shape[1:3], strides, taps, sizes, strict=True)
    ]
    full = np.zeros((len(x), *shape, len(filters)))
    for row in range(taps[0]):
        for column in range(taps[1]):
            places = [
                slice(tap, tap + n * u, u) for tap, n, u in zip((row, column), x.shape[1:3], strides, strict=True)
            ]
            full[:, places[0], places[1]] += x @ filters[:, row, column].T.astype(np.float64)
    (top, height), (left, width) = sizes
    return full[:, top : top + height, left : left + width] + bias


def cut_and_more(size: int, stride: int, padding: str) -> tuple[int, int]:
    """What Keras' transposed convolution cuts off the front, and how many rows it has beyond those of all strides.

    A negative number instead of a padding is that of rows that "same" lacks, as with output_padding.
    """
    if padding == "valid":
        return 0, max(size - stride, 0)
    more = -int(padding.removeprefix("same") or 0)
    return max(0, size - stride - more) // 2, more


def transposed(
    network: Network, rows: Rows, *, size: int, stride: int, padding: str, across: tuple[int, int] | None = None
) -> Rows:
    """Keras' Conv1DTranspose; or Conv2DTranspose, whose other axis are the channels, by a size and a stride."""
    depth, is_image = dims(rows.value)[2] or 0, across is not None
    on_height = is_image and bool(network.rng.integers(2))
    other_size, other_stride = across or (1, 1)
    cut, more = cut_and_more(size, stride, padding)
    other_cut, other_more = cut_and_more(other_size, other_stride, "valid" if padding == "valid" else "same")
    height = other_stride * (depth if is_image else 1) + other_more
    channels = int(network.rng.integers(1, 4))
    filters = network.weights(channels, other_size, size, 1 if is_image else depth)
    bias = network.weights(channels) + np.float32(0.3)
    image = _image(network, rows.value, is_image=is_image, on_height=on_height)
    sizes = (height, stride, more)
    made = _transpose_conv(network, image, (filters, bias), (other_stride, stride), sizes, padding, on_height)
    made = _sequence(network, made, height * channels, is_image=is_image, on_height=on_height)

    def function(x: Array) -> Array:
        before = rows.function(x)
        image = before.transpose(0, 2, 1)[..., None] if is_image else before[:, None]
        sizes = [(other_cut, height), (cut, stride * before.shape[1] + more)]
        result = spread(image, filters, bias, (other_stride, stride), sizes)
        return result.transpose(0, 2, 1, 3).reshape(len(x), -1, height * channels)

    behind = cut + more > 0
    known = (rows.known if behind else rows.ahead) // rows.stride * rows.stride
    network.layers.append(f"transposed({size}, {stride}, {padding}, {across})")
    return Rows(
        made,
        function,
        rows.stride / stride,
        lambda steps: max(0, stride * rows.count(steps) + more),
        known + cut * rows.stride / stride,
    )


def _transpose_conv(
    network: Network,
    image: Value,
    weights: tuple[Array, Array],
    strides: tuple[int, int],
    sizes: tuple[int, int, int],
    padding: str,
    on_height: bool,
) -> Value:
    """Append a TRANSPOSE_CONV; its size along time, ``stride * size + more``, is computed while the model runs."""
    emitter, (height, stride, more), (filters, bias) = network.emitter, sizes, weights
    size = emitter.binary("MUL", emitter.dimension(image, 1 if on_height else 2), emitter.integer(stride), "times")
    if more:
        size = emitter.binary("ADD" if more > 0 else "SUB", size, emitter.integer(abs(more)), "size")
    known, batch, channels = emitter.integer(height), emitter.integer(network.batch), emitter.integer(len(bias))
    places = [size, known] if on_height else [known, size]
    wanted = emitter.pack([batch, *places, channels], "wanted")
    shape = (None, height) if on_height else (height, None)
    along = strides[::-1] if on_height else strides
    data = filters.transpose(0, 2, 1, 3) if on_height else filters
    options = {"padding": 1 if padding == "valid" else 0, "strideH": along[0], "strideW": along[1]}
    operands = [wanted, emitter.weights("filters", data), image, emitter.weights("bias", bias)]
    made = network.value("transposed", network.batch, *shape, len(bias))
    return emitter.op("TRANSPOSE_CONV", operands, made, options)


def _image(network: Network, x: Value, *, is_image: bool, on_height: bool) -> Value:
    """Return [batch, 1, time, channels], or [batch, channels, time, 1], or [batch, time, channels, 1]."""
    emitter, depth = network.emitter, dims(x)[2]
    if is_image and not on_height:
        swapped = network.value("swapped", network.batch, depth, None)
        x = emitter.op("TRANSPOSE", [x, emitter.integers(0, 2, 1)], swapped)
    shape = [*dims(x)]
    place = 3 if is_image else 1
    shape.insert(place, 1)
    return emitter.op("EXPAND_DIMS", [x, emitter.integer(place)], network.value("image", *shape))


def _sequence(network: Network, image: Value, depth: int, *, is_image: bool, on_height: bool) -> Value:
    """Return [batch, time, channels] of such an image: columns and channels become channels."""
    emitter = network.emitter
    if is_image and not on_height:
        batch, height, _, channels = dims(image)
        turned = network.value("turned", batch, None, height, channels)
        image = emitter.op("TRANSPOSE", [image, emitter.integers(0, 2, 1, 3)], turned)
    made = network.value("sequence", network.batch, None, depth)
    return emitter.op("RESHAPE", [image, emitter.integers(network.batch, -1, depth)], made)


def repeated(network: Network, rows: Rows, count: int, kind: str) -> Rows:
    """Each row ``count`` times: Keras' UpSampling1D, ``tf.stack`` and a reshape, or a resized image."""
    emitter, batch, depth = network.emitter, network.batch, dims(rows.value)[2] or 0
    if kind == "nearest":
        image = _image(network, rows.value, is_image=True, on_height=True)
        size = emitter.binary("MUL", emitter.dimension(image, 1), emitter.integer(count), "times")
        wanted = emitter.pack([size, emitter.integer(2 * depth)], "wanted")
        made = network.value("nearest", batch, None, 2 * depth, 1)
        emitter.op("RESIZE_NEAREST_NEIGHBOR", [image, wanted], made, {"halfPixelCenters": True})
        made = _sequence(network, made, 2 * depth, is_image=True, on_height=True)
    else:
        made = network.value(kind, batch, None, count, depth)
        if kind == "tile":
            row = network.value("row", batch, None, 1, depth)
            emitter.op("EXPAND_DIMS", [rows.value, emitter.integer(2)], row)
            emitter.op("TILE", [row, emitter.integers(1, 1, count, 1)], made)
        else:
            emitter.op("PACK", [rows.value] * count, made, {"valuesCount": count, "axis": 2})
        flat = network.value("repeated", batch, None, depth)
        made = emitter.op("RESHAPE", [made, emitter.integers(batch, -1, depth)], flat)

    def function(x: Array) -> Array:
        before = rows.function(x).repeat(count, 1)
        return before.repeat(2, 2) if kind == "nearest" else before

    network.layers.append(f"repeated({count}, {kind})")
    return Rows(
        made,
        function,
        rows.stride / count,
        lambda steps: count * rows.count(steps),
        rows.ahead // rows.stride * rows.stride,
    )


def unet(network: Network, rows: Rows, rng: np.random.Generator) -> Rows:
    """Half the rate, layers, twice the rate, and what was there before beside it."""
    low = _lowered(network, rows, rng)
    if rng.random() < 0.4:
        low = layer(network, low, rng, most=0)
    high = _raised(network, low, rng, count=int(low.stride / rows.stride))
    surplus = high.count(LONG) - rows.count(LONG)
    if surplus:
        high = network.crop(high, 0, surplus) if surplus > 0 else high
        rows = network.crop(rows, 0, -surplus) if surplus < 0 else rows
    one, other = rows.count, high.count
    network.needs.append(lambda steps: one(steps) == other(steps))
    return network.joined(rows, high, "add" if dims(rows.value)[2] == dims(high.value)[2] else "concatenate")


def _lowered(network: Network, rows: Rows, rng: np.random.Generator) -> Rows:
    size, padding = int(rng.integers(1, 6)), str(rng.choice(["causal", "valid", "same"]))
    if padding == "same" and not is_steady(size, 2):
        wanted = around(rows.count(LONG), size, 2, "same")
        network.needs.append(lambda steps: around(rows.count(steps), size, 2, "same") == wanted)
    if padding != "causal" and rng.random() < 0.4:
        return network.pool(rows, size=size, stride=2, padding=padding, largest=bool(rng.integers(2)))
    return network.convolution(rows, size=size, stride=2, padding=padding, depthwise=bool(rng.integers(2)))


def _raised(network: Network, rows: Rows, rng: np.random.Generator, count: int) -> Rows:
    if rng.random() < 0.4:
        return repeated(network, rows, count, str(rng.choice(["tile", "pack", "nearest"])))
    padding = str(rng.choice(["valid", "same", "same", *(f"same{lack}" for lack in range(1, count))]))
    across = (int(rng.integers(1, 4)), int(rng.integers(1, 3))) if rng.random() < 0.4 else None
    size = int(rng.integers(1, 7))
    made = transposed(network, rows, size=size, stride=count, padding=padding, across=across)
    reach = size - count
    if padding == "valid" and reach > 0 and rng.random() < 0.5:
        return network.crop(made, 0, reach)
    return made


# --- drawing -----------------------------------------------------------------------------------------------------


def draw(seed: int, *, batch: int, time: int | None = None) -> Network:
    """Return the network of a seed. One of a fixed ``time`` has a recurrence, by which its sequence is known."""
    rng = np.random.default_rng(seed)
    network = Network(rng, batch, time)
    rows = network.start()
    for _ in range(int(rng.integers(1, 5))):
        rows = _layer(network, rows, rng)
    if time is not None or rng.random() < 0.3:
        rows = network.recurrent(rows, str(rng.choice(["lstm", "gru", "rnn"])))
    if rng.random() < 0.3:
        network.total(rows, str(rng.choice(["MEAN", "SUM", "REDUCE_MAX", "REDUCE_MIN", "last"])))
    if not network.outputs or rng.random() < 0.8:
        network.end(rows)
    return network


def _layer(network: Network, rows: Rows, rng: np.random.Generator) -> Rows:
    kind, count = rng.random(), int(rng.integers(1, 4))
    if kind < 0.4 and rows.stride / count * ROWS_PER_STEP >= 1:
        return _raised(network, rows, rng, count)
    if kind < 0.6:
        return unet(network, rows, rng)
    made = layer(network, rows, rng, most=4)
    return _in_blocks(network, made)


def _in_blocks(network: Network, rows: Rows) -> Rows:
    """Note of how many steps sequences must be multiples so that rows come in blocks of one size."""
    for factor in range(1, 13):
        multiple = network.multiple * factor
        counts = [rows.count(LONG + steps * multiple) for steps in range(40)]
        jumps = [more - less for less, more in itertools.pairwise(counts)]
        places = [place for place, jump in enumerate(jumps) if jump]
        if len(set(jumps) - {0}) == len({more - less for less, more in itertools.pairwise(places)}) == 1:
            network.multiple = multiple
            network.needs.append(lambda steps: steps % network.multiple == 0)
            return rows
    raise AssertionError(network.layers)
