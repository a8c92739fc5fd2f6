"""From trained weights to a proven ``.tflite``: ``python -m models.demo``.

Fetches chars2vec, builds it with `tflite_rnn.nn`, converts it, checks the file on every installed runtime against
the TensorFlow network, and then lets the file alone find the words nearest to a few (mostly misspelt) ones. Exit
status: 0 if parity holds, 1 if it does not, 2 if something failed on the way.
"""

from __future__ import annotations

import sys
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table
from rich.text import Text

from models import chars2vec
from models.steps import Say, describe_conversion, describe_report, run_program, run_step
from tflite_rnn.runtime import AI_EDGE_LITERT, ParityReport, Runtime, WorkerPool

Array: TypeAlias = NDArray[np.float32]
Embed: TypeAlias = Callable[[Array], Array]

WORDS = Path(__file__).with_name("words.txt")
OUTPUT = Path(__file__).resolve().parents[1] / "build" / "chars2vec.tflite"
_FILE = f"{OUTPUT.parent.name}/{OUTPUT.name}"
RUNTIME = Runtime(AI_EDGE_LITERT)
# Words that people misspell, and one that is spelt right. Spelling is all the network knows: the word meant by
# "seperate" is in the list, but "desperate" is nearer.
QUERIES = (
    "langauge",
    "recieve",
    "neccessary",
    "tommorow",
    "enviroment",
    "questionaire",
    "accomodate",
    "rythm",
    "seperate",
    "computer",
)
NEIGHBOURS = 3
INVOKES = 3


@dataclass(frozen=True, slots=True)
class Neighbour:
    """A word near another one, and the Euclidean distance of their vectors."""

    word: str
    distance: float


def read_words(path: Path = WORDS) -> list[str]:
    """Return the words of a list, one a line."""
    return path.read_text(encoding="utf-8").split()


def embed_words(embed: Embed, words: Sequence[str]) -> Array:
    """Return one vector a word [words, 50]; ``embed`` maps one-hot characters [T, B, 59] to vectors [B, 50].

    Words of one length go together, so that none is padded and every vector depends on its own word only.
    """
    places = defaultdict(list)
    for place, word in enumerate(words):
        places[len(word)].append(place)
    vectors = np.empty((len(words), chars2vec.UNITS), dtype=np.float32)
    for group in places.values():
        vectors[group] = embed(chars2vec.encode([words[place] for place in group]))
    return vectors


def nearest(query: Array, vectors: Array, words: Sequence[str], count: int = NEIGHBOURS) -> list[Neighbour]:
    """Return the ``count`` words whose vectors [words, units] are closest to ``query`` [units], closest first."""
    distances = np.linalg.norm(vectors - query, axis=1)
    return [Neighbour(words[place], float(distances[place])) for place in np.argsort(distances)[:count]]


def main() -> int:
    """Run the demo on standard output; return the exit status."""
    return run_program(_demo)


def _demo(console: Console) -> int:
    console.print(Text("chars2vec eng_50: two stacked LSTM(50) with trained weights\n", style="bold"))
    pretrained = run_step(console, "fetch", lambda _: chars2vec.load(), _describe_weights)
    embed = run_step(console, "build", lambda _: chars2vec.build(pretrained), _describe_network)
    converted = run_step(
        console,
        "convert",
        lambda _: _convert(embed, OUTPUT),
        lambda made: describe_conversion(made, chars2vec.FUSED_OPS),
    )
    report = run_step(console, "check", lambda say: _check(converted, embed, say), describe_report)
    words = read_words()
    vectors, found = run_step(
        console,
        "embed",
        lambda _: _embed_all(OUTPUT, words, QUERIES),
        lambda _: f"{len(words):,} words with {_FILE} on {RUNTIME}",
    )
    console.print()
    console.print(_neighbour_table(found, vectors, words))
    console.print()
    console.print(Text(str(report)), soft_wrap=True)
    return 0 if report.ok else 1


def _convert(embed: Any, path: Path) -> Any:
    import tflite_rnn as rnn

    converted = rnn.convert(embed)
    path.parent.mkdir(parents=True, exist_ok=True)
    converted.save(path)
    return converted


def _check(converted: Any, embed: Any, say: Say) -> ParityReport:
    import tflite_rnn as rnn

    def progress(runtime: Runtime, done: int, total: int) -> None:
        say(f"{runtime}, {done} of {total} inputs")

    say("TensorFlow")
    inputs = chars2vec.example_inputs(np.random.default_rng(0))
    return rnn.check(converted, embed, inputs=inputs, invokes=INVOKES, progress=progress)


def _embed_all(path: Path, words: Sequence[str], queries: Sequence[str]) -> tuple[Array, dict[str, Array]]:
    """Return the vectors of ``words``, and of each of ``queries``, from the ``.tflite`` and nothing else."""
    with WorkerPool() as pool, pool.open(RUNTIME, path.read_bytes()) as running:
        vectors = embed_words(lambda chars: running.run({"chars": chars})["embedding"], [*words, *queries])
    return vectors[: len(words)], dict(zip(queries, vectors[len(words) :], strict=True))


def _neighbour_table(queries: dict[str, Array], vectors: Array, words: Sequence[str]) -> Table:
    table = Table(title="Nearest words, and the Euclidean distance of their vectors", title_justify="left")
    table.add_column("word", style="cyan", no_wrap=True)
    table.add_column("nearest", style="bold", no_wrap=True)
    table.add_column("distance", justify="right", no_wrap=True)
    table.add_column("and then", style="dim", no_wrap=True)
    for query, vector in queries.items():
        first, *others = nearest(vector, vectors, words)
        following = ", ".join(neighbour.word for neighbour in others)
        table.add_row(query, first.word, f"{first.distance:.2f}", following)
    return table


def _describe_weights(pretrained: chars2vec.Pretrained) -> str:
    size = sum(array.size for layer in pretrained.layers for array in layer.for_tensorflow())
    return f"{chars2vec.SDIST.name} {chars2vec.SDIST.version} from the package index: {size:,} weights"


def _describe_network(_: Any) -> str:
    return f"chars [T, B, {len(chars2vec.ALPHABET)}] -> embedding [B, {chars2vec.UNITS}], state"


if __name__ == "__main__":
    sys.exit(main())
