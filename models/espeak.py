"""Spoken words from espeak-ng, if it is installed: another voice, accent, pitch and tempo for each.

espeak-ng is a program (https://github.com/espeak-ng/espeak-ng, GPL 3), which is started for each word. Nothing of
this project needs it: it is another source of sound for `models.keywords`, beside the one of `models.commands`.
"""

from __future__ import annotations

import shutil
import struct
import subprocess
from pathlib import Path

import numpy as np

from converter.errors import SourceError
from models.commands import COMMANDS, OTHER, RATE, Floats

PROGRAM = "espeak-ng"
ACCENTS = ("en", "en-us", "en-gb-scotland", "en-gb-x-rp")
VARIANTS = ("m1", "m2", "m3", "m4", "m5", "m6", "m7", "f1", "f2", "f3", "f4")
SPEEDS = (130, 220)  # words a minute
PITCHES = (20, 80)  # of 0 to 99

_OTHERS = tuple(
    word
    for word in (Path(__file__).parent / "words.txt").read_text().split()
    if word not in COMMANDS and len(word) <= 7
)
_HEADER = 44  # bytes of a WAV file before its samples
_AUDIBLE = 0.02  # of the loudest sample


def speak(rng: np.random.Generator, word: str) -> Floats:
    """Return one of `models.commands.WORDS` as a random voice says it: [samples], the loudest 1.

    `OTHER` is some English word, or once in four times nothing, an empty array.

    Raises:
        SourceError: espeak-ng is not installed, or fails.
    """
    if word == OTHER and rng.random() < 0.25:
        return np.zeros(0)
    said = str(rng.choice(_OTHERS)) if word == OTHER else word
    voice = f"{rng.choice(ACCENTS)}+{rng.choice(VARIANTS)}"
    speed, pitch = (str(rng.integers(*bounds)) for bounds in (SPEEDS, PITCHES))
    found, rate = read_wav(_run("-v", voice, "-s", speed, "-p", pitch, "--stdout", said))
    sound = resampled(found, rate)
    audible = np.flatnonzero(np.abs(sound) > _AUDIBLE * np.abs(sound).max(initial=0.0))
    if not audible.size:
        raise SourceError(f"{PROGRAM} said nothing for {said!r} with the voice {voice}")
    word_alone = sound[audible[0] : audible[-1] + 1]
    loudest: Floats = word_alone / np.abs(word_alone).max()
    return loudest


def _run(*arguments: str) -> bytes:
    program = shutil.which(PROGRAM)
    if program is None:
        raise SourceError(f"{PROGRAM} is not installed; install it, or leave out --espeak")
    try:
        return subprocess.run([program, *arguments], capture_output=True, check=True).stdout
    except (OSError, subprocess.CalledProcessError) as error:
        raise SourceError(f"{PROGRAM} failed: {error}") from error


def read_wav(content: bytes) -> tuple[Floats, int]:
    """Return the samples [N], from -1 to 1, and their rate, in Hz, of a WAV file as espeak-ng writes it to a pipe.

    The sizes in its header are not known when it is written, so they are not read.

    Raises:
        SourceError: it is not a WAV file of one channel of 16 bits.
    """
    if len(content) < _HEADER or content[:4] != b"RIFF":
        raise SourceError(f"{PROGRAM}: expected a WAV file, got {len(content)} bytes")
    kind, channels, rate, _, _, bits = struct.unpack_from("<HHIIHH", content, 20)
    if (kind, channels, bits) != (1, 1, 16) or not rate:
        raise SourceError(f"{PROGRAM}: expected one channel of 16 bits, got {channels} of {bits}")
    whole = len(content) - (len(content) - _HEADER) % 2
    return np.frombuffer(content[_HEADER:whole], "<i2") / 32768.0, rate


def resampled(sound: Floats, rate: int) -> Floats:
    """Return a sound [N] of ``rate`` samples a second at `RATE`, without what lies above half of it."""
    if not sound.size:
        return sound
    count = max(1, round(len(sound) * RATE / rate))
    spectrum = np.fft.rfft(sound)
    lowered: Floats = np.fft.irfft(spectrum[: count // 2 + 1], count) * (count / len(sound))
    return lowered
