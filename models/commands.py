"""Spoken commands, made of nothing, and what an ear makes of them: a spectrum every 10 ms.

A word is a row of sounds. Vowels are harmonics of a pitch, louder near the formants of `models.speech`; ``s`` and
``f`` are noise; ``t``, ``p`` and ``g`` are a pause and a burst. A speaker is drawn for each word: pitch and its
melody, the length of the vocal tract, tempo, loudness. The word begins somewhere in its clip, in noise. What is
not a command is a random row of sounds, or noise alone.

A frame of features is the logarithm of the energy in `BANDS` bands, as far apart as the ear hears them (the mel
scale of O'Shaughnessy, 1987), of the 25 ms of sound that end with it. So features need no sound to come, and are
made of a stream as of a whole recording: see `Ear`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from models.speech import BANDWIDTHS, FORMANTS, GAINS

Array: TypeAlias = NDArray[np.float32]
Floats: TypeAlias = NDArray[np.float64]
Labels: TypeAlias = NDArray[np.int32]
# Says a word with a random voice: its samples, at `RATE`, from -1 to 1.
Speaker: TypeAlias = Callable[[np.random.Generator, str], Floats]

RATE = 8000
FRAME = 80  # samples: 10 ms
WINDOW = 200  # samples: 25 ms
BANDS = 32
SECONDS = 1.2

OTHER = "(other)"
COMMANDS: Mapping[str, str] = MappingProxyType(
    {
        "yes": "ies",
        "no": "nou",
        "go": "gou",
        "stop": "stop",
        "left": "left",
        "right": "rait",
        "on": "on",
        "off": "of",
    }
)
"""The sounds of each command."""
WORDS = (*COMMANDS, OTHER)
"""What a clip may hold, by its label."""

_FFT = 256
_LOWEST, _HIGHEST = 60.0, 3900.0  # Hz
_QUIET = 1e-4  # the energy of a band in silence
_SPACE = 0.05  # seconds before the earliest word, and behind the latest


@dataclass(frozen=True, slots=True)
class Sound:
    """A sound of a word: formants in Hz; how loud voice, hiss and breath are; its length in seconds."""

    formants: tuple[float, ...]
    voice: float = 0.0
    hiss: float = 0.0
    breath: float = 0.0
    seconds: float = 0.07


_NEUTRAL = (500.0, 1500.0, 2500.0, 3500.0)
_BURST = Sound(_NEUTRAL, breath=0.5, seconds=0.02)
_PAUSE = Sound(_NEUTRAL, seconds=0.05)
_SOUNDS: Mapping[str, tuple[Sound, ...]] = MappingProxyType(
    {
        **{vowel: (Sound(formants, voice=1.0, seconds=0.12),) for vowel, formants in FORMANTS.items()},
        "n": (Sound((250.0, 1400.0, 2300.0, 3300.0), voice=0.4),),
        "l": (Sound((360.0, 1100.0, 2700.0, 3400.0), voice=0.5),),
        "r": (Sound((400.0, 1100.0, 1500.0, 3000.0), voice=0.5),),
        "s": (Sound(_NEUTRAL, hiss=0.35, seconds=0.1),),
        "f": (Sound(_NEUTRAL, breath=0.15, seconds=0.09),),
        "t": (_PAUSE, Sound(_NEUTRAL, hiss=0.4, seconds=0.025)),
        "p": (_PAUSE, _BURST),
        "g": (Sound((250.0, 1900.0, 2200.0, 3300.0), voice=0.15, seconds=0.04), _BURST),
    }
)


@dataclass(frozen=True, slots=True, eq=False)
class Clips:
    """Clips of sound [N, samples] from -1 to 1, and what they hold: labels [N], places in `WORDS`."""

    sounds: Array
    labels: Labels


def speak(rng: np.random.Generator, word: str) -> Floats:
    """Return one of `WORDS` as somebody says it: [samples], the loudest 1 or less; empty for noise alone."""
    sounds = COMMANDS.get(word) or _random_sounds(rng)
    return say(rng, sounds) if sounds else np.zeros(0)


def clips(rng: np.random.Generator, each: int, *, speaker: Speaker = speak) -> Clips:
    """Return ``each`` clips of every command, and twice as many of `OTHER`, `SECONDS` long, in random order."""
    counts = [2 * each if word == OTHER else each for word in WORDS]
    labels = rng.permutation(np.repeat(np.arange(len(WORDS), dtype=np.int32), counts))
    return Clips(np.stack([placed(rng, speaker(rng, WORDS[label])) for label in labels]), labels)


def placed(rng: np.random.Generator, spoken: Floats) -> Array:
    """Return a word [any number of samples] somewhere in a clip with noise [samples], cut at its end."""
    sound: Floats = 10.0 ** rng.uniform(-3.5, -2.0) * rng.standard_normal(round(SECONDS * RATE))
    free = len(sound) - len(spoken) - 2 * round(_SPACE * RATE)
    begin = round(_SPACE * RATE) + int(rng.integers(max(1, free)))
    heard = spoken[: len(sound) - begin]
    sound[begin : begin + len(heard)] += rng.uniform(0.1, 0.8) * heard
    return np.clip(sound, -1.0, 1.0).astype(np.float32)


def _random_sounds(rng: np.random.Generator) -> str:
    """Return a row of sounds that is not a command's; once in four times an empty one."""
    if rng.random() < 0.25:
        return ""
    while True:
        sounds = "".join(rng.choice(list(_SOUNDS), size=rng.integers(2, 5)))
        if not any(known in sounds for known in COMMANDS.values()):
            return sounds


