"""Every pass of the pipeline finds nothing left to do in what it has returned itself."""

from __future__ import annotations

from collections.abc import Iterator

from hypothesis import HealthCheck, given, settings

from converter.convert import compile_program
from converter.errors import ConversionError
from converter.ir import Program
from converter.lowering import lower
from converter.options import ConvertOptions
from converter.passes.pipeline import CANONICALIZE, Pass, clean_up, pairing, prepare, run_passes
from tests.passes.settled import assert_settled
from tests.random_programs import Compilation, compilations

EXAMPLES = 60


def stages(program: Program, options: ConvertOptions) -> Iterator[tuple[Pass, Program]]:
    """Yield every pass that ``program`` is compiled with, and the program that it returns."""
    before_lowering = (*CANONICALIZE, *prepare(options), *pairing(options))
    for step in before_lowering:
        program = run_passes(program, (step,))
        yield step, program
    program = lower(program)
    for step in clean_up(options):
        program = run_passes(program, (step,))
        yield step, program


@settings(
    max_examples=EXAMPLES,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
@given(compilations())
def test_a_pass_that_is_run_again_changes_nothing(drawn: Compilation) -> None:
    try:
        compile_program(drawn.program, drawn.options)
    except ConversionError:
        return
    for step, program in stages(drawn.program, drawn.options):
        assert_settled(step.run, program)
