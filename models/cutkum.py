"""cutkum 2.4: where words begin in Thai text, which has no spaces; a frozen graph of TensorFlow 1.

Source: the package ``cutkum`` (MIT, Pucktada Treeratpituk). Its graph was frozen in 2018, under control flow v1::

    inputs [time, batch, 80 one-hot], seq_lengths [batch], fw_state [1, batch, 896]
        -> dynamic_rnn over GRUCell(512), GRUCell(256), GRUCell(128), each with dropout of its outputs
        -> fully connected, at each step -> probs [time, batch, 5]

``keep_prob`` is a placeholder: 1 means no dropout, and is made a constant here. The classes are padding, and
whether a character begins a word, is inside of it, ends it, or is a word by itself. The network says so
``LOOK_AHEAD`` characters late, because it looks that far ahead.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from models.archives import Sdist, fetch, read_member

SDIST = Sdist("cutkum", "2.4", "0a274c0d7ca31269756a563526d8211deb0f8614fb49bba1fdf943bf688b1ba3")
CONSTANTS = {"placeholder/keep_prob": 1.0}
INPUTS, LENGTHS, STATE = "placeholder/inputs", "placeholder/seq_lengths", "placeholder/fw_state"
OUTPUT = "probs"
UNITS = (512, 256, 128)
DEPTH = 80
LOOK_AHEAD = 2
BEGIN, SINGLE = 1, 4
"""The classes of the first character of a word."""

# Consonants, vowels and marks in the order of the one-hot input, from 2 on; whatever is not listed is 1.
_THAI = "กขฃคฅฆงจฉชซฌญฐฎฏฐฑฒณดตถทธนบปผฝพฟภมยรฤลฦวศษสหฬอฮฯะัาำิีึืุูเแโใไๅๆ็่้๊๋์ํ"
_OTHERS = ("".join(map(chr, range(0x0E50, 0x0E5A))) + "0123456789", " ", ".", ":;^+-*/_=#!~%\\/'\"`?", "()[]<>{}")
_UNKNOWN = 1

WORDS = (
    *(
        "ฉัน",
        "เขา",
        "เรา",
        "แม่",
        "พ่อ",
        "ครู",
        "นักเรียน",
        "เด็ก",
        "หมา",
        "แมว",
        "รถ",
        "บ้าน",
        "โรงเรียน",
        "ตลาด",
        "ประเทศ",
    ),
    *("ไทย", "ภาษา", "หนังสือ", "น้ำ", "ข้าว", "ปลา", "ต้นไม้", "วันนี้", "พรุ่งนี้", "กิน", "ไป", "มา", "อ่าน", "เขียน", "เห็น"),
    *(
        "ชอบ",
        "รัก",
        "ซื้อ",
        "ขาย",
        "ทำงาน",
        "เดิน",
        "ที่",
        "และ",
        "ของ",
        "ใน",
        "กับ",
        "ไม่",
        "มาก",
        "ใหญ่",
        "เล็ก",
        "ดี",
        "สวย",
    ),
    *("สารานุกรม", "สำหรับ", "เยาวชน", "รัฐบาล", "การศึกษา", "เศรษฐกิจ", "วิทยาศาสตร์", "ประชาชน"),
)
"""Common words, to make sentences of."""


def save_graph(folder: Path, cache: Path | None = None) -> Path:
    """Fetch (once) the package, write its frozen graph to ``folder``, and return the file's path.

    Raises:
        DownloadError, DigestError: see `models.archives.fetch`.
    """
    path = folder / "frozen_model.pb"
    path.write_bytes(read_member(fetch(SDIST, cache), f"cutkum-{SDIST.version}/cutkum/frozen_model.pb"))
    return path


def encode(sentences: Sequence[str]) -> dict[str, NDArray[np.float32] | NDArray[np.int32]]:
    """Return the network's inputs for ``sentences``, each padded with spaces so that it can look ahead.

    Raises:
        ValueError: there are no sentences.
    """
    if not sentences:
        raise ValueError("cannot encode nothing: needs at least one sentence")
    padded = [sentence + " " * LOOK_AHEAD for sentence in sentences]
    one_hot = np.zeros((max(map(len, padded)), len(padded), DEPTH), np.float32)
    for row, sentence in enumerate(padded):
        for step, character in enumerate(sentence):
            one_hot[step, row, _number(character)] = 1.0
    lengths = np.array([len(sentence) for sentence in padded], np.int32)
    return {INPUTS: one_hot, LENGTHS: lengths, STATE: np.zeros((1, len(padded), sum(UNITS)), np.float32)}


def _number(character: str) -> int:
    """Return the place of a character in the one-hot input."""
    if character in _THAI:
        return _THAI.index(character) + 2
    for place, group in enumerate(_OTHERS):
        if character in group:
            return len(_THAI) + 2 + place
    return DEPTH - 1 if character.isascii() and character.isalpha() else _UNKNOWN


def labels(probs: NDArray[np.float32], sentence: str, row: int) -> NDArray[np.int64]:
    """Return the class of each character of the sentence that is ``row`` of the batch."""
    return np.asarray(probs[LOOK_AHEAD : LOOK_AHEAD + len(sentence), row].argmax(axis=-1))


def words(sentence: str, classes: NDArray[np.int64]) -> list[str]:
    """Return ``sentence`` cut where a word begins."""
    starts = [place for place, one in enumerate(classes) if place and one in {BEGIN, SINGLE}]
    return [sentence[start:end] for start, end in zip([0, *starts], [*starts, len(sentence)], strict=True)]


def sentences(rng: np.random.Generator, count: int) -> list[str]:
    """Return ``count`` sentences of 2 to 9 words, a few with a space, a number or a Latin word among them."""
    others = (" ", " 42 ", " Bangkok ", "๑๒.")
    made = []
    for _ in range(count):
        chosen = [str(word) for word in rng.choice(WORDS, rng.integers(2, 10))]
        if rng.random() < 0.3:
            chosen.insert(int(rng.integers(1, len(chosen))), others[int(rng.integers(len(others)))])
        made.append("".join(chosen))
    return made
