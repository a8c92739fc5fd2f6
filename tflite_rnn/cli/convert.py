"""``tflite-rnn convert``."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import click
from rich.markup import escape

import tflite_rnn
from converter.errors import OptionError
from converter.files import check_writable, is_part_of, is_same_file, write_files
from converter.options import AUTO, LOOKAHEADS, LOWERINGS, MASK_PADDINGS, STATE_POLICIES
from converter.targets import TARGETS
from tflite_rnn.cli.source import SourceFlags, source_options
from tflite_rnn.cli.words import renames_of
from tflite_rnn.console import quiet_stderr
from tflite_rnn.terminal import console


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
    show_default=f"{STATE_POLICIES[0]}, if the file does not see one step at each invoke",
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
    "--lookahead",
    type=click.Choice(LOOKAHEADS),
    metavar="delay",
    help="With a kept state: layers may look ahead.",
)
@click.option(
    "--mask-padding",
    type=click.Choice(MASK_PADDINGS),
    metavar="right",
    help="Masked steps come last in each row.",
)
@click.option("--no-verify", is_flag=True, help="Write the file without running it once on the target's runtime.")
@click.option(
    "--report",
    "report_file",
    metavar="FILE.json",
    type=click.Path(path_type=Path),
    help="Also write the report, as JSON.",
)
def convert_command(
    flags: SourceFlags,
    source: Path,
    output: Path,
    lowering: str,
    state: str | None,
    target: str,
    pair_directions: bool,
    rename: Mapping[str, str],
    lookahead: str | None,
    mask_padding: str | None,
    no_verify: bool,
    report_file: Path | None,
) -> None:
    """Convert a model to a .tflite of builtin ops, its recurrences to fused ops or loops.

    What cannot be lowered exactly is refused, with the rule and the place.

    \b
    Examples:
      tflite-rnn convert saved_model/ -o model.tflite
      tflite-rnn convert model.keras -o model.tflite --state streaming --input-shapes mel:1,?,40
      tflite-rnn convert frozen.pb -o model.tflite --outputs probs --set keep_prob=1.0
      tflite-rnn convert slow.tflite -o fast.tflite
    """
    _check_places(source, output, report_file)
    show = console(soft_wrap=True)
    with show.status(f"converting {escape(str(source))}"):
        typed = flags.source_at(source)
        with quiet_stderr():
            converted = tflite_rnn.convert(
                typed,
                lowering=lowering,
                state=state,
                target=target,
                pair_directions=pair_directions,
                rename=rename,
                lookahead=lookahead,
                mask_padding=mask_padding,
                verify=not no_verify,
                timeout=flags.timeout,
                memory_limit_mb=flags.memory_limit,
            )
    contents = {output: converted.model}
    if report_file is not None:
        contents[report_file] = (json.dumps(converted.report.to_dict(), indent=2) + "\n").encode()
    write_files(contents)
    show.print(str(converted.report), markup=False)
    show.print(f"wrote {output}", markup=False)


def _check_places(source: Path, output: Path, report_file: Path | None) -> None:
    """Raise TfliteRnnError if a file cannot be written, or would replace the source or another of them."""
    _check_place("-o", output, source)
    if report_file is None:
        return
    _check_place("--report", report_file, source)
    if is_same_file(report_file, output):
        raise OptionError(f"--report {report_file} and -o {output} are one file; give the report another name")


def _check_place(option: str, file: Path, source: Path) -> None:
    if str(file) == "-":
        raise OptionError(f"{option} -: cannot write to the standard output; name a file")
    check_writable(file)
    if is_same_file(file, source):
        raise OptionError(f"{option} {file} is the source itself; name another file")
    if is_part_of(file, source):
        raise OptionError(f"{option} {file} is a file of the source; name another file")
