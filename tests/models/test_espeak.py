"""Words said by espeak-ng, which need not be installed: what is read of its sound, and of its failures."""

from __future__ import annotations

import io
import wave
from pathlib import Path

import numpy as np
import pytest

from converter.errors import SourceError
from models import commands, espeak
from models.commands import COMMANDS, OTHER, RATE


def wav(samples: commands.Floats, rate: int, channels: int = 1) -> bytes:
    file = io.BytesIO()
    with wave.open(file, "wb") as writer:
        writer.setparams((channels, 2, rate, 0, "NONE", ""))
        writer.writeframes((samples * 32767).astype("<i2").tobytes())
    return file.getvalue()


def tone(frequency: float, rate: int, seconds: float = 0.5) -> commands.Floats:
    sound: commands.Floats = 0.5 * np.sin(2.0 * np.pi * frequency * np.arange(round(seconds * rate)) / rate)
    return sound


@pytest.fixture
def program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A program in the place of espeak-ng that writes down what it is to say, and says the file ``said.wav``."""
    path = tmp_path / espeak.PROGRAM
    path.write_text(f'#!/bin/sh\necho "$@" >> {tmp_path}/asked\nexec /bin/cat {tmp_path}/said.wav\n')
    path.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    return path


def test_samples_and_rate_are_read_from_the_header_on() -> None:
    samples, rate = espeak.read_wav(wav(tone(440.0, 22050), 22050))
    assert rate == 22050
    np.testing.assert_allclose(samples, tone(440.0, 22050), atol=1e-4)


def test_sizes_that_were_not_known_are_not_read() -> None:
    content = bytearray(wav(tone(440.0, 22050), 22050))
    content[4:8] = content[40:44] = b"\xff\xff\xff\x7f"
    assert len(espeak.read_wav(bytes(content))[0]) == 11025


@pytest.mark.parametrize("content", [b"", b"RIFF", bytes(100), wav(np.zeros(100), 8000, channels=2)])
def test_what_is_no_such_file_is_refused(content: bytes) -> None:
    with pytest.raises(SourceError, match="espeak-ng: expected"):
        espeak.read_wav(content)


@pytest.mark.parametrize("rate", [8000, 16000, 22050])
def test_a_tone_stays_one_at_another_rate(rate: int) -> None:
    sound = espeak.resampled(tone(1000.0, rate), rate)
    assert len(sound) == RATE // 2
    np.testing.assert_allclose(sound[100:-100], tone(1000.0, RATE)[100:-100], atol=0.02)


def test_what_is_too_high_for_the_rate_is_left_out() -> None:
    assert np.abs(espeak.resampled(tone(6000.0, 22050), 22050)).max() < 0.01


def test_a_word_is_what_can_be_heard_of_it_at_full_loudness(program: Path) -> None:
    silence = np.zeros(11025)
    program.with_name("said.wav").write_bytes(wav(np.concatenate([silence, tone(500.0, 22050), silence]), 22050))
    sound = espeak.speak(np.random.default_rng(0), "left")
    assert len(sound) == pytest.approx(RATE / 2, rel=0.1)
    assert np.abs(sound).max() == pytest.approx(1.0)
    arguments = program.with_name("asked").read_text().split()
    assert arguments[-2:] == ["--stdout", "left"]


def test_voices_differ_and_others_are_no_commands(program: Path) -> None:
    program.with_name("said.wav").write_bytes(wav(tone(500.0, 22050), 22050))
    rng = np.random.default_rng(0)
    sizes = [espeak.speak(rng, OTHER).size for _ in range(40)]
    assert 0 < sizes.count(0) < 30
    asked = [line.split() for line in program.with_name("asked").read_text().splitlines()]
    assert len(asked) == 40 - sizes.count(0)
    assert len({line[1] for line in asked}) > 10
    assert not {line[-1] for line in asked} & COMMANDS.keys()


def test_silence_and_failures_are_one_message(program: Path) -> None:
    program.with_name("said.wav").write_bytes(wav(np.zeros(2000), 22050))
    with pytest.raises(SourceError, match="said nothing for 'yes'"):
        espeak.speak(np.random.default_rng(0), "yes")
    program.write_text("#!/bin/sh\nexit 3\n")
    with pytest.raises(SourceError, match=r"espeak-ng failed: .* exit status 3"):
        espeak.speak(np.random.default_rng(0), "yes")


def test_without_the_program_it_is_said_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    with pytest.raises(SourceError, match="espeak-ng is not installed; install it, or leave out --espeak"):
        espeak.speak(np.random.default_rng(0), "yes")
