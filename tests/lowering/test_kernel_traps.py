"""What the kernels get wrong without a word, and that no file of ours meets it.

Each trap has a test of what we write. Where a small file shows the trap itself, another test springs it with a
bad form made from a good file of ours: on tflite-runtime 2.14, whose kernels will not change any more; what that
orders otherwise, on ai-edge-litert 2.3.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace

import numpy as np
import pytest

from converter.convert import compile_program
from converter.emission.emitter import Emitter
from converter.errors import ConversionError
from converter.flatbuffer import build_model, read_model
from converter.ir import (
    Activation,
    Array,
    Cell,
    DType,
    Graph,
    Lowering,
    Names,
    Op,
    Program,
    Signature,
    TensorType,
    TfliteOp,
    Value,
    constant,
    evaluate,
)
from converter.ir.operands import LstmOperand
from converter.lowering import lower
from converter.options import ConvertOptions, StatePolicy
from tests.lowering.test_bidirectional import both
from tests.programs import (
    gru_cell,
    layer_norm_lstm_cell,
    lstm_cell,
    program,
    random_inputs,
    recurrence,
    rnn_cell,
    stack,
    tensor,
)
from tflite_rnn.runtime import AI_EDGE_LITERT, TFLITE_RUNTIME, ParityReport, Runtime, WorkerPool, compare

PLAIN, DELEGATED = Runtime(TFLITE_RUNTIME, delegate=False), Runtime(AI_EDGE_LITERT)
FUSED = (
    "UNIDIRECTIONAL_SEQUENCE_LSTM",
    "UNIDIRECTIONAL_SEQUENCE_RNN",
    "BIDIRECTIONAL_SEQUENCE_LSTM",
    "BIDIRECTIONAL_SEQUENCE_RNN",
)
CELLS: Mapping[str, Cell] = {
    "rnn": rnn_cell(),
    "lstm": lstm_cell(),
    "lstm with everything": lstm_cell(peephole=True, projection=3, cell_clip=0.5, projection_clip=0.3),
    "wide projection": lstm_cell(projection=7),
    "cifg": lstm_cell(cifg=True, peephole=True),
    "gru": gru_cell(),
    "gru reset after": gru_cell(reset_after=True),
    "layer norm": layer_norm_lstm_cell(),
    **{f"lstm {activation.value}": lstm_cell(activation=activation) for activation in Activation},
    **{f"rnn {activation.value}": rnn_cell(activation=activation) for activation in Activation},
}

PLAIN_CELLS = 8
"""How many of them there are before those of every activation, which are tried in one arrangement only."""


def _lengths(cell: Cell, *, time_major: bool) -> Program:
    x, lengths = tensor("x", None, None, 3), tensor("lengths", None, dtype=DType.INT32)
    op = recurrence(cell, x, time_major=time_major, sequence_length=lengths)
    return program([x, lengths], [op], [op.output, *op.final_state])


def _sources() -> Iterator[Program]:
    """Every cell with open and fixed sizes, given states, lengths and a twin that runs backwards."""
    for number, cell in enumerate(CELLS.values()):
        yield stack([cell])
        if number >= PLAIN_CELLS:
            continue
        yield stack([cell], time=4, batch=2, time_major=False, given_state=True)
        yield _lengths(cell, time_major=False)
        yield both(cell, cell, time_major=False, lengths=True)
        yield both(cell, cell)


@pytest.fixture(scope="module")
def files() -> list[Program]:
    """What we write, read back: every cell in every arrangement, and in every form that is legal."""
    found = [read_model(compile_program(source).model) for source in _sources()]
    for lowering in Lowering:
        for cell in [*CELLS.values()][:PLAIN_CELLS]:
            for state in StatePolicy:
                options = ConvertOptions(lowering=lowering, state=state)
                try:
                    found.append(read_model(compile_program(stack([cell], time=4, batch=2), options).model))
                except ConversionError:
                    continue  # the fused ops compute only some
    return found


def _ops(files: list[Program], *builtins: str) -> Iterator[TfliteOp]:
    found = [op for file in files for op in file.ops() if isinstance(op, TfliteOp) and op.builtin in builtins]
    assert found, f"no file holds {builtins}"
    return iter(found)


def _main_ops(file: Program) -> list[TfliteOp]:
    return [op for op in file.main.ops if isinstance(op, TfliteOp)]


def _changed(source: Program, change: Callable[[TfliteOp], TfliteOp]) -> bytes:
    """The file of ``source``, each of its ops changed."""
    file = read_model(compile_program(source).model)
    return build_model(file.map_ops(lambda op: change(op) if isinstance(op, TfliteOp) else op))


def _report(
    model: bytes, source: Program, sizes: list[tuple[int, int]], pool: WorkerPool, runtime: Runtime
) -> ParityReport:
    cases = [random_inputs(np.random.default_rng(3), source, time=time, batch=batch) for time, batch in sizes]
    return compare(model, lambda inputs: evaluate(source, inputs), cases, pool=pool, runtimes=[runtime])


# --- options of the fused ops ------------------------------------------------------------------------------------


def test_no_fused_op_has_an_activation_that_its_kernel_lacks(files: list[Program]) -> None:
    """The LSTM's kernel leaves its result unwritten for NONE, and takes numbers that the schema lacks for NONE."""
    for op in _ops(files, "UNIDIRECTIONAL_SEQUENCE_LSTM", "BIDIRECTIONAL_SEQUENCE_LSTM"):
        assert op.options["fusedActivationFunction"] in {1, 3, 4}
    for op in _ops(files, "UNIDIRECTIONAL_SEQUENCE_RNN", "BIDIRECTIONAL_SEQUENCE_RNN"):
        assert op.options["fusedActivationFunction"] in {0, 1, 3, 4}


