"""What a test needs, read off its code: TensorFlow, or an interpreter that runs models.

A test needs TensorFlow if its module imports TensorFlow, directly or through other modules of this repository, or
if the test, one of its fixtures, or a function of ``tests`` or ``models`` that they use does. The same holds for
the packages that only the demos use. A test needs an interpreter if it uses the worker pool, or compares a model
with its reference. What the package imports while it runs cannot be read off a test: that test is marked by hand,
and fails if it is not (see conftest.py).
"""

from __future__ import annotations

import ast
import contextlib
import dis
import functools
import sys
from collections.abc import Collection, Iterable, Iterator, Mapping
from pathlib import Path
from types import CodeType, FunctionType, ModuleType

import tflite_rnn

ROOT = Path(__file__).parent.parent
TENSORFLOW = frozenset({"tensorflow", "keras", "tf_keras"})
DEMO = frozenset({"onnxruntime", "sklearn"})
INTERPRETERS = frozenset(
    {"ai_edge_litert.interpreter", "ai_edge_litert.compiled_model", "tflite_runtime", "tflite_micro"}
)

_COMPARING = frozenset({"tflite_rnn.checking", "tflite_rnn.testing"})
_FOLLOWED = frozenset({"tests", "models"})
_OURS = frozenset({"tests", "models", "benchmarks", "converter", "tflite_rnn"})


def markers(fixtures: Collection[str], objects: Iterable[object]) -> set[str]:
    """Return the markers of a test: ``objects`` are its function, those of its fixtures, and its parameters."""
    found = {"runtime"} if "pool" in fixtures else set()
    followed: set[int] = set()
    waiting = list(objects)
    while waiting:
        subject = waiting.pop()
        if id(subject) in followed:
            continue
        followed.add(id(subject))
        markers_found, used = _look_at(subject)
        found.update(markers_found)
        waiting.extend(used)
    return found


@functools.cache
def imports_tensorflow(path: Path) -> bool:
    """Whether importing a file of this repository imports TensorFlow."""
    modules = (module for file in _reached_from(path) for module in _module_imports(file))
    return any(module.partition(".")[0] in TENSORFLOW for module in modules)


def _look_at(subject: object) -> tuple[set[str], list[object]]:
    """Return the markers that ``subject`` brings by itself, and the objects that it refers to."""
    if isinstance(subject, FunctionType | type):
        return _look_at_code(subject)
    return set(), list(_references(subject))


@functools.cache
def _look_at_code(subject: FunctionType | type) -> tuple[set[str], list[object]]:
    references = list(_references(subject))
    modules = {subject.__module__, *(module for module in references if isinstance(module, str))}
    return set().union(*map(_markers_of, modules)), references


@functools.cache
def _markers_of(module: str) -> frozenset[str]:
    """Return the markers of a test that uses something of ``module``."""
    package = module.partition(".")[0]
    file = _file_of(module)
    found = {
        "tensorflow": package in TENSORFLOW or (file is not None and imports_tensorflow(file)),
        "demo": package in DEMO,
        "runtime": module in _COMPARING,
    }
    return frozenset(marker for marker, is_needed in found.items() if is_needed)


# What functions refer to ------------------------------------------------------------------------------------


def _references(subject: object) -> Iterator[object]:
    """Yield what ``subject`` refers to and may use: objects, and the names of modules."""
    if isinstance(subject, Mapping):
        yield from filter(_is_code, subject.values())
    elif isinstance(subject, list | tuple):
        yield from filter(_is_code, subject)
    elif isinstance(subject, functools.partial):
        yield subject.func
    elif not isinstance(subject, FunctionType | type) or subject.__module__.partition(".")[0] not in _FOLLOWED:
        return
    elif isinstance(subject, type):
        yield from vars(subject).values()
    else:
        yield getattr(subject, "__wrapped__", None)
        for cell in subject.__closure__ or ():
            with contextlib.suppress(ValueError):  # a cell that is still empty
                yield cell.cell_contents
        for code in _codes(subject.__code__):
            yield from _references_of(code, subject.__globals__)


def _is_code(value: object) -> bool:
    """Whether a value is or may hold code; most of the values that tests are run with are numbers and strings."""
    return isinstance(value, FunctionType | type | functools.partial | Mapping | list | tuple)


def _codes(code: CodeType) -> Iterator[CodeType]:
    """Yield ``code`` and that of the functions defined in it."""
    yield code
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _codes(constant)


def _references_of(code: CodeType, names: Mapping[str, object]) -> Iterator[object]:
    """Yield the modules that ``code`` imports, the globals it reads, and what it reads of modules among them."""
    read: object = None
    for instruction in dis.get_instructions(code):
        name = instruction.argval
        match instruction.opname:
            case "IMPORT_NAME":
                read = sys.modules.get(name)
                yield name
            case "IMPORT_FROM":
                yield _attribute(read, name)
            case "LOAD_GLOBAL":
                read = names.get(name)
                yield read
            case "LOAD_ATTR" | "LOAD_METHOD":
                read = _attribute(read, name)
                yield read
            case "STORE_FAST" | "STORE_DEREF":
                pass  # of a name that was imported; others may follow
            case _:
                read = None


def _attribute(value: object, name: str) -> object:
    """Return an attribute of a module that is followed; of ``tflite_rnn`` the module that the name is from."""
    if value is tflite_rnn:
        return tflite_rnn._HOME.get(name)
    is_followed = isinstance(value, ModuleType) and value.__name__.partition(".")[0] in _FOLLOWED
    return getattr(value, name, None) if is_followed else None


# What modules import ----------------------------------------------------------------------------------------


@functools.cache
def _reached_from(path: Path) -> frozenset[Path]:
    """Return the files of this repository that run when the one at ``path`` is imported, itself among them."""
    reached: set[Path] = set()
    waiting = [path]
    while waiting:
        file = waiting.pop()
        if file not in reached:
            reached.add(file)
            for module in _module_imports(file):
                waiting.extend(_files_of(module))
    return frozenset(reached)


@functools.cache
def _module_imports(path: Path) -> frozenset[str]:
    """Return the modules that a file imports while it is imported itself; ``from a import b`` is a and a.b."""
    return frozenset(_imports_of(ast.parse(path.read_text())))


def _imports_of(node: ast.AST) -> Iterator[str]:
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names)
    elif isinstance(node, ast.ImportFrom):
        yield str(node.module)
        yield from (f"{node.module}.{alias.name}" for alias in node.names)
    elif isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
        return
    elif not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
        for child in ast.iter_child_nodes(node):
            yield from _imports_of(child)


@functools.cache
def _files_of(module: str) -> tuple[Path, ...]:
    """Return the files of this repository that importing ``module`` runs: its packages' and its own."""
    parts = module.split(".")
    if parts[0] not in _OURS:
        return ()
    files = (_file_of(".".join(parts[:length])) for length in range(1, len(parts) + 1))
    return tuple(file for file in files if file is not None)


@functools.cache
def _file_of(module: str) -> Path | None:
    if not module or module.partition(".")[0] not in _OURS:
        return None
    place = ROOT.joinpath(*module.split("."))
    files = (place.with_suffix(".py"), place / "__init__.py")
    return next((file for file in files if file.is_file()), None)
