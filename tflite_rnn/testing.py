"""Assertions for the tests of projects that convert their models with tflite-rnn."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any

from converter.convert import Converted
from tflite_rnn.checking import check
from tflite_rnn.runtime import ParityReport, Runtime, WorkerPool
from tflite_rnn.runtime.signature import Array


def assert_parity(
    model: Converted | bytes | str | os.PathLike[str],
    source: Any,
    *,
    inputs: Sequence[Mapping[str, Array]] | None = None,
    runtimes: Sequence[Runtime] | None = None,
    invokes: int = 3,
    atol: float = 1e-5,
    rtol: float = 1e-5,
    pool: WorkerPool | None = None,
) -> ParityReport:
    """Assert that a model computes what its source computes, on every installed runtime.

    The arguments are those of `tflite_rnn.check`. Returns its report.

    Raises:
        AssertionError: an output is out of tolerance or not repeatable, or a runtime failed; its message is the
            whole report.
        TfliteRnnError: the model or the reference cannot be read, or there is nothing to compare.
    """
    __tracebackhide__ = True
    report = check(
        model, source, inputs=inputs, runtimes=runtimes, invokes=invokes, atol=atol, rtol=rtol, pool=pool
    )
    if not report.ok:
        raise AssertionError(f"the model and its reference disagree\n{report}")
    return report
