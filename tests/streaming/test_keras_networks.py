"""Random Keras models on chunks against Keras on the whole, with the outcome stated before they are converted."""

from __future__ import annotations

import math
import os
from typing import Any

import numpy as np
import pytest

from converter.convert import Converted, compile_source
from converter.errors import ConversionError
from converter.options import ConvertOptions
from converter.rules import Rule
from tests.runtimes import INSTALLED, QUICK
from tests.streaming.keras_networks import FEATURES, KerasNetwork, draw
from tests.streaming.test_random_networks import fed
from tflite_rnn.runtime import Runtime, Stream, WorkerPool, read_metadata

GROUPS = 6
SAMPLE = 2
EXAMPLES = int(os.environ.get("TFLITE_RNN_EXAMPLES", "300")) // GROUPS
PIECES = ([1, 4, 2], [64])


def compiled(network: KerasNetwork, model: Any, state: str) -> Converted | None:
    """Compile a model, or see that it is refused as stated."""
    ahead = "delay" if network.looks_ahead else None
    if (
        network.refusals == {Rule.STREAMING_BACKWARDS} and state == "explicit"
    ):  # states that a caller may still use
        assert compile_source(model, ConvertOptions.parse(state=state, lookahead=ahead)).report.chunks is None
        return None
    if network.refusals:
        with pytest.raises(ConversionError) as refused:
            compile_source(model, ConvertOptions.parse(state=state, lookahead=ahead))
        assert {one.rule for one in refused.value.rejections} == network.refusals, network.names
        return None
    if network.looks_ahead:
        with pytest.raises(ConversionError) as refused:
            compile_source(model, ConvertOptions.parse(state=state))
        assert {one.rule for one in refused.value.rejections} == {Rule.STREAMING_LOOKAHEAD}, network.names
    return compile_source(model, ConvertOptions.parse(state=state, lookahead=ahead))


def assert_streams(
    network: KerasNetwork, model: Any, converted: Converted, runtimes: list[Runtime], pool: WorkerPool
) -> None:
    metadata = read_metadata(converted.model)
    assert metadata is not None
    contract = metadata.chunks
    assert contract is not None
    assert contract.multiple == math.lcm(1, *(rows.stride for rows in network.seen)), network.names
    for name, rows in network.rows.items():
        promised = contract.outputs[name]
        assert (promised.stride, promised.delay) == (rows.stride, rows.delay), (promised, network.names)
    tolerance = 1e-4 if network.amplifies else 1e-5
    multiple = 1 if contract.flush is not None else contract.multiple
    lengths = [steps for steps in range(24, 80) if steps % multiple == 0 and network.fits(steps)]
    for runtime in runtimes:
        with pool.open(runtime, converted.model) as running:
            stream = Stream(running, metadata=metadata, batch=network.batch)
            for pieces in PIECES:
                steps = int(network.rng.choice(lengths))
                x = network.rng.standard_normal((network.batch, steps, FEATURES)).astype(np.float32)
                stream.reset()
                found = fed(stream, x, pieces)
                for name, expected in model(x).items():
                    message = f"{runtime} {network.names} {pieces} {steps}"
                    np.testing.assert_allclose(
                        found[name], np.asarray(expected), atol=tolerance, rtol=1e-5, err_msg=message
                    )


def prove(seeds: range, runtimes: list[Runtime], pool: WorkerPool) -> int:
    """Convert and run the networks of some seeds, and return how many were refused."""
    refused = 0
    for seed in seeds:
        network = draw(seed)
        model = network.model()
        converted = compiled(network, model, ("streaming", "explicit")[seed // 2 % 2])
        refused += converted is None
        if converted is not None:
            assert_streams(network, model, converted, runtimes, pool)
    return refused


@pytest.mark.parametrize("group", range(GROUPS))
def test_chunks_give_what_keras_gives(group: int, pool: WorkerPool) -> None:
    prove(range(group * 1000, group * 1000 + SAMPLE), QUICK, pool)


@pytest.mark.exhaustive
@pytest.mark.parametrize("group", range(GROUPS))
def test_chunks_give_what_keras_gives_in_many_networks(group: int, pool: WorkerPool) -> None:
    start = group * 1000 + 500
    assert prove(range(start, start + EXAMPLES), INSTALLED, pool) < EXAMPLES / 5
