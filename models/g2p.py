"""g2p-en 2.1.0: from spelling to pronunciation, a GRU(256) encoder and a GRU(256) decoder.

Source: the wheel ``g2p-en`` (Apache-2.0, Kyubyong Park and Jongseok Kim), of which only the weights are read. The
network is, with cells of the PyTorch convention (see `GruWeights`)::

    letters [T, B] -> enc_emb [29, 256] -> GRU(256) -> last state [B, 256]
    phoneme [B], state [B, 256] -> dec_emb [74, 256] -> GRU(256) -> state [B, 256] -> fc -> logits [B, 74]

The decoder starts from the encoder's last state and from ``<s>``, takes its own most likely phoneme as the next
input, and ends at ``</s>`` or after 20 steps. The package looks a word up in a dictionary first; this is what it
does with the words it does not find there.

It becomes two ``.tflite`` files, `Network.encode` and `Network.decode_step`, and the loop between them is
`pronounce`: plain NumPy around any two functions that compute the same.

``python -m models.g2p`` fetches the weights, builds and converts both, checks the files on every installed runtime
against TensorFlow, and lets the files alone pronounce a few words. Exit status: 0 if parity holds, 1 if it does
not, 2 if something failed on the way.
"""

from __future__ import annotations

import io
import string
import sys
import zipfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table
from rich.text import Text

from converter.errors import SourceError
from models.archives import Wheel, fetch, read_member
from models.steps import Say, run_program, run_step
from tflite_rnn.runtime import AI_EDGE_LITERT, ParityReport, Runtime, WorkerPool

Array: TypeAlias = NDArray[np.float32]
Ids: TypeAlias = NDArray[np.int32]
# A function from named inputs to named outputs, as `tflite_rnn.runtime.LoadedModel.run`.
Run: TypeAlias = Callable[[Mapping[str, Any]], Mapping[str, Any]]
Pronunciation: TypeAlias = tuple[str, ...]

WHEEL = Wheel("g2p-en", "2.1.0", "2a7aabf1fc7f270fcc3349881407988c9245173c2413debbe5432f4a4f31319f")
CHECKPOINT = "g2p_en/checkpoint20.npz"
OUTPUT = Path(__file__).resolve().parents[1] / "build"
RUNTIME = Runtime(AI_EDGE_LITERT)
UNITS = 256
MAX_PHONEMES = 20

PAD, UNKNOWN, START, END = "<pad>", "<unk>", "<s>", "</s>"
GRAPHEMES = (PAD, UNKNOWN, END, *string.ascii_lowercase)
# ARPAbet; the digit of a vowel is its stress: 0 none, 1 primary, 2 secondary.
PHONEMES = (
    *(PAD, UNKNOWN, START, END),
    *("AA0", "AA1", "AA2", "AE0", "AE1", "AE2", "AH0", "AH1", "AH2", "AO0", "AO1", "AO2", "AW0", "AW1", "AW2"),
    *("AY0", "AY1", "AY2", "B", "CH", "D", "DH", "EH0", "EH1", "EH2", "ER0", "ER1", "ER2", "EY0", "EY1", "EY2"),
    *("F", "G", "HH", "IH0", "IH1", "IH2", "IY0", "IY1", "IY2", "JH", "K", "L", "M", "N", "NG"),
    *("OW0", "OW1", "OW2", "OY0", "OY1", "OY2", "P", "R", "S", "SH", "T", "TH"),
    *("UH0", "UH1", "UH2", "UW", "UW0", "UW1", "UW2", "V", "W", "Y", "Z", "ZH"),
)

# Neither file may need more than builtin ops. A GRU has no fused op: each recurrence is a loop.
FORBIDDEN_OPS = frozenset({"CUSTOM"})

# Common words, silent letters, and words of no dictionary (the first lines of Jabberwocky).
WORDS = (
    *("hello", "network", "pronunciation", "knight", "psychology", "wednesday", "through", "orchestra"),
    *("activationist", "brillig", "slithy", "toves", "gyre", "gimble", "wabe", "mimsy", "borogoves"),
)
INVOKES = 3

_SHAPES: Mapping[str, tuple[int, ...]] = {
    "enc_emb": (len(GRAPHEMES), UNITS),
    "dec_emb": (len(PHONEMES), UNITS),
    **{f"{part}_w_{side}": (3 * UNITS, UNITS) for part in ("enc", "dec") for side in ("ih", "hh")},
    **{f"{part}_b_{side}": (3 * UNITS,) for part in ("enc", "dec") for side in ("ih", "hh")},
    "fc_w": (len(PHONEMES), UNITS),
    "fc_b": (len(PHONEMES),),
}


