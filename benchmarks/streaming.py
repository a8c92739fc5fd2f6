"""What a state costs: the keyword network of `models.keywords` on chunks, beside the same network without a state.

``python -m benchmarks.streaming`` prints ratios of CPU times only. Both files get the same chunk: the one that
streams keeps rows, a sum and a count from one invoke to the next, the stateless one starts each from nothing.
They run in turn in one process and one thread, on ai-edge-litert with its delegate, and a ratio is the median over
rounds. A time is that of the invoke alone: handing arrays over costs both the same, and would hide the difference.
"""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Iterator
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "-1")

import numpy as np
from rich.console import Console
from rich.table import Table

import tflite_rnn as rnn
from models import keywords
from models.commands import BANDS

CHUNKS = (2, 10)  # frames of 10 ms
ROUNDS = 51
RUNS = 100
MOST = 1.3  # what a state may cost


def model_of(network: Any, state: str, frames: int | None) -> bytes:
    """Return the network under a state policy, for chunks of ``frames``, or of any number of frames."""
    return rnn.convert(keywords.source(network, frames), state=state, verify=False).model


def load(model: bytes, chunk: keywords.Array) -> Any:
    """Return an interpreter of ai-edge-litert, one thread and its delegate, ready to be invoked on a chunk."""
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(model_content=model, num_threads=1)
    (entry,) = interpreter.get_input_details()
    interpreter.resize_tensor_input(entry["index"], chunk.shape)
    interpreter.allocate_tensors()
    interpreter.set_tensor(entry["index"], chunk)
    return interpreter


def ratios(one: Any, other: Any) -> Iterator[float]:
    """Yield how many times longer ``one`` takes than ``other``, round by round; each goes first by turns."""
    for interpreter in (one, other):
        _seconds(interpreter)
    for turn in range(ROUNDS):
        if turn % 2:
            divisor = _seconds(other)
            yield _seconds(one) / divisor
        else:
            dividend = _seconds(one)
            yield dividend / _seconds(other)


def _seconds(interpreter: Any) -> float:
    """Return the CPU time of this thread that `RUNS` invokes take."""
    start = time.thread_time()
    for _ in range(RUNS):
        interpreter.invoke()
    return time.thread_time() - start


def main() -> None:
    """Measure each size of a chunk, with time open and fixed, and print the table."""
    table = Table(title=f"CPU time with a state / without (aim: {MOST})", title_justify="left")
    for column in ("chunk", "time open", "time fixed"):
        table.add_column(column, justify="right")
    rng = np.random.default_rng(0)
    network = keywords.create(rng.standard_normal((1, 100, BANDS)).astype(np.float32))
    for frames in CHUNKS:
        chunk = rng.standard_normal((1, frames, BANDS)).astype(np.float32)
        found = []
        for size in (None, frames):
            streaming, stateless = (
                load(model_of(network, state, size), chunk) for state in ("streaming", "stateless")
            )
            found.append(f"{statistics.median(ratios(streaming, stateless)):.2f}x")
        table.add_row(f"{frames} frames, {10 * frames} ms", *found)
    Console(width=110).print(table)


if __name__ == "__main__":
    main()
