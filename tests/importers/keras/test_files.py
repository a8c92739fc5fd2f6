"""Keras files: which Keras reads them, layers of cuDNN, code inside a file, and files that are none."""

from __future__ import annotations

import json
import warnings
import zipfile
from pathlib import Path
from types import ModuleType
from typing import Any

import h5py
import keras
import numpy as np
import pytest
import tf_keras
from click.testing import CliRunner

import tflite_rnn as rnn
from converter.importers.keras import files
from converter.ir import Array
from converter.opening import open_source
from tests.importers.keras.networks import LSTM, randomized
from tflite_rnn.cli import main

LIBRARIES = [keras, tf_keras]
both = pytest.mark.parametrize("library", LIBRARIES, ids=["keras", "tf_keras"])
suffixes = pytest.mark.parametrize("suffix", [".keras", ".h5"])


def saved(model: Any, path: Path) -> Path:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # tf_keras calls HDF5 a legacy
        model.save(str(path))
    return path


def network(library: ModuleType, *layers: Any) -> Any:
    recurrent = library.layers.LSTM(4, return_sequences=True, recurrent_activation="hard_sigmoid")
    return randomized(
        library.Sequential([library.layers.Input((None, 3)), recurrent, library.layers.GRU(4), *layers])
    )


def answer(source: Any, x: Array, **options: Any) -> Array:
    function = open_source(rnn.KerasFile(source, **options) if options else source)
    (name,) = function.input_names
    (output,) = function({name: x}).values()
    return output


X = np.random.default_rng(0).standard_normal((2, 6, 3)).astype(np.float32)


@both
@suffixes
def test_a_file_computes_what_its_model_did(library: ModuleType, suffix: str, tmp_path: Path) -> None:
    model = network(library)
    path = saved(model, tmp_path / f"model{suffix}")
    np.testing.assert_allclose(answer(path, X), model(X), atol=1e-6)
    np.testing.assert_allclose(answer(str(path), X), answer(model, X), atol=1e-6)


@both
@suffixes
def test_lambda_layers_run_only_when_they_are_told_to(library: ModuleType, suffix: str, tmp_path: Path) -> None:
    model = network(library, library.layers.Lambda(lambda x: x + 1.0, name="plus_one"))
    path = saved(model, tmp_path / f"model{suffix}")
    with pytest.raises(rnn.SourceError, match=r"Lambda layer 'plus_one'.*--unsafe"):
        rnn.convert(path)
    np.testing.assert_allclose(answer(path, X, safe_mode=False), model(X), atol=1e-6)
    result = CliRunner().invoke(main, ["convert", str(path), "-o", str(tmp_path / "a.tflite")])
    assert result.exit_code == 2
    assert "plus_one" in result.output
    result = CliRunner().invoke(main, ["convert", str(path), "--unsafe", "-o", str(tmp_path / "a.tflite")])
    assert result.exit_code == 0, result.output


@both
def test_a_registered_name_is_named(library: ModuleType, tmp_path: Path) -> None:
    @library.saving.register_keras_serializable("Named")
    class Twice(library.layers.Layer):
        def call(self, x: Any) -> Any:
            return 2.0 * x

    path = saved(network(library, Twice()), tmp_path / "model.keras")
    with pytest.raises(
        rnn.SourceError, match=r"'Twice'.*registered as 'Named>Twice': that is its name as a custom"
    ):
        rnn.convert(rnn.KerasFile(path, custom_objects={"Twice": Twice}))


@both
def test_custom_objects_are_what_the_user_gives(library: ModuleType, tmp_path: Path) -> None:
    class Doubling(library.layers.Layer):
        def call(self, x: Any) -> Any:
            return 2.0 * x

    model = network(library, Doubling())
    path = saved(model, tmp_path / "model.keras")
    with pytest.raises(rnn.SourceError, match=r"Doubling.*custom_objects \(--custom-object\)$"):
        rnn.convert(path)
    np.testing.assert_allclose(answer(path, X, custom_objects={"Doubling": Doubling}), model(X), atol=1e-6)


@both
def test_a_module_that_only_the_file_names_is_not_imported(library: ModuleType, tmp_path: Path) -> None:
    path = saved(network(library), tmp_path / "model.keras")
    edited = tmp_path / "edited.keras"
    with zipfile.ZipFile(path) as archive, zipfile.ZipFile(edited, "w") as copy:
        for name in archive.namelist():
            data = archive.read(name)
            if name == "config.json":
                data = data.replace(b'"module": "keras.layers", "class_name": "GRU"', EVIL)
                assert EVIL in data
            copy.writestr(name, data)
    with pytest.raises(rnn.SourceError, match=r"'Popen' of the module 'subprocess'"):
        rnn.convert(edited)


