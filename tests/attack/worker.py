"""Convert mutants, one after the other: a line of JSON for each line with the path of a file."""

from __future__ import annotations

import json
import resource
import sys
import traceback
from pathlib import Path

from converter.convert import compile_source
from converter.errors import InternalError, TfliteRnnError

UNREAD = ("damaged or truncated", "not a TFLite model")


def outcome(path: Path) -> dict[str, object]:
    try:
        converted = compile_source(path.read_bytes())
    except InternalError as error:
        return {"outcome": "internal", "detail": f"{type(error).__name__}: {error}"}
    except TfliteRnnError as error:
        return {"outcome": "refused", "parsed": not any(word in str(error) for word in UNREAD)}
    except BaseException:
        return {"outcome": "escaped", "detail": traceback.format_exc()}
    path.with_suffix(".converted").write_bytes(converted.model)
    return {"outcome": "converted", "parsed": True}


def main() -> None:
    for line in sys.stdin:
        found = outcome(Path(line.strip()))
        found["megabytes"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
        print(json.dumps(found), flush=True)


if __name__ == "__main__":
    main()
