"""Loops that stop early collect into a buffer, bounded by themselves or on the user's word."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from click.testing import CliRunner, Result
from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

from converter.convert import Converted, compile_source
from converter.errors import ConversionError, OptionError
from converter.importers.bounded import bounded_graph
from converter.options import ConvertOptions
from converter.sources import Function, SavedModel
from tests.runtimes import INSTALLED, QUICK
from tflite_rnn import check, nn
from tflite_rnn.cli import main
from tflite_rnn.runtime import WorkerPool, compare, read_metadata


def decoder(batch: int | None, limit: int | None) -> Any:
    """Decode greedily until every row has given token 2, at most ``limit`` steps."""
    rng = np.random.default_rng(3)
    table, kernel = (rng.standard_normal(shape).astype(np.float32) for shape in ((5, 3), (7, 5)))
    step = rng.standard_normal((7, 4)).astype(np.float32)

    @tf.function(input_signature=[tf.TensorSpec([batch, 4], name="state")])
    def decode(state: tf.Tensor) -> dict[str, tf.Tensor]:
        rows = tf.shape(state)[0] if batch is None else batch
        tokens = tf.TensorArray(tf.int32, size=0, dynamic_size=True, element_shape=[batch])

        def goes_on(t: tf.Tensor, h: tf.Tensor, token: tf.Tensor, done: tf.Tensor, _: Any) -> tf.Tensor:
            unfinished = tf.logical_not(tf.reduce_all(done))
            return unfinished if limit is None else tf.logical_and(t < limit, unfinished)

        def body(t: tf.Tensor, h: tf.Tensor, token: tf.Tensor, done: tf.Tensor, out: Any) -> tuple[Any, ...]:
            seen = tf.concat([tf.gather(table, token), h], 1)
            h = tf.tanh(seen @ step)
            token = tf.cast(tf.argmax(tf.concat([tf.gather(table, token), h], 1) @ kernel, 1), tf.int32)
            return t + 1, h, token, tf.logical_or(done, token == 2), out.write(t, token)

        start = (0, state, tf.zeros([rows], tf.int32), tf.zeros([rows], tf.bool), tokens)
        t, h, _, _, tokens = tf.while_loop(goes_on, body, start)
        return {"tokens": tokens.stack(), "h": h, "steps": t}

    return decode


def raw(lengths_of: int = 2) -> Any:
    """TensorFlow's documentation of raw_rnn: a loop_fn that reads its inputs until each row has ended."""
    cell = nn.BasicLSTMCell(4)

    @tf.function(
        input_signature=[tf.TensorSpec([None, 2, 3], name="x"), tf.TensorSpec([lengths_of], tf.int32, name="n")]
    )
    def run(x: tf.Tensor, n: tf.Tensor) -> dict[str, tf.Tensor]:
        inputs = tf.TensorArray(tf.float32, size=tf.shape(x)[0], element_shape=[2, 3]).unstack(x)

        def loop_fn(time: tf.Tensor, output: Any, state: Any, loop_state: Any) -> tuple[Any, ...]:
            following = cell.zero_state(2, tf.float32) if output is None else state
            finished = time >= n
            read = tf.cond(tf.reduce_all(finished), lambda: tf.zeros([2, 3]), lambda: inputs.read(time))
            return finished, read, following, output, None

        outputs, state, _ = nn.raw_rnn(cell, loop_fn)
        return {"y": outputs.stack(), "c": state[0]}

    return run


def reference(function: Any) -> Any:
    return lambda inputs: {
        name: y.numpy() for name, y in function(**{k: tf.constant(v) for k, v in inputs.items()}).items()
    }


def states(*shapes: tuple[int, float]) -> list[dict[str, np.ndarray]]:
    rng = np.random.default_rng(0)
    return [{"state": (rng.standard_normal((batch, 4)) * scale).astype(np.float32)} for batch, scale in shapes]


@pytest.mark.parametrize("batch", [None, 3])
def test_a_greedy_decoder_returns_what_it_decoded(batch: int | None, pool: WorkerPool) -> None:
    function = decoder(batch, limit=9)
    converted = compile_source(function)
    cases = states((3, 1.0), (3, 4.0), (3, 0.1)) if batch else states((3, 1.0), (1, 4.0), (6, 0.1), (1, 2.0))
    report = compare(converted.model, reference(function), cases, pool=pool, runtimes=INSTALLED)
    assert report.ok, str(report)