@pytest.mark.parametrize("number", [0, 6], ids=["none", "a number for sigmoid"])
def test_an_lstm_of_another_activation_is_computed_wrong(number: int, pool: WorkerPool) -> None:
    activation = Activation.LINEAR if number == 0 else Activation.SIGMOID
    source = stack([lstm_cell(activation=activation)])
    relu = stack([lstm_cell(activation=Activation.RELU)])

    def renumbered(op: TfliteOp) -> TfliteOp:
        if op.builtin not in FUSED:
            return op
        return replace(op, options={**op.options, "fusedActivationFunction": number})

    assert not _report(_changed(relu, renumbered), source, [(5, 2)], pool, PLAIN).ok


def test_bidirectional_ops_never_merge_their_outputs(files: list[Program]) -> None:
    """Batch-major, the merging kernel walks its state by the wrong stride."""
    for op in _ops(files, "BIDIRECTIONAL_SEQUENCE_LSTM", "BIDIRECTIONAL_SEQUENCE_RNN"):
        assert op.options["mergeOutputs"] is False
        assert len(op.results) == 2


def test_merged_outputs_of_a_batch_are_wrong(pool: WorkerPool) -> None:
    source = both(lstm_cell(), lstm_cell(seed=1), time_major=False)
    file = read_model(compile_program(source).model)
    (pair,) = (op for op in _main_ops(file) if op.builtin == "BIDIRECTIONAL_SEQUENCE_LSTM")
    merged = Value("merged", TensorType(DType.FLOAT32, (None, None, 8)))
    before = file.main.ops[: file.main.ops.index(pair)]
    op = replace(pair, results=(merged,), options={**pair.options, "mergeOutputs": True})
    graph = Graph("main", file.main.inputs, (merged,), (*before, op))
    bad = build_model(Program((graph,), (Signature("serving_default", ("x",), ("merged",)),)))

    def joined(inputs: Mapping[str, Array]) -> dict[str, Array]:
        results = evaluate(source, inputs)
        return {"merged": np.concatenate([results["forward_outputs"], results["restored"]], 2)}

    for batch, is_right in ((1, True), (3, False)):
        x = np.random.default_rng(0).standard_normal((batch, 4, 3)).astype(np.float32)
        assert compare(bad, joined, [{"x": x}], pool=pool, runtimes=[PLAIN]).ok is is_right


@pytest.mark.parametrize("time_major", [True, False])
@pytest.mark.parametrize("cell", [lstm_cell(), rnn_cell()], ids=["lstm", "rnn"])
def test_every_fused_op_says_its_layout(cell: Cell, time_major: bool) -> None:
    """The default of the schema is time-major for one of the four ops, and batch-major for the others."""
    for source in (stack([cell], time_major=time_major), both(cell, cell, time_major=time_major)):
        (op,) = _ops([read_model(compile_program(source).model)], *FUSED)
        assert op.options["timeMajor"] is time_major


# --- operands of the fused ops -----------------------------------------------------------------------------------


