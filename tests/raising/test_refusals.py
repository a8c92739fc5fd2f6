"""Why ops without a builtin are refused."""

from __future__ import annotations

import pytest

from converter.errors import ConversionError
from converter.ir import DType, TensorType, TfliteOp, Value
from converter.raising.refusals import is_about_loops, refuse_custom_op


def _custom(code: str, name: str) -> TfliteOp:
    return TfliteOp("CUSTOM", (), (Value(name, TensorType(DType.FLOAT32, ())),), custom_code=code)


@pytest.mark.parametrize(
    ("code", "name"),
    [
        ("TensorListReserve", "encoder/while/TensorArrayV2_1"),
        ("FlexTensorListStack", "encoder/TensorArrayV2Stack/TensorListStack"),
        ("TensorArrayWriteV3", "encoder/while_2/TensorArrayWrite/TensorArrayWriteV3"),
    ],
)
def test_all_list_ops_of_a_loop_are_refused_by_its_name(code: str, name: str) -> None:
    refusal = refuse_custom_op(_custom(code, name))
    assert (refusal.rule, refusal.op) == ("loop-form", "encoder")


def test_any_other_op_is_refused_by_its_own_name() -> None:
    refusal = refuse_custom_op(_custom("FlexErf", "gelu/Erf"))
    assert (refusal.rule, refusal.op) == ("builtin-ops-only", "gelu/Erf")
    assert "the TensorFlow op Erf" in refusal.detail


def test_only_a_refusal_of_nothing_but_loops_is_about_loops() -> None:
    of_loop, other = refuse_custom_op(_custom("TensorListStack", "while/x")), refuse_custom_op(_custom("Erf", "y"))
    assert is_about_loops(ConversionError("no", [of_loop]))
    assert not is_about_loops(ConversionError("no", [of_loop, other]))
    assert not is_about_loops(ConversionError("no"))


def test_what_is_wrong_with_several_loops_is_said_once() -> None:
    names = ["encoder/while/TensorArrayV2", "decoder/while/TensorArrayV2", "encoder/while/TensorArrayV2_1"]
    message = str(ConversionError("no", [refuse_custom_op(_custom("TensorListStack", name)) for name in names]))
    assert "encoder, decoder: the loop collects" in message
    assert message.count("hint") == 1
