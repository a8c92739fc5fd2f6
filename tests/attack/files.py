"""Mutants of the files that TensorFlow reads: Keras files of both versions, frozen graphs and SavedModels."""

from __future__ import annotations

import contextlib
import io
import json
import shutil
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from tests.attack.mutants import NUMBERS, changed_bytes
from tests.frozen_graphs import frozen_lstm

KERAS, HDF5, GRAPH, SAVED_MODEL = "keras", "h5", "pb", "saved-model"
SUFFIXES = {KERAS: ".keras", HDF5: ".h5", GRAPH: ".pb", SAVED_MODEL: ""}
WORDS = ("", "linear", "tanh", "LSTM", "Dense", "float32", "int32", "string", "\x1b[2J", "ä b", "../x")
_CONFIG, _WEIGHTS = "config.json", "model.weights.h5"


def make_seeds(folder: Path) -> dict[str, list[Path]]:
    """Write the files that are changed, and return where they are, by kind."""
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")  # HDF5 is a legacy format
        return _written(folder)


def _written(folder: Path) -> dict[str, list[Path]]:
    import keras
    import tf_keras

    seeds: dict[str, list[Path]] = {kind: [] for kind in SUFFIXES}
    for name, api in (("keras3", keras), ("keras2", tf_keras)):
        api.utils.set_random_seed(7)
        layers = api.layers
        recurrent = layers.Bidirectional(layers.LSTM(3, return_sequences=True)), layers.GRU(4)
        model = api.Sequential([layers.Input((4, 2)), *recurrent, layers.Dense(2, activation="softmax")])
        for kind in (KERAS, HDF5):
            seeds[kind].append(folder / f"{name}{SUFFIXES[kind]}")
            model.save(seeds[kind][-1])
        seeds[SAVED_MODEL].append(folder / name)
        model.export(str(seeds[SAVED_MODEL][-1]))
    for name, options in (("open", {}), ("fixed", {"batch": 2, "time": 3})):
        seeds[GRAPH].append(folder / f"{name}.pb")
        seeds[GRAPH][-1].write_bytes(frozen_lstm(**options))
    return seeds


def write_mutant(kind: str, original: Path, target: Path, rng: np.random.Generator) -> None:
    """Write a changed copy of a file or folder, the same for the same state of ``rng``."""
    if original.is_dir():
        shutil.copytree(original, target)
        _change_saved_model(target, rng)
        return
    shutil.copyfile(original, target)
    if rng.random() < 0.15:
        target.write_bytes(changed_bytes(target.read_bytes(), rng))
        return
    {KERAS: _change_archive, HDF5: _change_hdf5, GRAPH: _change_frozen}[kind](target, rng)


# --- JSON --------------------------------------------------------------------------------------------------------


def _change_json(text: str | bytes, rng: np.random.Generator) -> str:
    tree = json.loads(text)
    places = list(_places(tree))
    if rng.random() < 0.5:  # most names are refused at once: numbers and switches get further
        places = [(holder, key) for holder, key in places if isinstance(holder[key], int | float)] or places
    holder, key = places[rng.integers(len(places))]
    if rng.random() < 0.1:
        del holder[key]
    else:
        holder[key] = _other(holder[key], rng)
    return json.dumps(tree)


def _places(tree: Any) -> Any:
    """Yield every container in a JSON tree with each of its keys."""
    keys = list(tree) if isinstance(tree, dict) else range(len(tree)) if isinstance(tree, list) else ()
    for key in keys:
        yield tree, key
        yield from _places(tree[key])


def _other(old: Any, rng: np.random.Generator) -> Any:
    if isinstance(old, bool):
        return not old
    if isinstance(old, int | float) and rng.random() < 0.8:
        return int(rng.choice(NUMBERS)) if rng.random() < 0.3 else int(rng.integers(0, 9))
    if isinstance(old, list) and old and rng.random() < 0.7:
        return [*old, old[0]] if rng.random() < 0.5 else old[:-1]
    choices: tuple[Any, ...] = (None, True, 3, 0.5, [], {}, *WORDS)
    return choices[rng.integers(len(choices))]


# --- Keras -------------------------------------------------------------------------------------------------------


def _change_archive(path: Path, rng: np.random.Generator) -> None:
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    name = str(rng.choice([_CONFIG, _CONFIG, _CONFIG, _CONFIG, _WEIGHTS, _WEIGHTS, *members]))
    choice = rng.random()
    if choice < 0.05:
        del members[name]
    elif choice < 0.15:
        members[name] = changed_bytes(members[name], rng)
    elif name == _WEIGHTS:
        weights = path.with_suffix(".weights")
        weights.write_bytes(members[name])
        _change_objects(weights, rng)
        members[name] = weights.read_bytes()
        weights.unlink()
    else:
        members[name] = _change_json(members[name], rng).encode()
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in members.items():
            archive.writestr(zipfile.ZipInfo(name), content)  # whose date is always the same


def _change_hdf5(path: Path, rng: np.random.Generator) -> None:
    if rng.random() < 0.4:
        _change_objects(path, rng)
        return
    import h5py

    with h5py.File(path, "r+") as file:
        file.attrs["model_config"] = _change_json(file.attrs["model_config"], rng)


