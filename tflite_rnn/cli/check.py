"""``tflite-rnn check``."""

from __future__ import annotations

import zipfile
from collections.abc import Mapping
from pathlib import Path

import click
import numpy as np
from rich.markup import escape

import tflite_rnn
from converter.errors import SourceError
from converter.flatbuffer import read_file, read_model
from tflite_rnn.cli.source import SourceFlags, source_options
from tflite_rnn.cli.status import Status
from tflite_rnn.cli.words import renames_of
from tflite_rnn.runtime import RUNTIMES, SPECIAL_RUNTIMES, ParityReport, Runtime
from tflite_rnn.runtime.signature import Array
from tflite_rnn.terminal import console


@click.command("check")
@click.argument("model", metavar="FILE.tflite", type=click.Path(path_type=Path))
@click.option(
    "--against",
    required=True,
    metavar="SOURCE",
    type=click.Path(path_type=Path),
    help="The float reference: what the file was converted from, or another .tflite.",
)
@source_options("--input-nodes")
@click.option(
    "--rename",
    metavar="OLD=NEW",
    multiple=True,
    callback=renames_of,
    help="A name that the file was given in place of the reference's; repeatable.",
)
@click.option(
    "--runtime",
    "labels",
    multiple=True,
    type=click.Choice([runtime.label for runtime in (*RUNTIMES, *SPECIAL_RUNTIMES)]),
    help="A runtime to check on; repeatable. By default every installed interpreter.",
)
@click.option(
    "--inputs",
    "inputs_file",
    metavar="FILE.npz",
    type=click.Path(path_type=Path),
    help="Inputs to try, an array per input name; by default random ones in several sizes.",
)
@click.option(
    "--invokes", default=3, show_default=True, type=click.IntRange(1), help="Runs of each case in a row."
)
@click.option("--atol", default=1e-5, show_default=True, type=click.FloatRange(0), help="Absolute tolerance.")
@click.option("--rtol", default=1e-5, show_default=True, type=click.FloatRange(0), help="Relative tolerance.")
@click.option("--seed", default=0, show_default=True, type=click.IntRange(0), help="Seed of the random inputs.")
def check_command(
    flags: SourceFlags,
    model: Path,
    against: Path,
    rename: Mapping[str, str],
    labels: tuple[str, ...],
    inputs_file: Path | None,
    invokes: int,
    atol: float,
    rtol: float,
    seed: int,
) -> Status:
    """Run a .tflite on real interpreters and compare it with its float reference.

    Exit status 0 if every output agrees on every runtime, 1 if not.

    \b
    Example:
      tflite-rnn check model.tflite --against saved_model/
    """
    read_model(read_file(model), source=str(model))
    inputs = None if inputs_file is None else [_read_inputs(inputs_file)]
    show = console(soft_wrap=True)
    with show.status(f"checking {escape(str(model))}") as status:
        source = flags.source_at(against)

        def progress(runtime: Runtime, case: int, cases: int) -> None:
            status.update(f"checking {escape(str(model))} on {runtime.label}, case {case} of {cases}")

        report: ParityReport = tflite_rnn.check(
            model,
            source,
            inputs=inputs,
            runtimes=[runtime for runtime in (*RUNTIMES, *SPECIAL_RUNTIMES) if runtime.label in labels] or None,
            invokes=invokes,
            atol=atol,
            rtol=rtol,
            rename=rename,
            seed=seed,
            timeout=flags.timeout,
            memory_limit_mb=flags.memory_limit,
            progress=progress,
        )
    show.print(str(report), markup=False)
    return Status.GOOD if report.ok else Status.FAILED


def _read_inputs(path: Path) -> Mapping[str, Array]:
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as archive:
            return {name: archive[name] for name in archive.files}
    except (OSError, ValueError, AttributeError, TypeError, EOFError, KeyError, zipfile.BadZipFile) as error:
        words = " ".join(str(error).split()) or type(error).__name__
        raise SourceError(f"{path}: expected an .npz file of input arrays, without objects: {words}") from error
