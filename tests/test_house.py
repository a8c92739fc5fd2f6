"""The code as it is written: sizes of files and functions, imports, and the words it is written in."""

from __future__ import annotations

import ast
import functools
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from converter.flatbuffer.schema import BUILTIN_NUMBERS

ROOT = Path(__file__).parent.parent
PRODUCT = sorted(path for package in ("converter", "tflite_rnn") for path in (ROOT / package).rglob("*.py"))
DOCUMENTS = [*sorted(ROOT.glob("*.md")), *sorted(ROOT.glob("docs/*.md")), *PRODUCT]

LONGEST_FILE = 420
LONGEST_FUNCTION = 60


def name_of(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


@functools.cache
def tree_of(path: Path) -> ast.Module:
    return ast.parse(path.read_text())


# sizes -----------------------------------------------------------------------------------------------------


def test_no_file_is_long() -> None:
    lengths = {name_of(path): len(path.read_text().splitlines()) for path in PRODUCT}
    assert {name: length for name, length in lengths.items() if length > LONGEST_FILE} == {}


def test_no_function_is_long() -> None:
    lengths = {
        f"{name_of(path)}:{node.name}": lines_of_code(node)
        for path in PRODUCT
        for node in ast.walk(tree_of(path))
        if isinstance(node, ast.FunctionDef)
    }
    assert {name: length for name, length in lengths.items() if length > LONGEST_FUNCTION} == {}


def lines_of_code(function: ast.FunctionDef) -> int:
    """The lines that a function's statements begin or end on or run over; its signature and docstring are none."""
    body = function.body[1:] if ast.get_docstring(function) else function.body
    spans = [range(node.lineno, (node.end_lineno or node.lineno) + 1) for node in body]
    return len({line for span in spans for line in span})


def test_lines_of_code_are_those_of_the_body_without_its_docstring() -> None:
    signature, docstring = "def f(\n    a,\n    b,\n):\n", '    "Say it.\\n\\n    At length."\n'
    source = f"{signature}{docstring}    c = (\n        a\n    )\n    return c\n"
    (function,) = ast.parse(source).body
    assert isinstance(function, ast.FunctionDef)
    assert lines_of_code(function) == 4


# imports ---------------------------------------------------------------------------------------------------


def module_of(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


MODULES = {module_of(path): path for path in PRODUCT}


def imports_of(node: ast.AST) -> Iterator[str]:
    """Yield the modules of the product that ``node`` imports, inside functions too, unless for types only."""
    if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
        return
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names if alias.name in MODULES)
    elif isinstance(node, ast.ImportFrom):
        for alias in node.names:
            whole = f"{node.module}.{alias.name}"
            if whole in MODULES or node.module in MODULES:
                yield whole if whole in MODULES else str(node.module)
    for child in ast.iter_child_nodes(node):
        yield from imports_of(child)


def test_no_import_is_circular() -> None:
    imported = {module: set(imports_of(tree_of(path))) for module, path in MODULES.items()}
    while leaves := {module for module, others in imported.items() if others.isdisjoint(imported)}:
        imported = {module: others for module, others in imported.items() if module not in leaves}
    assert {module: sorted(others & imported.keys()) for module, others in imported.items()} == {}


# facts about ops -------------------------------------------------------------------------------------------

BUILTINS = frozenset(BUILTIN_NUMBERS)
KNOWS_OPS = ("converter/ir/", "converter/targets/")
MOST_NAMES = 2


def collections_of_builtins(tree: ast.AST) -> Iterator[tuple[int, list[str]]]:
    """Yield the line and the names of each literal collection of names of ops.

    Dictionaries of functions say what a module does with each op, and are no collections of facts.
    """
    for node in ast.walk(tree):
        if isinstance(node, ast.Dict):
            is_data = any(
                isinstance(value, ast.Constant | ast.Tuple | ast.List | ast.Set) for value in node.values
            )
            elements = [key for key in node.keys if key is not None] if is_data else []
        elif isinstance(node, ast.Set | ast.List | ast.Tuple):
            elements = node.elts
        elif isinstance(node, ast.MatchOr):
            elements = [pattern.value for pattern in node.patterns if isinstance(pattern, ast.MatchValue)]
        else:
            continue
        names = [one.value for one in elements if isinstance(one, ast.Constant) and one.value in BUILTINS]
        if len(names) > MOST_NAMES:
            yield node.lineno, [str(name) for name in names]


def test_what_is_known_of_ops_stands_in_the_table() -> None:
    paths = [path for path in PRODUCT if not name_of(path).startswith(KNOWS_OPS)]
    found = {name_of(path): list(collections_of_builtins(tree_of(path))) for path in paths}
    assert {name: collections for name, collections in found.items() if collections} == {}


@pytest.mark.parametrize(
    ("source", "count"),
    [
        ('X = {"ADD", "SUB", "MUL"}', 1),
        ('X = frozenset(["ADD", "SUB", "MUL"])', 1),
        ('X = {"ADD": 1, "SUB": 2, "MUL": 3}', 1),
        ('match x:\n    case "ADD" | "SUB" | "MUL":\n        pass', 1),
        ('X = {"ADD": add, "SUB": sub, "MUL": mul}', 0),
        ('X = ("ADD", "SUB", "three")', 0),
    ],
)
def test_collections_of_builtins_are_found(source: str, count: int) -> None:
    assert len(list(collections_of_builtins(ast.parse(source)))) == count


def reads_of_options(tree: ast.AST) -> Iterator[int]:
    """Yield the line of each ``op.options[...]`` and ``op.options.get(...)``."""
    for node in ast.walk(tree):
        is_read = isinstance(node, ast.Subscript) or (isinstance(node, ast.Attribute) and node.attr == "get")
        owner = getattr(node, "value", None) if is_read else None
        if isinstance(owner, ast.Attribute) and owner.attr == "options":
            yield node.lineno


def test_options_are_decoded_in_one_place() -> None:
    paths = [path for path in PRODUCT if name_of(path) != "converter/ir/attributes.py"]
    found = {name_of(path): list(reads_of_options(tree_of(path))) for path in paths}
    assert {name: lines for name, lines in found.items() if lines} == {}


def test_reads_of_options_are_found() -> None:
    source = 'op.options["axis"]\nop.options.get("axis")\n{**op.options}\nchosen.options.lowering\n'
    assert list(reads_of_options(ast.parse(source))) == [1, 2]


# the order of inputs ---------------------------------------------------------------------------------------

# The bodies of WHILE ops are positional by nature, and raising reads those.
KNOWS_BODIES = ("converter/ir/program.py", "converter/raising/")


def positions_in_bodies(tree: ast.AST) -> Iterator[int]:
    """Yield the line of whatever takes the inputs or outputs of a body apart by position."""
    for node in ast.walk(tree):
        taken_apart: list[ast.expr] = []
        if isinstance(node, ast.Subscript) or (
            isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Tuple)
        ):
            taken_apart = [node.value]
        elif isinstance(node, ast.Call) and getattr(node.func, "id", "") == "enumerate":
            taken_apart = node.args[:1]
        for part in taken_apart:
            if isinstance(part, ast.Attribute) and part.attr in {"inputs", "outputs"}:
                owner = getattr(part.value, "attr", getattr(part.value, "id", ""))
                if owner.endswith("body"):
                    yield part.lineno


