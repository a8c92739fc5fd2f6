"""chars2vec in all its sizes: the package's network, its weight files read by either Keras, on real words."""

from __future__ import annotations

import os
from pathlib import Path
from types import ModuleType

import keras
import numpy as np
import pytest
import tf_keras

import tflite_rnn as rnn
from models import chars2vec
from models.archives import DownloadError, fetch, read_member
from tests.importers.keras.networks import LSTM
from tests.runtimes import INSTALLED
from tflite_rnn.runtime import WorkerPool, compare

pytestmark = pytest.mark.download

WORDS = ("mouse", "Mouze", "recurrent", "a", "tensor-flow", "é~")


@pytest.fixture(scope="module")
def archive() -> Path:
    try:
        return fetch(chars2vec.SDIST)
    except DownloadError as error:
        if os.environ.get("CI"):
            raise
        pytest.skip(f"needs the trained weights: {error}")


@pytest.mark.parametrize(
    ("library", "units"),
    [
        pytest.param(library, units, marks=() if (library, units) == (keras, 50) else pytest.mark.exhaustive)
        for library in (keras, tf_keras)
        for units in (50, 100, 150, 200, 300)
    ],
)
def test_every_size_of_the_network_embeds_as_keras_does(
    library: ModuleType, units: int, archive: Path, tmp_path: Path, pool: WorkerPool
) -> None:
    weights = tmp_path / "weights.h5"
    weights.write_bytes(read_member(archive, f"chars2vec-0.1.7/chars2vec/trained_models/eng_{units}/weights.h5"))
    with pytest.raises(rnn.SourceError, match="only weights"):
        rnn.convert(weights)
    x = library.layers.Input((None, len(chars2vec.ALPHABET)))
    hidden = library.layers.LSTM(units, return_sequences=True)(x)
    model = library.Model(x, library.layers.LSTM(units)(hidden))
    model.load_weights(str(weights))
    converted = rnn.convert(model)
    assert converted.report.op_counts[LSTM] == 2
    (given,), (made,) = converted.program.signature.inputs, converted.program.signature.outputs
    cases = [{given: chars2vec.encode(words).swapaxes(0, 1)} for words in (WORDS, WORDS[:1], WORDS[3:4])]
    report = compare(
        converted.model,
        lambda inputs: {made: np.asarray(model.predict_on_batch(inputs[given]))},
        cases,
        runtimes=[runtime for runtime in INSTALLED if runtime.delegate],
        pool=pool,
    )
    assert report.ok, str(report)
