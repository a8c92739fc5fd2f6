"""The trained network, converted: what it becomes, and that it computes the same on every installed runtime."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import tflite_rnn as rnn
from models import chars2vec

pytestmark = pytest.mark.download


@pytest.fixture(scope="module")
def embed(pretrained: chars2vec.Pretrained) -> Any:
    return chars2vec.build(pretrained)


@pytest.fixture(scope="module")
def converted(embed: Any) -> Any:
    return rnn.convert(embed)


def test_both_layers_are_fused_and_no_loop_is_left(converted: Any) -> None:
    counts = converted.report.op_counts
    assert {op: counts.get(op) for op in chars2vec.FUSED_OPS} == chars2vec.FUSED_OPS
    assert not chars2vec.FORBIDDEN_OPS & set(counts)


def test_the_file_computes_what_the_network_computes(converted: Any, embed: Any) -> None:
    # Growing, shrinking, and one after many: every change of shape makes a runtime allocate anew.
    cases = [
        case
        for case in chars2vec.example_inputs(np.random.default_rng(11))
        if case["chars"].shape[0] in (1, 2, 9, 20)
    ]
    report = rnn.check(converted, embed, inputs=cases, invokes=3)
    assert report.ok, str(report)
