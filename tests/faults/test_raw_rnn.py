"""raw_rnn as its documentation shows it, with output feedback, and as a greedy decoder, batch open and fixed."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from click.testing import CliRunner

from converter.convert import compile_source
from converter.sources import FrozenGraph, Function
from tests.frozen_graphs import frozen
from tests.runtimes import QUICK
from tflite_rnn import check, nn
from tflite_rnn.cli import main
from tflite_rnn.runtime import WorkerPool, compare

MAX_STEPS = 9


def weights(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def rows_of(x: tf.Tensor, batch: int | None, axis: int = 0) -> Any:
    return tf.shape(x)[axis] if batch is None else batch


def documented(batch: int | None) -> Any:
    """Read a sequence up to each row's length. The sizes of the rows come from two inputs."""
    cell = nn.BasicLSTMCell(4)
    signature = [tf.TensorSpec([None, batch, 3], name="x"), tf.TensorSpec([batch], tf.int32, name="n")]

    @tf.function(input_signature=signature)
    def run(x: tf.Tensor, n: tf.Tensor) -> dict[str, tf.Tensor]:
        rows = rows_of(x, batch, 1)
        inputs = tf.TensorArray(tf.float32, size=tf.shape(x)[0]).unstack(x)

        def loop_fn(time: tf.Tensor, output: Any, state: Any, loop_state: Any) -> tuple[Any, ...]:
            following = cell.zero_state(rows, tf.float32) if output is None else state
            finished = time >= n
            read = tf.cond(tf.reduce_all(finished), lambda: tf.zeros([rows, 3]), lambda: inputs.read(time))
            return finished, read, following, output, None

        outputs, state, _ = nn.raw_rnn(cell, loop_fn)
        return {"y": outputs.stack(), "c": state[0], "h": state[1]}

    return run


def feedback(batch: int | None) -> Any:
    """Each input is computed from the output before it."""
    cell, kernel = nn.GRUCell(4), weights(4, 3)
    signature = [tf.TensorSpec([batch, 3], name="x"), tf.TensorSpec([batch], tf.int32, name="n")]

    @tf.function(input_signature=signature)
    def run(x: tf.Tensor, n: tf.Tensor) -> dict[str, tf.Tensor]:
        def loop_fn(time: tf.Tensor, output: Any, state: Any, loop_state: Any) -> tuple[Any, ...]:
            if output is None:
                return n < 1, x, cell.zero_state(rows_of(x, batch), tf.float32), tf.zeros([3]), None
            emitted = output @ kernel
            return time >= n, tf.tanh(emitted), state, emitted, None

        outputs, state, _ = nn.raw_rnn(cell, loop_fn)
        return {"y": outputs.stack(), "h": state}

    return run


def greedy(batch: int | None) -> Any:
    """Decode until every row has given token 2; what a row has given is in the loop state."""
    cell, kernel, table = nn.GRUCell(4), 3 * weights(4, 5, seed=3), weights(5, 3, seed=4)

    @tf.function(input_signature=[tf.TensorSpec([batch, 4], name="h0")])
    def run(h0: tf.Tensor) -> dict[str, tf.Tensor]:
        rows = rows_of(h0, batch)

        def loop_fn(time: tf.Tensor, output: Any, state: Any, loop_state: Any) -> tuple[Any, ...]:
            if output is None:
                none = tf.zeros([rows], tf.bool)
                return none, tf.tile(table[:1], [rows, 1]), h0, tf.zeros([], tf.int32), none
            token = tf.cast(tf.argmax(output @ kernel, 1), tf.int32)
            done = loop_state | tf.equal(token, 2)
            return done | (time >= MAX_STEPS), tf.gather(table, token), state, token, done

        outputs, state, done = nn.raw_rnn(cell, loop_fn)
        return {"tokens": outputs.stack(), "h": state, "done": done}

    return run


def scored(batch: int | None) -> Any:
    """The loop state is a list of its own, written at the number of the step before."""
    cell = nn.GRUCell(4)

    @tf.function(input_signature=[tf.TensorSpec([batch, 4], name="h0")])
    def run(h0: tf.Tensor) -> dict[str, tf.Tensor]:
        rows = rows_of(h0, batch)

        def loop_fn(time: tf.Tensor, output: Any, state: Any, loop_state: Any) -> tuple[Any, ...]:
            if output is None:
                scores = tf.TensorArray(tf.float32, size=0, dynamic_size=True, element_shape=[batch])
                return tf.zeros([rows], tf.bool), tf.ones([rows, 3]), h0, None, scores
            score = tf.reduce_sum(output, 1)
            return (
                (score < -0.5) | (time >= MAX_STEPS),
                output[:, :3],
                state,
                output,
                loop_state.write(time - 1, score),
            )

        outputs, state, scores = nn.raw_rnn(cell, loop_fn)
        return {"y": outputs.stack(), "h": state, "scores": scores.stack()}

    return run


def inputs_of(kind: Callable[..., Any], batch: int | None) -> list[dict[str, np.ndarray]]:
    rng, cases = np.random.default_rng(5), []
    for some, time in ((3, 5), (1, 4), (4, 6), (2, 3)):
        rows = batch or some
        lengths = rng.integers(0, time + 1, rows).astype(np.int32)
        lengths[-1] = max(1, lengths[-1])  # TensorFlow cannot stack a list without elements
        if kind is documented:
            cases.append({"x": weights(time, rows, 3, seed=time), "n": lengths})
        elif kind is feedback:
            cases.append({"x": weights(rows, 3, seed=time), "n": lengths})
        else:
            cases.append({"h0": weights(rows, 4, seed=time) * rng.choice([0.1, 1, 3]).astype(np.float32)})
    return cases


