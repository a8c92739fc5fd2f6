"""The network of `models.digits` trained on several machines: ``python -m models.digits_distributed``.

Start it on every machine, each with its own place in the cluster in the environment variable TF_CONFIG::

    TF_CONFIG='{"cluster": {"worker": ["ann.local:2222", "bob.local:2222"]},
                "task": {"type": "worker", "index": 0}}'           # on ann; on bob the index is 1

Without TF_CONFIG it trains on this machine alone, and to the same weights but for rounding: the batches are the
same, each worker takes its share of every batch, and `tf.distribute.MultiWorkerMirroredStrategy` adds up the
gradients. Cell, network and training step are those of `models.digits`, untouched; new are only the scope in which
the variables are created, the share of the data, and ``strategy.run``.

Every worker writes its variables to ``OUTPUT/worker-<index>.npz`` (they end up equal), and the first one converts
the network to ``OUTPUT/digits.tflite``.
"""

from __future__ import annotations

import os
import sys
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
import numpy as np
from rich.console import Console
from rich.progress import Progress

from converter.errors import SourceError, TfliteRnnError
from models import digits

OUTPUT = digits.OUTPUT.parent


@dataclass(frozen=True, slots=True, eq=False)
class Trained:
    """A trained network, and the loss of every step over the whole batch."""

    network: digits.Network
    losses: tuple[float, ...]


def train(
    strategy: Any,
    examples: digits.Examples,
    *,
    steps: int | None = None,
    progress: digits.TrainingProgress | None = None,
) -> Trained:
    """Train a new network under a `tf.distribute.Strategy` on the first ``steps`` batches, or on all.

    Raises:
        SourceError: the replicas cannot share a batch evenly.
    """
    import tensorflow as tf

    _check_shares(strategy.num_replicas_in_sync)
    with strategy.scope():
        network = digits.create()
        optimizer = digits.new_optimizer(network, examples)

    @tf.function
    def step(images: Any, labels: Any) -> Any:
        losses = strategy.run(digits.gradient_step, args=(network, optimizer, images, labels))
        return strategy.reduce(tf.distribute.ReduceOp.SUM, losses, axis=None)

    total = digits.training_steps(examples) if steps is None else steps
    losses: list[float] = []
    for images, labels in strategy.experimental_distribute_dataset(_shared_batches(examples, total)):
        losses.append(float(step(images, labels)))
        if progress is not None:
            progress(len(losses), total, losses[-1])
    return Trained(network, tuple(losses))


def _check_shares(replicas: int) -> None:
    if digits.BATCH % replicas:
        raise SourceError(
            f"{replicas} replicas cannot share batches of {digits.BATCH} images evenly; use another number"
        )


def _shared_batches(examples: digits.Examples, steps: int) -> Any:
    """Return the batches of `models.digits` to be shared by rows: all workers make the same, and take a part."""
    import tensorflow as tf

    options = tf.data.Options()
    options.experimental_distribute.auto_shard_policy = tf.data.experimental.AutoShardPolicy.DATA
    return digits.batches(examples).take(steps).with_options(options)


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--steps", type=click.IntRange(min=1), help="Train on so many batches only; on all if not given.")
@click.option(
    "-o",
    "--output",
    default=OUTPUT,
    type=click.Path(file_okay=False, path_type=Path),
    help="The folder to write to; build/ of this project if not given.",
)
def main(steps: int | None, output: Path) -> None:
    """Train the digits network as one worker of the cluster that TF_CONFIG describes."""
    # TensorFlow logs to standard error unless this is set before it is imported.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    console = Console(highlight=False)
    try:
        _work(console, steps, output)
    except TfliteRnnError as error:
        Console(stderr=True, highlight=False, soft_wrap=True).print("error:", str(error), markup=False)
        sys.exit(2)


def _work(console: Console, steps: int | None, output: Path) -> None:
    import tensorflow as tf

    # Before anything else of TensorFlow runs: only then can it open its port and find the other workers.
    strategy = tf.distribute.MultiWorkerMirroredStrategy()
    index = strategy.cluster_resolver.task_id or 0
    data = digits.load()
    with Progress(console=console) if index == 0 else nullcontext() as bar:
        trained = train(strategy, data.train, steps=steps, progress=_show(bar))
    output.mkdir(parents=True, exist_ok=True)
    variables = {name: variable.numpy() for name, variable in trained.network.variables.items()}
    np.savez(output / f"worker-{index}.npz", losses=np.array(trained.losses, np.float32), **variables)
    if index == 0:
        _convert(console, trained.network, data.test, output / digits.OUTPUT.name)


def _show(bar: Progress | None) -> digits.TrainingProgress | None:
    if bar is None:
        return None
    task = bar.add_task("train")

    def progress(done: int, total: int, loss: float) -> None:
        bar.update(task, completed=done, total=total, description=f"train, loss {loss:.4f}")

    return progress


def _convert(console: Console, network: digits.Network, test: digits.Examples, path: Path) -> None:
    import tflite_rnn as rnn

    classify = digits.build(network)
    rnn.convert(classify).save(path)
    reached = digits.accuracy(digits.most_likely(classify(test.images)["logits"]), test.labels)
    console.print(f"accuracy {reached:.4f} on {len(test.labels)} held-out images; wrote {path}", soft_wrap=True)


if __name__ == "__main__":
    main()
