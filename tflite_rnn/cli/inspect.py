"""``tflite-rnn inspect``."""

from __future__ import annotations

from pathlib import Path

import click

from converter.errors import SourceError
from converter.flatbuffer import read_file, read_model
from converter.ir import Program
from converter.targets import TARGETS, Target, target_rejections
from tflite_rnn.cli.status import Status, table_console
from tflite_rnn.runtime import ModelMetadata, read_metadata
from tflite_rnn.terminal import console


@click.command("inspect")
@click.argument("model", metavar="FILE.tflite", type=click.Path(path_type=Path))
@click.option(
    "--target",
    type=click.Choice(TARGETS),
    help="Instead, judge whether the file runs there: every reason why not, and exit status 1.",
)
def inspect_command(model: Path, target: str | None) -> Status:
    """Show the signatures, ops, tensors, states and size of any .tflite."""
    data = read_file(model)
    program = read_model(data, source=str(model))
    if target is not None:
        return _judge(program, model, Target(target))
    from tflite_rnn.inspection import describe

    try:
        metadata: ModelMetadata | str | None = read_metadata(data, source=str(model))
    except SourceError as error:
        metadata = str(error)  # the rest of the file can still be read
    table_console().print(describe(program, title=str(model), size=len(data), metadata=metadata))
    return Status.GOOD


def _judge(program: Program, model: Path, target: Target) -> Status:
    rejections = list(target_rejections(program, target))
    show = console(soft_wrap=True)
    for rejection in rejections:
        show.print(str(rejection), markup=False)
    count = f"incompatible: {len(rejections)} reason{'s' if len(rejections) > 1 else ''}"
    verdict = count if rejections else "compatible"
    show.print(f"{model} on {target.value}: {verdict}", markup=False)
    return Status.FAILED if rejections else Status.GOOD
