"""A sample of the attack, and a few files that came out of it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from converter.convert import compile_program
from converter.options import ConvertOptions
from tests.attack.__main__ import VIOLATIONS, attack, first_invoke, strays
from tests.attack.files import SUFFIXES, make_seeds, write_mutant
from tests.attack.mutants import mutant
from tests.programs import rnn_cell, stack
from tflite_rnn.runtime import WorkerPool

pytestmark = pytest.mark.runtime


def test_mutants_are_refused_or_give_what_the_runtime_makes_of_them() -> None:
    outcomes = list(attack(seed=7, start=0, count=60))
    assert [found for found in outcomes if found[1] in VIOLATIONS] == []
    parsed = [kind for _, kind, _ in outcomes if kind != "not a model"]
    assert len(parsed) > len(outcomes) / 5


@pytest.mark.parametrize(
    ("seed", "number"),
    [(812, 78), (913, 7862), (913, 7944), (1014, 3877)],
    ids=["result", "state", "index", "count"],
)
def test_mutants_that_got_through_once_are_refused(seed: int, number: int) -> None:
    assert [kind for _, kind, _ in attack(seed=seed, start=number, count=1)] == ["refused"]


@pytest.mark.parametrize("kind", list(SUFFIXES))
def test_mutants_that_tensorflow_reads_are_converted_or_refused(kind: str) -> None:
    outcomes = list(attack(seed=7, start=0, count=10, kind=kind))
    assert [found for found in outcomes if found[1] in VIOLATIONS] == []
    assert sum(outcome in {"converted", "refused"} for _, outcome, _ in outcomes) >= len(outcomes) / 5


def test_a_mutant_of_a_file_is_the_same_for_its_number(tmp_path: Path) -> None:
    for kind, (original, *_) in make_seeds(tmp_path).items():
        contents = []
        for name in ("one", "other"):
            target = tmp_path / f"{name}{SUFFIXES[kind]}"
            write_mutant(kind, original, target, np.random.default_rng(3))
            files = sorted(path for path in target.rglob("*") if path.is_file()) or [target]
            contents.append([file.read_bytes() for file in files])
        assert contents[0] == contents[1]


def test_the_evaluator_tells_whether_the_runtime_strays() -> None:
    unrolled = ConvertOptions.parse(lowering="unrolled")
    model = compile_program(stack([rnn_cell()], batch=1, time=3), unrolled).model
    with WorkerPool(timeout=60) as pool:
        seen = first_invoke(pool, model)
    assert not isinstance(seen, str)
    assert not strays(model, seen)
    assert strays(model, {name: array + 1 for name, array in seen.items()})


def test_a_mutant_is_the_same_for_its_number() -> None:
    assert mutant(3, 5) == mutant(3, 5) != mutant(3, 6)
