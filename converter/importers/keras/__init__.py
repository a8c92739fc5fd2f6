"""Keras models, of Keras 3 and of Keras 2 (the package tf_keras), live and in files.

A model is traced twice. In one trace every recurrent layer that this tool understands runs one marked op in place
of its own loop; that one is converted. In the other the layers run as Keras wrote them; that one is the float
reference, so that what is checked shares nothing with what was marked. No layer is recognised by its ops: its cell
is asked for its weights and options, and a layer whose answers no cell of this tool computes keeps its own loop.
"""

from converter.importers.keras.files import load_keras_file
from converter.importers.keras.models import from_keras_model, is_keras_model

__all__ = ["from_keras_model", "is_keras_model", "load_keras_file"]
