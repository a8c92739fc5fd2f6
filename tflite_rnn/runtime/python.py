"""Python processes that import only what this one does, never what lies in the current directory."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

_BOOT: Final = """\
import json, runpy, sys
sys.path[:] = json.loads(sys.argv.pop(1))
runpy.run_module({module!r}, {{}}, "__main__", alter_sys=True)
"""


def isolated_command(module: str, *arguments: str, importable: Sequence[str] = ()) -> list[str]:
    """Return the command that runs ``module`` in a Python of its own, as ``python -m`` does, but isolated.

    The process ignores Python's environment variables and the user's site directory, and looks for modules where
    this process does, except in the current directory: ``python -m`` would put it first, and a ``queue.py`` or
    ``numpy.py`` in a folder of downloaded models would be run. Where this package is in the current directory, as
    in a checkout, that comes last. ``importable`` are more places, which come after all others.
    """
    paths = dict.fromkeys([*_own_path(), str(Path(__file__).parents[2]), *importable])
    return [sys.executable, "-I", "-B", "-c", _BOOT.format(module=module), json.dumps(list(paths)), *arguments]


def _own_path() -> list[str]:
    current = os.path.realpath(os.getcwd())
    return [path for path in sys.path if path and os.path.realpath(path) != current]
