"""Sounds to try a speech detector on, made of nothing: vowels, silence and noise.

A vowel is a sum of harmonics of a pitch, louder near the resonances of the vocal tract (the formants). Syllables
glide from vowel to vowel, in pitch, too, and swell and fade as speech does. It says nothing, but a network that
was trained on speech takes it for speech.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

Array: TypeAlias = NDArray[np.float32]
Floats: TypeAlias = NDArray[np.float64]

# Typical formants of an adult's vowels, in Hz; each has the bandwidth and the gain beside it in the next two.
FORMANTS: Mapping[str, tuple[float, ...]] = MappingProxyType(
    {
        "a": (800.0, 1200.0, 2500.0, 3500.0),
        "e": (530.0, 1850.0, 2500.0, 3500.0),
        "i": (300.0, 2300.0, 3000.0, 3600.0),
        "o": (500.0, 900.0, 2400.0, 3300.0),
        "u": (320.0, 800.0, 2300.0, 3300.0),
    }
)
BANDWIDTHS = (60.0, 80.0, 120.0, 150.0)
GAINS = (1.0, 0.6, 0.3, 0.15)

SYLLABLES = 5.0  # a second
PITCH = (100.0, 180.0)
HARMONICS = 39
HIGHEST = 5000.0
SHORTEST, LONGEST = 0.6, 2.0


def recording(rng: np.random.Generator, seconds: float, rate: int) -> Array:
    """Return sound [seconds * rate] from -1 to 1: vowels, silence, vowels and noise by turns, 0.6 to 2 s each."""
    samples = round(seconds * rate)
    parts: list[Floats] = []
    while sum(map(len, parts)) < samples:
        length = round(rng.uniform(SHORTEST, LONGEST) * rate)
        parts.append(_part(rng, len(parts), length, rate))
    return np.concatenate(parts)[:samples].astype(np.float32)


def _part(rng: np.random.Generator, turn: int, samples: int, rate: int) -> Floats:
    if turn % 4 == 1:
        return np.zeros(samples)
    noise = rng.standard_normal(samples)
    if turn % 4 == 3:
        return np.clip(0.1 * noise, -1.0, 1.0)
    return rng.uniform(0.1, 0.6) * vowels(rng, samples, rate) + 0.003 * noise


def vowels(rng: np.random.Generator, samples: int, rate: int) -> Floats:
    """Return syllables of random vowels [samples], the loudest sample 1 or less."""
    time = np.arange(samples) / rate
    seconds = samples / rate
    knots = np.linspace(0.0, seconds, max(2, int(SYLLABLES * seconds)))
    table = np.array(list(FORMANTS.values()))[rng.integers(len(FORMANTS), size=len(knots))]
    formants = [np.interp(time, knots, column) for column in table.T]
    pitch: Floats = np.interp(time, knots, rng.uniform(*PITCH, size=len(knots)))
    phase = 2.0 * np.pi * np.cumsum(pitch) / rate
    sound = np.zeros(samples)
    for harmonic in range(1, HARMONICS + 1):
        sound += _loudness(harmonic * pitch, formants) / np.sqrt(harmonic) * np.sin(harmonic * phase)
    swell = 0.15 + 0.85 * np.sin(np.pi * SYLLABLES * time) ** 2
    result: Floats = swell * sound / np.abs(sound).max()
    return result


def _loudness(frequency: Floats, formants: list[Floats]) -> Floats:
    """Return how loud a harmonic of these frequencies [samples] is between these formants, each [samples]."""
    loudness = np.zeros_like(frequency)
    for formant, bandwidth, gain in zip(formants, BANDWIDTHS, GAINS, strict=True):
        loudness += gain / (1.0 + ((frequency - formant) / bandwidth) ** 2)
    return loudness * (frequency < HIGHEST)