EVIL = b'"module": "subprocess", "class_name": "Popen"'


# --- layers of cuDNN -----------------------------------------------------------------------------------------


def cudnn_lstm(kernel: Array, recurrent: Array, bias: Array, x: Array) -> Array:
    """cuDNN's LSTM, gates i, f, c, o; each gate's kernel is stored [in, units], read as [units, in] in memory."""
    units = recurrent.shape[0]
    w = [part.reshape(units, -1) for part in np.split(kernel, 4, axis=1)]
    r = [part.reshape(units, units) for part in np.split(recurrent, 4, axis=1)]
    b = np.split(bias[: 4 * units] + bias[4 * units :], 4)
    h, c, outputs = np.zeros((len(x), units)), np.zeros((len(x), units)), []
    for t in range(x.shape[1]):
        i, f, g, o = (x[:, t] @ w[k].T + h @ r[k].T + b[k] for k in range(4))
        c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
        h = sigmoid(o) * np.tanh(c)
        outputs.append(h)
    return np.stack(outputs, axis=1)


def cudnn_gru(kernel: Array, recurrent: Array, bias: Array, x: Array) -> Array:
    """cuDNN's GRU, gates z, r, h, with the reset after the recurrent product; stored like the LSTM's."""
    units = recurrent.shape[0]
    w = [part.reshape(units, -1) for part in np.split(kernel, 3, axis=1)]
    r = [part.reshape(units, units) for part in np.split(recurrent, 3, axis=1)]
    b = np.split(bias, 6)
    h = np.zeros((len(x), units))
    for t in range(x.shape[1]):
        of_x, of_h = ([v @ m.T + b[k + n] for k, m in enumerate(g)] for v, g, n in ((x[:, t], w, 0), (h, r, 3)))
        z, reset = sigmoid(of_x[0] + of_h[0]), sigmoid(of_x[1] + of_h[1])
        h = z * h + (1.0 - z) * np.tanh(of_x[2] + reset * of_h[2])
    return h


def sigmoid(x: Array) -> Array:
    return np.asarray(1.0 / (1.0 + np.exp(-x)))


def cudnn_file(path: Path) -> tuple[Path, Array]:
    """A file as Keras 2.2 wrote it, and what its network makes of X: written by hand, layer by layer."""
    rng = np.random.default_rng(5)

    def layer(kind: str, name: str, units: int, gates: int, depth: int, first: dict[str, Any]) -> Any:
        options = {"name": name, "trainable": True, "units": units, "return_state": False, "go_backwards": False}
        options |= {"return_sequences": kind == "CuDNNLSTM", "stateful": False, **first}
        shapes = ((depth, gates * units), (units, gates * units), (2 * gates * units,))
        arrays = [(rng.standard_normal(shape) * 0.5).astype(np.float32) for shape in shapes]
        return {"class_name": kind, "config": options}, arrays

    first = {"batch_input_shape": [None, None, 3], "dtype": "float32"}
    lstm, of_lstm = layer("CuDNNLSTM", "cu_dnnlstm_1", 4, 4, 3, first)
    gru, of_gru = layer("CuDNNGRU", "cu_dnngru_1", 5, 3, 4, {})
    with h5py.File(path, "w") as file:
        config = {"class_name": "Sequential", "config": {"name": "sequential_1", "layers": [lstm, gru]}}
        file.attrs["model_config"] = json.dumps(config).encode()
        file.attrs["keras_version"] = b"2.2.4"
        file.attrs["backend"] = b"tensorflow"
        group = file.create_group("model_weights")
        group.attrs["layer_names"] = [b"cu_dnnlstm_1", b"cu_dnngru_1"]
        group.attrs["keras_version"] = b"2.2.4"
        group.attrs["backend"] = b"tensorflow"
        for name, arrays in (("cu_dnnlstm_1", of_lstm), ("cu_dnngru_1", of_gru)):
            inner = group.create_group(name)
            names = [f"{name}/{part}:0" for part in ("kernel", "recurrent_kernel", "bias")]
            inner.attrs["weight_names"] = [part.encode() for part in names]
            for part, array in zip(names, arrays, strict=True):
                inner[part] = array
    return path, cudnn_gru(*of_gru, cudnn_lstm(*of_lstm, X))


