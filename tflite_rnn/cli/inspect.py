"""``tflite-rnn inspect``."""

from __future__ import annotations

import sys
from pathlib import Path

import click
from rich.console import Console

from converter.errors import SourceError
from converter.flatbuffer import read_file, read_model
from converter.ir import Program
from converter.targets import TARGETS, Target, target_rejections
from tflite_rnn.cli.status import DIFFERENCE, reports_errors, table_console
from tflite_rnn.runtime import ModelMetadata, read_metadata


@click.command("inspect")
@click.argument("model", metavar="FILE.tflite", type=click.Path(path_type=Path))
@click.option(
    "--target",
    type=click.Choice(TARGETS),
    help="Instead, judge whether the file runs there: every reason why not, and exit status 1.",
)
@reports_errors
def inspect_command(model: Path, target: str | None) -> None:
    """Show the signature, ops, tensors, states and size of a .tflite, of whatever origin."""
    data = read_file(model)
    program = read_model(data, source=str(model))
    if target is not None:
        _judge(program, model, Target(target))
        return
    from tflite_rnn.inspection import describe

    try:
        metadata: ModelMetadata | str | None = read_metadata(data, source=str(model))
    except SourceError as error:
        metadata = str(error)  # the rest of the file may be read all the same
    table_console().print(describe(program, title=str(model), size=len(data), metadata=metadata))


def _judge(program: Program, model: Path, target: Target) -> None:
    rejections = list(target_rejections(program, target))
    console = Console(highlight=False, soft_wrap=True)
    for rejection in rejections:
        console.print(str(rejection), markup=False)
    count = f"incompatible: {len(rejections)} reason{'s' if len(rejections) > 1 else ''}"
    verdict = count if rejections else "compatible"
    console.print(f"{model} on {target.value}: {verdict}", markup=False)
    sys.exit(DIFFERENCE if rejections else 0)
