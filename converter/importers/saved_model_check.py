"""What a SavedModel would do when it is loaded: its graphs are read before TensorFlow loads them.

Loading a SavedModel runs parts of it: initializers of tables, a main op, the reading of its variables. They may
hold any op, so every op of every graph and function is compared with a list of those that only compute. Two kinds
of ops touch files and are needed all the same:

* A table may be initialized from a text file. Then that file must be an asset of the SavedModel: its name is
  followed from the op back through functions to where the loader puts it.
* Savers write and read the model's own variables. Only the loader may run the reading ones, with the name that it
  gives; nothing that computes, and no initializer, may reach them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

from converter.errors import SourceError
from converter.importers.allowed_ops import SAVERS, TABLE_FILES
from converter.importers.graph_check import TRUST, Placed, check_sizes, is_allowed, nodes_of, refuse

Origin: TypeAlias = tuple[str, str]
"""A tensor: the name of the function that it is in, empty for the graph around them, and its own name."""

_INIT_SIGNATURES = ("__saved_model_init_op", "__saved_model_train_op")
_COPIES = frozenset({"Identity", "PlaceholderWithDefault", "StopGradient"})
_CALLS = frozenset({"PartitionedCall", "StatefulPartitionedCall"})
_ENDS = frozenset({"Const", "Placeholder", "PlaceholderV2", "PlaceholderWithDefault"})
_READERS = frozenset({"RestoreV2", "ShardedFilename"})
_ASSETS = "saved_model_assets"
"""The collection of assets of the first SavedModels."""


def check_saved_model(directory: Path) -> Any:
    """Return the protocol buffer of a SavedModel whose loading only computes.

    Raises SourceError if loading the SavedModel in ``directory`` would do more, or if it is damaged.

    TensorFlow's protocol buffers are imported, nothing of the file is run.
    """
    saved_model = read_saved_model(directory)
    for meta_graph in saved_model.meta_graphs:
        graphs = _Graphs.of(meta_graph, directory)
        _check_files(graphs, directory)
        refuse(_offenders(graphs), str(directory))
        check_sizes(graphs.graph, str(directory))
    return saved_model


def read_saved_model(directory: Path) -> Any:
    """Return the protocol buffer of a SavedModel. Raises SourceError if it cannot be read."""
    from google.protobuf import text_format
    from google.protobuf.message import DecodeError
    from tensorflow.core.protobuf import saved_model_pb2

    if (directory / "saved_model.cpb").exists():
        raise SourceError(
            f"{directory}: a SavedModel in parts (saved_model.cpb) cannot be read; save it in one file"
        )
    saved_model = saved_model_pb2.SavedModel()
    binary, text = directory / "saved_model.pb", directory / "saved_model.pbtxt"
    try:
        if binary.exists():
            saved_model.ParseFromString(binary.read_bytes())
        else:
            text_format.Parse(text.read_bytes(), saved_model)
    except OSError as error:
        raise SourceError(f"{directory}: cannot read its graph: {error.strerror or error}") from error
    except (DecodeError, text_format.ParseError, RecursionError, UnicodeDecodeError) as error:
        raise SourceError(
            f"{directory}: not a SavedModel, or damaged: its graph cannot be read; save it again"
        ) from error
    return saved_model


def _check_files(graphs: _Graphs, directory: Path) -> None:
    """Raise SourceError if an asset or a file of variables lies outside the SavedModel."""
    assets = [Path("assets", asset.filename) for asset in graphs.assets]
    variables = [path.relative_to(directory) for path in (directory / "variables").glob("*")]
    root = directory.resolve()
    for path in (*assets, *variables):
        found = (root / path).resolve()
        if not found.is_relative_to(root) or (found.exists() and not found.is_file()):
            raise SourceError(f"{directory}: its file {path} lies outside of it, or is not a file; {TRUST}")


def _offenders(graphs: _Graphs) -> Iterator[Placed]:
    for placed in nodes_of(graphs.graph):
        if placed.node.op in TABLE_FILES:
            if not graphs.comes_from(placed, 1, graphs.asset_names()):
                yield placed
        elif placed.node.op == "RestoreV2":
            if not graphs.comes_from(placed, 0, graphs.saver_names()):
                yield placed
        elif placed.node.op not in SAVERS and not is_allowed(placed):
            yield placed
    # The loader gives paths to the restoring op and to initializers, and to nothing else.
    restored = graphs.reached(graphs.restorers())
    yield from (placed for placed in restored if placed.node.op in (SAVERS - _READERS) | TABLE_FILES)
    initialized = graphs.reached(graphs.initializers(), graphs.functions_of_objects())
    yield from (placed for placed in initialized if placed.node.op in SAVERS)
    computed = graphs.reached(graphs.results() | graphs.variables())
    yield from (placed for placed in computed if placed.node.op in SAVERS | TABLE_FILES)


@dataclass(frozen=True, slots=True, eq=False)
class _Graphs:
    """A MetaGraphDef, its nodes by name, function by function, and the assets that it declares."""

    meta_graph: Any
    scopes: Mapping[str, Mapping[str, Any]]
    functions: Mapping[str, Any]
    assets: tuple[Any, ...]

    @classmethod
    def of(cls, meta_graph: Any, directory: Path) -> _Graphs:
        """Raise SourceError if two nodes or functions have one name: which of them counts is not certain."""
        library = meta_graph.graph_def.library.function
        functions = {function.signature.name: function for function in library}
        scopes = {"": {node.name: node for node in meta_graph.graph_def.node}}
        count = len(meta_graph.graph_def.node) + len(library)
        for name, function in functions.items():
            arguments = {argument.name for argument in function.signature.input_arg}
            scopes[name] = {node.name: node for node in function.node_def if node.name not in arguments}
            count += len(function.node_def)
        if count != len(functions) + sum(map(len, scopes.values())):
            raise SourceError(f"{directory}: damaged: two nodes or functions of its graph have one name")
        return cls(meta_graph, scopes, functions, _assets(meta_graph, directory))

    @property
    def graph(self) -> Any:
        """The GraphDef."""
        return self.meta_graph.graph_def

    # --- what the loader names ---

    def asset_names(self) -> frozenset[str]:
        """Return the nodes of the graph that the loader gives the path of an asset."""
        return frozenset(_node(asset.tensor_info.name) for asset in self.assets)

    def saver_names(self) -> frozenset[str]:
        """Return the node that the loader gives the path of the variables."""
        name = self.meta_graph.saver_def.filename_tensor_name
        return frozenset({_node(name)} if name else ())

    def initializers(self) -> set[str]:
        """Return the nodes that loading may run besides reading the variables: all that collections list."""
        signatures = self.meta_graph.signature_def
        names = [name for one in self.meta_graph.collection_def.values() for name in one.node_list.value]
        for key in _INIT_SIGNATURES:
            names += [info.name for info in signatures[key].outputs.values()] if key in signatures else []
        return set(map(_node, names))

    def variables(self) -> set[str]:
        """Return the nodes that variables of TensorFlow 1 are made of; loading runs their initial values."""
        from google.protobuf.message import DecodeError
        from tensorflow.core.framework import variable_pb2

        names: list[str] = []
        for raw in (raw for one in self.meta_graph.collection_def.values() for raw in one.bytes_list.value):
            variable = variable_pb2.VariableDef()
            try:
                variable.ParseFromString(raw)
            except DecodeError:
                continue
            names += [variable.initializer_name, variable.initial_value_name, variable.snapshot_name]
            names.append(variable.variable_name)
        return set(map(_node, names))

    def restorers(self) -> set[str]:
        """Return the node that reads the variables."""
        name = self.meta_graph.saver_def.restore_op_name
        return {_node(name)} if name else set()

    def results(self) -> set[str]:
        """Return the nodes whose values the signatures return."""
        signatures = self.meta_graph.signature_def.items()
        return {
            _node(info.name)
            for key, signature in signatures
            if key not in _INIT_SIGNATURES
            for info in signature.outputs.values()
        }

    def functions_of_objects(self) -> set[str]:
        """Return the functions that the objects of the SavedModel have: loading may run any of them."""
        return set(self.meta_graph.object_graph_def.concrete_functions)

    # --- what runs ---

    def reached(self, nodes: Iterable[str], functions: Iterable[str] = ()) -> list[Placed]:
        """Return every node that runs when ``nodes`` of the graph and ``functions`` are."""
        pending: list[Origin] = [("", name) for name in nodes]
        pending += [(name, node) for name in functions for node in self.scopes.get(name, ())]
        seen: set[Origin] = set()
        found = []
        while pending:
            scope, name = pending.pop()
            node = self.scopes[scope].get(name)
            if node is None or (scope, name) in seen:
                continue
            seen.add((scope, name))
            found.append(Placed(node, scope))
            pending += [(scope, _node(read)) for read in node.input]
            pending += [(called, inner) for called in _called(node) for inner in self.scopes.get(called, ())]
        return found

    # --- where a name of a file comes from ---

    def comes_from(self, placed: Placed, place: int, allowed: frozenset[str]) -> bool:
        """Tell whether an operand always is what the loader puts into one of the ``allowed`` nodes."""
        if place >= len(placed.node.input):
            return False
        pending, seen = [(placed.scope, placed.node.input[place])], set[Origin]()
        while pending:
            scope, name = pending.pop()
            if (scope, _node(name)) in seen:
                continue
            seen.add((scope, _node(name)))
            if not scope and _node(name) in allowed and self._is_end(_node(name)):
                continue
            sources = self._sources(scope, _node(name))
            if sources is None:
                return False
            pending += sources
        return True

    def _is_end(self, name: str) -> bool:
        node = self.scopes[""].get(name)
        return node is not None and node.op in _ENDS

    def _sources(self, scope: str, name: str) -> list[Origin] | None:
        """Return the tensors that one tensor is a copy of; None if it is anything else."""
        node = self.scopes[scope].get(name)
        if node is None:
            return self._arguments(scope, name) if scope else None
        if node.op in _COPIES and node.input:
            return [(scope, node.input[0])]
        if node.op == "ReadVariableOp" and not scope:
            return self._assigned(_node(node.input[0]))
        return None

    def _assigned(self, variable: str) -> list[Origin] | None:
        """Return what is assigned to a variable of the graph; None if a function may assign it, too."""
        node = self.scopes[""].get(variable)
        if node is None or node.op != "VarHandleOp":
            return None
        readers = [other for other in self.graph.node if variable in map(_node, other.input)]
        assigned = [("", other.input[1]) for other in readers if other.op == "AssignVariableOp"]
        known = {"AssignVariableOp", "ReadVariableOp", "VarIsInitializedOp", "NoOp"}
        return assigned if assigned and all(other.op in known for other in readers) else None

    def _arguments(self, scope: str, name: str) -> list[Origin] | None:
        """Return what a function's argument is given at every call; None if that is not known."""
        arguments = [argument.name for argument in self.functions[scope].signature.input_arg]
        if name not in arguments:
            return None
        place = arguments.index(name)
        origins: list[Origin] = []
        for placed in nodes_of(self.graph):
            if scope in _called(placed.node):
                if placed.node.op not in _CALLS or place >= len(placed.node.input):
                    return None
                origins.append((placed.scope, placed.node.input[place]))
        if scope in self.meta_graph.object_graph_def.concrete_functions and not self._is_bound(scope, place):
            return None
        return origins

    def _is_bound(self, function: str, place: int) -> bool:
        """Tell whether the loader gives an argument of a function the path of an asset."""
        objects = self.meta_graph.object_graph_def
        bound = objects.concrete_functions[function].bound_inputs
        index = place - (len(self.functions[function].signature.input_arg) - len(bound))
        return (
            0 <= index < len(bound)
            and 0 <= bound[index] < len(objects.nodes)
            and (objects.nodes[bound[index]].WhichOneof("kind") == "asset")
        )


def _assets(meta_graph: Any, directory: Path) -> tuple[Any, ...]:
    from google.protobuf.message import DecodeError
    from tensorflow.core.protobuf import meta_graph_pb2

    assets = [*meta_graph.asset_file_def]
    for packed in (
        meta_graph.collection_def[_ASSETS].any_list.value if _ASSETS in meta_graph.collection_def else ()
    ):
        asset = meta_graph_pb2.AssetFileDef()
        try:
            packed.Unpack(asset)
        except DecodeError as error:
            raise SourceError(f"{directory}: damaged: its list of assets cannot be read") from error
        assets.append(asset)
    return tuple(assets)


def _called(node: Any) -> set[str]:
    """Return the functions that a node's attributes name."""
    names = set()
    for attribute in node.attr.values():
        names |= {attribute.func.name} if attribute.func.name else set()
        names |= {function.name for function in attribute.list.func}
    return names


def _node(tensor: str) -> str:
    """Return the node, or the argument of a function, that a tensor is of."""
    return tensor.removeprefix("^").partition(":")[0]
