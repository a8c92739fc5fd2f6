"""Random networks over time: on chunks they give what they give on the whole, or they are refused as stated."""

from __future__ import annotations

import os

import numpy as np
import pytest

from converter.convert import Converted, compile_program
from converter.errors import ConversionError
from converter.ir import Array
from converter.options import ConvertOptions
from tests.runtimes import INSTALLED, QUICK
from tests.streaming.networks import Network, draw
from tflite_rnn.runtime import Runtime, Stream, WorkerPool, read_metadata

GROUPS = 12
SAMPLE = 4  # networks of each group in `make test`
EXAMPLES = int(os.environ.get("TFLITE_RNN_EXAMPLES", "3000")) // GROUPS
PIECES = ([1], [3, 1, 7, 2], [11], [64])


def options(network: Network, state: str) -> ConvertOptions:
    ahead = "delay" if network.looks_ahead else None
    return ConvertOptions.parse(state=state, lookahead=ahead)


def compiled(network: Network, state: str) -> Converted | None:
    """Compile a network, or see that it is refused as stated."""
    source = network.program()
    if network.is_reversed and state == "explicit":
        assert compile_program(source, options(network, state)).report.chunks is None
        return None
    if network.refusals:
        with pytest.raises(ConversionError) as refused:
            compile_program(source, ConvertOptions.parse(state=state))
        assert {str(one.rule) for one in refused.value.rejections} <= network.refusals, network.layers
    if network.needs_all:
        return None
    return compile_program(source, options(network, state))


def assert_streams(network: Network, converted: Converted, runtimes: list[Runtime], pool: WorkerPool) -> None:
    rng = np.random.default_rng(7)
    tolerance = 1e-4 if "rnn" in network.layers else 1e-5  # a plain RNN with random weights amplifies errors
    metadata = read_metadata(converted.model)
    assert metadata is not None
    assert metadata.chunks is not None
    for runtime in runtimes:
        with pool.open(runtime, converted.model) as running:
            stream = Stream(running, metadata=metadata, batch=network.batch)
            for pieces in PIECES:
                multiple = 1 if metadata.chunks.flush is not None else metadata.chunks.multiple
                lengths = [
                    n for n in range(30, 90) if n % multiple == 0 and all(fits(n) for fits in network.lengths)
                ]
                steps = int(rng.choice(lengths))
                x = rng.standard_normal((network.batch, steps, 3)).astype(np.float32)
                stream.reset()
                found = fed(stream, x, pieces)
                for name, expected in network.expected(x).items():
                    message = f"{runtime} {network.layers} {pieces} {steps}"
                    np.testing.assert_allclose(found[name], expected, atol=tolerance, rtol=1e-5, err_msg=message)


def fed(stream: Stream, x: Array, pieces: list[int]) -> dict[str, Array]:
    """Feed ``x`` in pieces of these sizes, over and over, and join what has time."""
    found: dict[str, list[Array]] = {}
    start, turn = 0, 0
    while start < x.shape[1]:
        stop = start + pieces[turn % len(pieces)]
        for name, array in stream.feed({"x": x[:, start:stop]}).items():
            found.setdefault(name, []).append(array)
        start, turn = stop, turn + 1
    for name, array in stream.flush().items():
        found.setdefault(name, []).append(array)
    return {
        name: np.concatenate(arrays, 1) if arrays[0].ndim == 3 else arrays[-1] for name, arrays in found.items()
    }


@pytest.mark.parametrize("group", range(GROUPS))
def test_chunks_give_what_the_whole_gives(group: int, pool: WorkerPool) -> None:
    refused = 0
    for seed in range(group * 1000, group * 1000 + SAMPLE):
        network = draw(seed, batch=1 + 2 * (seed % 2))
        converted = compiled(network, ("streaming", "explicit")[seed // 2 % 2])
        refused += converted is None
        if converted is not None:
            assert_streams(network, converted, QUICK, pool)
    assert refused < SAMPLE


@pytest.mark.exhaustive
@pytest.mark.parametrize("group", range(GROUPS))
def test_chunks_give_what_the_whole_gives_in_many_networks(group: int, pool: WorkerPool) -> None:
    refused = 0
    for seed in range(group * 100_000 + 50_000, group * 100_000 + 50_000 + EXAMPLES):
        network = draw(seed, batch=1 + 2 * (seed % 2))
        converted = compiled(network, ("streaming", "explicit")[seed // 2 % 2])
        refused += converted is None
        if converted is not None:
            assert_streams(network, converted, INSTALLED, pool)
    assert refused < EXAMPLES / 5
