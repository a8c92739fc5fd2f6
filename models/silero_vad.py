"""silero-vad 6.2.3 at 16 kHz: is this speech, 32 ms at a time? Convolutions around an LSTM(128) that streams.

Source: the wheel ``silero-vad`` (MIT, Silero Team), of which only the weights are read. For every chunk of 512
samples, behind the last 64 of the chunk before::

    chunk [576] -> reflected by 64 at its end [640] -> STFT of 256 every 128: [4, 258] -> magnitudes [4, 129]
    -> conv(128) -> conv(64), stride 2 -> conv(64), stride 2 -> conv(128) [1, 128], each of width 3, padded, ReLU
    -> LSTM(128) -> ReLU -> dense(1) -> sigmoid -> probability

The STFT is a convolution with fixed weights; its first 129 channels are real parts, the others imaginary ones. The
padding is PyTorch's, 1 on either side: with a stride of 2 that is not TensorFlow's "SAME".

The package carries this network twice, with different weights. Its safetensors file (`load`) is of another
training than everything that the package itself runs, TorchScript and ONNX (`load_released`): on one and the same
sound the two can be 0.9 apart. Both are speech detectors.

A chunk is one step of the LSTM, and the batch of the convolutions is the time of the recurrence. Converted with
``state="explicit"`` the file takes and returns the state, with ``state="streaming"`` it keeps it.

``python -m models.silero_vad`` fetches the weights, builds and converts, streams half a minute of synthetic sound
through the file on every installed runtime, chunk by chunk, and compares with TensorFlow, which gets it in one go.
Exit status: 0 if they agree, 1 if they do not, 2 if something failed on the way.
"""

from __future__ import annotations

import io
import math
import sys
import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table
from rich.text import Text

from converter.errors import SourceError
from models import speech
from models.archives import Wheel, fetch, read_member
from models.steps import Say, describe_conversion, run_program, run_step
from tflite_rnn.runtime import Runtime, Stream, WorkerPool, installed_runtimes

Array: TypeAlias = NDArray[np.float32]

WHEEL = Wheel("silero-vad", "6.2.3", "7b7f5436cfcb02fae583a05b512ea96467fd449fe54cb49a5e4f06c51a1e43b8")
SAFETENSORS = "silero_vad/data/silero_vad_16k.safetensors"
TORCHSCRIPT = "silero_vad/data/silero_vad.jit"
OUTPUT = Path(__file__).resolve().parents[1] / "build" / "silero_vad.tflite"
_FILE = f"{OUTPUT.parent.name}/{OUTPUT.name}"

RATE = 16_000
HOP = 512
CONTEXT = 64
CHUNK = CONTEXT + HOP
UNITS = 128
BINS = 129

_REFLECTED = 64
_STFT_WIDTH = 256
_STFT_STRIDE = 128
_STRIDES = (1, 2, 2, 1)

# What it must lower to: the recurrence fused, and no loop anywhere.
FUSED_OPS: Mapping[str, int] = MappingProxyType({"UNIDIRECTIONAL_SEQUENCE_LSTM": 1})
FORBIDDEN_OPS = frozenset({"WHILE", "CUSTOM"})

SECONDS = 30
TOLERANCE = 1e-4

# The arrays by the names of the safetensors file.
_SHAPES: Mapping[str, tuple[int, ...]] = MappingProxyType(
    {
        "stft_conv.weight": (2 * BINS, 1, _STFT_WIDTH),
        "conv1.weight": (128, BINS, 3),
        "conv1.bias": (128,),
        "conv2.weight": (64, 128, 3),
        "conv2.bias": (64,),
        "conv3.weight": (64, 64, 3),
        "conv3.bias": (64,),
        "conv4.weight": (128, 64, 3),
        "conv4.bias": (128,),
        "lstm_cell.weight_ih": (4 * UNITS, 128),
        "lstm_cell.weight_hh": (4 * UNITS, UNITS),
        "lstm_cell.bias_ih": (4 * UNITS,),
        "lstm_cell.bias_hh": (4 * UNITS,),
        "final_conv.weight": (1, UNITS, 1),
        "final_conv.bias": (1,),
    }
)