def bounded(function: Any, **steps: int) -> Converted:
    return compile_source(Function(function, max_steps=steps))


def test_without_a_bound_one_refusal_names_the_loop_and_the_option() -> None:
    with pytest.raises(ConversionError, match=r"--max-steps while=N, or max_steps=\{'while': N\}") as refused:
        compile_source(decoder(None, limit=None))
    assert [str(one.rule) for one in refused.value.rejections] == ["loop-steps"]


def test_at_the_bound_a_loop_ends_as_with_maximum_iterations(pool: WorkerPool) -> None:
    converted = bounded(decoder(None, limit=None), **{"while": 4})
    cases = states((3, 1.0), (2, 4.0), (4, 0.1))
    report = compare(converted.model, reference(decoder(None, limit=4)), cases, pool=pool, runtimes=QUICK)
    assert report.ok, str(report)


def test_a_bound_for_a_loop_that_is_not_there_is_refused() -> None:
    with pytest.raises(OptionError, match="no loop is called decoder; the loops are while"):
        bounded(decoder(None, limit=9), decoder=4)


@pytest.mark.parametrize("steps", [{"while": 0}, {"while": "4"}, {"while": True}, ["while"], {1: 4}])
def test_a_bound_is_a_number_of_steps(steps: Any) -> None:
    with pytest.raises(OptionError, match="max_steps"):
        Function(decoder(None, limit=9), max_steps=steps)


def test_raw_rnn_reads_its_inputs_until_each_row_has_ended(pool: WorkerPool) -> None:
    function = raw()
    converted = bounded(function, rnn=8)
    rng = np.random.default_rng(1)
    cases = [
        {"x": rng.standard_normal((time, 2, 3)).astype(np.float32), "n": np.array(lengths, np.int32)}
        for time, lengths in ((5, [3, 5]), (4, [0, 2]), (6, [6, 6]), (6, [1, 4]))
    ]
    report = compare(converted.model, reference(function), cases, pool=pool, runtimes=INSTALLED)
    assert report.ok, str(report)


def test_on_a_target_of_fixed_sizes_the_buffer_and_its_count_are_returned(pool: WorkerPool) -> None:
    function = decoder(2, limit=9)
    converted = compile_source(function, ConvertOptions.parse(target="litert-compiled"))
    assert set(converted.program.signature.outputs) == {"h", "steps", "tokens", "tokens_count"}
    (case,) = states((2, 1.0))
    expected = reference(function)(case)
    for runtime in QUICK:
        with pool.open(runtime, converted.model) as running:
            found = running.run(case)
        count = int(found["tokens_count"])
        assert found["tokens"].shape == (9, 2)
        assert count == len(expected["tokens"])
        np.testing.assert_array_equal(found["tokens"][:count], expected["tokens"])
        assert not found["tokens"][count:].any()


def last_state(limit: int | None, *, sized: bool = False) -> Any:
    """Halve a state until it is small: a loop that returns its state, and what it wrote into four rows."""

    @tf.function(input_signature=[tf.TensorSpec([None, 4], name="state")])
    def settle(state: tf.Tensor) -> dict[str, tf.Tensor]:
        def body(h: tf.Tensor, t: tf.Tensor, out: Any) -> tuple[Any, ...]:
            return h * 0.5, t + 1, out.write(t % 4, tf.reduce_sum(h, 0)) if sized else out

        rows: Any = tf.TensorArray(tf.float32, size=4, element_shape=[4]) if sized else tf.constant(0)
        start = (state, tf.constant(0), rows)
        h, _, rows = tf.while_loop(
            lambda h, *_: tf.reduce_max(tf.abs(h)) > 0.01, body, start, maximum_iterations=limit
        )
        return {"h": h, "rows": rows.stack()} if sized else {"h": h}

    return settle


@pytest.mark.parametrize("sized", [False, True])
def test_a_loop_that_collects_nothing_ends_at_the_bound_too(sized: bool, pool: WorkerPool) -> None:
    converted = bounded(last_state(None, sized=sized), **{"while": 5})
    assert "the loop while ends after at most 5 steps, as max_steps says" in converted.report.notes
    cases = states((3, 1.0), (2, 40.0), (4, 0.1))
    report = compare(converted.model, reference(last_state(5, sized=sized)), cases, pool=pool, runtimes=INSTALLED)
    assert report.ok, str(report)