def test_only_a_scan_knows_the_order_of_its_bodys_inputs() -> None:
    """`Scan.step` has them by name."""
    paths = [path for path in PRODUCT if not name_of(path).startswith(KNOWS_BODIES)]
    found = {name_of(path): list(positions_in_bodies(tree_of(path))) for path in paths}
    assert {name: lines for name, lines in found.items() if lines} == {}


@pytest.mark.parametrize(
    ("source", "count"),
    [
        ("scan.body.inputs[1:count]", 1),
        ("t, *others = op.body.inputs", 1),
        ("for index, value in enumerate(body.outputs):\n    pass", 1),
        ("inputs = graph.inputs[0]", 0),
        ("values = set(scan.body.inputs)", 0),
    ],
)
def test_positions_in_bodies_are_found(source: str, count: int) -> None:
    assert len(list(positions_in_bodies(ast.parse(source)))) == count


# words -----------------------------------------------------------------------------------------------------

# What is said in other words; the right side says how, or why.
PHRASES = {
    r"would run [^.]{1,60}, which does not compute": "would call X, which does more than compute tensors",
    r"\ba step of its own\b": "unrecognised step",
    r"\bnothing speaks against it\b": "compatible",
    r"\bis no NAME=NUMBER": "expected NAME=NUMBER, got 'x'",
    r"\blooks by itself\b": "detected automatically",
    r"\bwhat is told about it\b": "source options",
    r"\bothers for a while\b": "temporarily override",
    r"\bScans without what nobody reads\b": "dead-code elimination inside scans",
    r"\bis no (known )?cell\b": "is not a known cell",
    r"\b(is|are) told (by|apart)\b": "is detected by, is identified by",
    r"\b(can|cannot) be told\b": "is known, is unknown",
    r"\bwhat is told\b": "what is given",
    r"\bas it was meant\b": "needs Keras 2",
    r"\bfor a while\b": "temporarily",
    r"\bis no (constant|model|vector|list|integer|JSON|recurrence)\b": "is not a …",
    r"\bsurroundings\b": "environment",
    r"\bstands for nothing\b": "has no effect",
}
IDENTIFIERS = {
    "told": "source options",
    "UNTOLD": "source options",
    "keep_state": "persist_state",
    "map_sequences": "vectorize_scans",
}
PASSES = {
    "pair-directions": "fuse-bidirectional",
    "keep-state": "persist-state",
    "map-sequences": "vectorize-scans",
}
FILES = {
    "converter/recognition/peel.py": "unmask",
    "converter/recognition/forms.py": "normal_form",
    "converter/recognition/dataflow.py": "symbolic_execution",
    "converter/recognition/functions.py": "activation_matching",
    "converter/recognition/confirm.py": "translation_validation",
    "converter/raising/timing.py": "trip_count",
    "converter/passes/pair_directions.py": "fuse_bidirectional",
    "converter/passes/keep_state.py": "persist_state",
    "converter/passes/map_sequences.py": "vectorize_scans",
}