# A TorchScript file is a zip with one member of raw bytes an array. These are the 16 kHz network's, in the order
# of `_SHAPES`. The wheel is pinned, so they stay where they are: nothing needs to be unpickled to find them.
_STORAGES: Mapping[str, str] = MappingProxyType(
    {name: f"VADr_v6_10_25_noths_re/data/{number}" for number, name in enumerate(_SHAPES, start=2)}
)


@dataclass(frozen=True, slots=True, eq=False)
class ConvWeights:
    """A PyTorch Conv1d's weights: weight [filters, channels, width] and bias [filters]."""

    weight: Array
    bias: Array

    @property
    def kernel(self) -> Array:
        """The weight in TensorFlow's order: [width, channels, filters]."""
        kernel: Array = self.weight.transpose(2, 1, 0)
        return kernel


@dataclass(frozen=True, slots=True, eq=False)
class LstmWeights:
    """A PyTorch LSTM's weights: w_ih [4U, D], w_hh [4U, U], b_ih and b_hh [4U], gates i, f, g, o in rows.

    The step they belong to, with s the sigmoid and * elementwise (documentation of ``torch.nn.LSTMCell``)::

        i, f, o = s(x w_ii' + b_ii + h w_hi' + b_hi), ...
        g = tanh(x w_ig' + b_ig + h w_hg' + b_hg)
        c' = f * c + i * g
        h' = o * tanh(c')
    """

    w_ih: Array
    w_hh: Array
    b_ih: Array
    b_hh: Array

    def for_tensorflow(self) -> tuple[Array, Array]:
        """Return kernel [D+U, 4U] and bias [4U] of ``LSTMCell(U, forget_bias=0.0)``: gates i, j, f, o."""
        return _reorder(np.concatenate([self.w_ih, self.w_hh], axis=1)).T, _reorder(self.b_ih + self.b_hh)


@dataclass(frozen=True, slots=True, eq=False)
class Pretrained:
    """The trained network: stft [258, 1, 256], four convolutions in running order, an LSTM, and the last layer."""

    stft: Array
    convolutions: tuple[ConvWeights, ...]
    lstm: LstmWeights
    final: ConvWeights


def load(cache: Path | None = None) -> Pretrained:
    """Fetch (once, see `models.archives.fetch`) and read the trained network of the safetensors file.

    Raises:
        DownloadError, DigestError: see `models.archives.fetch`.
        SourceError: the weights are not what is expected of this version, or ``safetensors`` is not installed.
    """
    return read_safetensors(read_member(fetch(WHEEL, cache), SAFETENSORS))


def load_released(cache: Path | None = None) -> Pretrained:
    """Fetch (once) and read the trained network that the package itself runs, in TorchScript and ONNX.

    Raises:
        DownloadError, DigestError: see `models.archives.fetch`.
        SourceError: the weights are not what is expected of this version.
    """
    return read_torchscript(read_member(fetch(WHEEL, cache), TORCHSCRIPT))


def read_safetensors(content: bytes) -> Pretrained:
    """Return the network of a ``.safetensors`` file's bytes.

    Raises:
        SourceError: it is no such file, lacks an array, or has one of another shape or type; or ``safetensors`` is
            not installed.
    """
    try:
        from safetensors import SafetensorError
        from safetensors.numpy import load as load_arrays
    except ModuleNotFoundError as error:
        raise SourceError(f"the weights are read by safetensors ({error}): pip install safetensors") from error
    try:
        arrays = load_arrays(content)
    except SafetensorError as error:
        raise SourceError(f"{SAFETENSORS}: not the expected safetensors file: {error}") from error
    for name, shape in _SHAPES.items():
        if name not in arrays:
            raise SourceError(f"{SAFETENSORS}: has no {name}; it has {', '.join(sorted(arrays)) or 'no arrays'}")
        seen = arrays[name]
        if seen.shape != shape or seen.dtype != np.float32:
            raise SourceError(f"{SAFETENSORS}: {name} is {seen.dtype} {seen.shape}, expected float32 {shape}")
    return _assemble(arrays)


