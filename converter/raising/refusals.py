"""Refuse the CUSTOM ops that TFLiteConverter left without a builtin."""

from __future__ import annotations

import re

from converter.errors import ConversionError, Rejection
from converter.ir import TfliteOp
from converter.rules import Rule

_RANDOM = ("Random", "Multinomial", "StatefulUniform", "StatefulStandardNormal", "StatefulTruncatedNormal")
_OF_LISTS = ("TensorArray", "TensorList")


def refuse_custom_op(op: TfliteOp) -> Rejection:
    """Return why a CUSTOM op is refused. All list ops of one loop have equal refusals."""
    code = (op.custom_code or "").removeprefix("Flex")
    if not code.startswith(_OF_LISTS):
        is_random = any(word in code for word in _RANDOM)
        return Rejection(
            Rule.BUILTIN_OPS_ONLY,
            op.name,
            f"the TensorFlow op {code} {'draws random numbers and ' if is_random else ''}has no TFLite equivalent",
            "convert the model for inference, without its random layers, or give the numbers as an input"
            if is_random
            else "replace it with ops that TFLite has",
        )
    return Rejection(
        Rule.LOOP_FORM,
        re.sub(r"(/while(_\d+)?)?/[^/]*TensorArray.*", "", op.name),
        "the loop collects tensors, but not one per step from the first to the last: its end "
        "depends on what it computes, it contains a loop or branch, or it reads or writes out of "
        "order",
        "count the steps from 0 by 1 up to a constant limit and index sequences and outputs with "
        "that counter, or fix the batch and time dimensions of the inputs",
    )


def is_about_loops(refusal: ConversionError) -> bool:
    """Return whether loops that could not be raised are the only reason for ``refusal``."""
    return bool(refusal.rejections) and all(one.rule is Rule.LOOP_FORM for one in refusal.rejections)
