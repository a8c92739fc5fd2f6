"""ARCHITECTURE.md is true: its example is what the printer prints, and the files that it names are there."""

from __future__ import annotations

import re
from pathlib import Path

from converter.ir import Program, Recurrence, Scan, TfliteOp, format_op
from converter.lowering import lower
from converter.options import ConvertOptions
from converter.passes.pipeline import CANONICALIZE, clean_up, pairing, prepare, run_passes
from tests.recorded.recordings import read

ROOT = Path(__file__).parent.parent
TEXT = (ROOT / "ARCHITECTURE.md").read_text()
LAYER = "sequential_1/lstm_1/"
OPTIONS = ConvertOptions()


def stages() -> str:
    """One LSTM layer of Keras after each pass that changes it, without the name of the layer."""
    program = read("keras-loop-lstm").program("lstm")
    shown = _recurrent_ops(program)
    lines = [f"# import\n{shown}"]
    for each in (*CANONICALIZE, *prepare(OPTIONS), *pairing(OPTIONS)):
        program = run_passes(program, [each])
        before, shown = shown, _recurrent_ops(program)
        if shown != before:
            lines.append(f"# {each.name}\n{shown}")
    lowered = run_passes(lower(program), clean_up(OPTIONS))
    ops = "\n".join(map(format_op, lowered.main.ops))
    return "\n\n".join([*lines, f"# lower\n{ops}"]).replace(LAYER, "").replace("while/lstm_cell_1/", "")


def _recurrent_ops(program: Program) -> str:
    found = [
        op
        for op in program.main.ops
        if isinstance(op, Recurrence | Scan) or (isinstance(op, TfliteOp) and op.builtin == "WHILE")
    ]
    return "\n".join(map(format_op, found))


def test_the_example_is_what_the_printer_prints() -> None:
    assert f"```\n{stages()}\n```" in TEXT


def test_every_file_that_is_named_is_there() -> None:
    named = set(re.findall(r"`([\w/]+(?:\.py|/))`", TEXT)) - {LAYER}
    assert named
    files = [
        path.relative_to(ROOT).as_posix() for path in (*ROOT.glob("converter/**/"), *ROOT.glob("tflite_rnn/**/"))
    ]
    files += [path.relative_to(ROOT).as_posix() for path in ROOT.glob("[ct]*/**/*.py")]
    missing = [name for name in named if not any(f"/{path}".endswith(f"/{name.rstrip('/')}") for path in files)]
    assert missing == []


def test_every_pass_is_described() -> None:
    passes = {each.name for each in (*CANONICALIZE, *prepare(OPTIONS), *pairing(OPTIONS), *clean_up(OPTIONS))}
    assert [name for name in sorted(passes) if f"`{name}`" not in TEXT] == []
