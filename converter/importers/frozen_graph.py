"""Frozen graphs of TensorFlow 1: a ``GraphDef`` in a ``.pb`` file, its variables made constants."""

from __future__ import annotations

import difflib
import re
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from converter.errors import SourceError
from converter.importers.bounded import bounded_graph
from converter.importers.conversion import convert_with, forget_implementations
from converter.importers.graph_check import check_graph, check_sizes
from converter.importers.source import SIGNATURE_KEY
from converter.importers.tflite_model import import_tflite
from converter.ir import Array, Program, Shape, Signature

_SHOWN = 12
"""The most nodes that a message names: the last ones, near the outputs of the graph."""
_PLACEHOLDERS = frozenset({"Placeholder", "PlaceholderV2"})
_VARIABLES = frozenset({"VarHandleOp", "Variable", "VariableV2"})
_WITH_DEFAULT = "PlaceholderWithDefault"

_NO_OUTPUTS = frozenset({"Assert", "Const", "NoOp", *_PLACEHOLDERS})


@dataclass(frozen=True, slots=True, eq=False)
class GraphFunction:
    """A graph with the names of the nodes that are its inputs and outputs.

    ``graph`` is as it was read; ``constants`` replace some of its placeholders, and ``input_shapes`` are the
    shapes of others, None where a size is known only when the model runs.
    """

    name: str
    graph: Any
    input_names: tuple[str, ...]
    output_names: tuple[str, ...]
    constants: Mapping[str, Array]
    input_shapes: Mapping[str, Shape]
    notes: tuple[str, ...] = ()
    max_steps: Mapping[str, int] = field(default_factory=dict)

    def __call__(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        """Run the original graph in a session of TensorFlow 1."""
        missing = [name for name in self.input_names if name not in inputs]
        if missing:
            raise SourceError(f"{self.name}: missing values of the inputs {', '.join(missing)}")
        import tensorflow as tf

        tf1 = tf.compat.v1
        fed = {_tensor(name): inputs[name] for name in self.input_names}
        fed |= {_tensor(name): number for name, number in self.constants.items()}
        with tf.Graph().as_default() as graph, tf1.Session(graph=graph) as session:
            tf1.import_graph_def(bounded_graph(self.graph, self.max_steps), name="")
            results = session.run([_tensor(name) for name in self.output_names], fed)
        return {name: np.asarray(result) for name, result in zip(self.output_names, results, strict=True)}

    def to_program(self, *, keep_lists: bool = True) -> Program:
        """Return the graph as a program, converted by TFLiteConverter. Errors as `to_tflite`."""
        signature = Signature(SIGNATURE_KEY, self.input_names, self.output_names)
        return import_tflite(self.to_tflite(keep_lists=keep_lists), source=self.name, signature=signature)

    def to_tflite(self, *, keep_lists: bool = True) -> bytes:
        """Return the graph as converted by TFLiteConverter. Raises ConversionError if that fails."""
        import tensorflow as tf

        with tempfile.TemporaryDirectory(prefix="tflite-rnn-") as directory:
            file = Path(directory, "graph.pb")
            file.write_bytes(self._prepared().SerializeToString())
            try:
                converter = tf.compat.v1.lite.TFLiteConverter.from_frozen_graph(
                    str(file), list(self.input_names), list(self.output_names)
                )
            except ValueError as error:  # a cycle, a missing input, an attribute or a shape that does not fit
                words = " ".join(str(error).split())[:400]
                raise SourceError(
                    f"{self.name}: TensorFlow cannot import the graph: {words}; freeze the model again"
                ) from error
            return convert_with(converter, self.name, keep_lists=keep_lists)

    def _prepared(self) -> Any:
        """Return the graph with some placeholders replaced by constants, and shapes set on others."""
        import tensorflow as tf

        graph = tf.compat.v1.GraphDef()
        graph.CopyFrom(self.graph)
        forget_implementations(graph.library)
        for node in graph.node:
            if node.name in self.constants:
                _make_constant(node, self.constants[node.name])
            elif node.name in self.input_shapes:
                shape = tf.TensorShape(self.input_shapes[node.name])
                node.attr["shape"].shape.CopyFrom(shape.as_proto())
                node.attr.pop("_output_shapes", None)
        return graph


def load_frozen_graph(
    path: Path,
    *,
    inputs: Sequence[str] | None = None,
    outputs: Sequence[str] | None = None,
    input_shapes: Mapping[str, Sequence[int | None]] | None = None,
    constants: Mapping[str, Any] | None = None,
    safe_mode: bool = True,
) -> GraphFunction:
    """Return the graph in a ``.pb`` file.

    Args:
        path: the file.
        inputs: names of the nodes that are its inputs; by default the placeholders that its outputs need.
        outputs: names of the nodes that are its outputs; by default the only node without readers.
        input_shapes: shapes of inputs by name, None where a size is unknown; by default as in the graph.
        constants: numbers for placeholders that are to be constants.
        safe_mode: refuse a graph with ops that do more than compute.

    Raises SourceError if the file is not a frozen graph, is refused, a name is not in it, or the outputs are
    ambiguous.
    """
    graph = _read(path)
    nodes = {node.name: node for node in graph.node}
    numbers = {_node_name(name): number for name, number in (constants or {}).items()}
    shapes = {_node_name(name): tuple(shape) for name, shape in (input_shapes or {}).items()}
    _check_names(path, nodes, numbers, "constant")
    chosen = tuple(map(_node_name, outputs)) if outputs else _only_output(path, graph)
    _check_names(path, nodes, chosen, "output")
    reached = _needed(chosen, nodes)
    _check_frozen(path, reached, nodes)
    if safe_mode:
        check_graph(graph, str(path))
    check_sizes(graph, str(path))
    names = tuple(map(_node_name, inputs)) if inputs else _placeholders(reached, nodes, numbers)
    _check_names(path, nodes, names, "input")
    _check_names(path, dict.fromkeys(names), shapes, "input in input_shapes")
    given = {name: _constant(path, nodes[name], number) for name, number in numbers.items()}
    _check_shapes(path, names, nodes, shapes)
    return GraphFunction(str(path), graph, names, chosen, given, shapes)


def _read(path: Path) -> Any:
    import tensorflow as tf
    from google.protobuf.message import DecodeError

    graph = tf.compat.v1.GraphDef()
    try:
        graph.ParseFromString(path.read_bytes())
    except OSError as error:
        raise SourceError(f"{path}: cannot read the file: {error.strerror or error}") from error
    except DecodeError as error:
        raise SourceError(
            f"{path}: not a frozen graph, or damaged or truncated: expected a GraphDef; download or "
            "freeze it again"
        ) from error
    if not graph.node or not all(node.name and node.op for node in graph.node):
        raise SourceError(f"{path}: not a frozen graph: expected a GraphDef with nodes, found none")
    return graph


def _check_names(path: Path, known: Mapping[str, Any], names: Iterable[str], what: str) -> None:
    unknown = [name for name in names if name not in known]
    if unknown:
        possible = [name for name in known if _is_candidate(known[name], what)]
        near = [name for wrong in unknown for name in difflib.get_close_matches(wrong, possible)]
        shown = ", ".join(dict.fromkeys([*near, *possible[-_SHOWN:]])) or "none"
        raise SourceError(f"{path}: unknown {what}: {', '.join(unknown)}; candidates: {shown}")


def _is_candidate(node: Any, what: str) -> bool:
    return node is None or (node.op in _PLACEHOLDERS) == (what != "output")


def _only_output(path: Path, graph: Any) -> tuple[str, ...]:
    """Return the only node without readers."""
    read = {_read_node(name) for node in graph.node for name in node.input}
    ends = [node.name for node in graph.node if node.name not in read and node.op not in _NO_OUTPUTS]
    if len(ends) == 1:
        return (ends[0],)
    found = ", ".join(ends) or "none"
    raise SourceError(
        f"{path}: cannot tell which nodes are the outputs; name them with outputs (--outputs); candidates: {found}"
    )


def _needed(outputs: Iterable[str], nodes: Mapping[str, Any]) -> dict[str, None]:
    """Return the names of the nodes that ``outputs`` depend on, in the order of the graph."""
    pending, found = list(outputs), set[str]()
    while pending:
        name = pending.pop()
        if name not in found and name in nodes:
            found.add(name)
            pending += [_read_node(read) for read in nodes[name].input if not read.startswith("^")]
    return {name: None for name in nodes if name in found}


def _check_frozen(path: Path, names: Iterable[str], nodes: Mapping[str, Any]) -> None:
    variables = [name for name in names if nodes[name].op in _VARIABLES]
    if variables:
        raise SourceError(
            f"{path}: the graph is not frozen: it reads the variable "
            f"{variables[0]}{' and others' if len(variables) > 1 else ''}, whose value is not in the "
            "file; freeze it with tf.compat.v1.graph_util.convert_variables_to_constants"
        )


def _placeholders(names: Iterable[str], nodes: Mapping[str, Any], constants: Mapping[str, Any]) -> tuple[str, ...]:
    return tuple(name for name in names if nodes[name].op in _PLACEHOLDERS and name not in constants)


def _check_shapes(path: Path, names: Iterable[str], nodes: Mapping[str, Any], shapes: Mapping[str, Shape]) -> None:
    for name in names:
        if name not in shapes and nodes[name].attr["shape"].shape.unknown_rank:
            raise SourceError(
                f"{path}: the input {name} has no shape in the graph; set it with input_shapes "
                "(--input-shapes), or make it a constant (--set)"
            )


def _constant(path: Path, node: Any, number: Any) -> Array:
    import tensorflow as tf

    if "dtype" not in node.attr or node.op not in {*_PLACEHOLDERS, _WITH_DEFAULT}:
        raise SourceError(f"{path}: cannot make {node.name} a constant: expected a placeholder, got {node.op}")
    dtype = tf.dtypes.as_dtype(node.attr["dtype"].type).as_numpy_dtype
    try:
        return np.asarray(number, dtype)
    except (TypeError, ValueError) as error:
        raise SourceError(
            f"{path}: cannot set {node.name}: expected a number of type {np.dtype(dtype).name}, got {number!r}"
        ) from error


def _make_constant(node: Any, number: Array) -> None:
    import tensorflow as tf

    dtype = node.attr["dtype"].type
    node.op = "Const"
    node.ClearField("attr")
    node.ClearField("input")
    node.attr["dtype"].type = dtype
    node.attr["value"].tensor.CopyFrom(tf.make_tensor_proto(number))


def _node_name(name: str) -> str:
    """Return the name of the node whose first result the user calls ``name``."""
    return name.removesuffix(":0")


def _read_node(name: str) -> str:
    """Return the name of the node that an input of a node refers to."""
    return re.sub(r":\d+$", "", name.removeprefix("^"))


def _tensor(name: str) -> str:
    return f"{name}:0"