@dataclass(frozen=True, slots=True, eq=False)
class GruWeights:
    """A PyTorch GRU's weights: w_ih [3U, D], w_hh [3U, U], b_ih and b_hh [3U], gates r, z, n in rows.

    The step they belong to, with s the sigmoid and * elementwise (documentation of ``torch.nn.GRU``)::

        r, z = s(x w_ir' + b_ir + h w_hr' + b_hr), s(x w_iz' + b_iz + h w_hz' + b_hz)
        n = tanh(x w_in' + b_in + r * (h w_hn' + b_hn))
        h' = (1 - z) * n + z * h
    """

    w_ih: Array
    w_hh: Array
    b_ih: Array
    b_hh: Array

    def for_tensorflow(self) -> dict[str, Array]:
        """Return the weights of ``CudnnCompatibleGRUCell(U)`` by name; its gates r, u are PyTorch's r, z.

        Both biases of a gate are added before the sigmoid and become one. The candidate keeps two, because r
        scales only the second.
        """
        gates = 2 * self.w_hh.shape[1]
        return {
            "gates_kernel": np.concatenate([self.w_ih[:gates], self.w_hh[:gates]], axis=1).T,
            "gates_bias": self.b_ih[:gates] + self.b_hh[:gates],
            "candidate_input_kernel": self.w_ih[gates:].T,
            "candidate_hidden_kernel": self.w_hh[gates:].T,
            "candidate_input_bias": self.b_ih[gates:],
            "candidate_hidden_bias": self.b_hh[gates:],
        }


@dataclass(frozen=True, slots=True, eq=False)
class Pretrained:
    """The trained network: embeddings [29, 256] and [74, 256], two GRUs, and fc_w [74, 256] with fc_b [74]."""

    enc_emb: Array
    encoder: GruWeights
    dec_emb: Array
    decoder: GruWeights
    fc_w: Array
    fc_b: Array


@dataclass(frozen=True, slots=True, eq=False)
class Network:
    """The network as two ``tf.function``s of any batch B.

    ``encode``: letters [T, B] int32, any T, and sequence_length [B] int32 -> ``{"state": [B, 256]}``.
    ``decode_step``: phoneme [B] int32 and state [B, 256] -> ``{"logits": [B, 74], "state": [B, 256]}``.
    """

    encode: Any
    decode_step: Any

    @property
    def functions(self) -> dict[str, Any]:
        """Both functions by name."""
        return {"encode": self.encode, "decode_step": self.decode_step}


def load(cache: Path | None = None) -> Pretrained:
    """Fetch (once, see `models.archives.fetch`) and read the trained network.

    Raises:
        DownloadError, DigestError: see `models.archives.fetch`.
        SourceError: the weights are not what is expected of this version.
    """
    return read_checkpoint(read_member(fetch(WHEEL, cache), CHECKPOINT))


def read_checkpoint(npz: bytes) -> Pretrained:
    """Return the network of a checkpoint's bytes; nothing in it is unpickled.

    Raises:
        SourceError: it is no ``.npz``, lacks an array, or has one of another shape or type.
    """
    try:
        with np.load(io.BytesIO(npz), allow_pickle=False) as file:
            arrays = {name: np.asarray(file[name]) for name in _SHAPES}
    except (OSError, ValueError, KeyError, EOFError, AttributeError, TypeError, zipfile.BadZipFile) as error:
        raise SourceError(f"{CHECKPOINT}: not the expected .npz of plain arrays: {error}") from error
    for name, shape in _SHAPES.items():
        seen = arrays[name]
        if seen.shape != shape or seen.dtype != np.float32:
            raise SourceError(f"{CHECKPOINT}: {name} is {seen.dtype} {seen.shape}, expected float32 {shape}")
    encoder, decoder = (
        GruWeights(*(arrays[f"{part}_{kind}"] for kind in ("w_ih", "w_hh", "b_ih", "b_hh")))
        for part in ("enc", "dec")
    )
    return Pretrained(arrays["enc_emb"], encoder, arrays["dec_emb"], decoder, arrays["fc_w"], arrays["fc_b"])


