"""Files are written whole or not at all, and only where a file may be."""

from __future__ import annotations

import errno
import os
import socket
import stat
from pathlib import Path

import pytest

from converter.errors import SourceError, TfliteRnnError
from converter.files import check_readable, check_writable, is_same_file, write_atomically, write_files

LONG = "x" * 256


@pytest.fixture
def pipe(tmp_path: Path) -> Path:
    place = tmp_path / "pipe"
    os.mkfifo(place)
    return place


def device(folder: Path) -> Path:
    place = folder / "null"
    try:
        os.mknod(place, stat.S_IFCHR | 0o666, os.makedev(1, 3))
    except PermissionError:
        pytest.skip("only the superuser makes devices")
    return place


# --- reading ---------------------------------------------------------------------------------------------------


def test_files_and_folders_can_be_read(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    check_readable(tmp_path)
    check_readable(tmp_path / "file")


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("nothing", "no such file or directory"),
        ("pipe/inside", "no such file or directory"),
        (LONG, "File name too long"),
        ("zero\0byte", "null byte"),
        ("pipe", "this is a pipe"),
        ("loop", "symbolic links"),
    ],
)
def test_what_cannot_be_read_is_refused(name: str, reason: str, tmp_path: Path, pipe: Path) -> None:
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    with pytest.raises(SourceError, match=reason):
        check_readable(tmp_path / name)


def test_a_device_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="this is a device; give a file"):
        check_readable(device(tmp_path))


# --- writing ---------------------------------------------------------------------------------------------------


def test_a_file_is_replaced(tmp_path: Path) -> None:
    place = tmp_path / "model.tflite"
    for content in (b"first", b"second"):
        check_writable(place)
        write_atomically(place, content)
        assert place.read_bytes() == content
    assert [path.name for path in tmp_path.iterdir()] == ["model.tflite"]


def test_a_name_of_255_bytes_is_no_difficulty(tmp_path: Path) -> None:
    place = tmp_path / ("x" * 255)
    check_writable(place)
    write_atomically(place, b"content")
    assert place.read_bytes() == b"content"


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        (LONG, "File name too long"),
        (f"{LONG}/model", "File name too long"),
        ("zero\0byte", "null byte|null character"),
        ("nowhere/model", "not an existing directory"),
        ("pipe", "this is a pipe"),
        ("socket", "this is a socket"),
        ("folder", "this is a directory"),
        ("link", "this is a directory"),
        ("loop", "symbolic links"),
    ],
)
def test_what_is_no_place_for_a_file_is_left_alone(name: str, reason: str, tmp_path: Path, pipe: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "folder")
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    with socket.socket(socket.AF_UNIX) as bound:
        bound.bind(str(tmp_path / "socket"))
        before = sorted((path.name, path.lstat().st_mode) for path in tmp_path.iterdir())
        for refuse in (check_writable, lambda place: write_atomically(place, b"content")):
            with pytest.raises(TfliteRnnError, match=f"cannot write the file: .*({reason})"):
                refuse(tmp_path / name)
        assert sorted((path.name, path.lstat().st_mode) for path in tmp_path.iterdir()) == before


def test_a_device_is_not_replaced(tmp_path: Path) -> None:
    place = device(tmp_path)
    with pytest.raises(TfliteRnnError, match="this is a device"):
        write_atomically(place, b"content")
    assert stat.S_ISCHR(place.lstat().st_mode)


@pytest.mark.parametrize("exists", [False, True])
def test_links_are_followed(exists: bool, tmp_path: Path) -> None:
    target, link = tmp_path / "folder" / "target", tmp_path / "link"
    target.parent.mkdir()
    if exists:
        target.write_bytes(b"old")
    link.symlink_to(Path("folder") / "target")
    check_writable(link)
    write_atomically(link, b"new")
    assert link.is_symlink()
    assert target.read_bytes() == b"new"


def test_one_of_two_files_is_not_written_if_the_other_cannot_be(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A disk that is full after the first file."""
    model, report = tmp_path / "model.tflite", tmp_path / "report.json"
    model.write_bytes(b"old")
    opened = os.fdopen

    def full(handle: int, mode: str) -> object:
        file = opened(handle, mode)
        if list(tmp_path.glob(".tflite-rnn-*"))[1:]:
            file.close()
            raise OSError(errno.ENOSPC, "No space left on device")
        return file

    monkeypatch.setattr("os.fdopen", full)
    with pytest.raises(TfliteRnnError, match=r"report\.json: cannot write the file: No space left on device"):
        write_files({model: b"new", report: b"{}"})
    assert [path.name for path in tmp_path.iterdir()] == ["model.tflite"]
    assert model.read_bytes() == b"old"


# --- one file by two names -------------------------------------------------------------------------------------


def test_two_names_of_one_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    place = tmp_path / "model"
    (tmp_path / "link").symlink_to(place)
    for other in (
        place,
        Path("model"),
        Path("./model"),
        tmp_path / "link",
        tmp_path / ".." / tmp_path.name / "model",
    ):
        assert is_same_file(place, other)
    assert not is_same_file(place, tmp_path / "other")
    place.write_bytes(b"content")
    os.link(place, tmp_path / "twin")
    assert is_same_file(place, tmp_path / "twin")
    assert not is_same_file(place, tmp_path / LONG)
