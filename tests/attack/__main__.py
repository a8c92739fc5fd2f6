"""Attack the compiler with mutated files: ``python -m tests.attack --kind h5 --n 1000 --seed 1 [--start 0]``.

Each mutant is converted in a worker process with a limit on time and memory. A `.tflite` that converts must give,
on its first invoke, what the runtime makes of the mutant itself. The other kinds are read in isolated processes:
what converts is counted, and nothing may be left among the temporary files. Every violation is printed with its
number, by which it can be repeated; the exit status is 1 if there is one.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import select
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np

from converter.errors import TfliteRnnError
from converter.importers.tflite_file import load_tflite
from converter.ir import Program
from converter.ir.evaluate import evaluate
from tests.attack.files import SUFFIXES, make_seeds, write_mutant
from tests.attack.mutants import mutant
from tflite_rnn.runtime import (
    AI_EDGE_LITERT,
    Runtime,
    RuntimeFailure,
    Signature,
    TensorSpec,
    WorkerCrashed,
    WorkerPool,
)

SECONDS, MEGABYTES, TOLERANCE = 60, 4096, 1e-4
MOST_ELEMENTS = 1 << 22
TFLITE = "tflite"
KINDS = (TFLITE, *SUFFIXES)
UNREAD = ("damaged or truncated", "not a TFLite model")
PLAIN = Runtime(AI_EDGE_LITERT, delegate=False)


class Converter:
    """A worker process that converts, started anew after a hang or a crash."""

    def __init__(self, temporary: Path) -> None:
        self._process: subprocess.Popen[str] | None = None
        self._environment = {**os.environ, "TMPDIR": str(temporary)}

    def convert(self, path: Path) -> dict[str, object]:
        """Return what became of a file."""
        if self._process is None:
            command = [sys.executable, "-m", "tests.attack.worker"]
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                text=True,
                env=self._environment,
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


def attack(seed: int, start: int, count: int, kind: str = TFLITE) -> Iterator[tuple[int, str, str]]:
    """Yield the number of each mutant of a kind, what became of it, and details of a violation."""
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as stack:
        mutants, temporary, originals = (Path(folder, name) for name in ("mutants", "temporary", "originals"))
        for directory in (mutants, temporary, originals):
            directory.mkdir()
        converter = stack.enter_context(contextlib.closing(Converter(temporary)))
        pool = stack.enter_context(WorkerPool(timeout=SECONDS))
        path = mutants / f"mutant{SUFFIXES.get(kind, '.tflite')}"
        seeds = _seeds(kind, originals)
        for number in range(start, start + count):
            if kind == TFLITE:
                path.write_bytes(mutant(seed, number))
            else:
                rng = np.random.default_rng([seed, number])
                write_mutant(kind, seeds[rng.integers(len(seeds))], path, rng)
            before = _files(path)
            found = converter.convert(path)
            made = path.with_suffix(".converted")
            yield number, *_judged(pool, found, path, made, kind)
            made.unlink(missing_ok=True)
            extra = [*_extra(mutants, temporary, path), *sorted(_files(path) ^ before)]
            if extra:
                yield number, "files", ", ".join(extra)
            shutil.rmtree(path) if path.is_dir() else path.unlink()


def _seeds(kind: str, folder: Path) -> list[Path]:
    return [] if kind == TFLITE else make_seeds(folder)[kind]


def _files(path: Path) -> set[str]:
    return {str(file) for file in path.rglob("*")}


def _extra(mutants: Path, temporary: Path, path: Path) -> list[str]:
    """Return what lies around that is neither the mutant nor inside of the private folder of one process."""
    beside = [other.name for other in mutants.iterdir() if other != path]
    private = [other.name for other in temporary.iterdir()]
    ours = [name for name in private if name.startswith("tflite-rnn-")][:1]
    return sorted(beside + [name for name in private if name not in ours])


def _judged(pool: WorkerPool, found: dict[str, object], path: Path, made: Path, kind: str) -> tuple[str, str]:
    """Return what became of a mutant, and details."""
    outcome, detail = str(found["outcome"]), str(found.get("detail", ""))
    if int(str(found["megabytes"])) > MEGABYTES:
        return "memory", f"{found['megabytes']} MB"
    if outcome == "converted":
        return compared(pool, path.read_bytes(), made.read_bytes()) if kind == TFLITE else (outcome, "")
    if outcome != "refused":
        return outcome, detail
    return ("refused" if _was_parsed(found, kind) else "not a model"), ""


def _was_parsed(found: dict[str, object], kind: str) -> bool:
    """Whether a refused file got past the parser: a malformed `.tflite` was read, and then looked at."""
    unread = kind == TFLITE and not any(word in str(found["detail"]) for word in UNREAD)
    return bool(found["parsed"]) or unread


def compared(pool: WorkerPool, original: bytes, converted: bytes) -> tuple[str, str]:
    """Return whether a converted mutant gives what the mutant itself does."""
    wanted = first_invoke(pool, original)
    if isinstance(wanted, str):
        return f"converted, the mutant {wanted}", ""
    found = first_invoke(pool, converted)
    if isinstance(found, str):
        return "broken", f"the mutant runs, but the converted file {found}"
    if agree(wanted, found):
        return "converted alike", ""
    if strays(original, wanted):
        return ILL_CONDITIONED, ""
    return "wrong", "other numbers than the mutant's"


def strays(model: bytes, seen: Mapping[str, np.ndarray]) -> bool:
    """Whether the runtime itself is far from the float64 evaluator; False where that cannot run the model."""
    try:
        program = load_tflite(model).to_program()
        inputs = inputs_of(signature_of(program), np.random.default_rng(0))
        with np.errstate(all="ignore"):
            exact = evaluate(program, inputs)
    except (TfliteRnnError, ArithmeticError, AttributeError, LookupError, TypeError, ValueError):
        return False
    return not agree(seen, exact)


def signature_of(program: Program) -> Signature:
    """Return the inputs of a program as a runtime would tell them."""
    specs = [
        TensorSpec(name, np.dtype(value.type.dtype.numpy), value.type.shape or ())
        for name, value in zip(program.signature.inputs, program.main.inputs, strict=True)
    ]
    return Signature(program.signature.key, tuple(specs), ())


ILL_CONDITIONED, MOST_ILL_CONDITIONED = "ill-conditioned", 0.02
VIOLATIONS = frozenset({"internal", "escaped", "crashed", "hung", "memory", "broken", "wrong", "files"})


def main() -> int:
    """Run the attack, and print counts and violations."""
    parser = argparse.ArgumentParser(prog="python -m tests.attack", description=__doc__)
    parser.add_argument("--n", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--start", type=int, default=0)
    parser.add_argument("--kind", choices=["all", *KINDS], default="all")
    options = parser.parse_args()
    failed = 0
    for kind in KINDS if options.kind == "all" else (options.kind,):
        counts: Counter[str] = Counter()
        for number, outcome, detail in attack(options.seed, options.start, options.n, kind):
            counts[outcome] += 1
            if outcome in VIOLATIONS:
                failed += 1
                again = f"--kind {kind} --seed {options.seed} --start {number} --n 1"
                print(f"{outcome}: {again}\n{detail.strip()[-1500:]}\n", flush=True)
        most = max(1, int(MOST_ILL_CONDITIONED * options.n))
        if counts[ILL_CONDITIONED] > most:
            failed += 1
            print(f"more than {most} mutants are ill-conditioned\n")
        print(f"{kind}: {options.n}")
        for outcome, count in counts.most_common():
            print(f"{count:7} {outcome}", flush=True)
        print(f"{sum(counts[outcome] for outcome in VIOLATIONS):7} violations", flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
