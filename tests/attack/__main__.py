"""Attack the compiler with mutated files: ``python -m tests.attack --n 1000 --seed 1 [--start 0]``.

Each mutant is converted in a worker process with a limit on time and memory. One that converts must give, on its
first invoke, what the runtime makes of the mutant itself. Every violation is printed with its number, by which it
can be repeated; the exit status is 1 if there is one.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import select
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np

from tests.attack.mutants import mutant
from tflite_rnn.runtime import AI_EDGE_LITERT, Runtime, RuntimeFailure, Signature, WorkerCrashed, WorkerPool

SECONDS, MEGABYTES, TOLERANCE = 60, 4096, 1e-4
MOST_ELEMENTS = 1 << 22
PLAIN = Runtime(AI_EDGE_LITERT, delegate=False)


class Converter:
    """A worker process that converts, started anew after a hang or a crash."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[str] | None = None

    def convert(self, path: Path) -> dict[str, object]:
        """Return what became of a file."""
        if self._process is None:
            command = [sys.executable, "-m", "tests.attack.worker"]
            self._process = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
            )
        process = self._process
        if process.stdin is None or process.stdout is None:
            raise RuntimeError("expected pipes to the worker")
        process.stdin.write(f"{path}\n")
        process.stdin.flush()
        ready, _, _ = select.select([process.stdout], [], [], SECONDS)
        line = process.stdout.readline() if ready else ""
        if line:
            found: dict[str, object] = json.loads(line)
            if int(str(found["megabytes"])) > MEGABYTES:
                self.close()  # the next one is measured by itself
            return found
        self.close()
        return {"outcome": "crashed" if ready else "hung", "detail": "", "megabytes": 0}

    def close(self) -> None:
        """End the worker."""
        if self._process is not None:
            self._process.kill()
            for pipe in (self._process.stdin, self._process.stdout):
                if pipe is not None:
                    pipe.close()
            self._process.wait()
            self._process = None


def inputs_of(signature: Signature, rng: np.random.Generator) -> dict[str, np.ndarray]:
    """Return inputs of small sizes: ids and lengths of zero and one are legal nearly everywhere."""
    made = {}
    for spec in signature.inputs:
        shape = [2 if size is None else size for size in spec.shape]
        is_float = spec.dtype.kind == "f"
        made[spec.name] = np.asarray(
            rng.standard_normal(shape) if is_float else rng.integers(0, 2, shape), spec.dtype
        )
    return made


def first_invoke(pool: WorkerPool, model: bytes) -> Mapping[str, np.ndarray] | str:
    """Return what a model gives at its first invoke, or why it gives nothing."""
    try:
        with pool.open(PLAIN, model) as running:
            if (
                sum(int(np.prod([size or 2 for size in spec.shape])) for spec in running.signature.inputs)
                > 1 << 22
            ):
                return "too large"
            return running.run(inputs_of(running.signature, np.random.default_rng(0)))
    except WorkerCrashed:
        return "crashed"
    except (RuntimeFailure, ValueError, TypeError):
        return "failed"


def agree(one: Mapping[str, np.ndarray], other: Mapping[str, np.ndarray]) -> bool:
    """Return whether two models gave the same; outputs are compared by name, or else in their order."""
    names = one.keys() == other.keys()
    pairs = (
        [(one[name], other[name]) for name in one] if names else [*zip(one.values(), other.values(), strict=False)]
    )
    if len(one) != len(other):
        return False
    return all(
        x.shape == y.shape and np.allclose(x, y, rtol=TOLERANCE, atol=TOLERANCE, equal_nan=True)
        for x, y in pairs
        if x.dtype.kind not in "SUO"
    )


def attack(seed: int, start: int, count: int) -> Iterator[tuple[int, str, str]]:
    """Yield the number of each mutant, what became of it, and details of a violation."""
    with (
        contextlib.closing(Converter()) as converter,
        tempfile.TemporaryDirectory() as folder,
        WorkerPool(timeout=SECONDS) as pool,
    ):
        path = Path(folder) / "mutant.tflite"
        for number in range(start, start + count):
            path.write_bytes(mutant(seed, number))
            found = converter.convert(path)
            kind = str(found["outcome"])
            if int(str(found["megabytes"])) > MEGABYTES:
                yield number, "memory", f"{found['megabytes']} MB"
            elif kind != "converted":
                parsed = "refused" if found.get("parsed") else "not a model"
                yield number, parsed if kind == "refused" else kind, str(found.get("detail", ""))
            else:
                made = path.with_suffix(".converted")
                yield number, *compared(pool, path.read_bytes(), made.read_bytes())
                made.unlink()
            extra = sorted(other.name for other in Path(folder).iterdir() if other != path)
            if extra:
                yield number, "files", ", ".join(extra)


def compared(pool: WorkerPool, original: bytes, converted: bytes) -> tuple[str, str]:
    """Return whether a converted mutant gives what the mutant itself does."""
    wanted = first_invoke(pool, original)
    if isinstance(wanted, str):
        return f"converted, the mutant {wanted}", ""
    found = first_invoke(pool, converted)
    if isinstance(found, str):
        return "broken", f"the mutant runs, but the converted file {found}"
    return ("converted alike", "") if agree(wanted, found) else ("wrong", "other numbers than the mutant's")


VIOLATIONS = frozenset({"internal", "escaped", "crashed", "hung", "memory", "broken", "wrong", "files"})


def main() -> int:
    """Run the attack, and print counts and violations."""
    parser = argparse.ArgumentParser(prog="python -m tests.attack", description=__doc__)
    parser.add_argument("--n", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--start", type=int, default=0)
    options = parser.parse_args()
    counts: Counter[str] = Counter()
    failed = 0
    for number, kind, detail in attack(options.seed, options.start, options.n):
        counts[kind] += 1
        if kind in VIOLATIONS:
            failed += 1
            print(f"{kind}: --seed {options.seed} --start {number} --n 1\n{detail.strip()[-1500:]}\n", flush=True)
    for kind, count in counts.most_common():
        print(f"{count:7} {kind}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