def test_weights_of_fused_ops_are_constants(files: list[Program]) -> None:
    """The kernels prepare them once, when memory is planned."""
    for file in files:
        given = {value for op in _main_ops(file) for value in op.results} | set(file.main.inputs)
        for op in _main_ops(file):
            if op.builtin in FUSED:
                x, *rest = op.operands
                weights = [value for value in rest if value is not None and not value.is_variable]
                assert x in given
                assert weights
                assert all(value.is_constant for value in weights)


def test_an_lstm_has_a_bias_for_every_gate_that_it_has(files: list[Program]) -> None:
    for op in _ops(files, "UNIDIRECTIONAL_SEQUENCE_LSTM"):
        for gate in ("INPUT", "FORGET", "CELL", "OUTPUT"):
            weights, bias = LstmOperand[f"INPUT_TO_{gate}_WEIGHTS"], LstmOperand[f"{gate}_GATE_BIAS"]
            assert (op.operands[weights] is None) is (op.operands[bias] is None)


def test_an_lstm_without_the_bias_of_its_input_gate_ends_the_process(pool: WorkerPool) -> None:
    def without_bias(op: TfliteOp) -> TfliteOp:
        if op.builtin not in FUSED:
            return op
        operands = list(op.operands)
        operands[LstmOperand.INPUT_GATE_BIAS] = None
        return replace(op, operands=tuple(operands))

    source = stack([lstm_cell()])
    assert "crashed" in str(_report(_changed(source, without_bias), source, [(5, 2)], pool, PLAIN))


def test_no_fused_lstm_projects_to_more_than_its_units(files: list[Program]) -> None:
    """The projection is summed in memory that is sized for the units."""
    for op in _ops(files, "UNIDIRECTIONAL_SEQUENCE_LSTM"):
        projection, bias = op.operands[LstmOperand.PROJECTION_WEIGHTS], op.operands[LstmOperand.FORGET_GATE_BIAS]
        assert bias is not None
        if projection is not None:
            rows, units = projection.type.shape or ()
            assert (units,) == bias.type.shape
            assert rows is not None
            assert rows <= (units or 0)


# --- state tensors -----------------------------------------------------------------------------------------------


def _writers(file: Program) -> Iterator[TfliteOp]:
    for op in _main_ops(file):
        if any(value.is_variable for value in op.results):
            yield op


def _is_fresh_in(file: Program) -> Callable[[Value], bool]:
    """True for what an invoke brings: an input, or what is read from a resource variable."""
    return lambda value: value in file.main.inputs or value.type.dtype is DType.RESOURCE


def _depends_on(value: Value, file: Program, wanted: Callable[[Value], bool]) -> bool:
    if wanted(value):
        return True
    producer = file.main.producers().get(value)
    operands = () if producer is None else producer.operands
    return any(_depends_on(operand, file, wanted) for operand in operands if operand is not None)


def test_every_state_tensor_is_written_out_of_place_from_what_changes(files: list[Program]) -> None:
    """An op that runs in place leaves the state tensor without memory; one of constants runs only once."""
    count = 0
    for file in files:
        states = {value for value in file.main.values() if value.is_variable}
        written = {value for op in _writers(file) for value in op.results}
        assert written == states
        for op in _writers(file):
            count += 1
            assert op.builtin == "CONCATENATION"
            assert _depends_on(op.results[0], file, _is_fresh_in(file))
    assert count


def _rewritten(source: Program, write: Callable[[TfliteOp, Emitter], None]) -> bytes:
    """The file of ``source`` with other writers of its state tensors."""
    file = read_model(compile_program(source).model)
    names = file.main.names()
    ops: list[Op] = []
    for op in _main_ops(file):
        emitter = Emitter("bad", names)
        if any(value.is_variable for value in op.results):
            write(op, emitter)
        else:
            emitter.ops.append(op)
        ops += emitter.ops
    return build_model(replace(file, graphs=(replace(file.main, ops=tuple(ops)), *file.graphs[1:])))


def _hidden(source: Program) -> Program:
    """``source`` without its final states among the outputs."""
    return program(list(source.main.inputs), list(source.recurrences()), [source.main.outputs[0]])


def test_a_writer_that_runs_in_place_leaves_no_state(pool: WorkerPool) -> None:
    def in_place(op: TfliteOp, emitter: Emitter) -> None:
        source = op.operands[0]
        assert source is not None
        emitter.multiply(source, emitter.number(1.0), op.results[0])

    source = _hidden(stack([lstm_cell()], time=4, batch=2))
    assert not _report(_rewritten(source, in_place), source, [(4, 2)], pool, PLAIN).ok


