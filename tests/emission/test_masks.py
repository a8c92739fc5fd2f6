"""Zeros where a row has ended: what stands behind a residual connection with lengths."""

from __future__ import annotations

import numpy as np
import pytest

from converter.convert import compile_program
from converter.emission.emitter import Emitter
from converter.emission.masks import zero_padding
from converter.ir import Array, DType, Graph, Names, Program, Signature, evaluate
from tests.programs import tensor
from tflite_rnn.runtime import WorkerPool
from tflite_rnn.testing import assert_parity


def masked(time: int | None, batch: int | None, *, time_major: bool) -> Program:
    leading = (time, batch) if time_major else (batch, time)
    x, lengths, y = tensor("x", *leading, 2), tensor("lengths", batch, dtype=DType.INT32), tensor("y", *leading, 2)
    emitter = Emitter("mask", Names({"x", "lengths", "y"}))
    zero_padding(x, lengths, y, time_major=time_major, emitter=emitter)
    graph = Graph("main", (x, lengths), (y,), tuple(emitter.ops))
    return Program((graph,), (Signature("serving_default", ("x", "lengths"), ("y",)),))


def example(time: int, lengths: list[int], *, time_major: bool) -> tuple[dict[str, Array], Array]:
    """Inputs whose padding is not a number, and the outputs to expect."""
    x = np.random.default_rng(0).standard_normal((time, len(lengths), 2)).astype(np.float32)
    valid = np.arange(time)[:, np.newaxis, np.newaxis] < np.array(lengths)[np.newaxis, :, np.newaxis]
    pair = np.where(valid, x, np.nan), np.where(valid, x, 0.0)
    padded, expected = pair if time_major else tuple(array.swapaxes(0, 1) for array in pair)
    return {"x": padded.astype(np.float32), "lengths": np.array(lengths, np.int32)}, expected


@pytest.mark.parametrize("time_major", [True, False])
@pytest.mark.parametrize("sizes", [(None, None), (4, 3)])
def test_rows_are_zero_from_their_length_on(
    sizes: tuple[int | None, int | None], time_major: bool, pool: WorkerPool
) -> None:
    program = masked(*sizes, time_major=time_major)
    cases = [(4, [2, 0, 9])] if None not in sizes else [(4, [2, 0, 9]), (1, [1]), (6, [-3, 6, 5, 1])]
    examples = [example(time, lengths, time_major=time_major) for time, lengths in cases]

    def reference(inputs: dict[str, Array]) -> dict[str, Array]:
        return {"y": next(expected for given, expected in examples if given["x"].shape == inputs["x"].shape)}

    for inputs, expected in examples:
        np.testing.assert_array_equal(evaluate(program, inputs)["y"], expected)
    assert_parity(compile_program(program), reference, inputs=[inputs for inputs, _ in examples], pool=pool)
