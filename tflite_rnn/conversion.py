"""`convert`: compile a model to a ``.tflite`` of builtin ops."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from converter.convert import Converted, compile_opened, compile_source, with_steps_of
from converter.errors import OptionError
from converter.options import AUTO, ConvertOptions
from converter.sources import as_source
from tflite_rnn.isolation import FileSource, Limits, can_isolate, isolated
from tflite_rnn.isolation.limits import DEFAULT_MEMORY, DEFAULT_TIMEOUT
from tflite_rnn.verification import verified


def convert(
    source: Any,
    *,
    lowering: str = AUTO,
    state: str | None = None,
    target: str = "litert",
    pair_directions: bool = True,
    rename: Mapping[str, str] | None = None,
    lookahead: str | None = None,
    mask_padding: str | None = None,
    verify: bool = True,
    timeout: float = DEFAULT_TIMEOUT,
    memory_limit_mb: int = DEFAULT_MEMORY,
) -> Converted:
    """Compile ``source`` to a ``.tflite`` of builtin ops only.

    Args:
        source: a `SavedModel`, `FrozenGraph`, `KerasFile`, `TfliteModel`, `KerasModel` or `Function`, which say
            how to read it; or a shorthand for one with its default options: a path (its kind is detected), the
            bytes of a ``.tflite``, a model of Keras 3 or tf_keras, a ``tf.function`` with an input signature, or a
            concrete function.
        lowering: ``"auto"`` lowers each recurrence to a fused op where that is exact, and to a loop of builtin ops
            where it is not; ``"fused"`` or ``"while"`` insists on one form, and ``"unrolled"`` writes all steps
            out one after another, if their number is fixed.
        state: ``"stateless"`` starts every invoke from zero or from the network's own initial state;
            ``"explicit"`` makes inputs and outputs of every state, with the same names (``state_0_c``,
            ``state_0_h``, …), so that a caller can feed the outputs back; ``"streaming"`` keeps the states in the
            model from one invoke to the next, until its signature ``reset`` is run (`tflite_rnn.runtime.Stream`
            does both). If it is None, models are stateless, but a ``.tflite`` whose recurrent ops see one step at
            each invoke is refused: it keeps its state on purpose.
        target: where the model is to run: ``"litert"`` (the interpreter of ai-edge-litert and tf.lite),
            ``"tflite-runtime"``, ``"litert-compiled"`` (LiteRT's CompiledModel), ``"litert-web"`` (LiteRT.js) or
            ``"tflm"`` (microcontrollers). Recurrences are lowered to ops that it supports; ``tflite-rnn targets``
            lists them. Some targets need all sizes fixed: see the sources' ``input_shapes``.
        pair_directions: make one BIDIRECTIONAL_SEQUENCE op of two fused recurrences that run over one sequence in
            both directions, where that is exact; two ops otherwise.
        rename: new names of inputs and outputs by their old ones, as in ``{"output_0": "phonemes"}``.
        lookahead: with an explicit or a streaming state, ``"delay"`` lets layers look ahead, as convolutions with
            padding "same" do. Their outputs come later, and the last ones when the signature ``flush`` is run with
            the number of ``remaining`` steps. By default such layers are refused.
        mask_padding: ``"right"`` is your word that masked steps are behind all others of a row: then masks are
            lengths, beside which LSTMs fuse. Other masks give wrong results; `check` looks for them. By default
            masks may have gaps, and masked recurrences are loops.
        verify: load the model in a worker process on the target's runtime, and run it once, on zeros and with open
            sizes as small as it takes; the report says what ran, or that no such runtime is installed.
        timeout: in seconds. TensorFlow reads model files in a separate process, which is ended if reading the file
            or converting its ops takes longer. Live objects, and files whose custom objects exist in this process
            only, are read here.
        memory_limit_mb: the resident memory that this process may take, in MB.

    Returns:
        The `Converted` model: its bytes in ``model``, what was done in ``report``. Unless it is streamed, no state
        survives an invoke: equal inputs give equal outputs, whatever ran before. Equal sources give equal bytes.

    Raises:
        OptionError: an option has an invalid value.
        SourceError: the source cannot be read, or lacks what its options name.
        ConversionError: something in the model has no exact lowering; its ``rejections`` say what and why.
        VerificationError: the model that was made does not load or run: a fault of this tool.
    """
    options = ConvertOptions.parse(
        lowering=lowering,
        state=state,
        target=target,
        pair_directions=pair_directions,
        rename=rename,
        lookahead=lookahead,
        mask_padding=mask_padding,
    )
    if not isinstance(verify, bool):
        raise OptionError(f"verify: expected True or False, got {verify!r}")
    converted = _compiled(source, options, Limits(timeout, memory_limit_mb))
    return verified(converted, options.target) if verify else converted


def _compiled(given: Any, options: ConvertOptions, limits: Limits) -> Converted:
    source = as_source(given)
    options = with_steps_of(source, options)
    if isinstance(source, FileSource) and can_isolate(source):
        with isolated(source, limits) as opened:
            return compile_opened(opened, options)
    return compile_source(source, options)
