"""The command line: ``tflite-rnn convert``, ``inspect``, ``targets`` and ``check``.

Exit status: 0 if all is well, 1 if a check or a judgement is against the model, 2 if the input is bad.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable, Mapping
from functools import wraps
from pathlib import Path
from typing import ParamSpec, TypeVar

import click
import numpy as np
from rich.console import Console

import tflite_rnn
from converter.errors import SourceError, TfliteRnnError
from converter.files import check_writable, write_atomically
from converter.flatbuffer import read_file, read_model
from converter.ir import Program
from converter.options import AUTO, LOWERINGS, SOURCE_FORMATS, STATE_POLICIES
from converter.targets import TARGETS, Target, target_rejections
from tflite_rnn.console import import_tensorflow, quiet_stderr
from tflite_rnn.runtime import RUNTIMES, SPECIAL_RUNTIMES, ParityReport, Runtime
from tflite_rnn.runtime.signature import Array

P = ParamSpec("P")
T = TypeVar("T")

BAD_INPUT = 2
DIFFERENCE = 1

FILE_WIDTH = 120
"""Columns of a table that goes to a file or a pipe."""


def _reports_errors(command: Callable[P, T]) -> Callable[P, T]:
    """Answer the errors that tflite-rnn raises on purpose with one message and exit status 2."""

    @wraps(command)
    def wrapper(*args: P.args, **kwargs: P.kwargs) -> T:
        try:
            return command(*args, **kwargs)
        except TfliteRnnError as error:
            Console(stderr=True, soft_wrap=True, highlight=False).print("error:", str(error), markup=False)
            sys.exit(BAD_INPUT)

    return wrapper


def _names(_: click.Context, __: click.Parameter, text: str | None) -> tuple[str, ...]:
    """Read ``a,b``."""
    return tuple(name.strip() for name in text.split(",") if name.strip()) if text else ()


def _shapes(_: click.Context, __: click.Parameter, text: str | None) -> dict[str, tuple[int | None, ...]]:
    """Read ``x:2,?,80;n:2``; ``?`` and -1 are unknown sizes."""
    shapes: dict[str, tuple[int | None, ...]] = {}
    for part in (text or "").split(";"):
        name, colon, dims = part.strip().rpartition(":")
        sizes = [dim.strip() for dim in dims.split(",") if dim.strip()]
        if not part.strip():
            continue
        if not colon or not name or not all(_SIZE.fullmatch(size) for size in sizes):
            raise click.BadParameter(f"{part.strip()!r} is no shape; write NAME:SIZE,SIZE,… with ? where unknown")
        shapes[name] = tuple(None if size in {"?", "-1"} else int(size) for size in sizes)
    return shapes


_SIZE = re.compile(r"\d+|\?|-1")


def _constants(_: click.Context, __: click.Parameter, texts: tuple[str, ...]) -> dict[str, float]:
    """Read each ``name=number``."""
    constants: dict[str, float] = {}
    for text in texts:
        name, _equals, number = text.partition("=")
        try:
            constants[name.strip()] = float(number)
        except ValueError:
            raise click.BadParameter(f"{text!r} is no NAME=NUMBER") from None
    return constants


def _renames(_: click.Context, __: click.Parameter, texts: tuple[str, ...]) -> dict[str, str]:
    """Read each ``old=new``."""
    pairs = [text.partition("=") for text in texts]
    for text, (old, _equals, new) in zip(texts, pairs, strict=True):
        if not old.strip() or not new.strip():
            raise click.BadParameter(f"{text!r} is no OLD=NEW")
    return {old.strip(): new.strip() for old, _equals, new in pairs}


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(tflite_rnn.__version__, prog_name="tflite-rnn")
def main() -> None:
    """Compile recurrent networks to TensorFlow Lite, exactly, and prove it."""


@main.command()
@click.argument("source", metavar="SOURCE", type=click.Path(path_type=Path))
@click.option(
    "-o",
    "--output",
    "--output_file",
    "output",
    required=True,
    type=click.Path(path_type=Path),
    help="The .tflite to write.",
)
@click.option(
    "--signature-key",
    "--saved_model_signature_key",
    "signature_key",
    help="The signature of a SavedModel; serving_default, or its only one, if not given.",
)
@click.option(
    "--from",
    "source_format",
    default=AUTO,
    type=click.Choice(SOURCE_FORMATS),
    metavar="FORMAT",
    help="saved_model, keras, frozen_graph or tflite; looks by itself if not given.",
)
@click.option(
    "--inputs",
    "--input_arrays",
    "inputs",
    metavar="A,B",
    callback=_names,
    help="Input nodes of a frozen graph; its placeholders if not given.",
)
@click.option(
    "--outputs",
    "--output_arrays",
    "outputs",
    metavar="Y,H",
    callback=_names,
    help="Output nodes of a frozen graph; its only end if not given.",
)
@click.option(
    "--input-shapes",
    metavar="A:2,?,80;B:2",
    callback=_shapes,
    help="Shapes of inputs; ? is a size known only when it runs.",
)
@click.option(
    "--set",
    "constants",
    metavar="NAME=NUMBER",
    multiple=True,
    callback=_constants,
    help="A number for a placeholder of a frozen graph; repeatable.",
)
@click.option(
    "--lowering",
    default=AUTO,
    show_default=True,
    type=click.Choice(LOWERINGS),
    help="auto: fused where exact, else a loop.",
)
@click.option(
    "--state",
    default=STATE_POLICIES[0],
    show_default=True,
    type=click.Choice(STATE_POLICIES),
    help="New at every invoke, given and returned, or kept until a reset.",
)
@click.option(
    "--pair-directions/--split-directions",
    default=True,
    help="One op for both directions where exact (default), or two.",
)
@click.option(
    "--rename",
    metavar="OLD=NEW",
    multiple=True,
    callback=_renames,
    help="A new name of an input or output; repeatable.",
)
@click.option("--unsafe", is_flag=True, help="Run the code that a Keras file brings with it (Lambda layers).")
@click.option(
    "--target",
    default=TARGETS[0],
    show_default=True,
    type=click.Choice(TARGETS),
    help="Where it is to run; see `tflite-rnn targets`.",
)
@click.option(
    "--report",
    "report_file",
    metavar="FILE.json",
    type=click.Path(path_type=Path),
    help="Also write the report, as JSON.",
)
@_reports_errors
def convert(
    source: Path,
    output: Path,
    signature_key: str | None,
    source_format: str,
    inputs: tuple[str, ...],
    outputs: tuple[str, ...],
    input_shapes: Mapping[str, tuple[int | None, ...]],
    constants: Mapping[str, float],
    lowering: str,
    state: str,
    target: str,
    pair_directions: bool,
    rename: Mapping[str, str],
    unsafe: bool,
    report_file: Path | None,
) -> None:
    """Convert a model to a .tflite of builtin ops, its recurrences to fused ops or loops.

    Whatever cannot be lowered exactly is refused by name.

    \b
    Examples:
      tflite-rnn convert saved_model/ -o model.tflite
      tflite-rnn convert model.keras -o model.tflite --state streaming --input-shapes mel:1,?,40
      tflite-rnn convert frozen.pb -o model.tflite --outputs probs --set keep_prob=1.0
      tflite-rnn convert slow.tflite -o fast.tflite
    """
    for place in (output, report_file):
        if place is not None:
            check_writable(place)
    _check_exists(source)
    console = Console(highlight=False, soft_wrap=True)
    with console.status(f"converting {source}"):
        import_tensorflow()
        with quiet_stderr():
            converted = tflite_rnn.convert(
                source,
                lowering=lowering,
                state=state,
                target=target,
                pair_directions=pair_directions,
                rename=rename,
                signature_key=signature_key,
                source_format=source_format,
                inputs=inputs,
                outputs=outputs,
                input_shapes=input_shapes,
                constants=constants,
                safe_mode=not unsafe,
            )
    converted.save(output)
    if report_file is not None:
        write_atomically(report_file, (json.dumps(converted.report.to_dict(), indent=2) + "\n").encode())
    console.print(str(converted.report), markup=False)
    console.print(f"wrote {output}", markup=False)


@main.command()
@click.argument("model", metavar="FILE.tflite", type=click.Path(path_type=Path))
@click.option(
    "--target",
    type=click.Choice(TARGETS),
    help="Instead, judge whether the file runs there: every reason why not, and exit status 1.",
)
@_reports_errors
def inspect(model: Path, target: str | None) -> None:
    """Show the signature, ops, tensors, states and size of a .tflite, of whatever origin."""
    data = read_file(model)
    program = read_model(data, source=str(model))
    if target is not None:
        _judge(program, model, Target(target))
        return
    from tflite_rnn.inspection import describe

    _table_console().print(describe(program, title=str(model), size=len(data)))


@main.command()
def targets() -> None:
    """List where models can run, and what each target has and limits."""
    from tflite_rnn.inspection import describe_targets

    _table_console().print(describe_targets())


def _judge(program: Program, model: Path, target: Target) -> None:
    rejections = list(target_rejections(program, target))
    console = Console(highlight=False, soft_wrap=True)
    for rejection in rejections:
        console.print(str(rejection), markup=False)
    count = f"{len(rejections)} reason{'s' if len(rejections) > 1 else ''} against it"
    verdict = count if rejections else "nothing speaks against it"
    console.print(f"{model} on {target.value}: {verdict}", markup=False)
    sys.exit(DIFFERENCE if rejections else 0)


def _table_console() -> Console:
    return Console(highlight=False, width=None if sys.stdout.isatty() else FILE_WIDTH)


@main.command()
@click.argument("model", metavar="FILE.tflite", type=click.Path(path_type=Path))
@click.option(
    "--against",
    required=True,
    metavar="SOURCE",
    type=click.Path(path_type=Path),
    help="The float reference: the SavedModel or frozen graph that the file was converted from.",
)
@click.option("--unsafe", is_flag=True, help="Run the code that a Keras file brings with it (Lambda layers).")
@click.option("--signature-key", help="Which signature of the SavedModel is the reference.")
@click.option(
    "--set",
    "constants",
    metavar="NAME=NUMBER",
    multiple=True,
    callback=_constants,
    help="The number of a placeholder of a frozen graph that is no input of the file.",
)
@click.option(
    "--rename",
    metavar="OLD=NEW",
    multiple=True,
    callback=_renames,
    help="A name that the file was given in place of the reference's; repeatable.",
)
@click.option(
    "--runtime",
    "labels",
    multiple=True,
    type=click.Choice([runtime.label for runtime in (*RUNTIMES, *SPECIAL_RUNTIMES)]),
    help="A runtime to check on; may be given several times. Every installed interpreter if not.",
)
@click.option(
    "--inputs",
    "inputs_file",
    metavar="FILE.npz",
    type=click.Path(path_type=Path),
    help="Inputs to try, an array per input name. Random ones in several sizes if not given.",
)
@click.option(
    "--invokes", default=3, show_default=True, type=click.IntRange(1), help="Runs of each input in a row."
)
@click.option("--atol", default=1e-5, show_default=True, type=click.FloatRange(0), help="Absolute tolerance.")
@click.option("--rtol", default=1e-5, show_default=True, type=click.FloatRange(0), help="Relative tolerance.")
@click.option("--seed", default=0, show_default=True, help="Seed of the random inputs.")
@_reports_errors
def check(
    model: Path,
    against: Path,
    unsafe: bool,
    signature_key: str | None,
    constants: Mapping[str, float],
    rename: Mapping[str, str],
    labels: tuple[str, ...],
    inputs_file: Path | None,
    invokes: int,
    atol: float,
    rtol: float,
    seed: int,
) -> None:
    """Run a .tflite on real interpreters and compare it with its float reference.

    Exit status 0 if every output agrees on every runtime, 1 if not.

    \b
    Example:
      tflite-rnn check model.tflite --against saved_model/
    """
    read_model(read_file(model), source=str(model))
    _check_exists(against)
    inputs = None if inputs_file is None else [_read_inputs(inputs_file)]
    console = Console(highlight=False, soft_wrap=True)
    with console.status(f"checking {model}") as status:
        import_tensorflow()

        def progress(runtime: Runtime, case: int, cases: int) -> None:
            status.update(f"checking {model} on {runtime.label}, case {case} of {cases}")

        report: ParityReport = tflite_rnn.check(
            model,
            against,
            inputs=inputs,
            runtimes=[runtime for runtime in (*RUNTIMES, *SPECIAL_RUNTIMES) if runtime.label in labels] or None,
            invokes=invokes,
            atol=atol,
            rtol=rtol,
            signature_key=signature_key,
            constants=constants,
            rename=rename,
            safe_mode=not unsafe,
            seed=seed,
            progress=progress,
        )
    console.print(str(report), markup=False)
    sys.exit(0 if report.ok else DIFFERENCE)


def _read_inputs(path: Path) -> Mapping[str, Array]:
    try:
        with np.load(path, allow_pickle=False) as archive:
            return {name: archive[name] for name in archive.files}
    except (OSError, ValueError, AttributeError) as error:
        raise SourceError(f"{path}: not an .npz file of input arrays: {error}") from error


def _check_exists(source: Path) -> None:
    """Raise SourceError for a missing source before TensorFlow's long import."""
    if not source.exists():
        raise SourceError(f"{source}: no such file or directory")
