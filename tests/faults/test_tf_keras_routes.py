"""Recurrent layers of tf_keras on every road into the compiler, in every shape, policy and target: pairwise.

Each pair of values of two axes occurs in some case. What cannot be is listed in `impossible`, with the reason.
"""

from __future__ import annotations

import functools
import itertools
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
import tf_keras

from converter.convert import Converted, compile_source
from converter.errors import ConversionError
from converter.options import ConvertOptions
from converter.targets import LIMITS, Target
from tests.runtimes import INSTALLED, QUICK, installed
from tflite_rnn import check
from tflite_rnn.runtime import COMPILED_MODEL, MICRO, Runtime, WorkerPool

TIME, DEPTH, UNITS = 6, 5, 3
SAMPLE, ALL = 30, 150


@dataclass(frozen=True)
class Route:
    """One case; the axes in an order in which impossible pairs are found early."""

    layer: str
    road: str
    batch: int | None
    time: int | None
    sequences: bool
    states: bool
    backwards: bool
    policy: str
    target: str

    def __str__(self) -> str:
        return "-".join(str(getattr(self, each.name)) for each in fields(self))


AXES: dict[str, tuple[Any, ...]] = {
    "layer": ("LSTM", "BiLSTM", "GRU", "SimpleRNN"),
    "road": ("export", "save", "function", "tflite"),
    "batch": (1, 3, None),
    "time": (TIME, None),
    "sequences": (True, False),
    "states": (True, False),
    "backwards": (True, False),
    "policy": ("stateless", "explicit", "streaming"),
    "target": tuple(target.value for target in LIMITS),
}


def impossible(route: Route) -> str | None:
    """Why a case cannot be, None if it can."""
    reverses = route.backwards or route.layer == "BiLSTM"
    if route.layer == "BiLSTM" and route.backwards:
        return "Bidirectional sets the directions of its layers itself"
    if reverses and route.policy == "streaming":
        return "a recurrence that runs backwards cannot continue in the next chunk"
    if route.batch is None and route.policy == "streaming":
        return "states that are kept have a row for each row of the batch"
    if None in {route.batch, route.time} and not LIMITS[Target(route.target)].dynamic:
        return "the target needs all sizes fixed"
    if route.road == "tflite" and None in {route.batch, route.time}:
        return "TFLiteConverter needs fixed sizes to lower the loops by itself"
    return None


@functools.cache
def routes() -> tuple[Route, ...]:
    """Cases in which every possible pair of values occurs three times, those with the most new pairs first."""
    rng = np.random.default_rng(0)
    every = [Route(*values) for values in itertools.product(*AXES.values())]
    possible = [route for route in every if impossible(route) is None]
    rng.shuffle(possible)  # type: ignore[arg-type]
    missing = {pair: 3 for route in possible for pair in pairs(route)}
    chosen: list[Route] = []
    while len(chosen) < ALL or any(missing.values()):
        best = max(possible, key=lambda route: sum(missing[pair] for pair in pairs(route)))
        possible.remove(best)
        chosen.append(best)
        for pair in pairs(best):
            missing[pair] = max(0, missing[pair] - 1)
    return tuple(chosen)


@functools.cache
def pairs(route: Route) -> tuple[tuple[Any, ...], ...]:
    values = [(each.name, getattr(route, each.name)) for each in fields(route)]
    return tuple(itertools.combinations(values, 2))


# the models --------------------------------------------------------------------------------------------------


@functools.cache
def model_of(route: Route) -> Any:
    tf_keras.utils.set_random_seed(7)
    options = {"return_sequences": route.sequences, "return_state": route.states}
    kinds = {"LSTM": tf_keras.layers.LSTM, "GRU": tf_keras.layers.GRU, "SimpleRNN": tf_keras.layers.SimpleRNN}
    if route.layer == "BiLSTM":
        layer = tf_keras.layers.Bidirectional(kinds["LSTM"](UNITS, **options))
    else:
        layer = kinds[route.layer](UNITS, go_backwards=route.backwards, **options)
    given = tf_keras.Input(batch_shape=(route.batch, route.time, DEPTH), name="x")
    return tf_keras.Model(given, layer(given))


def called(model: Any, x: Any) -> dict[str, Any]:
    return {f"y{number}": y for number, y in enumerate(tf.nest.flatten(model(x)))}