def test_a_writer_of_constants_runs_only_once(pool: WorkerPool) -> None:
    def folded(op: TfliteOp, emitter: Emitter) -> None:
        (state,) = op.results
        zeros = emitter.weights("zeros", np.zeros([dim or 0 for dim in state.type.shape or ()]))
        emitter.concatenation([zeros], 0, state)

    source = _hidden(stack([lstm_cell()], time=4, batch=2))
    report = _report(_rewritten(source, folded), source, [(4, 2)], pool, PLAIN)
    assert not report.ok


def test_every_reader_of_a_state_reads_the_outputs_too(files: list[Program]) -> None:
    """The runtimes do not see that a fused op writes its states; readers of these alone may run before it."""
    count = 0
    for file in files:
        made = {value for op in _main_ops(file) if op.builtin in FUSED for value in op.results}
        for op in _main_ops(file):
            if op.builtin in FUSED or not any(value is not None and value.is_variable for value in op.operands):
                continue
            count += 1
            others = [value for value in op.operands if value is not None and not value.is_variable]
            assert any(_depends_on(value, file, made.__contains__) for value in others)
        assert not any(value.is_variable for value in file.main.outputs)
    assert count


def test_a_reader_of_a_state_alone_runs_too_early_under_the_delegate(pool: WorkerPool) -> None:
    x, scaled = tensor("x", 5, 2, 3), tensor("scaled", 5, 2, 3)
    op = recurrence(rnn_cell(), scaled)
    final = tensor("final", 2, 4)
    zero = constant("zero", np.zeros(1, np.float32))
    scale = TfliteOp("MUL", (x, constant("two", np.full(1, 2.0, np.float32))), (scaled,), "MulOptions")
    read = TfliteOp("ADD", (op.final_state[0], zero), (final,), "AddOptions")
    signature = Signature("serving_default", ("x",), ("y", "final"))
    source = Program((Graph("main", (x,), (op.output, final), (scale, op, read)),), (signature,))
    good = compile_program(source).model
    file = read_model(good)
    (state,) = (value for value in file.main.values() if value.is_variable)
    (reader,) = (known for known in _main_ops(file) if any(value.name == "final" for value in known.results))
    early = replace(reader, operands=(state, *reader.operands[1:]))
    kept = [known for known in _main_ops(file) if state not in known.results]
    ops = tuple(early if known is reader else known for known in kept)
    bad = build_model(replace(file, graphs=(replace(file.main, ops=ops),)))
    case = {"x": np.random.default_rng(0).standard_normal((5, 2, 3)).astype(np.float32)}
    undelegated = Runtime(AI_EDGE_LITERT, delegate=False)
    for runtime, model, expected in (
        (DELEGATED, good, {"y": True, "final": True}),
        (undelegated, bad, {"y": True, "final": True}),
        (DELEGATED, bad, {"y": True, "final": False}),
    ):
        report = compare(
            model, lambda given: evaluate(source, given), [case], pool=pool, runtimes=[runtime], invokes=1
        )
        assert {row.output: row.ok for row in report.rows} == expected, str(report)


def test_no_state_tensor_lives_inside_control_flow(files: list[Program]) -> None:
    """There it would be cleared by some runtimes, and not by others."""
    for file in files:
        for graph in file.graphs[1:]:
            assert not any(value.is_variable for value in graph.values())


# --- dynamic shapes ----------------------------------------------------------------------------------------------


def _behind_a_computed_shape() -> Program:
    """x reshaped to its own shape, which is computed, and then a recurrence."""
    x, same = tensor("x", None, None, 3), tensor("same", None, None, 3)
    emitter = Emitter("net", Names({"x", "same"}))
    parts = [emitter.dimension(x, 0), emitter.dimension(x, 1), emitter.integer(3)]
    emitter.op("RESHAPE", [x, emitter.pack(parts, "sizes")], same)
    op = recurrence(lstm_cell(units=8), same)
    return Program(
        (Graph("main", (x,), (op.output,), (*emitter.ops, op)),), (Signature("serving_default", ("x",), ("y",)),)
    )


SIZES = [(4, 1), (4, 60), (4, 3), (9, 90)]


