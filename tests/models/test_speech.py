from __future__ import annotations

import numpy as np
import pytest

from models import speech


def test_a_recording_is_as_long_as_asked_for_and_never_too_loud() -> None:
    sound = speech.recording(np.random.default_rng(0), 7.25, 16_000)
    assert sound.shape == (116_000,)
    assert sound.dtype == np.float32
    assert np.abs(sound).max() <= 1.0


def test_a_recording_depends_on_its_generator_and_nothing_else() -> None:
    first, again, other = (speech.recording(np.random.default_rng(seed), 2.0, 8_000) for seed in (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    assert np.abs(first - other).max() > 0.1


def test_a_recording_has_silence_in_it() -> None:
    sound = speech.recording(np.random.default_rng(0), 10.0, 16_000)
    assert (sound == 0.0).sum() > 0.5 * 16_000


@pytest.mark.parametrize("rate", [8_000, 16_000])
def test_vowels_have_nothing_above_the_highest_harmonic(rate: int) -> None:
    power = np.abs(np.fft.rfft(speech.vowels(np.random.default_rng(0), 2 * rate, rate))) ** 2
    frequencies = np.fft.rfftfreq(2 * rate, 1 / rate)
    assert power[frequencies > 5_500].sum() < 1e-3 * power.sum()
    assert power[frequencies < 1_500].sum() > 0.5 * power.sum()
