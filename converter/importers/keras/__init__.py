"""Keras models, of Keras 3 and of Keras 2 (the package tf_keras), live and in files.

A model is traced twice. In one trace, which is converted, every recurrent layer that the compiler knows runs one
marked op instead of its loop. In the other, which is the float reference, the layers run unchanged, so that the
reference does not depend on the markers. Layers are not recognised by their ops: weights and options are read from
their cells, and a layer with an unknown cell or option keeps its loop.
"""

from converter.importers.keras.files import load_keras_file
from converter.importers.keras.models import from_keras_model, is_keras_model

__all__ = ["from_keras_model", "is_keras_model", "load_keras_file"]