def _grown(model: bytes, source: Program, pool: WorkerPool, runtime: Runtime) -> ParityReport:
    rng = np.random.default_rng(0)
    cases = [{"x": rng.standard_normal((time, batch, 3)).astype(np.float32)} for time, batch in SIZES]
    return compare(model, lambda given: evaluate(source, given), cases, pool=pool, runtimes=[runtime])


def test_no_fused_op_of_an_open_batch_stands_behind_a_tensor_that_is_sized_while_the_model_runs(
    pool: WorkerPool,
) -> None:
    source = _behind_a_computed_shape()
    converted = compile_program(source)
    assert [record.lowering for record in converted.report.lowerings] == ["while"]
    assert _grown(converted.model, source, pool, PLAIN).ok


def test_the_states_of_a_fused_op_behind_such_a_tensor_overlap_once_the_batch_grows(pool: WorkerPool) -> None:
    source = _behind_a_computed_shape()
    fused = source.map_ops(lambda op: op if isinstance(op, TfliteOp) else replace(op, lowering=Lowering.FUSED))
    assert not _grown(build_model(lower(fused)), source, pool, PLAIN).ok


def test_nothing_is_cut_by_a_slice(files: list[Program]) -> None:
    """A SLICE sizes its result while the model runs, or for good: what is cut here is cut by STRIDED_SLICE."""
    assert not any(isinstance(op, TfliteOp) and op.builtin == "SLICE" for file in files for op in file.ops())


def test_a_slice_keeps_the_size_that_the_file_says(pool: WorkerPool) -> None:
    x, cut = tensor("x", None, 3), tensor("cut", 2, 2)
    bounds = (constant("begin", np.zeros(2, np.int32)), constant("size", np.array([-1, 2], np.int32)))
    op = TfliteOp("SLICE", (x, *bounds), (cut,), "SliceOptions")
    signature = Signature("serving_default", ("x",), ("cut",))
    bad = build_model(Program((Graph("main", (x,), (cut,), (op,)),), (signature,)))
    cases = [{"x": np.ones((batch, 3), np.float32)} for batch in (2, 5)]
    report = compare(bad, lambda given: {"cut": given["x"][:, :2]}, cases, pool=pool, runtimes=[PLAIN])
    assert not report.ok


# --- any op ------------------------------------------------------------------------------------------------------


def test_no_op_writes_a_tensor_that_it_reads(files: list[Program]) -> None:
    for file in files:
        for op in file.ops():
            assert not set(op.operands) & set(op.results)


def test_an_op_that_does_is_refused_by_the_runtimes(pool: WorkerPool) -> None:
    x, y = tensor("x", 2), Value("y", TensorType(DType.FLOAT32, (2,)), is_variable=True)
    ops = (
        TfliteOp("MUL", (y, x), (y,), "MulOptions"),
        TfliteOp("ADD", (x, y), (tensor("z", 2),), "AddOptions"),
    )
    graph = Graph("main", (x,), (ops[1].results[0],), ops)
    bad = build_model(Program((graph,), (Signature("serving_default", ("x",), ("z",)),)))
    case = {"x": np.ones(2, np.float32)}
    report = compare(bad, lambda given: {"z": given["x"]}, [case], pool=pool, runtimes=[PLAIN])
    assert "is both input" in str(report.rows[0].problem)


SCALARS = {"FILL": 1, "GATHER": 1, "SPLIT": 0, "CUMSUM": 1}


def test_scalars_stay_scalars_in_the_file(files: list[Program]) -> None:
    """The rank of an index is part of the result's: one that became a vector of one adds an axis."""
    for builtin, place in SCALARS.items():
        for op in _ops(files, builtin):
            number = op.operands[place]
            assert number is not None
            assert number.type.shape == ()
            if number.data is not None:
                assert number.data.shape == ()


def test_a_vector_of_one_is_no_scalar(pool: WorkerPool) -> None:
    x, value = tensor("x", 3, dtype=DType.INT32), tensor("filled", None, None, None)
    fill = TfliteOp("FILL", (x, constant("zero", np.zeros(1, np.float32))), (value,), "FillOptions")
    signature = Signature("serving_default", ("x",), ("filled",))
    bad = build_model(Program((Graph("main", (x,), (value,), (fill,)),), (signature,)))
    case = {"x": np.array([2, 3, 1], np.int32)}
    report = compare(bad, lambda given: {"filled": np.zeros(given["x"])}, [case], pool=pool, runtimes=[PLAIN])
    assert not report.ok
