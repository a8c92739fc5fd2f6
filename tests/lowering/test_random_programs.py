"""Random programs on real interpreters against the float64 evaluator.

`make test` runs some on two interpreters; ``make fuzz N=5000`` runs more, on all three, and tells what they were.
Every failure that was found has a named test of its own.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterator, Mapping

import numpy as np
from hypothesis import HealthCheck, Phase, assume, event, given, settings

from converter.convert import Converted, compile_program
from converter.errors import ConversionError
from converter.ir import Array, Lowering, evaluate
from converter.targets import Target
from tests.random_programs import Compilation, compilations
from tests.runtimes import INSTALLED, QUICK, installed
from tflite_rnn.runtime import (
    COMPILED_MODEL,
    MICRO,
    LoadedModel,
    Runtime,
    RuntimeFailure,
    Stream,
    WorkerCrashed,
    WorkerPool,
    compare,
)

SAMPLE = 150
EXAMPLES = int(os.environ.get("TFLITE_RNN_EXAMPLES", str(SAMPLE)))
IS_SAMPLE = EXAMPLES <= SAMPLE
INTERPRETERS = QUICK if IS_SAMPLE else INSTALLED
COMPILED, MICROCONTROLLER = Runtime(COMPILED_MODEL), Runtime(MICRO)
RUNTIMES_OF = {
    Target.LITERT: INTERPRETERS,
    Target.TFLITE_RUNTIME: INTERPRETERS,
    Target.LITERT_COMPILED: [*installed([COMPILED]), *INTERPRETERS],
    Target.LITERT_WEB: [COMPILED],
    Target.TFLM: [*installed([MICROCONTROLLER]), *INTERPRETERS],
}
TOLERANCE = 1e-5

REFUSALS = {
    "target-op",  # microcontrollers have no REVERSE_SEQUENCE, and not every activation
    "unrolled-time",  # chunks of a stream, and open sizes, have no fixed number of steps
}


@settings(
    max_examples=EXAMPLES,
    deadline=None,
    derandomize=IS_SAMPLE,
    database=None,
    phases=[Phase.generate, Phase.shrink],
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.filter_too_much],
)
@given(drawn=compilations())
def test_random_programs_are_exact(drawn: Compilation, pool: WorkerPool) -> None:
    event(f"state {drawn.options.state.value}")
    event(f"target {drawn.options.target.value}")
    converted = _converted(drawn)
    if converted is None:
        return
    event("compiled")
    for form in sorted({record.lowering for record in converted.report.lowerings}):
        event(f"lowered {form}")
    if drawn.is_streamed and not converted.report.lowerings:
        event("keeps no state")  # because no output depends on one
        return
    problem = (_streams if drawn.is_streamed else _repeats)(converted.model, drawn, pool)
    # Where the last bit of an input moves the outputs by more than the tolerance, the runtimes may differ as much.
    assume(problem is None or not _is_ill_conditioned(drawn))
    assert problem is None, problem


def _converted(drawn: Compilation) -> Converted | None:
    """The conversion; None if it is refused for a reason that is known to these tests."""
    try:
        return compile_program(drawn.program, drawn.options)
    except ConversionError as error:
        rules = {reason.rule for reason in error.rejections}
        # A fused op that is insisted on is refused for whatever the cell has that it lacks.
        if drawn.options.lowering is not Lowering.FUSED and not rules <= REFUSALS:
            raise
        event(f"refused: {min(rules)}")
        return None


def _repeats(model: bytes, drawn: Compilation, pool: WorkerPool) -> str | None:
    """Every invoke gives what the evaluator gives, in every size."""
    report = compare(
        model,
        lambda inputs: evaluate(drawn.program, inputs),
        drawn.cases,
        atol=TOLERANCE,
        rtol=TOLERANCE,
        pool=pool,
        runtimes=RUNTIMES_OF[drawn.options.target],
    )
    return None if report.ok else str(report)


def _streams(model: bytes, drawn: Compilation, pool: WorkerPool) -> str | None:
    """Chunks give what the whole sequence gives, and a reset begins another sequence."""
    for runtime in RUNTIMES_OF[drawn.options.target]:
        try:
            with pool.open(runtime, model) as running:
                problem = next(_stream_problems(running, drawn), None)
        except (RuntimeFailure, WorkerCrashed) as error:
            problem = str(error)
        if problem is not None:
            pool.renew(runtime)
            return f"{runtime}: {problem}"
    return None


def _stream_problems(running: LoadedModel, drawn: Compilation) -> Iterator[str]:
    for case in drawn.cases:
        expected = evaluate(drawn.program, case)
        stream = Stream(running, batch=drawn.batch_of(case))
        first = _fed(stream, case, drawn)
        for name, array in expected.items():
            if not np.allclose(first[name], array, atol=TOLERANCE, rtol=TOLERANCE):
                yield f"{name} is off by {np.abs(first[name] - array).max()} after chunks {drawn.cuts(case)}"
        stream.reset()
        again = _fed(stream, case, drawn)
        yield from (
            f"{name} differs after a reset" for name in first if not np.array_equal(first[name], again[name])
        )


def _fed(stream: Stream, case: Mapping[str, Array], drawn: Compilation) -> dict[str, Array]:
    parts = [stream.feed(drawn.chunk(case, *ends)) for ends in itertools.pairwise(drawn.cuts(case))]
    return {
        name: np.concatenate([part[name] for part in parts], drawn.time_axes[name])
        if name in drawn.time_axes
        else parts[-1][name]
        for name in parts[0]
    }


def _is_ill_conditioned(drawn: Compilation) -> bool:
    """Whether a change of the inputs in their last bits changes an output by as much as the tolerance."""
    rng = np.random.default_rng(0)
    for case in drawn.cases * 4:
        moved = {
            name: array * (1 + 1e-6 * rng.choice([-1, 1], array.shape)) if array.dtype == np.float32 else array
            for name, array in case.items()
        }
        there, here = evaluate(drawn.program, moved), evaluate(drawn.program, case)
        if any(not np.allclose(there[name], here[name], atol=TOLERANCE, rtol=TOLERANCE) for name in here):
            event("ill-conditioned")
            return True
    return False
