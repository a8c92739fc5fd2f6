"""New names of inputs and outputs."""

from __future__ import annotations

import pytest

from converter.convert import Converted, compile_program
from converter.errors import TfliteRnnError
from converter.flatbuffer import read_model
from converter.options import ConvertOptions
from tests.programs import rnn_cell, stack


def converted(state: str = "stateless", **names: str) -> Converted:
    return compile_program(stack([rnn_cell()]), ConvertOptions.parse(state=state, rename=names))


def test_inputs_and_outputs_of_the_file_have_the_new_names() -> None:
    signature = read_model(converted(x="chars", layer_0_outputs="phonemes").model).signature
    assert signature.inputs == ("chars",)
    assert signature.outputs[0] == "phonemes"


def test_an_exposed_state_is_renamed_on_both_sides() -> None:
    signature = read_model(converted("explicit", state_0="memory").model).signature
    assert "memory" in signature.inputs
    assert "memory" in signature.outputs


def test_a_name_that_is_not_there_is_an_error() -> None:
    with pytest.raises(TfliteRnnError, match="cannot rename y: the inputs are x, the outputs layer_0"):
        converted(y="z")


def test_names_must_stay_apart() -> None:
    with pytest.raises(TfliteRnnError, match="several outputs would be called layer_0_state_0"):
        converted(layer_0_outputs="layer_0_state_0")