@pytest.mark.runtime
def test_the_bound_is_in_the_metadata_and_a_check_says_what_it_means() -> None:
    function = last_state(None)
    converted = bounded(function, **{"while": 5})
    metadata = read_metadata(converted.model)
    assert metadata is not None
    assert metadata.max_steps == {"while": 5}
    bounded_reference = check(converted, function, inputs=states((3, 1.0)), runtimes=QUICK)
    assert bounded_reference.ok, str(bounded_reference)
    assert any("while ends after 5 steps, in the model and" in note for note in bounded_reference.notes)
    plain = check(converted, reference(function), inputs=states((3, 1.0)), runtimes=QUICK)
    assert not plain.ok
    assert any("maximum_iterations=5" in note for note in plain.notes)


def run(*arguments: str | Path) -> Result:
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


class Endless(tf.Module):
    """A loop that never ends by itself, with a variable."""

    def __init__(self) -> None:
        super().__init__()
        self.kernel = tf.Variable(np.random.default_rng(2).standard_normal((3, 3)).astype(np.float32))

    @tf.function(input_signature=[tf.TensorSpec([None, 3], name="x")])
    def run(self, x: tf.Tensor) -> dict[str, tf.Tensor]:
        """Return what h is after all steps, and how many they were."""
        h, t = tf.while_loop(
            lambda h, _: tf.reduce_all(h < 9.0), lambda h, t: (tf.tanh(h @ self.kernel), t + 1), (x, 0)
        )
        return {"z": h, "a": t}


@pytest.mark.runtime
def test_check_ends_the_loops_of_every_reference_where_the_model_ends_them(tmp_path: Path) -> None:
    """Also one that would never end, and one that is read in a process of its own."""
    module = Endless()
    function = module.run.get_concrete_function()
    assert check(bounded(function, **{"while": 6}), function, runtimes=QUICK).ok
    tf.saved_model.save(module, str(tmp_path), signatures={"serving_default": module.run})
    converted = compile_source(SavedModel(tmp_path, max_steps={"while": 6}))
    report = check(converted, SavedModel(tmp_path), runtimes=QUICK)
    assert report.ok, str(report)


@pytest.mark.runtime
def test_a_frozen_graph_is_bounded_and_checked_from_the_command_line(tmp_path: Path) -> None:
    function = last_state(None).get_concrete_function()
    frozen = convert_variables_to_constants_v2(function, lower_control_flow=False)
    graph, model = tmp_path / "loop.pb", tmp_path / "loop.tflite"
    graph.write_bytes(frozen.graph.as_graph_def().SerializeToString())
    made = run("convert", graph, "-o", model, "--max-steps", "while=3", "--inputs", "state")
    assert made.exit_code == 0, made.output
    assert "the loop while ends after at most 3 steps" in made.output
    shown = run("inspect", model)
    assert "while ends after at most 3 steps" in " ".join(shown.output.split())
    values = tmp_path / "values.npz"
    np.savez(values, state=states((2, 40.0))[0]["state"])
    checked = run("check", model, "--against", graph, "--input-nodes", "state", "--inputs", values)
    assert checked.exit_code == 0, checked.output


@pytest.mark.runtime
def test_the_name_that_inspect_shows_bounds_a_loop_of_a_foreign_file(tmp_path: Path) -> None:
    function = last_state(None).get_concrete_function()
    foreign, model = tmp_path / "foreign.tflite", tmp_path / "model.tflite"
    foreign.write_bytes(tf.lite.TFLiteConverter.from_concrete_functions([function]).convert())
    shown = " ".join(run("inspect", foreign).output.split())
    assert "which --max-steps NAME=N can bound: while" in shown
    made = run("convert", foreign, "-o", model, "--max-steps", "while=3")
    assert made.exit_code == 0, made.output
    assert "the loop while ends after at most 3 steps" in made.output


def test_a_while_op_whose_first_value_counts_no_steps_is_left_as_it_is() -> None:
    """TensorFlow's own have a counter there; other tools may write any."""
    graph = last_state(None).get_concrete_function().graph.as_graph_def()
    (node,) = [node for node in graph.node if node.op in {"While", "StatelessWhile"}]
    (condition,) = [f for f in graph.library.function if f.signature.name == node.attr["cond"].func.name]
    assert bounded_graph(graph, {"while": 3}) != graph
    condition.signature.input_arg[0].name = "rows"
    assert bounded_graph(graph, {"while": 3}) == graph
