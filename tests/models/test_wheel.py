"""Fetching and reading a pinned wheel; `test_archives` has what both kinds of archive share."""

from __future__ import annotations

import hashlib
import io
import zipfile
from pathlib import Path

import pytest

from converter.errors import SourceError
from models.archives import DigestError, Wheel, fetch, read_member

FOLDER = "tiny_weights-1.0.dist-info"
METADATA = "Metadata-Version: 2.1\nName: tiny-weights\nVersion: 1.0\nRequires-Dist: no-such-package-anywhere\n"
WHEEL = "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
FILES = {
    "tiny_weights/data.bin": b"\x00weights" * 100,
    f"{FOLDER}/METADATA": METADATA.encode(),
    f"{FOLDER}/WHEEL": WHEEL.encode(),
    f"{FOLDER}/RECORD": b"",
}


def wheel_bytes() -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as wheel:
        wheel.writestr(zipfile.ZipInfo("tiny_weights/"), b"")
        for name, content in FILES.items():
            wheel.writestr(name, content)
    return buffer.getvalue()


@pytest.fixture
def served(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Wheel:
    """A package that pip finds in a folder instead of on an index."""
    shelf = tmp_path / "shelf"
    shelf.mkdir()
    content = wheel_bytes()
    (shelf / "tiny_weights-1.0-py3-none-any.whl").write_bytes(content)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(shelf))
    return Wheel("tiny-weights", "1.0", hashlib.sha256(content).hexdigest())


def test_a_wheel_is_fetched_without_what_it_depends_on(served: Wheel, tmp_path: Path) -> None:
    archive = fetch(served, tmp_path / "cache")
    assert read_member(archive, "tiny_weights/data.bin") == FILES["tiny_weights/data.bin"]
    assert [path.name for path in (tmp_path / "cache").iterdir()] == ["tiny_weights-1.0-py3-none-any.whl"]


def test_a_wheel_with_another_digest_is_refused_and_not_kept(served: Wheel, tmp_path: Path) -> None:
    with pytest.raises(DigestError, match=f"sha256 is {served.sha256}, pinned is 0000"):
        fetch(Wheel(served.name, served.version, "0" * 64), tmp_path / "cache")
    assert list((tmp_path / "cache").iterdir()) == []


@pytest.mark.parametrize(
    ("member", "reason"), [("missing", "has no member"), ("tiny_weights/", "not a regular file")]
)
def test_only_regular_members_of_a_wheel_are_read(tmp_path: Path, member: str, reason: str) -> None:
    archive = tmp_path / "archive.whl"
    archive.write_bytes(wheel_bytes())
    with pytest.raises(SourceError, match=reason):
        read_member(archive, member)


def damaged(kind: str) -> bytes:
    content = bytearray(wheel_bytes())
    if kind != "overwritten":
        return bytes(content[: {"empty": 0, "cut": 200}[kind]])
    place = content.index(b"tiny_weights/data.bin") + len("tiny_weights/data.bin")
    content[place : place + 8] = b"\xff" * 8
    return bytes(content)


@pytest.mark.parametrize("kind", ["empty", "cut", "overwritten"])
def test_a_damaged_wheel_is_one_clear_error(tmp_path: Path, kind: str) -> None:
    archive = tmp_path / "archive.whl"
    archive.write_bytes(damaged(kind))
    with pytest.raises(SourceError, match=r"cannot be read as \.whl"):
        read_member(archive, "tiny_weights/data.bin")
