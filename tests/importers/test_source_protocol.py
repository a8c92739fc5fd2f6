"""What the compiler asks of a source: a program, which need not come from TFLiteConverter."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from converter.convert import compile_program
from converter.flatbuffer import read_model
from converter.ir import Array, Program, evaluate
from converter.opening import import_source
from tests.programs import lstm_cell, random_inputs, stack


@dataclass(frozen=True, slots=True)
class RecurrencesOnly:
    """A source that brings its recurrences as they are."""

    name: str
    program: Program
    notes: tuple[str, ...] = ()

    @property
    def input_names(self) -> tuple[str, ...]:
        return self.program.signature.inputs

    @property
    def output_names(self) -> tuple[str, ...]:
        return self.program.signature.outputs

    def __call__(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        return evaluate(self.program, inputs)

    def to_program(self, *, keep_lists: bool = True) -> Program:
        del keep_lists
        return self.program


def test_a_source_may_bring_recurrences_of_its_own() -> None:
    source = RecurrencesOnly("hand made", stack([lstm_cell()], time=5, batch=2))
    converted = compile_program(import_source(source))
    assert converted.report.op_counts["UNIDIRECTIONAL_SEQUENCE_LSTM"] == 1
    assert read_model(converted.model).signature.inputs == source.input_names
    inputs = random_inputs(np.random.default_rng(0), source.program, time=5, batch=2)
    expected, got = source(inputs), evaluate(converted.program, inputs)
    assert got.keys() == set(source.output_names)
    for name, value in expected.items():
        np.testing.assert_array_equal(got[name], value)