@functools.cache
def prose_of(path: Path) -> str:
    """The text of a document, its lines joined."""
    return re.sub(r"[\s#]+", " ", path.read_text())


@pytest.mark.parametrize("phrase", PHRASES)
def test_it_is_said_in_plain_words(phrase: str) -> None:
    assert [name_of(path) for path in DOCUMENTS if re.search(phrase, prose_of(path))] == [], PHRASES[phrase]


@pytest.mark.parametrize("name", PASSES)
def test_a_pass_has_its_new_name(name: str) -> None:
    name_alone = re.compile(rf"(?<!-){name}")  # a flag of the command line may be called like it
    assert [name_of(path) for path in DOCUMENTS if name_alone.search(prose_of(path))] == [], PASSES[name]


@pytest.mark.parametrize("name", IDENTIFIERS)
def test_a_name_is_a_plain_word(name: str) -> None:
    assert [name_of(path) for path in PRODUCT if name in names_in(path)] == [], IDENTIFIERS[name]


@functools.cache
def names_in(path: Path) -> frozenset[str]:
    found: set[str] = set()
    for node in ast.walk(tree_of(path)):
        for field in ("id", "attr", "arg", "name", "module"):
            value = getattr(node, field, None)
            found.update(value.split(".") if isinstance(value, str) else ())
    return frozenset(found)


@pytest.mark.parametrize("file", FILES)
def test_a_module_has_its_new_name(file: str) -> None:
    assert not (ROOT / file).exists(), FILES[file]


def test_tests_are_named_by_what_they_say() -> None:
    numbered = re.compile(r"def (test_\d\w*)")
    paths = sorted((ROOT / "tests").rglob("*.py"))
    assert {name_of(path): found for path in paths if (found := numbered.findall(path.read_text()))} == {}


# the map ---------------------------------------------------------------------------------------------------

MAP = (ROOT / "CONTRIBUTING.md").read_text().partition("## Where is what")[2].partition("\n## ")[0]
PLACES = re.findall(r"^\| .* \| `([\w.]+)` in `([\w/.]+)` \|$", MAP, re.MULTILINE)


def test_the_map_has_a_place_in_every_row() -> None:
    rows = [line for line in MAP.splitlines() if line.startswith("|")][2:]
    assert len(rows) == len(PLACES) >= 15


@pytest.mark.parametrize(("symbol", "file"), PLACES)
def test_what_the_map_names_is_there(symbol: str, file: str) -> None:
    body = tree_of(ROOT / file).body
    for part in symbol.split("."):
        definitions = [node for node in body if part in defined_by(node)]
        assert definitions, f"{file} has no {symbol}"
        body = getattr(definitions[0], "body", [])


def defined_by(node: ast.stmt) -> set[str]:
    match node:
        case ast.FunctionDef() | ast.ClassDef():
            return {node.name}
        case ast.Assign():
            return {target.id for target in node.targets if isinstance(target, ast.Name)}
        case ast.AnnAssign(target=ast.Name()):
            return {node.target.id}
    return set()
