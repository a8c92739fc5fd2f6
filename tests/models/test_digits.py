"""The digits network: trained here, converted, and its file read by every installed runtime."""

from __future__ import annotations

import sys
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tflite_rnn as rnn
from converter.errors import SourceError
from models import digits
from tflite_rnn.runtime import Runtime, WorkerPool, installed_runtimes


@pytest.fixture(scope="module")
def data() -> digits.Digits:
    return digits.load()


@pytest.fixture(scope="module")
def losses_and_network(data: digits.Digits) -> tuple[list[float], digits.Network]:
    network = digits.create()
    return digits.train(network, data.train), network


@pytest.fixture(scope="module")
def classify(losses_and_network: tuple[list[float], digits.Network]) -> Any:
    return digits.build(losses_and_network[1])


@pytest.fixture(scope="module")
def converted(classify: Any) -> Any:
    return rnn.convert(classify)


def test_every_digit_has_its_share_in_both_parts(data: digits.Digits) -> None:
    assert data.train.images.shape == (1347, 8, 8)
    assert data.test.images.shape == (450, 8, 8)
    for part in (data.train, data.test):
        assert part.images.dtype == np.float32
        assert (part.images.min(), part.images.max()) == (0.0, 1.0)
        assert np.bincount(part.labels).min() > 0.09 * len(part.labels)


def test_no_held_out_image_is_among_those_to_learn_from(data: digits.Digits) -> None:
    known = {image.tobytes() for image in data.train.images}
    assert not [image for image in data.test.images if image.tobytes() in known]


def test_the_batches_are_the_same_every_time_and_new_in_every_epoch(data: digits.Digits) -> None:
    epoch = len(data.train.labels) // digits.BATCH
    first, second = (list(digits.batches(data.train).take(epoch + 1)) for _ in range(2))
    for one, two in zip(first, second, strict=True):
        np.testing.assert_array_equal(one[0], two[0])
        np.testing.assert_array_equal(one[1], two[1])
    assert not np.array_equal(first[0][1], first[epoch][1])
    assert digits.training_steps(data.train) == digits.EPOCHS * epoch == len(digits.batches(data.train))


def test_training_reaches_the_stated_accuracy(
    losses_and_network: tuple[list[float], digits.Network], classify: Any, data: digits.Digits
) -> None:
    losses, _ = losses_and_network
    assert losses[0] > 2.0, "an untrained network should be at about log(10)"
    assert np.mean(losses[-20:]) < 0.05
    seen = digits.most_likely(classify(data.test.images)["logits"])
    assert digits.accuracy(seen, data.test.labels) >= digits.ACCURACY


def test_the_recurrence_is_fused_and_no_loop_is_left(converted: Any) -> None:
    counts = converted.report.op_counts
    assert {op: counts.get(op) for op in digits.FUSED_OPS} == digits.FUSED_OPS
    assert not digits.FORBIDDEN_OPS & set(counts)


def test_the_example_inputs_come_alone_and_in_batches() -> None:
    inputs = digits.example_inputs(np.random.default_rng(0))
    assert {case["images"].shape for case in inputs} == {(batch, 8, 8) for batch in (1, 2, 5, 7, 64)}
    assert all(case["images"].dtype == np.float32 for case in inputs)


def test_the_file_computes_what_the_network_computes(converted: Any, classify: Any, pool: WorkerPool) -> None:
    inputs = digits.example_inputs(np.random.default_rng(3))
    report = rnn.check(converted, classify, inputs=inputs, invokes=3, pool=pool)
    assert report.ok, str(report)


def test_every_runtime_reads_the_same_digits_with_the_file(
    converted: Any, classify: Any, data: digits.Digits, pool: WorkerPool, tmp_path: Path
) -> None:
    path = tmp_path / "digits.tflite"
    converted.save(path)
    seen = digits.read_with(path, data.test.images, pool)
    assert set(seen) == set(installed_runtimes())
    reference = digits.most_likely(classify(data.test.images)["logits"])
    for runtime, labels in seen.items():
        np.testing.assert_array_equal(labels, reference, err_msg=str(runtime))
        assert digits.accuracy(labels, data.test.labels) >= digits.ACCURACY


def test_a_reading_agrees_only_if_every_runtime_sees_every_digit_alike() -> None:
    labels = np.array([1, 2, 3], np.int32)
    same, other = Runtime("tf.lite"), Runtime("ai-edge-litert")
    assert digits.Reading(labels, {same: labels.copy()}).agrees
    reading = digits.Reading(labels, {same: labels, other: np.array([1, 2, 8], np.int32)})
    assert not reading.agrees
    assert (reading.differing(same), reading.differing(other)) == (0, 1)
    assert not digits.Reading(labels, {}).agrees


def test_the_program_says_that_the_accuracy_was_not_reached_and_fails(
    pool: WorkerPool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(digits, "EPOCHS", 1)
    monkeypatch.setattr(digits, "OUTPUT", tmp_path / "folder" / "digits.tflite")
    monkeypatch.setattr(digits, "WorkerPool", lambda: nullcontext(pool))
    assert digits.main() == 1
    printed = capsys.readouterr().out
    assert "parity holds" in printed
    assert f"is below {digits.ACCURACY}" in printed
    assert (tmp_path / "folder" / "digits.tflite").exists()


def test_without_scikit_learn_there_is_one_message_and_exit_status_2(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "sklearn.datasets", None)
    with pytest.raises(SourceError, match="pip install scikit-learn"):
        digits.load()
    assert digits.main() == 2
    assert "pip install scikit-learn" in capsys.readouterr().err