def read_torchscript(content: bytes) -> Pretrained:
    """Return the 16 kHz network of the package's TorchScript file; nothing in it is run or unpickled.

    Raises:
        SourceError: it is no zip, lacks the bytes of an array, or has more or fewer of them.
    """
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as file:
            raw = {name: file.read(storage) for name, storage in _STORAGES.items()}
    except (zipfile.BadZipFile, zlib.error, EOFError, KeyError) as error:
        raise SourceError(f"{TORCHSCRIPT}: not the expected TorchScript file: {error}") from error
    for name, shape in _SHAPES.items():
        expected = 4 * math.prod(shape)
        if len(raw[name]) != expected:
            raise SourceError(f"{TORCHSCRIPT}: {name} has {len(raw[name])} bytes, expected {expected}")
    return _assemble({name: np.frombuffer(raw[name], "<f4").reshape(shape) for name, shape in _SHAPES.items()})


def _assemble(arrays: Mapping[str, Array]) -> Pretrained:
    return Pretrained(
        arrays["stft_conv.weight"],
        tuple(ConvWeights(arrays[f"conv{n}.weight"], arrays[f"conv{n}.bias"]) for n in (1, 2, 3, 4)),
        LstmWeights(*(arrays[f"lstm_cell.{kind}"] for kind in ("weight_ih", "weight_hh", "bias_ih", "bias_hh"))),
        ConvWeights(arrays["final_conv.weight"], arrays["final_conv.bias"]),
    )


