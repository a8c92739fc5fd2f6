"""Trains the digits network on two CPU devices of one process: ``python -m tests.models.mirrored_digits``.

A process of its own, because a CPU can only be split before TensorFlow has used it. Arguments: number of steps,
and a folder for ``replica-<index>.npz``.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import tensorflow as tf

from models import digits, digits_distributed

REPLICAS = 2


def main(steps: int, folder: Path) -> None:
    """Train and write every replica's own variables."""
    (cpu,) = tf.config.list_physical_devices("CPU")
    tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * REPLICAS)
    strategy = tf.distribute.MirroredStrategy([f"CPU:{index}" for index in range(REPLICAS)])
    trained = digits_distributed.train(strategy, digits.load().train, steps=steps)
    for index in range(REPLICAS):
        variables = {
            name: strategy.experimental_local_results(variable)[index].numpy()
            for name, variable in trained.network.variables.items()
        }
        np.savez(folder / f"replica-{index}.npz", losses=np.array(trained.losses, np.float32), **variables)


if __name__ == "__main__":
    main(int(sys.argv[1]), Path(sys.argv[2]))
