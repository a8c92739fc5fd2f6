"""What surrounds the speech detector: chunks of sound, and readers of two files of weights. Nothing is fetched."""

from __future__ import annotations

import io
import zipfile
from typing import Any

import numpy as np
import pytest

from converter.errors import SourceError
from models import silero_vad

CONVOLUTIONS = {"conv1": (128, 129), "conv2": (64, 128), "conv3": (64, 64), "conv4": (128, 64)}
SHAPES: dict[str, tuple[int, ...]] = {"stft_conv.weight": (258, 1, 256)}
for conv, (filters, channels) in CONVOLUTIONS.items():
    SHAPES |= {f"{conv}.weight": (filters, channels, 3), f"{conv}.bias": (filters,)}
SHAPES |= {
    "lstm_cell.weight_ih": (512, 128),
    "lstm_cell.weight_hh": (512, 128),
    "lstm_cell.bias_ih": (512,),
    "lstm_cell.bias_hh": (512,),
    "final_conv.weight": (1, 128, 1),
    "final_conv.bias": (1,),
}


def arrays(**changed: Any) -> dict[str, Any]:
    """Arrays of the right shapes, each filled with its place, but for ``changed``; None leaves one out."""
    right = {name: np.full(shape, place, np.float32) for place, (name, shape) in enumerate(SHAPES.items())}
    replaced = right | {name.replace("__", "."): array for name, array in changed.items()}
    return {name: array for name, array in replaced.items() if array is not None}


def safetensors(**changed: Any) -> bytes:
    from safetensors.numpy import save

    return save(arrays(**changed))


def torchscript(**changed: Any) -> bytes:
    """A file like the package's: the arrays' bytes from member 2 on. One that is left out leaves a gap."""
    buffer = io.BytesIO()
    contents = arrays(**changed)
    with zipfile.ZipFile(buffer, "w") as file:
        for number, name in enumerate(SHAPES, start=2):
            if name in contents:
                file.writestr(f"VADr_v6_10_25_noths_re/data/{number}", contents[name].tobytes())
    return buffer.getvalue()


@pytest.mark.parametrize(
    "pretrained",
    [silero_vad.read_safetensors(safetensors()), silero_vad.read_torchscript(torchscript())],
    ids=["safetensors", "torchscript"],
)
def test_both_files_are_read_into_their_places(pretrained: silero_vad.Pretrained) -> None:
    lstm, final = pretrained.lstm, pretrained.final
    seen = [pretrained.stft]
    seen += [array for layer in pretrained.convolutions for array in (layer.weight, layer.bias)]
    seen += [lstm.w_ih, lstm.w_hh, lstm.b_ih, lstm.b_hh, final.weight, final.bias]
    assert [array.shape for array in seen] == list(SHAPES.values())
    assert [array.flat[0] for array in seen] == list(range(len(SHAPES)))


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (safetensors(final_conv__bias=np.zeros(2, np.float32)), r"final_conv.bias is float32 \(2,\), expected"),
        (safetensors(final_conv__bias=np.zeros(1)), "final_conv.bias is float64"),
        (safetensors(conv2__bias=None), "has no conv2.bias; it has conv1.bias, conv1.weight"),
        (safetensors()[:5000], "not the expected safetensors file"),
        (b"", "not the expected safetensors file"),
    ],
    ids=["shape", "dtype", "missing", "cut", "empty"],
)
def test_another_safetensors_file_is_refused(content: bytes, reason: str) -> None:
    with pytest.raises(SourceError, match=reason):
        silero_vad.read_safetensors(content)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (torchscript(conv1__bias=np.zeros(127, np.float32)), "conv1.bias has 508 bytes, expected 512"),
        (torchscript(conv2__bias=None), "no item named .*data/6"),
        (torchscript()[:5000], "not the expected TorchScript file"),
        (b"", "not the expected TorchScript file"),
    ],
    ids=["size", "missing", "cut", "empty"],
)
def test_another_torchscript_file_is_refused(content: bytes, reason: str) -> None:
    with pytest.raises(SourceError, match=reason):
        silero_vad.read_torchscript(content)


def test_the_gates_move_from_pytorchs_order_and_both_biases_become_one() -> None:
    rows = np.array([10, 20, 30, 40], np.float32)  # one unit: rows i, f, g, o; two inputs
    w_ih, w_hh = np.stack([rows, rows + 1], axis=1), rows[:, np.newaxis] + 2
    kernel, bias = silero_vad.LstmWeights(w_ih, w_hh, rows + 3, rows).for_tensorflow()
    np.testing.assert_array_equal(kernel, [[10, 30, 20, 40], [11, 31, 21, 41], [12, 32, 22, 42]])
    np.testing.assert_array_equal(bias, [23, 63, 43, 83])


def test_chunks_overlap_by_the_context_and_are_padded_at_both_ends() -> None:
    sound = np.arange(1, 1101, dtype=np.float32)
    chunks = silero_vad.chunks_of(sound)
    assert chunks.shape == (3, 576)
    np.testing.assert_array_equal(chunks[0], [*[0] * 64, *range(1, 513)])
    np.testing.assert_array_equal(chunks[1], range(512 - 63, 1025))
    np.testing.assert_array_equal(chunks[2], [*range(1024 - 63, 1101), *[0] * 436])


def test_sound_that_fills_its_chunks_gets_no_more_of_them() -> None:
    assert silero_vad.chunks_of(np.ones(1024, np.float32)).shape == (2, 576)
    assert silero_vad.chunks_of(np.ones(1, np.float32)).shape == (1, 576)


@pytest.mark.parametrize("shape", [(0,), (2, 512)])
def test_what_is_not_one_row_of_samples_is_no_sound(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="one row of samples"):
        silero_vad.chunks_of(np.zeros(shape, np.float32))
