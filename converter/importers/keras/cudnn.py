"""Layers of tf_keras that run only on cuDNN, and so only on some graphics cards: their ordinary twins."""

from __future__ import annotations

from typing import Any

from converter.errors import SourceError
from converter.importers.keras.stored_config import for_keras2


def cudnn_layers() -> dict[str, type]:
    """Return the layers that tf_keras has, but does not find by their names when it loads an archive."""
    from tf_keras.src.layers.rnn.cudnn_gru import CuDNNGRU
    from tf_keras.src.layers.rnn.cudnn_lstm import CuDNNLSTM

    return {"CuDNNGRU": CuDNNGRU, "CuDNNLSTM": CuDNNLSTM}


def runs_anywhere(model: Any) -> Any:
    """Return a model of tf_keras that computes the same without cuDNN; ``model`` itself if it has no such layer.

    Raises SourceError for a subclassed model with such layers: only Keras' own kinds can be built once more.
    """
    kinds = tuple(cudnn_layers().values())
    if not any(isinstance(layer, kinds) for layer in model._flatten_layers()):
        return model
    if not model._is_graph_network:
        raise SourceError(
            f"{model.name}: its CuDNN layers only run on cuDNN: use LSTM and GRU (reset_after=True) in their place"
        )
    from tf_keras.src.saving.legacy.hdf5_format import preprocess_weights_for_loading

    twin = model.__class__.from_config(for_keras2(model.get_config()))
    for old, new in zip(model.layers, twin.layers, strict=True):
        new.set_weights(preprocess_weights_for_loading(new, old.get_weights()))
    return twin
