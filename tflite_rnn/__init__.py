"""tflite-rnn: recurrent networks to TensorFlow Lite, exactly.

Author a network with `dynamic_rnn` and the cells below, compile it with `convert`, and prove the file with
`check`::

    import tensorflow as tf
    import tflite_rnn as rnn

    cell = rnn.MultiRNNCell([rnn.LSTMCell(50), rnn.LSTMCell(50)])

    @tf.function(input_signature=[tf.TensorSpec([None, None, 59], tf.float32, name="chars")])
    def embed(chars):                                   # time-major [T, B, 59]
        outputs, state = rnn.dynamic_rnn(cell, chars, dtype=tf.float32)
        return {"embedding": outputs[-1], "state": state}

    converted = rnn.convert(embed)
    converted.save("embed.tflite")
    print(rnn.check(converted, embed))

`tflite_rnn.nn` holds the frontend in TensorFlow's own flavour, `tflite_rnn.runtime` the harness (it needs no
TensorFlow), `tflite_rnn.testing` an assertion for pytest. Names are imported when they are first used, so that
``import tflite_rnn`` is cheap and works where TensorFlow is not installed.
"""

from __future__ import annotations

import importlib

TYPE_CHECKING = False  # as in typing, whose import takes longer than all the rest of this one
if TYPE_CHECKING:
    from converter import __version__ as __version__
    from converter.convert import Converted
    from converter.errors import (
        ConversionError,
        OptionError,
        Rejection,
        SourceError,
        TfliteRnnError,
        VerificationError,
    )
    from converter.report import Report
    from converter.rules import Rule
    from converter.sources import FrozenGraph, Function, KerasFile, KerasModel, SavedModel, TfliteModel
    from tflite_rnn import nn, runtime, testing
    from tflite_rnn.checking import check
    from tflite_rnn.conversion import convert
    from tflite_rnn.nn import (
        BasicLSTMCell,
        BasicRNNCell,
        CoupledInputForgetGateLSTMCell,
        CudnnCompatibleGRUCell,
        DeviceWrapper,
        DropoutWrapper,
        GRUCell,
        LayerNormBasicLSTMCell,
        LSTMCell,
        LSTMStateTuple,
        MultiRNNCell,
        ResidualWrapper,
        TFLiteLSTMCell,
        TfLiteRNNCell,
    )
    from tflite_rnn.nn.bidirectional import stack_bidirectional_dynamic_rnn
    from tflite_rnn.nn.lite import bidirectional_dynamic_rnn, dynamic_rnn
    from tflite_rnn.nn.raw import raw_rnn
    from tflite_rnn.nn.static import static_bidirectional_rnn, static_rnn
    from tflite_rnn.runtime import ParityReport

_HOME = {
    "BasicLSTMCell": "tflite_rnn.nn",
    "BasicRNNCell": "tflite_rnn.nn",
    "ConversionError": "converter.errors",
    "Converted": "converter.convert",
    "CoupledInputForgetGateLSTMCell": "tflite_rnn.nn",
    "CudnnCompatibleGRUCell": "tflite_rnn.nn",
    "DeviceWrapper": "tflite_rnn.nn",
    "DropoutWrapper": "tflite_rnn.nn",
    "FrozenGraph": "converter.sources",
    "Function": "converter.sources",
    "GRUCell": "tflite_rnn.nn",
    "KerasFile": "converter.sources",
    "KerasModel": "converter.sources",
    "LSTMCell": "tflite_rnn.nn",
    "LSTMStateTuple": "tflite_rnn.nn",
    "LayerNormBasicLSTMCell": "tflite_rnn.nn",
    "MultiRNNCell": "tflite_rnn.nn",
    "OptionError": "converter.errors",
    "ParityReport": "tflite_rnn.runtime",
    "Rejection": "converter.errors",
    "Report": "converter.report",
    "ResidualWrapper": "tflite_rnn.nn",
    "Rule": "converter.rules",
    "SavedModel": "converter.sources",
    "SourceError": "converter.errors",
    "TFLiteLSTMCell": "tflite_rnn.nn",
    "TfLiteRNNCell": "tflite_rnn.nn",
    "TfliteModel": "converter.sources",
    "TfliteRnnError": "converter.errors",
    "VerificationError": "converter.errors",
    "bidirectional_dynamic_rnn": "tflite_rnn.nn.lite",
    "check": "tflite_rnn.checking",
    "convert": "tflite_rnn.conversion",
    "dynamic_rnn": "tflite_rnn.nn.lite",
    "nn": "tflite_rnn.nn",
    "raw_rnn": "tflite_rnn.nn",
    "runtime": "tflite_rnn.runtime",
    "stack_bidirectional_dynamic_rnn": "tflite_rnn.nn",
    "static_bidirectional_rnn": "tflite_rnn.nn",
    "static_rnn": "tflite_rnn.nn",
    "testing": "tflite_rnn.testing",
}

__all__ = [
    "BasicLSTMCell",
    "BasicRNNCell",
    "ConversionError",
    "Converted",
    "CoupledInputForgetGateLSTMCell",
    "CudnnCompatibleGRUCell",
    "DeviceWrapper",
    "DropoutWrapper",
    "FrozenGraph",
    "Function",
    "GRUCell",
    "KerasFile",
    "KerasModel",
    "LSTMCell",
    "LSTMStateTuple",
    "LayerNormBasicLSTMCell",
    "MultiRNNCell",
    "OptionError",
    "ParityReport",
    "Rejection",
    "Report",
    "ResidualWrapper",
    "Rule",
    "SavedModel",
    "SourceError",
    "TFLiteLSTMCell",
    "TfLiteRNNCell",
    "TfliteModel",
    "TfliteRnnError",
    "VerificationError",
    "bidirectional_dynamic_rnn",
    "check",
    "convert",
    "dynamic_rnn",
    "nn",
    "raw_rnn",
    "runtime",
    "stack_bidirectional_dynamic_rnn",
    "static_bidirectional_rnn",
    "static_rnn",
    "testing",
]


def __getattr__(name: str) -> object:
    if name == "__version__":
        _check_converter()
        return importlib.import_module("converter").__version__
    home = _HOME.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    _check_converter()
    try:
        module = importlib.import_module(home)
    except ModuleNotFoundError as error:
        if error.name != "tensorflow":
            raise
        raise ImportError(
            f"tflite_rnn.{name} needs TensorFlow: pip install 'tflite-rnn[tensorflow]'", name="tensorflow"
        ) from error
    return module if home == f"{__name__}.{name}" else getattr(module, name)


def __dir__() -> list[str]:
    return sorted([*__all__, "__version__"])


def _check_converter() -> None:
    """Check that ``converter`` is the package of this project: users may have a module of that name."""
    package = importlib.import_module("converter")
    if getattr(package, "DISTRIBUTION", None) != "tflite-rnn":
        place = getattr(package, "__file__", None) or "an unknown place"
        raise ImportError(
            f"tflite_rnn needs its package 'converter', but another module of that name shadows it: {place}; "
            "rename that module, or run from another directory",
            name="converter",
        )
