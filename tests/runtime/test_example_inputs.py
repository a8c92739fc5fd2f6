from __future__ import annotations

import numpy as np
import pytest

from tflite_rnn.runtime import CheckError, Signature, TensorSpec, example_cases, example_inputs
from tflite_rnn.runtime.signature import Shape

B, T = 7, 5


def _signature(*shapes: Shape, dtype: str = "float32") -> Signature:
    specs = tuple(TensorSpec(f"x{index}", np.dtype(dtype), shape) for index, shape in enumerate(shapes))
    return Signature("serving_default", specs, ())


def _shape(shape: Shape, *, time_major: bool, dtype: str = "float32") -> tuple[int, ...]:
    signature = _signature(shape, dtype=dtype)
    inputs = example_inputs(signature, np.random.default_rng(0), batch=B, time=T, time_major=time_major)
    return inputs["x0"].shape


@pytest.mark.parametrize(
    ("shape", "batch_major", "time_major"),
    [
        ((), (), ()),
        ((None,), (B,), (B,)),
        ((4,), (4,), (4,)),
        ((None, 3), (B, 3), (B, 3)),
        ((1, None), (1, T), (1, B)),
        ((None, None), (B, T), (T, B)),
        ((None, None, 3), (B, T, 3), (T, B, 3)),
        ((None, 1, 3), (B, 1, 3), (T, 1, 3)),
        ((1, None, 3), (1, T, 3), (1, B, 3)),
        ((None, None, 3, 2), (B, T, 3, 2), (T, B, 3, 2)),
        ((2, 3, 4), (2, 3, 4), (2, 3, 4)),
    ],
)
def test_dynamic_dimensions_are_filled_by_their_place(
    shape: Shape, batch_major: tuple[int, ...], time_major: tuple[int, ...]
) -> None:
    assert _shape(shape, time_major=False) == batch_major
    assert _shape(shape, time_major=True) == time_major


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64", "int8", "int32", "int64", "uint8", "bool"])
def test_inputs_have_the_dtype_of_the_signature(dtype: str) -> None:
    signature = _signature((None, None, 3), (None,), (), dtype=dtype)
    inputs = example_inputs(signature, np.random.default_rng(0), batch=B, time=T, time_major=False)
    assert [array.dtype for array in inputs.values()] == [np.dtype(dtype)] * 3


def test_floats_are_standard_normal() -> None:
    signature = _signature((100, 100, 3))
    x = example_inputs(signature, np.random.default_rng(0), batch=B, time=T, time_major=False)["x0"]
    assert abs(x.mean()) < 0.02
    assert abs(x.std() - 1) < 0.02


def test_rank_one_integers_are_sequence_lengths_and_others_are_zero_or_one() -> None:
    signature = _signature((1000,), (1000, 4), (), dtype="int32")
    inputs = example_inputs(signature, np.random.default_rng(0), batch=B, time=T, time_major=False)
    assert set(inputs["x0"].tolist()) == set(range(T + 1))
    assert set(inputs["x1"].ravel().tolist()) == {0, 1}
    assert int(inputs["x2"]) in (0, 1)


@pytest.mark.parametrize(("time_major", "shape"), [(False, (1000, 2, 3)), (True, (2, 1000, 3))])
def test_sequence_lengths_do_not_exceed_a_static_time_dimension(time_major: bool, shape: Shape) -> None:
    specs = (TensorSpec("x", np.dtype("float32"), shape), TensorSpec("lengths", np.dtype("int32"), (1000,)))
    signature = Signature(None, specs, ())
    inputs = example_inputs(signature, np.random.default_rng(0), batch=1, time=20, time_major=time_major)
    assert set(inputs["lengths"].tolist()) == {0, 1, 2}


def test_the_same_seed_gives_the_same_inputs() -> None:
    first, second = (example_cases(_signature((None, None, 3)), np.random.default_rng(1)) for _ in range(2))
    assert [case["x0"].tobytes() for case in first] == [case["x0"].tobytes() for case in second]


def test_a_dynamic_feature_dimension_is_an_error_that_names_the_input() -> None:
    with pytest.raises(CheckError, match=r"'x0': cannot make an example of shape \[\?, 2, \?\]"):
        _shape((None, 2, None), time_major=False)


def test_a_dtype_without_examples_is_an_error_that_names_the_input() -> None:
    with pytest.raises(CheckError, match="'x0': cannot make an example of type object"):
        _shape((1,), time_major=False, dtype="object")


@pytest.mark.parametrize(
    ("shape", "shapes"),
    [
        ((None, None, 3), [(1, 1, 3), (1, 20, 3), (7, 5, 3), (1, 20, 3)]),
        ((1, None, 3), [(1, 1, 3), (1, 20, 3), (1, 5, 3), (1, 20, 3)]),
        ((None, 9, 3), [(1, 9, 3), (7, 9, 3), (1, 9, 3)]),
        ((2, 9, 3), [(2, 9, 3)]),
    ],
)
def test_cases_vary_only_what_is_dynamic_and_come_back_to_a_size_seen_before(
    shape: Shape, shapes: list[tuple[int, ...]]
) -> None:
    cases = example_cases(_signature(shape), np.random.default_rng(0))
    assert [case["x0"].shape for case in cases] == shapes


def test_cases_of_a_time_major_model_have_time_first() -> None:
    cases = example_cases(_signature((None, None, 3)), np.random.default_rng(0), time_major=True, sizes=[(2, 9)])
    assert [case["x0"].shape for case in cases] == [(9, 2, 3)]
