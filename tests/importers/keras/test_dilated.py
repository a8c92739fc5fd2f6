"""Dilated convolutions over an open time: one op each, so that recurrences behind them fuse, and run on chunks."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import keras
import numpy as np
import pytest
from keras import layers

from converter.convert import compile_source
from converter.flatbuffer import read_model
from converter.ir import Graph, Program, Signature, TfliteOp, as_tflite, constant, new_op
from converter.opening import import_source, open_source
from converter.options import ConvertOptions, StatePolicy
from converter.passes.fold_dilation import fold_dilation
from tests.programs import tensor
from tests.runtimes import QUICK
from tflite_rnn import check
from tflite_rnn.runtime import WorkerPool


def network(convolution: Any, *, batch: int | None = None, shape: tuple[int | None, ...] = (None, 4)) -> Any:
    body = [
        convolution,
        *([layers.Reshape((-1, 30))] if len(shape) == 3 else []),
        layers.LSTM(4, return_sequences=True),
    ]
    model = keras.Sequential([keras.Input(shape, batch_size=batch, name="x"), *body])
    rng = np.random.default_rng(7)
    model.set_weights([rng.standard_normal(weight.shape) * 0.3 for weight in model.get_weights()])
    return model


def counts(model: bytes) -> list[str]:
    return [op.builtin for op in read_model(model).ops() if isinstance(op, TfliteOp)]


def convolutions() -> dict[str, Any]:
    made = {
        f"{padding} {rate}": layers.Conv1D(6, 3, dilation_rate=rate, padding=padding)
        for padding in ("causal", "same", "valid")
        for rate in (2, 3)
    }
    made["even"] = layers.Conv1D(6, 4, dilation_rate=5, padding="same")
    made["depthwise"] = layers.DepthwiseConv1D(3, dilation_rate=2, padding="same")
    made["separable"] = layers.SeparableConv1D(5, 3, dilation_rate=2, padding="same")
    return made


@pytest.mark.parametrize("name", convolutions())
def test_a_dilated_convolution_is_one_op(name: str, pool: WorkerPool) -> None:
    model = network(convolutions()[name])
    converted = compile_source(model)
    found = counts(converted.model)
    assert "UNIDIRECTIONAL_SEQUENCE_LSTM" in found
    assert not {"SPACE_TO_BATCH_ND", "BATCH_TO_SPACE_ND", "WHILE"} & set(found)
    for steps in (16, 17, 21):
        x = np.random.default_rng(steps).standard_normal((2, steps, 4)).astype(np.float32)
        report = check(converted.model, model, pool=pool, runtimes=QUICK, inputs=[{"x": x}])
        assert report.ok, str(report)


@pytest.mark.parametrize("rate", [2, (2, 1), (1, 3)], ids=str)
def test_a_dilated_convolution_of_two_axes_is_one_op(rate: Any, pool: WorkerPool) -> None:
    convolution = layers.Conv2D(5, 3, dilation_rate=rate, padding="same")
    model = network(convolution, shape=(None, 6, 3))
    converted = compile_source(model)
    assert "SPACE_TO_BATCH_ND" not in counts(converted.model)
    report = check(converted.model, model, pool=pool, runtimes=QUICK)
    assert report.ok, str(report)


@pytest.mark.parametrize("state", [StatePolicy.STREAMING, StatePolicy.EXPLICIT])
@pytest.mark.parametrize("name", ["causal 2", "causal 3", "valid 2", "same 2", "even", "separable"])
def test_dilated_convolutions_run_on_chunks(name: str, state: StatePolicy, pool: WorkerPool) -> None:
    model = network(convolutions()[name], batch=1)
    delays = name.split(maxsplit=1)[0] not in {"causal", "valid"}
    options = ConvertOptions(state=state, lookahead="delay" if delays else None)
    converted = compile_source(model, options)
    report = check(converted.model, model, pool=pool, runtimes=QUICK)
    assert report.ok, str(report)


@pytest.mark.parametrize("changed", [0, 1])
def test_other_paddings_and_crops_stay_as_they_are(changed: int) -> None:
    program = import_source(open_source(network(convolutions()["same 2"])))
    names = program.main.names()
    wrong = constant(names.fresh("wrong"), np.array([[changed, 1]], np.int32))
    ops = [
        replace(op, operands=(*op.operands[:2], wrong)) if as_tflite(op, "BATCH_TO_SPACE_ND") else op
        for op in program.main.ops
    ]
    assert _parts(fold_dilation(program)) == 0
    other = replace(program, graphs=(replace(program.main, ops=tuple(ops)), *program.graphs[1:]))
    assert _parts(fold_dilation(other)) == 1


def test_parts_of_the_channels_stay_as_they_are() -> None:
    x, parts, made, y = (tensor(name, *shape) for name, *shape in _OF_CHANNELS)
    block, zeros = np.array([1, 1, 2], np.int32), np.zeros((3, 2), np.int32)
    weights = [np.ones((3, 1, 1, 1), np.float32), np.zeros(3, np.float32)]
    data = [*weights, block, zeros, block, zeros]
    kernel, bias, *rest = (constant(f"c{index}", content) for index, content in enumerate(data))
    options = {"padding": 1, "strideH": 1, "strideW": 1, "dilationHFactor": 1, "dilationWFactor": 1}
    ops = (
        new_op("SPACE_TO_BATCH_ND", [x, *rest[:2]], [parts]),
        new_op("CONV_2D", [parts, kernel, bias], [made], options),
        new_op("BATCH_TO_SPACE_ND", [made, *rest[2:]], [y]),
    )
    program = Program((Graph("main", (x,), (y,), ops),), (Signature("s", ("x",), ("y",)),))
    assert _parts(fold_dilation(program)) == 1


_OF_CHANNELS = (("x", 1, 4, 4, 2), ("parts", 2, 4, 4, 1), ("made", 2, 4, 4, 3), ("y", 1, 4, 4, 6))


def _parts(program: Program) -> int:
    return sum(as_tflite(op, "BATCH_TO_SPACE_ND") is not None for op in program.main.ops)
