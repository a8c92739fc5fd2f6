"""The table of registered ops against the runtimes: a file of one op loads up to the version it says."""

from __future__ import annotations

import pytest

from converter.flatbuffer import build_model
from converter.ir import Graph, Program, Signature, TfliteOp
from converter.targets.ops import MICRO_OPS, VERSIONS
from tests.programs import tensor
from tflite_rnn.runtime import AI_EDGE_LITERT, TFLITE_RUNTIME, Runtime, RuntimeFailure, WorkerCrashed, WorkerPool

COLUMNS = {TFLITE_RUNTIME: 0, AI_EDGE_LITERT: 1}
SAMPLE = sorted(VERSIONS)[::12]


def registered(pool: WorkerPool, runtime: Runtime, builtin: str, version: int) -> bool:
    x, y = tensor("x", 1, 2), tensor("y", 1, 2)
    graph = Graph("main", (x,), (y,), (TfliteOp(builtin, (x,), (y,), version=version),))
    try:
        with pool.open(runtime, build_model(Program((graph,), (Signature("main", ("x",), ("y",)),)))):
            return True
    except WorkerCrashed:
        return True  # over the operands that are missing: the op was found
    except RuntimeFailure as failure:
        return "find op" not in str(failure) and "out of range" not in str(failure)


@pytest.mark.parametrize("interpreter", COLUMNS)
@pytest.mark.parametrize(
    "builtins",
    [
        pytest.param(SAMPLE, id="sample"),
        pytest.param(sorted(VERSIONS), id="all", marks=pytest.mark.exhaustive),
    ],
)
def test_the_table_is_what_the_runtime_registers(interpreter: str, builtins: list[str], pool: WorkerPool) -> None:
    runtime = Runtime(interpreter, delegate=False)
    for builtin in builtins:
        newest = VERSIONS[builtin][COLUMNS[interpreter]]
        assert not registered(pool, runtime, builtin, newest + 1), builtin
        assert newest == 0 or registered(pool, runtime, builtin, newest), builtin


def test_microcontrollers_have_no_op_that_the_others_lack() -> None:
    assert VERSIONS.keys() >= MICRO_OPS
