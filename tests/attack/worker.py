"""Convert mutants, one after the other: a line of JSON for each line with the path of a file.

A `.tflite` is compiled in this process. What TensorFlow reads goes the way of every such file: into an isolated
process with limits, which serves one mutant after the other.
"""

from __future__ import annotations

import json
import resource
import sys
import traceback
from pathlib import Path

from converter.convert import compile_opened
from converter.errors import InternalError, TfliteRnnError
from converter.importers.source import Source
from converter.opening import open_source
from converter.sources import FrozenGraph, TfliteModel, as_source
from tflite_rnn.isolation import Isolation, Limits
from tflite_rnn.isolation.source import InternalError as ErrorInProcess

GRAPH_OUTPUTS = ("y", "h")
LIMITS = Limits(timeout=50.0, memory_mb=4096)
BEYOND = {"not finished after": "hung", "MB of memory": "memory", "the process that did it": "process ended"}


def outcome(path: Path, isolation: Isolation) -> dict[str, object]:
    """Return what became of a file; ``parsed`` says whether it was read before it was refused."""
    parsed = False
    try:
        opened = _opened(path, isolation)
        parsed = True
        converted = compile_opened(opened)
    except (InternalError, ErrorInProcess) as error:
        return {"outcome": "internal", "detail": f"{type(error).__name__}: {error}"}
    except TfliteRnnError as error:
        kind = next((kind for words, kind in BEYOND.items() if words in str(error)), "refused")
        return {"outcome": kind, "parsed": parsed, "detail": str(error)}
    except BaseException:
        return {"outcome": "escaped", "detail": traceback.format_exc()}
    path.with_suffix(".converted").write_bytes(converted.model)
    return {"outcome": "converted", "parsed": True}


def _opened(path: Path, isolation: Isolation) -> Source:
    if path.suffix == ".tflite":
        return open_source(path.read_bytes())
    source = FrozenGraph(path, outputs=GRAPH_OUTPUTS) if path.suffix == ".pb" else as_source(path)
    return open_source(source) if isinstance(source, TfliteModel) else isolation.open(source)


def main() -> None:
    """Serve until the input ends."""
    with Isolation(LIMITS) as isolation:
        for line in sys.stdin:
            found = outcome(Path(line.strip()), isolation)
            found["megabytes"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
            print(json.dumps(found), flush=True)


if __name__ == "__main__":
    main()