@pytest.mark.parametrize("batch", [None, 3])
@pytest.mark.parametrize("kind", [documented, feedback, greedy, scored])
def test_raw_rnn_equals_tensorflow(kind: Callable[..., Any], batch: int | None, pool: WorkerPool) -> None:
    function = kind(batch)
    converted = compile_source(Function(function, max_steps={"rnn": MAX_STEPS}))

    def reference(inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        found = function(**{name: tf.constant(value) for name, value in inputs.items()})
        return {name: value.numpy() for name, value in found.items()}

    report = compare(converted.model, reference, inputs_of(kind, batch), pool=pool, runtimes=QUICK)
    assert report.ok, str(report)


# --- TensorFlow 1 ------------------------------------------------------------------------------------------------


def frozen_documented(batch: int | None) -> bytes:
    """TensorFlow 1's own raw_rnn over its own cell, as in its documentation: an array is read within a branch."""

    def build(tf1: Any) -> None:
        from tensorflow.python.ops import rnn_cell_impl

        x = tf1.placeholder("float32", [None, batch, 3], name="x")
        n = tf1.placeholder("int32", [batch], name="n")
        cell = rnn_cell_impl.LSTMCell(4)
        rows = rows_of(x, batch, 1)
        inputs = tf1.TensorArray("float32", size=tf1.shape(x)[0]).unstack(x)

        def loop_fn(time: Any, output: Any, state: Any, loop_state: Any) -> tuple[Any, ...]:
            following = cell.zero_state(rows, "float32") if output is None else state
            finished = time >= n
            zeros, read = lambda: tf1.zeros([rows, 3]), lambda: inputs.read(time)
            return finished, tf1.cond(tf1.reduce_all(finished), zeros, read), following, output, None

        outputs, state, _ = tf1.nn.raw_rnn(cell, loop_fn)
        tf1.identity(outputs.stack(), name="y")
        tf1.identity(state.h, name="h")

    return frozen(build, ["y", "h"])


def frozen_greedy(batch: int | None) -> bytes:
    """A greedy decoder, which ends where every row has given token 2."""

    def build(tf1: Any) -> None:
        from tensorflow.python.ops import rnn_cell_impl

        h0 = tf1.placeholder("float32", [batch, 4], name="h0")
        cell, kernel, table = rnn_cell_impl.GRUCell(4), 3 * weights(4, 5, seed=3), weights(5, 3, seed=4)
        rows = rows_of(h0, batch)

        def loop_fn(time: Any, output: Any, state: Any, loop_state: Any) -> tuple[Any, ...]:
            if output is None:
                none = tf1.zeros([rows], "bool")
                return none, tf1.tile(table[:1], [rows, 1]), h0, tf1.zeros([], "int32"), none
            token = tf1.cast(tf1.argmax(tf1.matmul(output, kernel), 1), "int32")
            done = loop_state | tf1.equal(token, 2)
            return done | (time >= MAX_STEPS), tf1.gather(table, token), state, token, done

        outputs, state, _ = tf1.nn.raw_rnn(cell, loop_fn)
        tf1.identity(outputs.stack(), name="y")
        tf1.identity(state, name="h")

    return frozen(build, ["y", "h"])


@pytest.mark.parametrize("batch", [None, 3])
@pytest.mark.parametrize("kind", ["documented", "greedy"])
def test_a_frozen_raw_rnn_equals_tensorflow(
    kind: str, batch: int | None, tmp_path: Path, pool: WorkerPool
) -> None:
    path = tmp_path / "graph.pb"
    path.write_bytes(frozen_documented(batch) if kind == "documented" else frozen_greedy(batch))
    source = FrozenGraph(path, outputs=("y", "h"), max_steps={"rnn": MAX_STEPS})
    cases = inputs_of(documented if kind == "documented" else greedy, batch)
    report = check(compile_source(source), source, inputs=cases, runtimes=QUICK, pool=pool)
    assert report.ok, str(report)


@pytest.mark.runtime
def test_a_frozen_raw_rnn_converts_from_the_command_line(tmp_path: Path) -> None:
    path, model, inputs = tmp_path / "graph.pb", tmp_path / "model.tflite", tmp_path / "inputs.npz"
    path.write_bytes(frozen_documented(None))
    np.savez(inputs, **inputs_of(documented, None)[0])
    graph = ["--outputs", "y,h", "--max-steps", f"rnn={MAX_STEPS}"]
    made = CliRunner().invoke(main, ["convert", str(path), *graph, "-o", str(model)])
    assert made.exit_code == 0, made.output
    proved = CliRunner().invoke(
        main, ["check", str(model), "--against", str(path), *graph, "--inputs", str(inputs)]
    )
    assert proved.exit_code == 0, proved.output


def test_an_array_that_is_filled_out_of_order_is_refused(tmp_path: Path) -> None:
    from converter.errors import ConversionError

    def build(tf1: Any) -> None:
        x = tf1.placeholder("float32", [3, 2], name="x")
        array = tf1.TensorArray("float32", size=3).scatter([2, 0, 1], x)

        def body(t: Any, total: Any) -> tuple[Any, ...]:
            return t + 1, total + array.read(t)

        _, total = tf1.while_loop(
            lambda t, total: tf1.logical_and(t < 3, tf1.reduce_sum(total) < 100.0), body, (0, tf1.zeros([2]))
        )
        tf1.identity(total, name="y")

    path = tmp_path / "graph.pb"
    path.write_bytes(frozen(build, ["y"]))
    with pytest.raises(ConversionError, match="loop-form"):
        compile_source(FrozenGraph(path, outputs=("y",)))
