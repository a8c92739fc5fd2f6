"""raise-loops: every spelling of a loop over sequences, against TensorFlow running the original."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from converter.importers.tflite_model import import_tflite
from converter.ir import Array, Graph, Program, Scan, Signature, TfliteOp, constant, evaluate
from converter.opening import import_source, open_source
from converter.passes.pipeline import DEAD_CODE, FOLD_DROPOUT, RAISE_LOOPS, TRIM_SCANS, run_passes
from converter.sources import FrozenGraph
from tests.frozen_graphs import frozen_lstm
from tests.programs import tensor

ATOL = 2e-6
UNITS, DEPTH = 4, 5


def _raised(source: Any, *, keep_lists: bool = True) -> Program:
    return run_passes(import_source(open_source(source), keep_lists=keep_lists), (RAISE_LOOPS, TRIM_SCANS))


def _scan(program: Program) -> Scan:
    """The only scan of a program in which nothing else is left of a loop."""
    (scan,) = program.scans()
    leftovers = {"WHILE", "RANGE"} | {kind for kind in program.op_counts() if kind.startswith("CUSTOM")}
    assert not leftovers.intersection(program.op_counts())
    assert len(program.graphs) == 1
    return scan


def _assert_same(
    program: Program, source: Callable[[Mapping[str, Array]], dict[str, Array]], **inputs: Array
) -> None:
    expected, found = source(inputs), evaluate(program, inputs)
    assert found.keys() == expected.keys()
    for name, array in expected.items():
        np.testing.assert_allclose(found[name], array, atol=ATOL, rtol=0, err_msg=name)


def _x(*shape: int, seed: int = 0) -> Array:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def _loop(
    step: Callable[..., Any], *, batch: int | None, time: int | None, inputs: tuple[str, ...] = ("x",)
) -> Any:
    """A tf.function of time-major x [T, B, 5] (and others) whose body is ``step``."""
    import tensorflow as tf

    specs = {
        "x": tf.TensorSpec([time, batch, DEPTH], tf.float32, "x"),
        "n": tf.TensorSpec([], tf.int32, "n"),
        "start": tf.TensorSpec([batch, DEPTH], tf.float32, "start"),
    }
    return tf.function(step, input_signature=[specs[name] for name in inputs], autograph=False)


def _cumulated(x: Any, limit: Any = None, start: Any = None) -> dict[str, Any]:
    """Sums of x so far, collected in a TensorArray of its length; only ``limit`` steps are run."""
    import tensorflow as tf

    time = x.shape[0] or tf.shape(x)[0]
    total = tf.zeros_like(x[0]) if start is None else start
    outputs = tf.TensorArray(tf.float32, size=time, element_shape=x.shape[1:])

    def body(t: Any, total: Any, outputs: Any) -> Any:
        total = tf.tanh(total + x[t])
        return t + 1, total, outputs.write(t, total * 2.0)

    bound = time if limit is None else limit
    _, total, outputs = tf.while_loop(lambda t, *_: t < bound, body, (0, total, outputs))
    return {"outputs": outputs.stack(), "total": total}


@pytest.mark.parametrize(("batch", "time"), [(2, 7), (None, 7), (2, None), (None, None)])
def test_a_while_loop_over_a_sequence_is_a_scan(batch: int | None, time: int | None) -> None:
    source = open_source(_loop(_cumulated, batch=batch, time=time))
    program = _raised(source)
    scan = _scan(program)
    assert (len(scan.sequences), len(scan.initial_state), len(scan.outputs)) == (1, 1, 1)
    assert scan.invariants == ()
    assert (scan.length, scan.steps) == (None, None)
    _assert_same(program, source, x=_x(7, 2, DEPTH))


def test_tensors_that_a_loop_updates_row_by_row_are_outputs() -> None:
    """What TFLiteConverter itself makes of the lists of a static loop."""
    source = open_source(_loop(_cumulated, batch=2, time=7))
    program = _raised(source, keep_lists=False)
    assert len(_scan(program).outputs) == 1
    _assert_same(program, source, x=_x(7, 2, DEPTH))


def test_steps_beyond_a_limit_are_not_run_and_their_outputs_are_zero() -> None:
    source = open_source(_loop(_cumulated, batch=2, time=7, inputs=("x", "n")))
    program = _raised(source)
    scan = _scan(program)
    assert scan.steps is not None
    assert scan.length is None
    for count in (0, 3, 7):
        _assert_same(program, source, x=_x(7, 2, DEPTH), n=np.asarray(count, np.int32))


def test_a_given_initial_state_is_the_scans() -> None:
    def run(x: Any, start: Any) -> Any:
        return _cumulated(x, start=start)

    source = open_source(_loop(run, batch=None, time=None, inputs=("x", "start")))
    program = _raised(source)
    assert [value.name for value in _scan(program).initial_state] == ["start"]
    _assert_same(program, source, x=_x(6, 3, DEPTH), start=_x(3, DEPTH, seed=1))


def test_batch_major_reads_become_a_transposed_sequence() -> None:
    import tensorflow as tf

    def run(x: Any) -> Any:
        return tf.while_loop(
            lambda t, _: t < tf.shape(x)[1], lambda t, total: (t + 1, total + x[:, t, :]), (0, tf.zeros([2, 3]))
        )[1]

    source = open_source(tf.function(run, input_signature=[tf.TensorSpec([2, None, 3], tf.float32, "x")]))
    program = _raised(source)
    assert program.op_counts()["TRANSPOSE"] == 1
    assert len(_scan(program).sequences) == 1
    _assert_same(program, source, x=_x(2, 5, 3))


def test_what_the_loop_does_not_change_is_an_invariant_and_the_counter_is_the_steps_number() -> None:
    import tensorflow as tf

    def run(x: Any, start: Any) -> Any:
        def body(t: Any, total: Any) -> Any:
            return t + 1, total * 0.5 + x[t] * start * tf.cast(t, tf.float32)

        t, total = tf.while_loop(lambda t, _: t < tf.shape(x)[0], body, (0, tf.zeros_like(start)))
        return {"total": total, "count": t}

    source = open_source(_loop(run, batch=None, time=None, inputs=("x", "start")))
    program = _raised(source)
    assert [value.name for value in _scan(program).invariants] == ["start"]
    _assert_same(program, source, x=_x(6, 3, DEPTH), start=_x(3, DEPTH, seed=1))


def test_a_counter_of_64_bits_counts_as_well() -> None:
    import tensorflow as tf

    def run(x: Any) -> Any:
        body: Callable[..., Any] = lambda t, total: (t + 1, total + x[t])  # noqa: E731
        zero = tf.constant(0, tf.int64)
        return tf.while_loop(lambda t, _: t < tf.constant(5, tf.int64), body, (zero, tf.zeros([2, DEPTH])))[1]

    source = open_source(_loop(run, batch=2, time=5))
    program = _raised(source)
    _scan(program)
    _assert_same(program, source, x=_x(5, 2, DEPTH))


def test_outputs_and_states_that_nobody_reads_are_dropped() -> None:
    source = open_source(_loop(lambda x: _cumulated(x)["total"], batch=None, time=None))
    scan = _scan(_raised(source))
    assert (len(scan.outputs), len(scan.final_state)) == (0, 1)


def test_a_list_that_grows_with_the_loop_is_as_long_as_its_steps() -> None:
    import tensorflow as tf

    def run(n: Any) -> Any:
        def body(t: Any, outputs: Any) -> Any:
            return t + 1, outputs.write(t, tf.fill([3], tf.cast(t, tf.float32)))

        outputs = tf.TensorArray(tf.float32, size=0, dynamic_size=True, element_shape=[3])
        return tf.while_loop(lambda t, _: t < n, body, (0, outputs))[1].stack()

    source = open_source(_loop(run, batch=None, time=None, inputs=("n",)))
    program = _raised(source)
    assert _scan(program).length is not None
    _assert_same(program, source, n=np.asarray(4, np.int32))


@pytest.mark.parametrize(
    "what", ["an end that depends on the sum", "a loop inside", "start at one", "reads its outputs"]
)
def test_other_loops_stay_as_they_are(what: str) -> None:
    import tensorflow as tf

    def sums(x: Any) -> Any:
        return tf.while_loop(
            lambda _, total: tf.reduce_sum(total) < 5.0, lambda t, s: (t + 1, s + 1.0), (0, x[0])
        )[1]

    def nested(x: Any) -> Any:
        def body(t: Any, total: Any) -> Any:
            inner = tf.while_loop(lambda _, s: tf.reduce_sum(s) < 0.0, lambda k, s: (k + 1, s + 1.0), (0, total))[
                1
            ]
            return t + 1, inner + x[t]

        return tf.while_loop(lambda t, _: t < 5, body, (0, x[0]))[1]

    def from_one(x: Any) -> Any:
        return tf.while_loop(lambda t, _: t < 5, lambda t, s: (t + 1, s + x[t]), (1, x[0]))[1]

    def looks_back(x: Any) -> Any:
        first = tf.TensorArray(tf.float32, size=5, element_shape=[2, DEPTH], clear_after_read=False)

        def body(t: Any, outputs: Any) -> Any:
            return t + 1, outputs.write(t, x[t] + outputs.read(tf.maximum(t - 1, 0)))

        return tf.while_loop(lambda t, _: t < 5, body, (0, first))[1].stack()

    loops = {
        "an end that depends on the sum": sums,
        "a loop inside": nested,
        "start at one": from_one,
        "reads its outputs": looks_back,
    }
    program = _raised(_loop(loops[what], batch=2, time=5))
    assert not list(program.scans())
    assert program.op_counts()["WHILE"] >= 1


# --- Keras -------------------------------------------------------------------------------------------------


def _keras_cases() -> dict[str, tuple[Any, tuple[int, ...]]]:
    import keras

    layers = keras.layers
    make: Callable[..., Any] = lambda shape, *stack, batch=None: keras.Sequential(  # noqa: E731
        [layers.Input(shape, batch_size=batch), *stack]
    )
    return {
        "LSTM": (make((7, 5), layers.LSTM(4, return_sequences=True)), (2, 7, 5)),
        "LSTM of the last step": (make((None, 5), layers.LSTM(4)), (2, 7, 5)),
        "GRU of a known batch": (make((7, 5), layers.GRU(4), batch=2), (2, 7, 5)),
        "SimpleRNN backwards": (make((None, 5), layers.SimpleRNN(4, go_backwards=True)), (2, 7, 5)),
        "both directions": (
            make((None, 5), layers.Bidirectional(layers.LSTM(4, return_sequences=True))),
            (2, 7, 5),
        ),
        "masked": (make((None, 5), layers.Masking(), layers.LSTM(4)), (3, 7, 5)),
        "masked, of a known batch": (make((7, 5), layers.Masking(), layers.GRU(4), batch=3), (3, 7, 5)),
        "a stack": (make((7, 5), layers.LSTM(4, return_sequences=True), layers.GRU(3)), (2, 7, 5)),
    }


def test_the_layers_of_keras_are_scans() -> None:
    import tensorflow as tf

    for name, (model, shape) in _keras_cases().items():
        x = _x(*shape)
        x[-1, 4:] = 0.0  # masked steps
        expected = np.asarray(model(x))
        for keep_lists in (True, False):
            if not keep_lists and model.input_shape[0] is None:
                continue  # TFLiteConverter lowers lists of known sizes only
            converter = tf.lite.TFLiteConverter.from_keras_model(model)
            converter.allow_custom_ops = True
            converter._experimental_lower_tensor_list_ops = not keep_lists
            program = run_passes(import_tflite(converter.convert(), source=name), (RAISE_LOOPS, TRIM_SCANS))
            assert not {"WHILE", "RANGE"}.intersection(program.op_counts()), name
            assert not any(kind.startswith("CUSTOM") for kind in program.op_counts()), name
            (found,) = evaluate(program, {program.signature.inputs[0]: x}).values()
            np.testing.assert_allclose(found, expected, atol=ATOL, rtol=0, err_msg=f"{name}, {keep_lists=}")


# --- frozen graphs -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(("batch", "time"), [(2, 7), (None, None)])
def test_dynamic_rnn_in_a_frozen_graph_is_a_scan(batch: int | None, time: int | None, tmp_path: Path) -> None:
    path = tmp_path / "graph.pb"
    path.write_bytes(frozen_lstm(batch=batch, time=time))
    source = open_source(FrozenGraph(path, outputs=("y", "h")))
    program = run_passes(import_source(source), (RAISE_LOOPS, TRIM_SCANS))
    scan = _scan(program)
    assert scan.steps is not None
    assert scan.length is None
    for lengths in ([7, 3], [4, 2], [0, 1]):
        _assert_same(program, source, x=_x(2, 7, DEPTH), n=np.asarray(lengths, np.int32))


def test_dropout_that_keeps_everything_leaves_no_random_numbers(tmp_path: Path) -> None:
    path = tmp_path / "graph.pb"
    path.write_bytes(frozen_lstm(keep_prob=True))
    source = open_source(FrozenGraph(path, outputs=("y", "h"), constants={"keep_prob": 1.0}))
    program = run_passes(import_source(source), (RAISE_LOOPS, TRIM_SCANS, FOLD_DROPOUT, DEAD_CODE))
    assert "RANDOM_UNIFORM" not in {op.kind for op in _scan(program).body.ops if isinstance(op, TfliteOp)}
    assert source.input_names == ("x", "n")
    _assert_same(program, source, x=_x(2, 7, DEPTH), n=np.asarray([7, 3], np.int32))


def test_dropout_that_drops_stays() -> None:
    x, drawn, added = tensor("x", 2, 3), tensor("drawn", 2, 3), tensor("added", 2, 3)
    floor, dropped = tensor("floor", 2, 3), tensor("dropped", 2, 3)
    for keep_prob, kept in ((1.0, 0), (0.9, 4)):
        ops = (
            TfliteOp("RANDOM_UNIFORM", (constant("shape", np.array([2, 3], np.int32)),), (drawn,)),
            TfliteOp("ADD", (drawn, constant("keep_prob", np.array(keep_prob, np.float32))), (added,)),
            TfliteOp("FLOOR", (added,), (floor,)),
            TfliteOp("MUL", (x, floor), (dropped,)),
        )
        before = Program((Graph("main", (x,), (dropped,), ops),), (Signature("serving_default", ("x",), ("y",)),))
        assert len(run_passes(before, (FOLD_DROPOUT,)).main.ops) == kept