def spell(words: Sequence[str]) -> dict[str, Ids]:
    """Return ``words`` as inputs of the encoder: letters [T, B], padded behind, and sequence_length [B].

    A word is its letters in lower case and then ``</s>``; any other character is ``<unk>``. The words beside it do
    not change a word's state: the encoder stops at the word's own length.

    Raises:
        ValueError: there are no words, or one of them is empty.
    """
    lowered = [word.lower() for word in words]
    if not lowered or not all(lowered):
        raise ValueError(f"cannot spell {list(words)!r}: needs at least one word, and no empty one")
    index = {grapheme: position for position, grapheme in enumerate(GRAPHEMES)}
    lengths = [len(word) + 1 for word in lowered]
    letters = np.full((max(lengths), len(lowered)), index[PAD], dtype=np.int32)
    for column, word in enumerate(lowered):
        letters[: lengths[column], column] = [index.get(letter, index[UNKNOWN]) for letter in (*word, END)]
    return {"letters": letters, "sequence_length": np.array(lengths, dtype=np.int32)}


def pronounce(words: Sequence[str], encode: Run, decode_step: Run) -> list[Pronunciation]:
    """Return the pronunciation of each word, decoded greedily: at most 20 phonemes, ``</s>`` left out.

    ``encode`` and ``decode_step`` compute what `Network`'s functions do, whoever runs them. All words go together;
    those that have ended are carried along, unheard, until the last one has.

    Raises:
        ValueError: see `spell`.
    """
    state = encode(spell(words))["state"]
    end = PHONEMES.index(END)
    phoneme = np.full(len(words), PHONEMES.index(START), dtype=np.int32)
    ended = np.zeros(len(words), dtype=np.bool_)
    steps: list[Ids] = []
    while len(steps) < MAX_PHONEMES and not ended.all():
        outputs = decode_step({"phoneme": phoneme, "state": state})
        state = outputs["state"]
        phoneme = np.argmax(outputs["logits"], axis=1).astype(np.int32)
        ended |= phoneme == end
        steps.append(np.where(ended, end, phoneme).astype(np.int32))
    return [tuple(PHONEMES[place] for place in column if place != end) for column in np.stack(steps, axis=1)]


def build(pretrained: Pretrained) -> Network:
    """Return the network in TensorFlow, of `tflite_rnn.nn` cells."""
    import tensorflow as tf

    import tflite_rnn as rnn

    encoder, decoder = _cell(pretrained.encoder), _cell(pretrained.decoder)
    enc_emb, dec_emb = tf.constant(pretrained.enc_emb), tf.constant(pretrained.dec_emb)
    kernel, bias = tf.constant(pretrained.fc_w.T), tf.constant(pretrained.fc_b)

    def encode(letters: Any, sequence_length: Any) -> dict[str, Any]:
        embedded = tf.gather(enc_emb, letters)
        _, state = rnn.dynamic_rnn(encoder, embedded, sequence_length=sequence_length, dtype=tf.float32)
        return {"state": state}

    def decode_step(phoneme: Any, state: Any) -> dict[str, Any]:
        embedded = tf.expand_dims(tf.gather(dec_emb, phoneme), axis=0)
        _, following = rnn.dynamic_rnn(decoder, embedded, initial_state=state)
        return {"logits": tf.matmul(following, kernel) + bias, "state": following}

    word = [
        tf.TensorSpec([None, None], tf.int32, name="letters"),
        tf.TensorSpec([None], tf.int32, name="sequence_length"),
    ]
    step = [
        tf.TensorSpec([None], tf.int32, name="phoneme"),
        tf.TensorSpec([None, UNITS], tf.float32, name="state"),
    ]
    return Network(tf.function(encode, input_signature=word), tf.function(decode_step, input_signature=step))


def _cell(weights: GruWeights) -> Any:
    import tensorflow as tf

    import tflite_rnn as rnn

    cell = rnn.nn.CudnnCompatibleGRUCell(UNITS)
    cell.ensure_built(tf.TensorSpec([None, weights.w_ih.shape[1]], tf.float32))
    for name, value in weights.for_tensorflow().items():
        getattr(cell, name).assign(value)
    return cell


def example_inputs(rng: np.random.Generator) -> dict[str, list[dict[str, Any]]]:
    """Return inputs of both functions by name: random words of 1 to 20 letters, alone and up to 33 at a time.

    The words are drawn from the letters and two characters that are ``<unk>``. The decoder's states are what a
    GRU's can be, between -1 and 1.
    """
    encode = [spell(_random_words(rng, batch)) for batch in (1, 7, 33, 2, 1)]
    decode_step = [
        {
            "phoneme": rng.integers(len(PHONEMES), size=batch, dtype=np.int32),
            "state": rng.uniform(-1.0, 1.0, size=(batch, UNITS)).astype(np.float32),
        }
        for batch in (1, 7, 33, 2, 1)
    ]
    return {"encode": list(encode), "decode_step": decode_step}