def test_a_file_of_keras_2_2_with_cudnn_layers_computes_what_cudnn_did(tmp_path: Path) -> None:
    path, expected = cudnn_file(tmp_path / "cudnn.h5")
    np.testing.assert_allclose(answer(path, X), expected, atol=1e-6)
    assert rnn.convert(path).report.op_counts[LSTM] == 1


def test_live_cudnn_layers_become_their_ordinary_twins() -> None:
    from tf_keras.src.layers.rnn.cudnn_gru import CuDNNGRU
    from tf_keras.src.layers.rnn.cudnn_lstm import CuDNNLSTM

    layers = [tf_keras.layers.Input((None, 3)), CuDNNLSTM(4, return_sequences=True), CuDNNGRU(5)]
    model = randomized(tf_keras.Sequential(layers))
    of_lstm, of_gru = (layer.get_weights() for layer in model.layers)
    np.testing.assert_allclose(answer(model, X), cudnn_gru(*of_gru, cudnn_lstm(*of_lstm, X)), atol=1e-6)


def test_a_gru_of_the_first_keras_2_resets_before_its_product(tmp_path: Path) -> None:
    """Its file does not say so: ``reset_after`` did not exist, and gates were hard_sigmoid."""
    path = tmp_path / "old.h5"
    gru = tf_keras.layers.GRU(4, reset_after=False, recurrent_activation="hard_sigmoid")
    model = randomized(tf_keras.Sequential([tf_keras.layers.Input((None, 3)), gru]))
    saved(model, path)
    with h5py.File(path, "r+") as file:
        config = json.loads(file.attrs["model_config"])
        for option in ("reset_after", "recurrent_activation"):
            del config["config"]["layers"][1]["config"][option]
        file.attrs["model_config"] = json.dumps(config)
    np.testing.assert_allclose(answer(path, X), model(X), atol=1e-6)


# --- what is no model ----------------------------------------------------------------------------------------


def refused(path: Path) -> str:
    result = CliRunner().invoke(main, ["convert", str(path), "-o", str(path.with_suffix(".tflite"))])
    assert result.exit_code == 2, result.output
    assert "Traceback" not in result.output
    return result.output


@suffixes
def test_a_damaged_file_is_refused_with_one_message(suffix: str, tmp_path: Path) -> None:
    whole = saved(network(keras), tmp_path / f"whole{suffix}").read_bytes()
    path = tmp_path / f"damaged{suffix}"
    for data in (b"", b"alien", whole[:100], whole[: len(whole) // 2], whole[:-50]):
        path.write_bytes(data)
        assert "damaged" in refused(path)


@suffixes
def test_a_file_whose_weights_are_damaged_is_refused(suffix: str, tmp_path: Path) -> None:
    path = saved(network(keras), tmp_path / f"model{suffix}")
    data = path.read_bytes()
    if suffix == ".keras":
        edited = tmp_path / "edited.keras"
        with zipfile.ZipFile(path) as archive, zipfile.ZipFile(edited, "w") as copy:
            for name in archive.namelist():
                copy.writestr(name, b"no weights" if name.endswith(".h5") else archive.read(name))
    else:
        edited = tmp_path / "edited.h5"
        edited.write_bytes(data)
        with h5py.File(edited, "r+") as file:
            del file["model_weights"]
    complaint = "or damaged" if suffix == ".keras" else "Keras cannot load this model"
    assert complaint in refused(edited)


@pytest.mark.parametrize("config", ['{"no": "class"}', "[]", "no json"])
def test_an_archive_or_hdf5_file_of_something_else_is_refused(config: str, tmp_path: Path) -> None:
    path = tmp_path / "alien.keras"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("config.json", config)
        archive.writestr("metadata.json", '{"keras_version": "3.0.0"}')
    assert "not a Keras model" in refused(path)
    path = tmp_path / "alien.h5"
    with h5py.File(path, "w") as file:
        file.attrs["title"] = config
    assert "not a Keras model" in refused(path)


@both
def test_a_file_of_weights_says_what_to_do(library: ModuleType, tmp_path: Path) -> None:
    path = tmp_path / "model.weights.h5"
    network(library).save_weights(str(path))
    assert "only weights" in refused(path)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(rnn.SourceError, match=r"nothing\.keras: no such file"):
        rnn.convert(tmp_path / "nothing.keras")


def test_a_file_of_keras_2_without_tf_keras_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = saved(network(tf_keras), tmp_path / "model.keras")
    monkeypatch.setattr(files.importlib.util, "find_spec", lambda _: None)
    with pytest.raises(rnn.SourceError, match="pip install tf_keras"):
        open_source(path)