def _change_objects(path: Path, rng: np.random.Generator) -> None:
    """Change a dataset or an attribute of an HDF5 file."""
    import h5py

    with h5py.File(path, "r+") as file:
        names: list[str] = []
        file.visit(names.append)
        name = str(rng.choice(names))
        found, choice = file[name], rng.random()
        if found.attrs and choice < 0.3:
            key = str(rng.choice(list(found.attrs)))
            del found.attrs[key]
            if choice < 0.2:
                found.attrs[key] = (3, "x", np.arange(4), [b"\xff"])[rng.integers(4)]
        elif isinstance(found, h5py.Dataset) and choice < 0.9:
            shape, kind = list(found.shape), str(rng.choice(["float32", "float64", "int8", "S3"]))
            if shape and rng.random() < 0.5:
                shape[rng.integers(len(shape))] = int(rng.integers(0, 9))
            del file[name]
            file[name] = np.full(shape, (np.nan, 0.5)[rng.integers(2)] if "float" in kind else 1).astype(kind)
        else:
            del file[name]


# --- graphs ------------------------------------------------------------------------------------------------------


def _change_frozen(path: Path, rng: np.random.Generator) -> None:
    from tensorflow.core.framework.graph_pb2 import GraphDef

    graph = GraphDef.FromString(path.read_bytes())
    for _ in range(int(rng.integers(1, 3))):
        _change_nodes(graph.node, rng)
    path.write_bytes(graph.SerializeToString(deterministic=True))


def _change_saved_model(folder: Path, rng: np.random.Generator) -> None:
    from tensorflow.core.protobuf.saved_model_pb2 import SavedModel

    files = sorted(path for path in folder.rglob("*") if path.is_file() and path.stat().st_size > 8)
    if rng.random() < 0.2:
        file = files[rng.integers(len(files))]
        file.write_bytes(changed_bytes(file.read_bytes(), rng))
        return
    file = folder / "saved_model.pb"
    model = SavedModel.FromString(file.read_bytes())
    graph = model.meta_graphs[0]
    if rng.random() < 0.7:
        bodies = [graph.graph_def.node, *(one.node_def for one in graph.graph_def.library.function)]
        _change_nodes(bodies[rng.integers(len(bodies))], rng)
    elif rng.random() < 0.5:
        nodes = graph.object_graph_def.nodes
        _change_object(nodes[rng.integers(len(nodes))], len(nodes), rng)
    else:
        _change_signature(graph.signature_def["serving_default"], rng)
    file.write_bytes(model.SerializeToString(deterministic=True))


def _change_nodes(nodes: Any, rng: np.random.Generator) -> None:
    if not nodes:
        return
    node, other = (nodes[int(rng.integers(len(nodes)))] for _ in range(2))
    change: Callable[[], None] = (
        lambda: _rewire(node, other, rng),
        lambda: _change_attribute(node, rng),
        lambda: _change_attribute(node, rng),
        lambda: setattr(node, "op", other.op),
        lambda: setattr(node, "name", other.name if rng.random() < 0.5 else str(rng.choice(WORDS))),
        lambda: nodes.remove(node),
    )[rng.integers(6)]
    change()


def _rewire(node: Any, other: Any, rng: np.random.Generator) -> None:
    if not node.input or rng.random() < 0.2:
        node.input.append(other.name)
    elif rng.random() < 0.2:
        del node.input[int(rng.integers(len(node.input)))]
    else:
        node.input[int(rng.integers(len(node.input)))] = other.name


def _change_attribute(node: Any, rng: np.random.Generator) -> None:
    if not node.attr:
        return
    key = str(rng.choice(sorted(node.attr)))
    held, number = node.attr[key], int(rng.integers(0, 9))
    match held.WhichOneof("value"):
        case "tensor" if held.tensor.tensor_shape.dim and rng.random() < 0.3:
            held.tensor.tensor_shape.dim[0].size = int(rng.choice(NUMBERS))
        case "tensor" if held.tensor.tensor_content:
            held.tensor.tensor_content = changed_bytes(held.tensor.tensor_content + bytes(9), rng)
        case "shape" if held.shape.dim:
            held.shape.dim[int(rng.integers(len(held.shape.dim)))].size = int(rng.choice(NUMBERS))
        case "type":
            held.type = int(rng.integers(0, 24))
        case "i":
            held.i = int(rng.choice(NUMBERS))
        case "b":
            held.b = not held.b
        case "s":
            held.s = str(rng.choice(WORDS)).encode()
        case _ if number < 5:
            del node.attr[key]
        case _:
            held.i = number


def _change_object(node: Any, count: int, rng: np.random.Generator) -> None:
    if node.children and rng.random() < 0.6:
        child = node.children[int(rng.integers(len(node.children)))]
        child.node_id = int(rng.integers(0, count + 2))
    elif node.HasField("variable") and node.variable.shape.dim:
        node.variable.shape.dim[0].size = int(rng.choice(NUMBERS))
    else:
        node.ClearField(node.WhichOneof("kind") or "children")


def _change_signature(signature: Any, rng: np.random.Generator) -> None:
    side = signature.inputs if rng.random() < 0.5 else signature.outputs
    if not side:
        return
    key = str(rng.choice(sorted(side)))
    with contextlib.suppress(IndexError):
        match int(rng.integers(4)):
            case 0:
                side[key].name = str(rng.choice(WORDS))
            case 1:
                side[key].dtype = int(rng.integers(0, 24))
            case 2:
                side[key].tensor_shape.dim[0].size = int(rng.choice(NUMBERS))
            case _:
                del side[key]