def _random_words(rng: np.random.Generator, count: int) -> list[str]:
    alphabet = [*string.ascii_lowercase, "'", "é"]
    return ["".join(rng.choice(alphabet, size=length)) for length in rng.integers(1, 21, size=count)]


def output_file(name: str) -> Path:
    """Return where the program writes the ``.tflite`` of a function."""
    return OUTPUT / f"g2p_{name}.tflite"


def pronounce_with(
    models: Mapping[str, bytes], words: Sequence[str], runtime: Runtime, pool: WorkerPool
) -> list[Pronunciation]:
    """Return the pronunciations from the ``.tflite``s ``encode`` and ``decode_step`` on a runtime.

    Raises:
        ValueError: see `spell`.
        RuntimeFailure, WorkerCrashed: the runtime could not run a file.
    """
    with pool.open(runtime, models["encode"]) as encode, pool.open(runtime, models["decode_step"]) as decode_step:
        return pronounce(words, encode.run, decode_step.run)


def main() -> int:
    """Run the demonstration on standard output; return the exit status."""
    return run_program(_demo)


def _demo(console: Console) -> int:
    console.print(Text(f"g2p-en: GRU({UNITS}) encoder and decoder with trained weights\n", style="bold"))
    pretrained = run_step(console, "fetch", lambda _: load(), _describe_weights)
    network = run_step(console, "build", lambda _: build(pretrained), _describe_network)
    converted = run_step(console, "convert", lambda _: _convert(network), _describe_conversion)
    with WorkerPool() as pool:
        reports = run_step(console, "check", lambda say: _check(converted, network, pool, say), _describe_reports)
        models = {name: output_file(name).read_bytes() for name in converted}
        heard = run_step(
            console,
            "decode",
            lambda _: pronounce_with(models, WORDS, RUNTIME, pool),
            lambda found: f"{len(found)} words with both files on {RUNTIME}",
        )
    console.print()
    console.print(_pronunciation_table(WORDS, heard))
    for name, report in reports.items():
        console.print(Text(f"\n{output_file(name).name}", style="bold"))
        console.print(Text(str(report)), soft_wrap=True)
    return 0 if all(report.ok for report in reports.values()) else 1


def _convert(network: Network) -> dict[str, Any]:
    import tflite_rnn as rnn

    converted = {name: rnn.convert(function) for name, function in network.functions.items()}
    OUTPUT.mkdir(parents=True, exist_ok=True)
    for name, each in converted.items():
        each.save(output_file(name))
    return converted


def _check(converted: Mapping[str, Any], network: Network, pool: WorkerPool, say: Say) -> dict[str, ParityReport]:
    import tflite_rnn as rnn

    def progress(runtime: Runtime, done: int, total: int) -> None:
        say(f"{runtime}, {done} of {total} inputs")

    inputs = example_inputs(np.random.default_rng(0))
    return {
        name: rnn.check(
            converted[name], function, inputs=inputs[name], invokes=INVOKES, pool=pool, progress=progress
        )
        for name, function in network.functions.items()
    }


def _pronunciation_table(words: Sequence[str], heard: Sequence[Pronunciation]) -> Table:
    table = Table(title="Pronunciations, in ARPAbet", title_justify="left")
    table.add_column("word", style="cyan", no_wrap=True)
    table.add_column("pronunciation", style="bold", no_wrap=True)
    for word, pronunciation in zip(words, heard, strict=True):
        table.add_row(word, " ".join(pronunciation))
    return table


def _describe_weights(pretrained: Pretrained) -> str:
    arrays = [pretrained.enc_emb, pretrained.dec_emb, pretrained.fc_w, pretrained.fc_b]
    for gru in (pretrained.encoder, pretrained.decoder):
        arrays += [gru.w_ih, gru.w_hh, gru.b_ih, gru.b_hh]
    return f"{WHEEL.name} {WHEEL.version} from the package index: {sum(map(np.size, arrays)):,} weights"


def _describe_network(_: Network) -> str:
    return f"letters [T, B] -> state [B, {UNITS}] -> phoneme by phoneme, of {len(PHONEMES)}"


def _describe_conversion(converted: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} in {len(each.model):,} bytes" for name, each in converted.items())


def _describe_reports(reports: Mapping[str, ParityReport]) -> str:
    runtimes = len({row.runtime for report in reports.values() for row in report.rows})
    holds = all(report.ok for report in reports.values())
    return f"{runtimes} runtimes against TensorFlow: {'parity holds' if holds else 'NO PARITY, see below'}"


if __name__ == "__main__":
    sys.exit(main())