def source_of(route: Route, folder: Path) -> Any:
    model = model_of(replace(route, policy="stateless", target="litert", road="function"))
    signature = tf.TensorSpec([route.batch, route.time, DEPTH], name="x")
    function = tf.function(lambda x: called(model, x), input_signature=[signature])
    if route.road == "export":
        model.export(str(folder / "exported"))
        return folder / "exported"
    if route.road == "save":
        tf.saved_model.save(model, str(folder / "saved"), signatures={"serving_default": function})
        return folder / "saved"
    if route.road == "tflite":
        converter = tf.lite.TFLiteConverter.from_concrete_functions([function.get_concrete_function()], model)
        return converter.convert()
    return function


def reference_of(route: Route, converted: Converted) -> Any:
    model = model_of(replace(route, policy="stateless", target="litert", road="function"))
    names = sorted(name for name in converted.program.signature.outputs if not name.startswith("state_"))

    def run(inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        (x,) = inputs.values()
        outputs = called(model, tf.constant(x))
        return {name: outputs[f"y{number}"].numpy() for number, name in enumerate(names)}

    return run


def runtimes_of(route: Route, *, whole: bool) -> list[Runtime]:
    special = {"tflm": MICRO, "litert-compiled": COMPILED_MODEL, "litert-web": COMPILED_MODEL}.get(route.target)
    made_for = installed([Runtime(special)]) if special is not None else []
    return [*made_for, *(INSTALLED if whole else QUICK)]


def assert_equal(route: Route, folder: Path, pool: WorkerPool, *, whole: bool) -> None:
    options = ConvertOptions.parse(state=route.policy, target=route.target)
    converted = compile_source(source_of(route, folder), options)
    fused = sum(count for op, count in converted.report.op_counts.items() if "SEQUENCE_" in op and "LSTM" in op)
    if route.layer in {"LSTM", "BiLSTM"} and route.target in {"litert", "tflite-runtime"}:
        assert fused >= 1, converted.report
    rng = np.random.default_rng(1)
    inputs = [name for name in converted.program.signature.inputs if not name.startswith("state_")]
    sizes = [(route.batch or batch, route.time or time) for batch, time in ((1, 4), (4, 9), (2, 1))]
    cases = [
        {inputs[0]: rng.standard_normal((batch, time, DEPTH)).astype(np.float32)}
        for batch, time in dict.fromkeys(sizes)
    ]
    report = check(
        converted,
        reference_of(route, converted),
        inputs=cases,
        runtimes=runtimes_of(route, whole=whole),
        pool=pool,
    )
    assert report.ok, f"{route}\n{report}"


@pytest.mark.parametrize("route", routes()[:SAMPLE], ids=str)
def test_a_layer_equals_keras_on_every_road(route: Route, tmp_path: Path, pool: WorkerPool) -> None:
    assert_equal(route, tmp_path, pool, whole=False)


@pytest.mark.exhaustive
@pytest.mark.parametrize("route", routes()[SAMPLE:], ids=str)
def test_a_layer_equals_keras_on_every_road_in_full(route: Route, tmp_path: Path, pool: WorkerPool) -> None:
    assert_equal(route, tmp_path, pool, whole=True)


def test_there_are_enough_cases_and_every_possible_pair_is_among_them() -> None:
    assert len(routes()) >= ALL
    every = (Route(*values) for values in itertools.product(*AXES.values()))
    wanted = {pair for route in every if impossible(route) is None for pair in pairs(route)}
    assert wanted == {pair for route in routes() for pair in pairs(route)}


@pytest.mark.parametrize(
    ("changed", "complaint"),
    [
        ({"backwards": True, "policy": "streaming"}, "runs backwards"),
        ({"layer": "BiLSTM", "policy": "streaming"}, "runs backwards"),
        ({"batch": None, "policy": "streaming"}, "the batch is unknown"),
        ({"time": None, "target": "tflm"}, "needs every dimension fixed"),
    ],
    ids=str,
)
def test_what_cannot_be_is_refused_by_name(changed: dict[str, Any], complaint: str, tmp_path: Path) -> None:
    route = replace(Route("LSTM", "function", 1, TIME, True, False, False, "stateless", "litert"), **changed)
    assert impossible(route) is not None
    with pytest.raises(ConversionError, match=complaint):
        compile_source(source_of(route, tmp_path), ConvertOptions.parse(state=route.policy, target=route.target))
