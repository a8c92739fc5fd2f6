"""``tflite-rnn convert``."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import click
from rich.console import Console

import tflite_rnn
from converter.files import check_writable, write_atomically
from converter.options import AUTO, LOWERINGS, STATE_POLICIES
from converter.targets import TARGETS
from tflite_rnn.cli.source import SourceFlags, source_options
from tflite_rnn.cli.status import reports_errors
from tflite_rnn.cli.words import renames_of
from tflite_rnn.console import quiet_stderr


@click.command("convert")
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
@source_options("--inputs")
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
    callback=renames_of,
    help="A new name of an input or output; repeatable.",
)
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
@reports_errors
def convert_command(
    flags: SourceFlags,
    source: Path,
    output: Path,
    lowering: str,
    state: str,
    target: str,
    pair_directions: bool,
    rename: Mapping[str, str],
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
    console = Console(highlight=False, soft_wrap=True)
    with console.status(f"converting {source}"):
        typed = flags.source_at(source)
        with quiet_stderr():
            converted = tflite_rnn.convert(
                typed,
                lowering=lowering,
                state=state,
                target=target,
                pair_directions=pair_directions,
                rename=rename,
            )
    converted.save(output)
    if report_file is not None:
        write_atomically(report_file, (json.dumps(converted.report.to_dict(), indent=2) + "\n").encode())
    console.print(str(converted.report), markup=False)
    console.print(f"wrote {output}", markup=False)
