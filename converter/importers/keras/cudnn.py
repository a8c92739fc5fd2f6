"""Replace the layers of tf_keras that run only on cuDNN by ordinary ones."""

from __future__ import annotations

from typing import Any

from converter.errors import SourceError
from converter.importers.keras.stored_config import for_keras2


def runs_anywhere(model: Any) -> Any:
    """Return a model of tf_keras that computes the same without cuDNN; ``model`` itself if it has no such layer.

    Raises SourceError for a subclassed model with such layers: only Keras' own kinds of models can be rebuilt.
    """
    from tf_keras.src.layers.rnn.base_cudnn_rnn import _CuDNNRNN

    if not any(isinstance(layer, _CuDNNRNN) for layer in model._flatten_layers()):
        return model
    if not model._is_graph_network:
        raise SourceError(
            f"{model.name}: CuDNN layers of a subclassed model cannot be converted; use LSTM and GRU "
            "(reset_after=True) instead"
        )
    from tf_keras.src.saving.legacy.hdf5_format import preprocess_weights_for_loading

    twin = model.__class__.from_config(for_keras2(model.get_config()))
    for old, new in zip(model.layers, twin.layers, strict=True):
        new.set_weights(preprocess_weights_for_loading(new, old.get_weights()))
    return twin
