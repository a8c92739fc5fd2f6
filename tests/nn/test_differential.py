"""Against TensorFlow's own dynamic_rnn and TensorFlow 1 cells: the same weights, the same results and gradients.

The same random networks are built in one graph by TensorFlow and in another one by this package. Outputs, final
states, and gradients to inputs, weights and initial states may differ by rounding only: by 1e-6 (float32) or 1e-12
(float64) of the largest number of an array.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from tests.nn.configurations import Configuration, configuration
from tflite_rnn import nn

v1 = tf.compat.v1

COUNT, SAMPLE_EVERY, PER_GRAPH = 300, 5, 6
ALL = [configuration(number) for number in range(COUNT)]
SAMPLE = ALL[::SAMPLE_EVERY]
TOLERANCE = {tf.float32: 1e-6, tf.float64: 1e-12}

# TensorFlow's own old cells announce their age.
pytestmark = pytest.mark.filterwarnings("ignore:.*legacy.*|.*deprecated.*|.*is equivalent as.*")


def chunks(configurations: Sequence[Configuration]) -> list[Any]:
    groups = [configurations[start : start + PER_GRAPH] for start in range(0, len(configurations), PER_GRAPH)]
    return [pytest.param(group, id=f"{group[0].number}-{group[-1].number}") for group in groups]


def build(config: Configuration, cells: Any, dynamic_rnn: Any, feeds: dict[Any, Any]) -> tuple[Any, Any, Any]:
    """Build one network; returns its results, its loss, and what the loss has gradients to besides variables."""
    rng, cell = config.rng(), config.cell.build(cells)

    def fed(shape: Sequence[int], known: Sequence[int | None]) -> Any:
        tensor = v1.placeholder(config.dtype, known if config.unknown_sizes else shape)
        feeds[tensor] = rng.normal(size=shape)
        return tensor

    lead = (config.steps, config.batch) if config.time_major else (config.batch, config.steps)
    x = fed([*lead, config.depth], [None, None, config.depth])
    inputs = {"x": x, "more": (fed([*lead, 2, 2], [None, None, 2, 2]),)} if config.is_nested else x
    state = None
    if config.stateful:
        state = tf.nest.map_structure(lambda size: fed([config.batch, size], [None, size]), cell.state_size)
    outputs, final = dynamic_rnn(
        cell,
        inputs,
        config.lengths,
        state,
        None if config.stateful else config.dtype,
        swap_memory=config.swap_memory,
        time_major=config.time_major,
    )
    results = [*tf.nest.flatten(outputs), *tf.nest.flatten(final)]
    loss = tf.add_n([tf.reduce_sum(tf.sin(part)) for part in results])
    return results, loss, [*tf.nest.flatten(inputs), *([] if state is None else tf.nest.flatten(state))]


def run(configurations: Sequence[Configuration], ours: bool) -> Iterator[tuple[Configuration, dict[str, Any]]]:
    """Build all networks in one graph, run them at once; yields for each its arrays by name."""
    from tensorflow.python.ops import rnn_cell_impl

    with v1.Graph().as_default(), v1.Session(config=unoptimized()) as session:
        feeds: dict[Any, Any] = {}
        fetches, losses, sources = [], [], []
        for config in configurations:
            flavour = nn.lite if config.lite else nn
            with v1.variable_scope(f"network_{config.number}") as scope:
                parts = build(
                    config,
                    nn if ours else rnn_cell_impl,
                    flavour.dynamic_rnn if ours else v1.nn.dynamic_rnn,
                    feeds,
                )
                variables = scope.trainable_variables()
            fetches.append({f"result {index}": part for index, part in enumerate(parts[0])})
            losses.append(parts[1])
            named = {f"gradient to input {index}": part for index, part in enumerate(parts[2])}
            sources.append({**named, **{f"gradient to {variable.op.name}": variable for variable in variables}})
        gradients = v1.gradients(losses, tf.nest.flatten(sources), unconnected_gradients="zero")
        initialize(session)
        results = session.run((fetches, tf.nest.pack_sequence_as(sources, gradients)), feeds)
    for config, arrays, to in zip(configurations, *results, strict=True):
        yield config, {**arrays, **to}


@pytest.fixture(autouse=True)
def functions_run_as_they_were_built():
    """Switch the optimizer of functions off: the fused ops it puts in round otherwise, by more than is allowed."""
    before = tf.config.optimizer.get_experimental_options().get("disable_meta_optimizer", False)
    tf.config.optimizer.set_experimental_options({"disable_meta_optimizer": True})
    yield
    tf.config.optimizer.set_experimental_options({"disable_meta_optimizer": before})


def unoptimized() -> v1.ConfigProto:
    """Return options of a session that runs a graph as it was built; optimizing would take longer than running."""
    options = v1.ConfigProto()
    options.graph_options.rewrite_options.disable_meta_optimizer = True
    options.graph_options.optimizer_options.opt_level = v1.OptimizerOptions.L0
    return options


def initialize(session: v1.Session) -> None:
    """Give every variable values drawn from its name."""
    variables = v1.global_variables()
    values = {
        variable.initializer.inputs[1]: 0.7
        * np.random.default_rng(list(variable.op.name.encode())).normal(size=variable.shape)
        for variable in variables
    }
    session.run([variable.initializer for variable in variables], values)


def difference(seen: Any, expected: Any) -> float:
    """Return the largest difference relative to the scale of the array."""
    if not expected.size:
        return 0.0
    return float(np.max(np.abs(seen - expected)) / max(np.max(np.abs(expected)), 1e-3))


def compare(configurations: Sequence[Configuration]) -> list[str]:
    complaints = []
    for (config, seen), (_, expected) in zip(run(configurations, True), run(configurations, False), strict=True):
        assert list(seen) == list(expected), config
        for name, wanted in expected.items():
            assert seen[name].dtype == wanted.dtype
            assert seen[name].shape == wanted.shape
            error = difference(seen[name], wanted)
            if not error <= TOLERANCE[config.dtype]:
                complaints.append(f"{name} of {config} differs by {error:.1e}")
    return complaints


@pytest.mark.parametrize("configurations", chunks(SAMPLE))
def test_a_sample_of_random_networks_computes_what_tensorflow_computes(configurations):
    complaints = compare(configurations)
    assert not complaints, "\n".join(complaints)


@pytest.mark.exhaustive
@pytest.mark.parametrize("configurations", chunks([config for config in ALL if config not in SAMPLE]))
def test_every_other_random_network_computes_what_tensorflow_computes(configurations):
    complaints = compare(configurations)
    assert not complaints, "\n".join(complaints)


def test_the_sample_has_every_kind_of_cell_every_option_and_every_kind_of_call():
    def features(configurations):
        names = set().union(*(config.cell.kinds() for config in configurations))
        for config in configurations:
            names |= {f"lengths {config.lengths is not None}", f"stateful {config.stateful}", config.dtype.name}
            names |= {f"time_major {config.time_major}", f"unknown {config.unknown_sizes}", f"lite {config.lite}"}
            names |= {f"swap {config.swap_memory}"}
        return names

    assert len(ALL) >= 300
    assert len(SAMPLE) >= 60
    assert features(SAMPLE) == features(ALL)
    assert {
        *("BasicRNNCell", "BasicLSTMCell", "LSTMCell", "GRUCell", "MultiRNNCell", "Nested"),
        *(
            "DropoutWrapper",
            "ResidualWrapper",
            "LSTMCell.use_peepholes",
            "LSTMCell.cell_clip",
            "LSTMCell.num_proj",
        ),
        *("LSTMCell.proj_clip", "LSTMCell.forget_bias", "LSTMCell.activation", "MultiRNNCell.state_is_tuple"),
    } <= features(ALL)
