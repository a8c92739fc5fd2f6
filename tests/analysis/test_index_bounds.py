"""Inputs that are indices into a table, and how many rows it has."""

from __future__ import annotations

import numpy as np

from converter.analysis.index_bounds import index_bounds
from converter.emission.emitter import Emitter
from converter.ir import DType, Graph, Names, Program, Signature, Value, constant
from tests.programs import tensor


def program_of(ids: Value, emitter: Emitter, output: Value) -> Program:
    graph = Graph("main", (ids,), (output,), tuple(emitter.ops))
    return Program((graph,), (Signature("serving_default", ("ids",), ("y",)),))


def test_the_smallest_table_bounds_ids_through_casts_and_moves() -> None:
    ids, emitter = tensor("ids", 2, None), Emitter("net", Names())
    numbers = emitter.cast(ids, DType.INT32, "numbers")
    clipped = emitter.maximum(numbers, emitter.integer(0))
    for rows in (9, 5):
        table = constant(f"table{rows}", np.zeros((rows, 3), np.float32))
        output = tensor(f"y{rows}", 2, None, 3)
        emitter.op("GATHER", [table, clipped], output, {"axis": 0, "batchDims": 0})
    assert index_bounds(program_of(ids, emitter, output)) == {"ids": 5}


def test_ids_of_another_axis_are_bounded_by_it() -> None:
    ids, emitter = tensor("ids", 2, dtype=DType.INT32), Emitter("net", Names())
    table, output = constant("table", np.zeros((3, 7), np.float32)), tensor("y", 3, 2)
    emitter.op("GATHER", [table, ids], output, {"axis": 1, "batchDims": 0})
    assert index_bounds(program_of(ids, emitter, output)) == {"ids": 7}


def test_computed_indices_have_no_bound() -> None:
    ids, emitter = tensor("ids", 2, dtype=DType.INT32), Emitter("net", Names())
    doubled = emitter.add(ids, ids)
    table, output = constant("table", np.zeros((3, 7), np.float32)), tensor("y", 2, 7)
    emitter.op("GATHER", [table, doubled], output, {"axis": 0, "batchDims": 0})
    assert index_bounds(program_of(ids, emitter, output)) == {}


def test_an_index_that_may_count_from_the_end_is_one() -> None:
    ids, emitter = tensor("ids", 2, dtype=DType.INT32), Emitter("net", Names())
    counted = emitter.add(ids, emitter.integer(3))
    chosen = emitter.select(emitter.less(ids, emitter.integer(0)), counted, ids)
    table, output = constant("table", np.zeros((3, 7), np.float32)), tensor("y", 2, 7)
    emitter.op("GATHER", [table, chosen], output, {"axis": 0, "batchDims": 0})
    assert index_bounds(program_of(ids, emitter, output)) == {"ids": 3}