def chunks_of(audio: Array) -> Array:
    """Return sound at 16 kHz as chunks [n, 576]: 512 new samples each, behind the last 64 of the chunk before.

    Zeros stand before the first sample, and behind the last one if it does not fill its chunk.

    Raises:
        ValueError: the sound is empty, or is not one row of samples.
    """
    if audio.ndim != 1 or not audio.size:
        raise ValueError(f"sound is one row of samples, and not none; this has shape {audio.shape}")
    count = -(-audio.size // HOP)
    padded = np.zeros(CONTEXT + count * HOP, dtype=np.float32)
    padded[CONTEXT : CONTEXT + audio.size] = audio
    chunks: Array = np.lib.stride_tricks.sliding_window_view(padded, CHUNK)[::HOP].copy()
    return chunks


def build(pretrained: Pretrained, chunks: int | None = 1) -> Any:
    """Return the network as a ``tf.function`` of ``chunks`` [chunks, 576]; with None, of any number of chunks.

    It returns ``{"probability": [chunks]}``; the state of the LSTM, one row of 128, starts from zero.
    """
    import tensorflow as tf

    import tflite_rnn as rnn

    cell = _cell(pretrained.lstm)
    stft = tf.constant(pretrained.stft.transpose(2, 1, 0))
    kernels = [tf.constant(layer.kernel) for layer in pretrained.convolutions]
    biases = [tf.constant(layer.bias) for layer in pretrained.convolutions]
    final_kernel, final_bias = tf.constant(pretrained.final.kernel[0]), tf.constant(pretrained.final.bias)

    def features(samples: Any) -> Any:
        reflected = tf.pad(samples, [[0, 0], [0, _REFLECTED]], mode="REFLECT")
        spectrum = tf.nn.conv1d(reflected[:, :, tf.newaxis], stft, stride=_STFT_STRIDE, padding="VALID")
        real, imaginary = tf.split(spectrum, 2, axis=2)
        x = tf.sqrt(tf.square(real) + tf.square(imaginary))
        for kernel, bias, stride in zip(kernels, biases, _STRIDES, strict=True):
            padded = tf.pad(x, [[0, 0], [1, 1], [0, 0]])
            x = tf.nn.relu(tf.nn.conv1d(padded, kernel, stride=stride, padding="VALID") + bias)
        return x

    def detect(chunks: Any) -> dict[str, Any]:
        # [chunks, 1, 128]: what was one step of a batch of chunks is, time-major, a step a chunk of one row.
        outputs, _ = rnn.dynamic_rnn(cell, features(chunks), dtype=tf.float32)
        logits = tf.matmul(tf.nn.relu(outputs[:, 0]), final_kernel) + final_bias
        return {"probability": tf.sigmoid(logits)[:, 0]}

    return tf.function(detect, input_signature=[tf.TensorSpec([chunks, CHUNK], tf.float32, name="chunks")])


def _cell(weights: LstmWeights) -> Any:
    import tensorflow as tf

    import tflite_rnn as rnn

    cell: Any = rnn.LSTMCell(UNITS, forget_bias=0.0)
    cell.ensure_built(tf.TensorSpec([None, weights.w_ih.shape[1]], tf.float32))
    kernel, bias = weights.for_tensorflow()
    cell.kernel.assign(kernel)
    cell.bias.assign(bias)
    return cell


def _reorder(rows: Array) -> Array:
    """Return PyTorch's gates i, f, g, o (first axis) in TensorFlow's order i, j, f, o; TensorFlow's j is g."""
    i, f, g, o = np.split(rows, 4, axis=0)
    return np.concatenate([i, g, f, o], axis=0)


def listen(stream: Stream, chunks: Array) -> Array:
    """Return the probability of speech in each of ``chunks`` [n, 576], fed one by one: [n].

    The stream goes on from the chunk that it heard last; ``stream.reset()`` makes it begin anew.

    Raises:
        RuntimeFailure, WorkerCrashed: the runtime could not run the file.
    """
    heard = [stream.feed({"chunks": chunk[np.newaxis]})["probability"] for chunk in chunks]
    return np.concatenate(heard)


def main() -> int:
    """Run the demonstration on standard output; return the exit status."""
    return run_program(_demo)


def _demo(console: Console) -> int:
    console.print(Text(f"silero-vad: convolutions and LSTM({UNITS}) with trained weights\n", style="bold"))
    pretrained = run_step(console, "fetch", lambda _: load(), _describe_weights)
    detect = run_step(console, "build", lambda _: build(pretrained), _describe_network)
    converted = run_step(
        console, "convert", lambda _: _convert(detect), lambda made: describe_conversion(made, FUSED_OPS)
    )
    chunks = chunks_of(speech.recording(np.random.default_rng(0), SECONDS, RATE))
    heard = run_step(
        console,
        "stream",
        lambda say: _listen_everywhere(converted.model, chunks, say),
        lambda found: f"{len(chunks)} chunks with {_FILE} on {len(found)} runtimes",
    )
    expected = np.asarray(build(pretrained, None)(chunks)["probability"])
    errors = {runtime: float(np.abs(each - expected).max()) for runtime, each in heard.items()}
    console.print()
    console.print(_timeline(expected))
    console.print(_error_table(errors))
    return 0 if all(error <= TOLERANCE for error in errors.values()) else 1


def _convert(detect: Any) -> Any:
    import tflite_rnn as rnn

    converted = rnn.convert(detect, state="explicit")
    OUTPUT.parent.mkdir(parents=True, exist_ok=True)
    converted.save(OUTPUT)
    return converted


def _listen_everywhere(model: bytes, chunks: Array, say: Say) -> dict[Runtime, Array]:
    heard = {}
    with WorkerPool() as pool:
        for runtime in installed_runtimes():
            say(str(runtime))
            with pool.open(runtime, model) as running:
                heard[runtime] = listen(Stream(running), chunks)
    return heard


def _timeline(probabilities: Array) -> Text:
    """Draw probabilities, the mean of 10 chunks (a third of a second) each."""
    tens = [part.mean() for part in np.array_split(probabilities, max(1, len(probabilities) // 10))]
    bars = "".join(" ▁▂▃▄▅▆▇█"[round(float(mean) * 8)] for mean in tens)
    return Text.assemble((f"Speech in {SECONDS} s: ", "bold"), (bars, "cyan"))


def _error_table(errors: Mapping[Runtime, float]) -> Table:
    table = Table(title="Chunk by chunk, against TensorFlow in one go", title_justify="left")
    table.add_column("runtime", style="cyan", no_wrap=True)
    table.add_column("max abs error", justify="right", no_wrap=True)
    table.add_column("verdict", style="bold", no_wrap=True)
    for runtime, error in errors.items():
        table.add_row(str(runtime), f"{error:.1e}", "ok" if error <= TOLERANCE else "WRONG")
    return table


def _describe_weights(pretrained: Pretrained) -> str:
    lstm, layers = pretrained.lstm, (*pretrained.convolutions, pretrained.final)
    arrays = [pretrained.stft, lstm.w_ih, lstm.w_hh, lstm.b_ih, lstm.b_hh]
    arrays += [array for layer in layers for array in (layer.weight, layer.bias)]
    return f"{WHEEL.name} {WHEEL.version} from the package index: {sum(map(np.size, arrays)):,} weights"


def _describe_network(_: Any) -> str:
    return f"chunk [1, {CHUNK}] -> probability [1], state"


if __name__ == "__main__":
    sys.exit(main())
