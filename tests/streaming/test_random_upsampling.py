"""Random networks that raise the rate of time: on chunks they give what they give on the whole, or are refused."""

from __future__ import annotations

import math
import os

import numpy as np
import pytest

from converter.chunks import ChunkContract
from converter.convert import Converted, compile_program
from converter.errors import ConversionError
from converter.ir import Recurrence
from converter.options import ConvertOptions
from converter.rules import Rule
from tests.runtimes import INSTALLED, QUICK, skip_if_missing
from tests.streaming.networks import Network
from tests.streaming.raised import draw
from tests.streaming.test_random_networks import compiled, fed
from tflite_rnn.runtime import MICRO, Runtime, Stream, StreamError, WorkerPool, read_metadata

GROUPS = 6
SAMPLE = 4
EXAMPLES = int(os.environ.get("TFLITE_RNN_EXAMPLES", "3000")) // GROUPS
PIECES = ([1, 4, 2], [64])
LENGTHS = range(30, 140)


def lengths_of(network: Network, contract: ChunkContract, time: int) -> list[int]:
    """Return the lengths that the contract allows, all of which must be sequences of the network.

    Without a way to end a sequence anywhere, they are multiples of what an invoke takes, and of ``time``.
    """
    allowed = [n for n in LENGTHS if n % contract.lengths == 0]
    assert allowed, network.layers
    for needed in network.needs:
        assert all(needed(n) for n in allowed), f"{network.layers} {contract.lengths}"
    if all(needed(n) for needed in network.needs for n in LENGTHS):
        assert contract.lengths == 1, network.layers
    multiple = 1 if contract.flush is not None else math.lcm(contract.multiple, time)
    return [n for n in allowed if n % multiple == 0 and all(fits(n) for fits in network.lengths)]


def assert_streams(
    network: Network, converted: Converted, runtimes: list[Runtime], pool: WorkerPool, *, time: int = 1
) -> None:
    rng = np.random.default_rng(7)
    metadata = read_metadata(converted.model)
    assert metadata is not None
    assert metadata.chunks is not None
    recurs = any(isinstance(op, Recurrence) for op in network.emitter.ops)  # with random weights, errors grow
    contract, tolerance = metadata.chunks, 1e-4 if recurs else 1e-5
    lengths = lengths_of(network, contract, time)
    if not lengths:  # a reshape of rows that are never a multiple of what it joins
        return
    for runtime in runtimes:
        with pool.open(runtime, converted.model) as running:
            stream = Stream(running, metadata=metadata, batch=network.batch)
            for pieces in PIECES:
                steps = int(rng.choice(lengths))
                x = rng.standard_normal((network.batch, steps, 3)).astype(np.float32)
                stream.reset()
                found = fed(stream, x, pieces)
                message = f"{runtime} {network.layers} {pieces} {steps}"
                for name, expected in network.expected(x).items():
                    np.testing.assert_allclose(found[name], expected, atol=tolerance, rtol=1e-5, err_msg=message)
                    if name in contract.outputs:
                        assert contract.outputs[name].rows_of(steps) == expected.shape[1], message
            if contract.flush is not None and contract.lengths > 1:
                stream.reset()
                stream.feed({"x": x[:, : contract.lengths + 1]})
                with pytest.raises(StreamError, match=f"sequences of a multiple of {contract.lengths}"):
                    stream.flush()


def assert_all_of_fixed_size(target: str, runtimes: list[Runtime], pool: WorkerPool) -> None:
    """Networks on chunks of 24 steps run, or need an op or an alignment that the target or the chunk lacks."""
    ran, time, rules = 0, 24, set[str]()
    for seed in range(3000, 3000 + 4 * SAMPLE):
        network = draw(seed, batch=1 + 2 * (seed % 2), time=time)
        ahead = "delay" if network.looks_ahead else None
        options = ConvertOptions.parse(
            state=("streaming", "explicit")[seed // 2 % 2], lookahead=ahead, target=target
        )
        try:
            converted = compile_program(network.program(), options)
        except ConversionError as refused:
            rules.update(one.rule for one in refused.rejections)
            continue
        assert_streams(network, converted, runtimes, pool, time=time)
        ran += 1
    assert ran > SAMPLE
    assert rules <= {Rule.TARGET_OP, Rule.STREAMING_OP}


def assert_all(seeds: range, runtimes: list[Runtime], pool: WorkerPool) -> None:
    for seed in seeds:
        network = draw(seed, batch=1 + 2 * (seed % 2))
        converted = compiled(network, ("streaming", "explicit")[seed // 2 % 2])
        assert converted is not None
        assert_streams(network, converted, runtimes, pool)


@pytest.mark.parametrize("group", range(GROUPS))
def test_chunks_give_what_the_whole_gives(group: int, pool: WorkerPool) -> None:
    assert_all(range(group * 1000, group * 1000 + SAMPLE), QUICK, pool)


def test_chunks_of_a_fixed_size_give_what_the_whole_gives(pool: WorkerPool) -> None:
    assert_all_of_fixed_size("litert", QUICK, pool)


def test_microcontrollers_give_what_the_whole_gives(pool: WorkerPool) -> None:
    skip_if_missing(MICRO)
    assert_all_of_fixed_size("tflm", [Runtime(MICRO)], pool)


@pytest.mark.exhaustive
@pytest.mark.parametrize("group", range(GROUPS))
def test_chunks_give_what_the_whole_gives_in_many_networks(group: int, pool: WorkerPool) -> None:
    start = group * 100_000 + 50_000
    assert_all(range(start, start + EXAMPLES), INSTALLED, pool)
