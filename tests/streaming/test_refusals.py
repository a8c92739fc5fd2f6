"""What raises the rate of time in a way that has no form for chunks is refused by name."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from converter.convert import compile_program
from converter.errors import ConversionError
from converter.ir import Value, dims
from converter.options import ConvertOptions
from converter.rules import Rule
from tests.streaming.networks import Network, Rows


def _image(network: Network) -> Value:
    """[batch, time, channels, 1]."""
    emitter = network.emitter
    made = network.value("image", network.batch, None, 3, 1)
    return emitter.op("EXPAND_DIMS", [network.x, emitter.integer(3)], made)


def _size(network: Network, factor: int) -> Value:
    return network.emitter.multiply(
        network.emitter.dimension(network.x, 1), network.emitter.integer(factor), "size"
    )


def resized(kind: str, width: int, **options: bool) -> Callable[[Network], Value]:
    """An image of twice as many rows, and ``width`` columns."""

    def make(network: Network) -> Value:
        sizes = network.emitter.pack([_size(network, 2), network.emitter.integer(width)], "sizes")
        made = network.value("resized", network.batch, None, width, 1)
        return network.emitter.op(kind, [_image(network), sizes], made, options)

    return make


def transposed(*, more: int = 0, square: bool = False, constant: bool = True) -> Callable[[Network], Value]:
    """A transposed convolution with a stride of 2, of twice as many rows and ``more``."""

    def make(network: Network) -> Value:
        emitter = network.emitter
        size = emitter.add(_size(network, 2), emitter.integer(more), "rows")
        size = emitter.multiply(size, size, "square") if square else size
        wanted = emitter.pack(
            [emitter.integer(network.batch), size, emitter.integer(3), emitter.integer(2)], "wanted"
        )
        filters = emitter.weights("filters", network.weights(2, 3, 1, 1))
        filters = filters if constant else emitter.unary("TANH", filters, "computed")
        made = network.value("transposed", network.batch, None, 3, 2)
        options = {"padding": 0, "strideH": 2, "strideW": 1}
        return emitter.op("TRANSPOSE_CONV", [wanted, filters, _image(network)], made, options)

    return make


def merged(network: Network) -> Value:
    """Time joined with the batch."""
    made = network.value("merged", None, 3)
    return network.emitter.op("RESHAPE", [network.x, network.emitter.integers(-1, 3)], made)


def padded_and_reduced(network: Network) -> Value:
    """The largest of what a window that waits gives, and of zeros around it."""
    rows = Rows(network.x, lambda x: x)
    value = network.convolution(rows, size=3, padding="valid", depthwise=True).value
    pairs = network.emitter.constant("pairs", np.array([[0, 0], [1, 0], [0, 0]], np.int32))
    padded = network.emitter.op("PAD", [value, pairs], network.value("padded", *dims(value)))
    made = network.value("largest", network.batch, 3)
    return network.emitter.op("REDUCE_MAX", [padded, network.emitter.integers(1)], made, {"keepDims": False})


CASES: dict[str, tuple[Callable[[Network], Value], str]] = {
    "bilinear": (resized("RESIZE_BILINEAR", 6), "RESIZE_BILINEAR along the sequence is not known"),
    "corners": (
        resized("RESIZE_NEAREST_NEIGHBOR", 6, alignCorners=True),
        "RESIZE_NEAREST_NEIGHBOR that does not repeat each row equally often",
    ),
    "odd": (
        resized("RESIZE_NEAREST_NEIGHBOR", 5),
        "RESIZE_NEAREST_NEIGHBOR that does not repeat each row equally often",
    ),
    "computed": (transposed(constant=False), "TRANSPOSE_CONV with weights that are no constants of float32"),
    "square": (transposed(square=True), "TRANSPOSE_CONV gives a number of rows that does not follow"),
    "merged": (merged, "the output joins the sequence with the batch"),
    "padded": (padded_and_reduced, "REDUCE_MAX over a sequence that was padded before"),
}


@pytest.mark.parametrize("state", ["streaming", "explicit"])
@pytest.mark.parametrize("lookahead", [None, "delay"])
@pytest.mark.parametrize("name", CASES)
def test_a_layer_without_a_form_for_chunks_is_refused(name: str, lookahead: str | None, state: str) -> None:
    make, complaint = CASES[name]
    network = Network(np.random.default_rng(0), 3)
    network.outputs.append(("y", make(network), lambda x: x, False))
    options = ConvertOptions.parse(state=state, lookahead=lookahead)
    with pytest.raises(ConversionError, match=complaint) as refused:
        compile_program(network.program(), options)
    assert {one.rule for one in refused.value.rejections} == {Rule.STREAMING_OP}
    assert all(one.hint for one in refused.value.rejections)


def test_a_transposed_convolution_of_any_constant_size_is_known() -> None:
    for more in (-1, 0, 1, 4):
        network = Network(np.random.default_rng(0), 3)
        network.outputs.append(("y", transposed(more=more)(network), lambda x: x, False))
        options = ConvertOptions.parse(state="streaming", lookahead="delay")
        contract = compile_program(network.program(), options).report.chunks
        assert contract is not None
        assert [contract.outputs["y"].rows_of(steps) for steps in (5, 8)] == [10 + more, 16 + more]
