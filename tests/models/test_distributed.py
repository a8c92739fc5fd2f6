"""The digits network trained by several workers and on several devices: the cells as they are."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import tflite_rnn as rnn
from converter.errors import SourceError
from models import digits, digits_distributed
from tests.models.worker_processes import Command, cluster, run_together
from tflite_rnn.runtime import AI_EDGE_LITERT, Runtime, WorkerPool

pytestmark = pytest.mark.tensorflow  # in processes that the tests start

# Two epochs. Replicas add in another order than one process does, and rounding grows with every step.
STEPS = 42
TOLERANCE = 1e-5
LIMIT = 120.0

Arrays = dict[str, NDArray[np.float32]]


@pytest.fixture(scope="module")
def examples() -> digits.Examples:
    return digits.load().train


@pytest.fixture(scope="module")
def alone(examples: digits.Examples) -> Arrays:
    """The variables, and the losses, of the same training by this process and no strategy."""
    network = digits.create()
    losses = digits.train(network, examples, steps=STEPS)
    return {"losses": np.array(losses, np.float32), **_values(network)}


@pytest.fixture(scope="module")
def workers(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that two worker processes have written to."""
    folder = tmp_path_factory.mktemp("workers")
    command = ("-m", "models.digits_distributed", "--steps", str(STEPS), "--output", str(folder))
    run_together(cluster(2, *command), limit=LIMIT)
    return folder


@pytest.fixture(scope="module")
def replicas(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that a process with two devices has written to."""
    folder = tmp_path_factory.mktemp("replicas")
    run_together([Command(("-m", "tests.models.mirrored_digits", str(STEPS), str(folder)))], limit=LIMIT)
    return folder


def test_two_workers_end_with_the_same_variables_to_the_bit(workers: Path) -> None:
    assert_bits_equal(read(workers / "worker-0.npz"), read(workers / "worker-1.npz"))


def test_two_workers_train_what_one_process_trains(workers: Path, alone: Arrays) -> None:
    assert_same_training(read(workers / "worker-0.npz"), alone)


def test_two_devices_of_one_process_end_with_the_same_variables_to_the_bit(replicas: Path) -> None:
    assert_bits_equal(read(replicas / "replica-0.npz"), read(replicas / "replica-1.npz"))


def test_two_devices_of_one_process_train_what_one_device_trains(replicas: Path, alone: Arrays) -> None:
    assert_same_training(read(replicas / "replica-0.npz"), alone)


def test_the_first_worker_converts_what_all_have_trained(workers: Path, pool: WorkerPool) -> None:
    network = digits.create()
    for name, value in read(workers / "worker-1.npz").items():
        if name != "losses":
            network.variables[name].assign(value)
    inputs = digits.example_inputs(np.random.default_rng(5))
    report = rnn.check(
        workers / "digits.tflite",
        digits.build(network),
        inputs=inputs,
        runtimes=[Runtime(AI_EDGE_LITERT)],
        pool=pool,
    )
    assert report.ok, str(report)


def test_training_under_the_default_strategy_is_plain_training(examples: digits.Examples) -> None:
    import tensorflow as tf

    network = digits.create()
    losses = digits.train(network, examples, steps=3)
    trained = digits_distributed.train(tf.distribute.get_strategy(), examples, steps=3)
    np.testing.assert_allclose(trained.losses, losses, rtol=0, atol=TOLERANCE)
    for name, value in _values(network).items():
        np.testing.assert_allclose(trained.network.variables[name], value, rtol=0, atol=TOLERANCE)


def test_replicas_that_cannot_share_a_batch_evenly_are_refused(examples: digits.Examples) -> None:
    class Three:
        num_replicas_in_sync = 3

    with pytest.raises(SourceError, match="3 replicas cannot share batches of 64 images evenly"):
        digits_distributed.train(Three(), examples)


@pytest.mark.parametrize("place", ["scope", "replica", "function in a replica", "replica in a function"])
def test_a_strategy_mirrors_the_variables_wherever_a_cell_is_first_used(place: str) -> None:
    import tensorflow as tf

    strategy = tf.distribute.MirroredStrategy(["CPU:0"])
    cell = rnn.MultiRNNCell([rnn.LSTMCell(4, num_proj=3), rnn.BasicRNNCell(2)])
    x = tf.ones([3, 5, 2])

    def use() -> Any:
        return rnn.dynamic_rnn(cell, x, dtype=tf.float32)[0]

    with strategy.scope():
        if place == "scope":
            use()
        elif place == "replica":
            strategy.run(use)
        elif place == "function in a replica":
            strategy.run(tf.function(use, autograph=False))
        else:
            tf.function(lambda: strategy.run(use), autograph=False)()
    assert {type(variable).__name__ for variable in cell.variables} == {"MirroredVariable"}
    assert len(cell.trainable_variables) == 5


def test_a_strategy_that_does_not_partition_keeps_a_kernel_asked_for_in_shards_whole() -> None:
    import tensorflow as tf

    cell = rnn.LSTMCell(4, num_unit_shards=2, num_proj=3, num_proj_shards=3)
    with tf.distribute.MirroredStrategy(["CPU:0"]).scope():
        rnn.dynamic_rnn(cell, tf.ones([3, 5, 2]), dtype=tf.float32)
    shapes = {variable.name: tuple(variable.shape) for variable in cell.variables}
    assert shapes == {
        "rnn/lstm_cell/kernel:0": (5, 16),
        "rnn/lstm_cell/bias:0": (16,),
        "rnn/lstm_cell/projection/kernel:0": (4, 3),
    }


def read(path: Path) -> Arrays:
    with np.load(path) as file:
        return dict(file)


def assert_bits_equal(one: Arrays, two: Arrays) -> None:
    assert one.keys() == two.keys()
    for name, value in one.items():
        assert value.tobytes() == two[name].tobytes(), name


def assert_same_training(seen: Arrays, expected: Arrays) -> None:
    """Check that the gradients of the whole batches were used, and that these steps mattered."""
    losses = seen["losses"]
    assert len(losses) == STEPS
    assert losses[-5:].mean() < 0.6 * losses[0]
    untrained = _values(digits.create())
    assert seen.keys() == expected.keys() == {"losses", *untrained}
    for name, value in seen.items():
        np.testing.assert_allclose(value, expected[name], rtol=0, atol=TOLERANCE, err_msg=name)
    for name, value in untrained.items():
        assert np.abs(seen[name] - value).max() > 1000 * TOLERANCE, f"{name} was hardly trained"


def _values(network: digits.Network) -> Arrays:
    return {name: variable.numpy() for name, variable in network.variables.items()}
