"""cutkum's frozen graph, converted: the same probabilities and the same words, on every installed runtime."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tflite_rnn as rnn
from models import cutkum
from models.archives import DownloadError
from tflite_rnn.runtime import WorkerPool, installed_runtimes

pytestmark = [pytest.mark.download, pytest.mark.tensorflow]

ATOL = 1e-4
SENTENCES = 200
BATCH = 50


@pytest.fixture(scope="module")
def graph(tmp_path_factory: pytest.TempPathFactory) -> Path:
    try:
        return cutkum.save_graph(tmp_path_factory.mktemp("cutkum"))
    except DownloadError as error:
        if os.environ.get("CI"):
            raise
        pytest.skip(f"needs the trained weights: {error}")


@pytest.fixture(scope="module")
def converted(graph: Path) -> Any:
    return rnn.convert(rnn.FrozenGraph(graph, constants=cutkum.CONSTANTS))


@pytest.fixture(scope="module")
def original(graph: Path) -> Any:
    from converter.opening import open_source
    from converter.sources import FrozenGraph

    return open_source(FrozenGraph(graph, constants=cutkum.CONSTANTS))


def test_the_three_layers_are_found_and_nothing_random_is_left(converted: Any) -> None:
    cells = [record.cell for record in converted.report.lowerings]
    assert cells == [f"gru(units={units}, activation=tanh)" for units in cutkum.UNITS]
    assert not {"RANDOM_UNIFORM", "CUSTOM"}.intersection(converted.report.op_counts)
    assert converted.program.signature.inputs == (cutkum.INPUTS, cutkum.LENGTHS, cutkum.STATE)
    assert converted.program.signature.outputs == (cutkum.OUTPUT,)


def test_random_characters_and_states_give_the_same_probabilities(
    converted: Any, original: Any, pool: WorkerPool
) -> None:
    rng = np.random.default_rng(5)
    cases = []
    for time, batch in ((9, 1), (23, 3)):
        characters = np.eye(cutkum.DEPTH, dtype=np.float32)[rng.integers(0, cutkum.DEPTH, (time, batch))]
        state = rng.uniform(-1, 1, (1, batch, sum(cutkum.UNITS))).astype(np.float32)
        lengths = rng.integers(0, time + 1, batch).astype(np.int32)
        cases.append({cutkum.INPUTS: characters, cutkum.LENGTHS: lengths, cutkum.STATE: state})
    report = rnn.check(converted, original, inputs=cases, atol=ATOL, rtol=0, invokes=2, pool=pool)
    assert report.ok, str(report)


def test_two_hundred_sentences_are_cut_into_the_same_words(
    converted: Any, original: Any, pool: WorkerPool
) -> None:
    sentences = cutkum.sentences(np.random.default_rng(11), SENTENCES)
    runtime = next(iter(installed_runtimes()))
    with pool.open(runtime, converted.model) as model:
        for start in range(0, SENTENCES, BATCH):
            batch = sentences[start : start + BATCH]
            inputs: Mapping[str, Any] = cutkum.encode(batch)
            expected, found = original(inputs)[cutkum.OUTPUT], model.run(inputs)[cutkum.OUTPUT]
            np.testing.assert_allclose(found, expected, atol=ATOL, rtol=0)
            for row, sentence in enumerate(batch):
                labels = cutkum.labels(found, sentence, row)
                np.testing.assert_array_equal(labels, cutkum.labels(expected, sentence, row), err_msg=sentence)


def test_the_readmes_sentence_is_cut_as_the_readme_says(original: Any) -> None:
    sentence = "สารานุกรมไทยสำหรับเยาวชนฯ"
    probs = original(cutkum.encode([sentence]))[cutkum.OUTPUT]
    found = cutkum.words(sentence, cutkum.labels(probs, sentence, 0))
    assert found == ["สารานุกรม", "ไทย", "สำหรับ", "เยาวชน", "ฯ"]