def say(rng: np.random.Generator, sounds: str) -> Floats:
    """Return a row of sounds, such as "stop", said by a random speaker: [samples], the loudest 1 or less."""
    parts = [part for sound in sounds for part in _SOUNDS[sound]]
    lengths = (
        np.array([part.seconds for part in parts]) * rng.uniform(0.75, 1.3, len(parts)) * rng.uniform(0.8, 1.25)
    )
    ends = np.cumsum(lengths)
    # Sounds glide into each other from three quarters of one to a quarter of the next.
    knots = np.stack([ends - 0.75 * lengths, ends - 0.25 * lengths], axis=1).ravel()
    time = np.arange(round((ends[-1] + 0.02) * RATE)) / RATE

    def track(values: Sequence[float]) -> Floats:
        between: Floats = np.interp(time, knots, np.repeat(values, 2))
        return between

    formants = rng.uniform(0.9, 1.12) * np.array([part.formants for part in parts])
    pitch = rng.uniform(90.0, 240.0) * np.interp(time, [0.0, time[-1]], rng.uniform(0.85, 1.15, 2))
    voiced = _voice(pitch, np.stack([track(column) for column in formants.T]))
    sound: Floats = track([part.voice for part in parts]) * voiced
    sound += track([part.hiss for part in parts]) * _noise(rng, len(time), 3300.0, 700.0)
    sound += track([part.breath for part in parts]) * _noise(rng, len(time), 1800.0, 1800.0)
    swell = np.minimum(1.0, np.minimum(time, time[::-1]) / 0.02)
    result: Floats = swell * sound / max(1.0, float(np.abs(sound).max()))
    return result


def _voice(pitch: Floats, formants: Floats) -> Floats:
    """Return the harmonics of a pitch [samples], loud near formants [4, samples]: [samples]."""
    phase = 2.0 * np.pi * np.cumsum(pitch) / RATE
    orders = np.arange(1, int(_HIGHEST / pitch.min()) + 1)[:, np.newaxis]
    coarse = slice(None, None, FRAME // 2)  # loudness changes slowly
    frequency = orders * pitch[coarse]
    loudness = np.zeros_like(frequency)
    for formant, bandwidth, gain in zip(formants[:, coarse], BANDWIDTHS, GAINS, strict=True):
        loudness += gain / (1.0 + ((frequency - formant) / bandwidth) ** 2)
    loudness *= (frequency < _HIGHEST) / np.sqrt(orders)
    smooth = np.repeat(loudness, FRAME // 2, axis=1)[:, : len(pitch)]
    total: Floats = (smooth * np.sin(orders * phase)).sum(axis=0)
    voice: Floats = total / np.abs(total).max()
    return voice


def _noise(rng: np.random.Generator, samples: int, centre: float, width: float) -> Floats:
    """Return noise [samples], mostly within ``width`` of ``centre``, in Hz; its peaks are about 1."""
    spectrum = np.fft.rfft(rng.standard_normal(samples))
    away = (np.fft.rfftfreq(samples, 1.0 / RATE) - centre) / width
    noise: Floats = np.fft.irfft(spectrum / (1.0 + away**4), samples)
    noise /= 3.0 * noise.std()
    return noise


# What an ear makes of it ------------------------------------------------------------------------------------


def features(sound: Array) -> Array:
    """Return the features [frames, `BANDS`] of sound [samples], one frame for every `FRAME` samples of it."""
    return Ear().hear(sound)


class Ear:
    """Makes features of sound, piece by piece: joined along time, they are those of the whole sound."""

    def __init__(self) -> None:
        self._before = np.zeros(WINDOW - FRAME, np.float32)

    def hear(self, sound: Array) -> Array:
        """Return the features [frames, `BANDS`] of the next piece [samples], behind silence or the last piece.

        Raises:
            ValueError: the sound is not one row of samples, or does not fill its last frame.
        """
        if sound.ndim != 1 or len(sound) % FRAME:
            raise ValueError(f"expected one row of samples, a multiple of {FRAME}; got shape {sound.shape}")
        known = np.concatenate([self._before, sound])
        self._before = known[len(sound) :]
        windows = np.lib.stride_tricks.sliding_window_view(known, WINDOW)[::FRAME]
        power = np.abs(np.fft.rfft(windows * np.hanning(WINDOW), _FFT)) ** 2
        frames: Array = np.log(power @ _FILTERS.T + _QUIET).astype(np.float32)
        return frames


def _filters() -> Floats:
    """Return each band's share of the energy in each bin, [`BANDS`, bins]: triangles on the mel scale."""
    mels = np.linspace(_mel(_LOWEST), _mel(_HIGHEST), BANDS + 2)
    edges = 700.0 * (10.0 ** (mels / 2595.0) - 1.0)
    bins = np.fft.rfftfreq(_FFT, 1.0 / RATE)
    low, middle, high = (edges[first : first + BANDS, np.newaxis] for first in range(3))
    rising, falling = (bins - low) / (middle - low), (high - bins) / (high - middle)
    shares: Floats = np.maximum(0.0, np.minimum(rising, falling))
    return shares


def _mel(frequency: float) -> float:
    return 2595.0 * float(np.log10(1.0 + frequency / 700.0))


_FILTERS = _filters()
