"""Recorded models, from TFLiteConverter's file to the lowered program."""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping

import numpy as np
import pytest

from converter.convert import compile_program
from converter.errors import ConversionError
from converter.ir import Array, Program, evaluate, format_program
from converter.lowering import lower
from converter.options import ConvertOptions, StatePolicy
from converter.passes.pipeline import CANONICALIZE, Pass, clean_up, pairing, prepare, run_passes
from tests.recorded.recordings import CELLS, read

# What TensorFlow computes in float32 is compared with the float64 evaluator.
ATOL = 2e-6
SCANS = {"own-cell", "while-maxima", "while-largest", "while-limited"}
STARTED_BY_INPUT = {"while-maxima", "while-limited"}  # the first step of the sequence is the initial state
PAIRED = {"tf1-both-directions-lengths", "keras-loop-both-directions", "marked-both-directions"}


@functools.cache
def canonical(name: str) -> Program:
    return run_passes(read(name).program(name), CANONICALIZE)


@pytest.mark.parametrize("name", CELLS)
def test_the_program_computes_what_tensorflow_computes(name: str) -> None:
    for case in read(name).cases:
        found = evaluate(canonical(name), case.inputs)
        assert found.keys() == case.outputs.keys()
        for key, expected in case.outputs.items():
            np.testing.assert_allclose(found[key], expected, atol=ATOL, rtol=0, err_msg=key)


@pytest.mark.parametrize("name", CELLS)
def test_its_cells_are_recognised_and_other_steps_are_scans(name: str) -> None:
    program = canonical(name)
    assert [str(op.cell) for op in program.recurrences()] == list(CELLS[name])
    assert len(list(program.scans())) == (name in SCANS)


@pytest.mark.parametrize("state", [StatePolicy.STATELESS, StatePolicy.EXPLICIT])
@pytest.mark.parametrize("name", CELLS)
def test_it_compiles_to_builtin_ops(name: str, state: StatePolicy) -> None:
    if state is StatePolicy.EXPLICIT and name in STARTED_BY_INPUT:
        with pytest.raises(ConversionError, match="takes step 0 of the sequence"):
            compile_program(read(name).program(name), ConvertOptions(state=state))
        return
    converted = compile_program(read(name).program(name), ConvertOptions(state=state))
    counts = converted.report.op_counts
    assert not [op for op in counts if op.startswith("CUSTOM")]
    forms = {record.lowering for record in converted.report.lowerings}
    assert ("WHILE" in counts) == ("while" in forms)
    if state is StatePolicy.STATELESS:
        assert ("bidirectional" in forms) == (name in PAIRED)


# passes ----------------------------------------------------------------------------------------------------


GROUPS = (CANONICALIZE, *(group(ConvertOptions()) for group in (prepare, pairing, clean_up)))
STEPS = tuple(dict.fromkeys(step.name for group in GROUPS for step in group))


@functools.cache
def stages(name: str) -> dict[str, list[tuple[Pass, Program, Program]]]:
    """Every pass by its name, with the programs before and after it."""
    found: dict[str, list[tuple[Pass, Program, Program]]] = {}
    program = read(name).program(name)
    for group in GROUPS:
        if group is GROUPS[-1]:
            program = lower(program)
        for step in group:
            after = run_passes(program, (step,))
            found.setdefault(step.name, []).append((step, program, after))
            program = after
    return found


@pytest.mark.parametrize("step", STEPS)
def test_a_pass_that_is_run_again_changes_nothing(step: str) -> None:
    for name in CELLS:
        for run, _, after in stages(name)[step]:
            assert format_program(run.run(after)) == format_program(after), name


NOTHING_TO_DO = ("rename", "copy-sliced-outputs", "adapt-to-target", "raise-fused-ops", "fold-dilation")
"""Passes for options that the recordings are not converted with, and for ops that none of them holds."""


@pytest.mark.parametrize("step", [step for step in STEPS if step not in NOTHING_TO_DO])
def test_a_pass_finds_something_to_do(step: str) -> None:
    runs = [run for name in CELLS for run in stages(name)[step]]
    assert any(format_program(before) != format_program(after) for _, before, after in runs)


# drift -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", CELLS)
def test_tensorflow_still_makes_what_was_recorded(name: str) -> None:
    from tests.recorded.making import make

    recorded, made = read(name), make(name)
    assert made.program(name).op_counts() == recorded.program(name).op_counts()
    for old, new in zip(recorded.cases, made.cases, strict=True):
        assert shapes_of(new.outputs) == shapes_of(old.outputs)


def shapes_of(outputs: Mapping[str, Array]) -> dict[str, tuple[int, ...]]:
    """Shapes by name; Keras numbers the layers of a process, however many tests have made some."""
    return {re.sub(r"_\d+$", "", name): array.shape for name, array in outputs.items()}
