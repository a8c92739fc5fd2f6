"""A cell of the user's own in dynamic_rnn: no marker describes it, so its loop becomes an efficient one."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import tensorflow as tf

import tflite_rnn as rnn
from tests.runtimes import QUICK
from tflite_rnn.nn import RNNCell
from tflite_rnn.runtime import Stream
from tflite_rnn.testing import assert_parity

SIZES = ((2, 5), (1, 1), (3, 43))


def variable(*shape: int) -> tf.Variable:
    return tf.Variable(np.random.default_rng(sum(shape)).normal(size=shape, scale=0.4).astype(np.float32))


class Leaky(RNNCell):
    """A dense layer over [x, h] and a leak."""

    state_size = output_size = 5

    def __init__(self) -> None:
        super().__init__()
        self.kernel, self.offset = variable(9, 5), variable(5)

    def call(self, inputs: Any, state: Any) -> tuple[Any, Any]:
        h = 0.5 * state + 0.5 * tf.tanh(tf.concat([inputs, state], 1) @ self.kernel + self.offset)
        return h, h


class Memory(RNNCell):
    """Nested inputs, a nested state with an array of three axes, and two outputs of different rank."""

    state_size = {"h": 6, "memory": tf.TensorShape([3, 6])}  # noqa: RUF012  # as cells of TensorFlow say it
    output_size = (6, tf.TensorShape([3, 6]))

    def __init__(self) -> None:
        super().__init__()
        self.kernel, self.mixing = variable(4, 6), variable(6, 6)

    def call(self, inputs: Any, state: Any) -> tuple[Any, Any]:
        told, gate = inputs
        memory = 0.9 * state["memory"] + 0.1 * tf.expand_dims(told @ self.kernel, 1)
        h = tf.tanh(tf.reduce_sum(memory, 1) @ self.mixing + state["h"] * tf.sigmoid(gate))
        return (h, memory), {"h": h, "memory": memory}


class Convolutional(RNNCell):
    """A state of images."""

    state_size = output_size = tf.TensorShape([4, 4, 2])

    def __init__(self) -> None:
        super().__init__()
        self.kernel = variable(3, 3, 3, 2)

    def call(self, inputs: Any, state: Any) -> tuple[Any, Any]:
        h = tf.tanh(tf.nn.conv2d(tf.concat([inputs, state], -1), self.kernel, 1, "SAME"))
        return h, h


CELLS = {
    "a dense layer": (Leaky, [4]),
    "nested": (Memory, [4, 6]),
    "a convolution": (Convolutional, [(4, 4, 1)]),
}


def network(cell: Any, depths: list[Any], *, lengths: bool, sizes: tuple[int | None, int | None]) -> Any:
    shapes = [(*sizes, *np.atleast_1d(depth)) for depth in depths]
    specs = [tf.TensorSpec(shape, tf.float32, name=f"x{index}") for index, shape in enumerate(shapes)]
    if lengths:
        specs.append(tf.TensorSpec(sizes[:1], tf.int32, name="lengths"))

    @tf.function(input_signature=specs, autograph=False)
    def run(*given: Any) -> dict[str, Any]:
        x = given[: len(depths)]
        outputs, state = rnn.dynamic_rnn(
            cell,
            x if len(x) > 1 else x[0],
            sequence_length=given[-1] if lengths else None,
            dtype=tf.float32,
            time_major=False,
        )
        return {f"r{index}": part for index, part in enumerate(tf.nest.flatten([outputs, state]))}

    return run


def cases(depths: list[Any], *, lengths: bool) -> list[dict[str, Any]]:
    rng = np.random.default_rng(1)
    made = []
    for batch, time in SIZES:
        case: dict[str, Any] = {
            f"x{index}": rng.normal(size=(batch, time, *np.atleast_1d(depth))).astype(np.float32)
            for index, depth in enumerate(depths)
        }
        if lengths:
            case["lengths"] = rng.integers(0, time + 1, batch).astype(np.int32)
        made.append(case)
    return made


@pytest.mark.parametrize("lengths", [False, True])
@pytest.mark.parametrize("name", CELLS)
def test_its_loop_is_exact_with_unknown_batch_and_time(name, lengths, pool):
    make, depths = CELLS[name]
    source = network(make(), depths, lengths=lengths, sizes=(None, None))
    converted = rnn.convert(source)
    (record,) = converted.report.lowerings
    assert (record.lowering, record.cell.split(" (")[0]) == ("while", "unrecognised step")
    assert converted.report.op_counts["WHILE"] == 3
    assert_parity(converted, source, inputs=cases(depths, lengths=lengths), runtimes=QUICK, pool=pool)


@pytest.mark.parametrize("name", CELLS)
def test_its_steps_can_be_written_out(name, pool):
    make, depths = CELLS[name]
    source = network(make(), depths, lengths=True, sizes=(2, 12))
    converted = rnn.convert(source, lowering="unrolled")
    assert "WHILE" not in converted.report.op_counts
    assert_parity(converted, source, runtimes=QUICK, pool=pool)


def test_what_depends_on_inputs_alone_is_computed_once():
    converted = rnn.convert(network(Leaky(), [4], lengths=False, sizes=(2, 30)))
    # One over the whole sequence, and one in the loop.
    assert converted.report.op_counts["FULLY_CONNECTED"] == 2


def test_no_fused_op_computes_it():
    with pytest.raises(rnn.ConversionError, match="known-cells"):
        rnn.convert(network(Leaky(), [4], lengths=False, sizes=(None, None)), lowering="fused")


def test_its_states_are_exposed_under_the_explicit_policy():
    converted = rnn.convert(network(Memory(), [4, 6], lengths=False, sizes=(None, None)), state="explicit")
    signature = converted.program.signature
    states = {"state_0_0", "state_0_1"}
    assert set(signature.inputs) == {"x0", "x1"} | states
    assert states < set(signature.outputs)


def test_it_streams(pool):
    source = network(Leaky(), [4], lengths=False, sizes=(2, None))
    converted = rnn.convert(source, state="streaming")
    x = np.random.default_rng(0).normal(size=(2, 30, 4)).astype(np.float32)
    expected = source(x)["r0"].numpy()
    for runtime in QUICK:
        with pool.open(runtime, converted.model) as running:
            stream = Stream(running)
            parts = [stream.feed({"x0": x[:, start:stop]})["r0"] for start, stop in ((0, 4), (4, 29), (29, 30))]
        np.testing.assert_allclose(np.concatenate(parts, axis=1), expected, atol=1e-5)
