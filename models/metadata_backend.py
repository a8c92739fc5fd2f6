"""A build backend (PEP 517) that builds nothing: it copies the metadata an sdist already carries.

``pip download`` insists on asking an sdist for its metadata, and normally that runs the package's own
``setup.py``. `models.archives` puts this file in the place of ``setuptools.build_meta`` for that one call, so that
pip gets its answer from ``PKG-INFO`` and no line of the package is executed. pip copies nothing else of this
project into that process, so this file imports the standard library only.
"""

from __future__ import annotations

import sys
from email.parser import HeaderParser
from pathlib import Path


def prepare_metadata_for_build_wheel(
    metadata_directory: str, config_settings: dict[str, object] | None = None
) -> str:
    """Write a ``.dist-info`` with the sdist's own ``PKG-INFO``; return its name. Runs in the unpacked sdist."""
    del config_settings  # part of the hook's signature; there is nothing to configure
    text = Path("PKG-INFO").read_text(encoding="utf-8")
    headers = HeaderParser().parsestr(text)
    folder = Path(metadata_directory, f"{headers['Name'].replace('-', '_')}-{headers['Version']}.dist-info")
    folder.mkdir()
    (folder / "METADATA").write_text(text, encoding="utf-8")
    return folder.name


# The backend of an sdist without a pyproject.toml is spelt "setuptools.build_meta:__legacy__".
__legacy__ = sys.modules[__name__]
