"""Mutants of small `.tflite` files: each is one change, or a few, to a valid model, by a seed and a number."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import flatbuffers
import numpy as np

from converter.convert import compile_program
from converter.flatbuffer.schema import IDENTIFIER, schema
from converter.options import ConvertOptions
from tests.faults.fused_files import bidirectional_lstm, bidirectional_rnn, sequence_lstm, sequence_rnn
from tests.programs import gru_cell, layer_norm_lstm_cell, lstm_cell, rnn_cell, stack
from tests.recorded.recordings import CELLS, read
from tests.streaming.networks import draw

RECORDED = 0.3
"""The part of the mutants that are made of recorded files."""
NUMBERS = (-(1 << 31), -2, -1, 0, 1, 2, 3, 7, 127, 1 << 20, (1 << 31) - 1)


@functools.cache
def recorded() -> tuple[bytes, ...]:
    """Files of TFLiteConverter with lists and marked recurrences, which only this compiler reads."""
    return tuple(read(name).model for name in CELLS)


@functools.cache
def runnable() -> tuple[bytes, ...]:
    """Files that runtimes run: fused ops over state tensors, networks over time, and what this compiler makes."""
    fused = [
        sequence_lstm(lstm_cell()),
        sequence_lstm(lstm_cell(peephole=True, projection=3, cell_clip=0.5), time_major=False),
        sequence_lstm(lstm_cell(cifg=True), time=None),
        sequence_rnn(rnn_cell()),
        sequence_rnn(rnn_cell(), time=None, time_major=False),
        bidirectional_lstm(lstm_cell(), lstm_cell(seed=1)),
        bidirectional_rnn(rnn_cell(), rnn_cell(seed=1)),
    ]
    networks = [compile_program(draw(seed, batch=1 + seed % 2).program()).model for seed in range(8)]
    made = [
        compile_program(stack(cells, batch=1), ConvertOptions.parse(**options)).model
        for cells, options in (
            ([lstm_cell()], {}),
            ([lstm_cell(), rnn_cell(depth=4)], {"state": "streaming"}),
            ([gru_cell()], {"state": "explicit"}),
            ([layer_norm_lstm_cell()], {"lowering": "while"}),
        )
    ]
    return (*(file.data for file in fused), *networks, *made)


def mutant(seed: int, number: int) -> bytes:
    """Return a mutant, the same for the same arguments."""
    rng = np.random.default_rng([seed, number])
    models = recorded() if rng.random() < RECORDED else runnable()
    model = models[rng.integers(len(models))]
    if rng.random() < 0.15:
        return changed_bytes(model, rng)
    tree = schema.ModelT.InitFromPackedBuf(model, 0)
    builder = flatbuffers.Builder(1024)
    try:
        for _ in range(int(rng.integers(1, 3))):
            change = _CHANGES[rng.integers(len(_CHANGES))]
            change(tree, rng)
        builder.Finish(tree.Pack(builder), IDENTIFIER)
    except Exception:  # a number that its field does not hold, or nothing left to change
        return changed_bytes(model, rng)
    return bytes(builder.Output())


def changed_bytes(model: bytes, rng: np.random.Generator) -> bytes:
    """Change some bytes, or cut the file."""
    array = np.frombuffer(model, np.uint8).copy()
    if rng.random() < 0.3:
        return array[: rng.integers(8, len(array))].tobytes()
    places = rng.integers(8, len(array), int(rng.integers(1, 6)))
    array[places] = rng.integers(0, 256, len(places))
    return array.tobytes()


def _graph(model: Any, rng: np.random.Generator) -> Any:
    return model.subgraphs[rng.integers(len(model.subgraphs))]


def _tensor(model: Any, rng: np.random.Generator) -> Any:
    tensors = _graph(model, rng).tensors
    return tensors[rng.integers(len(tensors))]


def _operator(model: Any, rng: np.random.Generator) -> Any:
    operators = [op for graph in model.subgraphs for op in graph.operators or ()]
    return operators[rng.integers(len(operators))]


def _number(rng: np.random.Generator) -> int:
    return int(rng.choice(NUMBERS)) if rng.random() < 0.5 else int(rng.integers(0, 40))


def _shape(model: Any, rng: np.random.Generator) -> None:
    tensor = _tensor(model, rng)
    shape = list(map(int, tensor.shape if tensor.shape is not None else []))
    if shape and rng.random() < 0.7:
        shape[rng.integers(len(shape))] = _number(rng)
    elif shape and rng.random() < 0.5:
        shape.pop()
    else:
        shape.append(int(rng.integers(0, 4)))
    tensor.shape = np.array(shape, np.int32)
    if rng.random() < 0.5:
        tensor.shapeSignature = None


def _type(model: Any, rng: np.random.Generator) -> None:
    _tensor(model, rng).type = int(rng.integers(0, 18))


def _buffer(model: Any, rng: np.random.Generator) -> None:
    tensor = _tensor(model, rng)
    if rng.random() < 0.5:
        tensor.buffer = int(rng.integers(0, len(model.buffers)))
        return
    data = model.buffers[tensor.buffer].data
    if data is not None and len(data):
        changed = np.array(data, np.uint8)
        changed[rng.integers(len(changed))] = rng.integers(256)
        kept = int(rng.integers(1, len(changed) + 1)) if rng.random() < 0.2 else len(changed)
        model.buffers[tensor.buffer].data = changed[:kept]


def _operand(model: Any, rng: np.random.Generator) -> None:
    op = _operator(model, rng)
    side = "inputs" if rng.random() < 0.6 else "outputs"
    places = list(map(int, getattr(op, side) if getattr(op, side) is not None else []))
    tensors = len(_graph(model, rng).tensors)
    kind = rng.random()
    if places and kind < 0.6:
        places[rng.integers(len(places))] = int(rng.integers(-1, tensors)) if rng.random() < 0.9 else _number(rng)
    elif places and kind < 0.8:
        places.pop(int(rng.integers(len(places))))
    else:
        places.append(int(rng.integers(-1, tensors)))
    setattr(op, side, np.array(places, np.int32))


def _option(model: Any, rng: np.random.Generator) -> None:
    op = _operator(model, rng)
    if op.builtinOptions is None or rng.random() < 0.1:
        op.builtinOptions = None
        return
    names = [name for name, value in vars(op.builtinOptions).items() if isinstance(value, int | float | bool)]
    if names:
        name = str(rng.choice(names))
        old = getattr(op.builtinOptions, name)
        setattr(op.builtinOptions, name, not old if isinstance(old, bool) else type(old)(_number(rng)))


def _code(model: Any, rng: np.random.Generator) -> None:
    codes = model.operatorCodes
    code = codes[rng.integers(len(codes))]
    if rng.random() < 0.5:
        code.version = _number(rng)
    else:
        other = codes[rng.integers(len(codes))]
        code.builtinCode, code.deprecatedBuiltinCode = other.builtinCode, other.deprecatedBuiltinCode


def _order(model: Any, rng: np.random.Generator) -> None:
    graph = _graph(model, rng)
    if graph.operators and len(graph.operators) > 1:
        one, other = rng.integers(len(graph.operators), size=2)
        graph.operators[one], graph.operators[other] = graph.operators[other], graph.operators[one]


def _drop(model: Any, rng: np.random.Generator) -> None:
    graph = _graph(model, rng)
    if graph.operators:
        graph.operators.pop(int(rng.integers(len(graph.operators))))


def _boundary(model: Any, rng: np.random.Generator) -> None:
    graph = _graph(model, rng)
    side = "inputs" if rng.random() < 0.5 else "outputs"
    places = list(map(int, getattr(graph, side) if getattr(graph, side) is not None else []))
    if places:
        places[rng.integers(len(places))] = int(rng.integers(-1, len(graph.tensors) + 1))
        setattr(graph, side, np.array(places, np.int32))


def _variable(model: Any, rng: np.random.Generator) -> None:
    tensor = _tensor(model, rng)
    tensor.isVariable = not tensor.isVariable


_CHANGES: tuple[Callable[[Any, np.random.Generator], None], ...] = (
    _shape,
    _shape,
    _type,
    _buffer,
    _buffer,
    _operand,
    _operand,
    _option,
    _option,
    _code,
    _order,
    _drop,
    _boundary,
    _variable,
)
