"""Spoken commands made of nothing, and the features that an ear makes of them."""

from __future__ import annotations

import numpy as np
import pytest

from models import commands
from models.commands import BANDS, COMMANDS, FRAME, OTHER, RATE, SECONDS, WORDS

SAMPLES = round(SECONDS * RATE)


@pytest.fixture(scope="module")
def clips() -> commands.Clips:
    return commands.clips(np.random.default_rng(0), 3)


def test_every_word_has_its_share_of_the_clips(clips: commands.Clips) -> None:
    counts = dict(zip(WORDS, np.bincount(clips.labels), strict=True))
    assert counts == {**dict.fromkeys(COMMANDS, 3), OTHER: 6}
    assert clips.labels.tolist() != sorted(clips.labels)


def test_clips_are_sound_of_one_length(clips: commands.Clips) -> None:
    assert clips.sounds.shape == (30, SAMPLES)
    assert clips.sounds.dtype == np.float32
    assert 0.1 < np.abs(clips.sounds).max() <= 1.0


def test_clips_come_from_their_generator_alone(clips: commands.Clips) -> None:
    again, others = (commands.clips(np.random.default_rng(seed), 3) for seed in (0, 1))
    np.testing.assert_array_equal(clips.sounds, again.sounds)
    np.testing.assert_array_equal(clips.labels, again.labels)
    assert not np.array_equal(clips.sounds, others.sounds)


@pytest.mark.parametrize("sounds", COMMANDS.values(), ids=COMMANDS)
def test_a_word_lasts_a_part_of_its_clip_and_is_said_anew_each_time(sounds: str) -> None:
    rng = np.random.default_rng(0)
    said = [commands.say(rng, sounds) for _ in range(20)]
    assert all(0.1 * SAMPLES < len(each) < SAMPLES for each in said)
    assert all(0.05 < np.abs(each).max() <= 1.0 for each in said)
    assert len({len(each) for each in said}) > 10


def test_what_is_no_command_holds_none() -> None:
    rng = np.random.default_rng(0)
    rows = [commands._random_sounds(rng) for _ in range(200)]
    assert not [row for row in rows if any(sounds in row for sounds in COMMANDS.values())]
    assert 20 < rows.count("") < 80


def test_a_long_word_is_cut_at_the_end_of_its_clip() -> None:
    placed = commands.placed(np.random.default_rng(0), np.ones(2 * SAMPLES))
    assert placed.shape == (SAMPLES,)
    assert placed[-1] > 0.05


def test_features_are_frames_of_bands(clips: commands.Clips) -> None:
    features = commands.features(clips.sounds[0])
    assert features.shape == (SAMPLES // FRAME, BANDS)
    assert features.dtype == np.float32


@pytest.mark.parametrize("frames", [1, 2, 7])
def test_features_of_pieces_are_those_of_the_whole(frames: int, clips: commands.Clips) -> None:
    sound, size = clips.sounds[1], frames * FRAME
    ear = commands.Ear()
    heard = [ear.hear(sound[begin : begin + size]) for begin in range(0, len(sound), size)]
    np.testing.assert_allclose(np.concatenate(heard), commands.features(sound), rtol=0, atol=1e-5)


def test_a_tone_is_loudest_in_the_band_around_it() -> None:
    time = np.arange(RATE // 10) / RATE
    loudest = []
    for frequency in (300.0, 1000.0, 3000.0):
        tone = np.sin(2.0 * np.pi * frequency * time).astype(np.float32)
        bands = commands.features(tone)[-1]
        loudest.append(int(bands.argmax()))
        assert bands.max() - np.median(bands) > 4.0
    assert loudest == sorted(set(loudest))


def test_silence_is_the_same_in_every_band() -> None:
    silence = commands.features(np.zeros(5 * FRAME, np.float32))
    np.testing.assert_array_equal(silence, np.full((5, BANDS), silence[0, 0]))


@pytest.mark.parametrize("shape", [(FRAME + 1,), (1, FRAME)])
def test_sound_fills_its_frames(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="a multiple of 80; got shape"):
        commands.features(np.zeros(shape, np.float32))
