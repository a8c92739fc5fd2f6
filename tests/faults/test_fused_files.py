"""Recurrent ops that a file brings already fused are recurrences: they are read, and `state` decides."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace

import numpy as np
import pytest

import tflite_rnn as rnn
from converter.errors import ConversionError
from converter.flatbuffer import read_model
from converter.ir import (
    Activation,
    Array,
    DType,
    Graph,
    LstmCell,
    Op,
    Program,
    RnnCell,
    TensorType,
    TfliteOp,
    Value,
    constant,
    evaluate,
    with_results,
)
from tests.faults.compiling import compiled
from tests.faults.fused_files import (
    DEPTH,
    FLOAT32,
    ONE_STEP,
    TANH,
    TIME,
    FusedFile,
    Storage,
    Svdf,
    bidirectional_lstm,
    bidirectional_rnn,
    file_of,
    lstm_options,
    lstm_weights,
    one_step,
    quantization,
    sequence_lstm,
    sequence_rnn,
    state_tensor,
)
from tests.programs import lstm_cell, program, random_inputs, rnn_cell, stack, tensor
from tflite_rnn.runtime import AI_EDGE_LITERT, Runtime, Stream, WorkerPool, compare

LITERT = Runtime(AI_EDGE_LITERT)
HALF, INT8, ASYMMETRIC = Storage("float16"), Storage("int8"), Storage("int8", asymmetric=True)


def _diagonal() -> LstmCell:
    """An LSTM whose recurrent kernels are diagonal."""
    cell = lstm_cell()
    gates = {
        name: replace(gate, recurrent_kernel=np.diag(np.diagonal(gate.recurrent_kernel)).copy())
        for name, gate in cell.gates()
    }
    return replace(cell, **gates)


EVERYTHING = {"peephole": True, "projection": 3, "cell_clip": 0.5, "projection_clip": 0.3}
FILES: Mapping[str, Callable[[], FusedFile]] = {
    **{
        f"lstm {words} {'time' if time_major else 'batch'}-major": lambda cell=cell, time_major=time_major: (
            sequence_lstm(cell, time_major=time_major)
        )
        for words, cell in {
            "plain": lstm_cell(),
            "with everything": lstm_cell(**EVERYTHING),
            "cifg": lstm_cell(cifg=True, peephole=True),
            "relu": lstm_cell(activation=Activation.RELU),
        }.items()
        for time_major in (True, False)
    },
    "lstm cell_clip": lambda: sequence_lstm(lstm_cell(cell_clip=10.0)),
    "lstm open time": lambda: sequence_lstm(lstm_cell(), time=None),
    "lstm open time batch-major": lambda: sequence_lstm(lstm_cell(), time=None, time_major=False),
    "lstm 20 operands": lambda: sequence_lstm(lstm_cell(), operands=20),
    "lstm flat state": lambda: sequence_lstm(lstm_cell(), flat_state=True),
    "lstm diagonal": lambda: sequence_lstm(_diagonal(), diagonal=True),
    "lstm float16": lambda: sequence_lstm(lstm_cell(**EVERYTHING), storage=HALF),
    "lstm int8": lambda: sequence_lstm(lstm_cell(**EVERYTHING), storage=INT8),
    "lstm int8 asymmetric": lambda: sequence_lstm(lstm_cell(cifg=True), storage=ASYMMETRIC),
    "rnn": lambda: sequence_rnn(rnn_cell()),
    "rnn batch-major": lambda: sequence_rnn(rnn_cell(), time_major=False),
    "rnn linear": lambda: sequence_rnn(rnn_cell(activation=Activation.LINEAR)),
    "rnn relu6": lambda: sequence_rnn(rnn_cell(activation=Activation.RELU6)),
    "rnn float16": lambda: sequence_rnn(rnn_cell(), storage=HALF),
    "rnn int8": lambda: sequence_rnn(rnn_cell(), storage=INT8),
    **{
        f"bidirectional {kind} {'merged' if merged else 'apart'} {'time' if time_major else 'batch'}-major": (
            lambda build=build, merged=merged, time_major=time_major: build(merged=merged, time_major=time_major)
        )
        for kind, build in {
            "lstm": lambda **options: bidirectional_lstm(lstm_cell(), lstm_cell(seed=1), **options),
            "rnn": lambda **options: bidirectional_rnn(rnn_cell(), rnn_cell(seed=1), **options),
        }.items()
        for merged in (False, True)
        for time_major in (True, False)
    },
    "bidirectional lstm of two widths": lambda: bidirectional_lstm(
        lstm_cell(peephole=True), lstm_cell(cifg=True, seed=1)
    ),
    "bidirectional lstm float16": lambda: bidirectional_lstm(lstm_cell(), lstm_cell(seed=1), storage=HALF),
    "bidirectional lstm int8": lambda: bidirectional_lstm(lstm_cell(), lstm_cell(seed=1), storage=INT8),
    "bidirectional rnn int8": lambda: bidirectional_rnn(rnn_cell(), rnn_cell(seed=1), storage=INT8),
}
SAMPLE = {
    "lstm plain time-major",
    "lstm with everything batch-major",
    "lstm float16",
    "lstm int8",
    "rnn",
    "bidirectional lstm apart time-major",
    "bidirectional lstm merged batch-major",
    "bidirectional rnn merged batch-major",
}
"""What runs on an interpreter in `make test`."""
KERNELS_ARE_WRONG = {"bidirectional lstm merged batch-major"}
"""Files that the runtimes themselves get wrong: what they mean is what the op is documented to compute."""


def leaks(model: bytes) -> list[str]:
    """The variable tensors that neither an op of their graph nor the caller writes."""
    return [value.name for graph in read_model(model).graphs for value in _leaking(graph)]


def _leaking(graph: Graph) -> Iterator[Value]:
    written = {*graph.inputs, *graph.producers()}
    return (value for value in graph.values() if value.is_variable and value not in written)


def inputs_of(file: FusedFile, *, time: int = TIME, seed: int = 0) -> dict[str, Array]:
    shape = [time if size is None else size for size in file.meaning.main.inputs[0].type.shape or ()]
    return {"x": np.random.default_rng(seed).standard_normal(shape).astype(np.float32)}


def meant(file: FusedFile, inputs: Mapping[str, Array]) -> dict[str, Array]:
    outputs = evaluate(file.meaning, inputs)
    return {name: outputs[source] for name, source in file.outputs.items()}


# --- files that see a sequence -------------------------------------------------------------------------------


@pytest.mark.parametrize("name", FILES)
def test_a_fused_op_is_read_as_a_recurrence(name: str) -> None:
    file = FILES[name]()
    converted = compiled(file.data)
    assert len(converted.report.lowerings) == file.recurrences
    assert leaks(converted.model) == []
    inputs = inputs_of(file)
    for output, array in meant(file, inputs).items():
        np.testing.assert_allclose(evaluate(converted.program, inputs)[output], array, atol=1e-6)


@pytest.mark.runtime
@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=() if name in SAMPLE else pytest.mark.exhaustive) for name in FILES]
)
def test_what_is_read_starts_every_invoke_from_zero(name: str, pool: WorkerPool) -> None:
    file = FILES[name]()
    converted = compiled(file.data)
    cases = [inputs_of(file, seed=seed) for seed in range(2)]
    report = compare(converted.model, lambda inputs: meant(file, inputs), cases, pool=pool, runtimes=[LITERT])
    assert report.ok, str(report)


@pytest.mark.runtime
@pytest.mark.parametrize("name", [name for name in FILES if name not in KERNELS_ARE_WRONG and "int8" not in name])
def test_the_first_invoke_of_the_file_itself_is_what_it_is_said_to_mean(name: str, pool: WorkerPool) -> None:
    """The oracle is right: later invokes of these files are not."""
    file = FILES[name]()
    inputs = inputs_of(file)
    with pool.open(LITERT, file.data) as running:
        first, second = running.run(inputs), running.run(inputs)
    for output, array in meant(file, inputs).items():
        np.testing.assert_allclose(first[output], array, atol=2e-6)
        assert np.abs(second[output] - array).max() > 1e-4


@pytest.mark.parametrize("storage", [HALF, INT8], ids=["float16", "int8"])
def test_the_report_says_that_weights_were_widened(storage: Storage) -> None:
    file = sequence_lstm(lstm_cell(), storage=storage)
    report = compiled(file.data).report
    assert any(storage.kind in note and "float32" in note for note in report.notes), report


@pytest.mark.parametrize("name", ["lstm plain batch-major", "rnn", "bidirectional lstm merged time-major"])
def test_a_lowering_is_chosen_for_what_is_read(name: str) -> None:
    data = FILES[name]().data
    counts = compiled(data, lowering="while").report.op_counts
    assert counts["WHILE"] >= 1
    assert not any("SEQUENCE" in kind for kind in counts)
    assert "WHILE" not in compiled(data, lowering="unrolled").report.op_counts


@pytest.mark.parametrize("target", ["litert-compiled", "litert-web", "tflm"])
def test_a_target_without_the_fused_op_gets_a_loop(target: str) -> None:
    file = sequence_lstm(lstm_cell(**EVERYTHING))
    report = compiled(file.data, target=target).report
    assert [record.lowering for record in report.lowerings] == ["while"]


def test_states_of_what_is_read_can_be_inputs_and_outputs() -> None:
    file = sequence_lstm(lstm_cell(), time=None)
    program = compiled(file.data, state="explicit").program
    assert set(program.signature.inputs) == {"x", "state_0_c", "state_0_h"}
    whole = inputs_of(file)["x"]
    states = {f"state_0_{name}": np.zeros((2, 4), np.float32) for name in ("c", "h")}
    parts = []
    for chunk in (whole[:3], whole[3:]):
        outputs = evaluate(program, {"x": chunk, **states})
        states = {name: outputs[name] for name in states}
        parts.append(outputs["y"])
    np.testing.assert_allclose(np.concatenate(parts), meant(file, {"x": whole})["y"], atol=1e-6)


@pytest.mark.runtime
@pytest.mark.parametrize("name", ["lstm open time", "rnn"])
def test_states_of_what_is_read_can_be_kept_until_a_reset(name: str, pool: WorkerPool) -> None:
    file = FILES[name]()
    converted = compiled(file.data, state="streaming")
    whole = np.concatenate([inputs_of(file, seed=seed)["x"] for seed in (0, 1)])
    expected = evaluate(replace_time(file.meaning), {"x": whole})["layer_0_outputs"]
    with pool.open(LITERT, converted.model) as running:
        stream = Stream(running)
        for _ in range(2):
            parts = [stream.feed({"x": chunk})["y"] for chunk in np.split(whole, 2)]
            np.testing.assert_allclose(np.concatenate(parts), expected, atol=1e-5)
            stream.reset()


def replace_time(meaning: Program) -> Program:
    """The same recurrences over sequences of any length."""
    cells = [op.cell for op in meaning.recurrences()]
    return stack(cells, batch=2)


def test_a_stack_of_fused_ops_is_a_stack_of_recurrences() -> None:
    cells = [lstm_cell(), lstm_cell(depth=4, seed=1)]
    x, ops = tensor("x", TIME, 1, DEPTH), []
    value = x
    for layer, cell in enumerate(cells):
        y = tensor(f"y_{layer}", TIME, 1, 4)
        states = [state_tensor(f"{name}_{layer}", 1, 4) for name in ("h", "c")]
        given = (value, *lstm_weights(cell, FLOAT32, f"{layer}/", ops), *states, *[None] * 4)
        options = {**lstm_options(cell, FLOAT32), "timeMajor": True}
        ops.append(
            TfliteOp("UNIDIRECTIONAL_SEQUENCE_LSTM", given, (y,), "UnidirectionalSequenceLSTMOptions", options)
        )
        value = y
    converted = compiled(file_of([x], ops, [value]))
    assert len(converted.report.lowerings) == 2
    source = stack(cells, time=TIME, batch=1)
    inputs = random_inputs(np.random.default_rng(0), source, time=TIME, batch=1)
    expected = evaluate(source, inputs)["layer_1_outputs"]
    np.testing.assert_allclose(evaluate(converted.program, inputs)["y_1"], expected, atol=1e-6)


# --- files that see one step at each invoke ------------------------------------------------------------------


@pytest.mark.parametrize("op", [*ONE_STEP, "SVDF"])
def test_a_file_that_sees_one_step_wants_a_word_on_its_state(op: str) -> None:
    """It streams on purpose: starting every invoke from zero would be as wrong as a leak elsewhere."""
    data = Svdf().data() if op == "SVDF" else one_step(op).data
    with pytest.raises(rnn.TfliteRnnError) as refusal:
        compiled(data)
    words = str(refusal.value)
    assert "streaming" in words
    assert op == "SVDF" or "stateless" in words


@pytest.mark.runtime
@pytest.mark.parametrize("op", ONE_STEP)
def test_a_file_that_sees_one_step_streams_if_told_to(op: str, pool: WorkerPool) -> None:
    file = one_step(op)
    converted = compiled(file.data, state="streaming")
    assert leaks(converted.model) == []
    x = np.random.default_rng(1).standard_normal((6, 1, DEPTH)).astype(np.float32)
    expected = _steps(file, x)
    with pool.open(LITERT, converted.model) as running:
        stream = Stream(running)
        for _ in range(2):
            parts = [stream.feed({"x": _shaped(file, step)})["y"].reshape(1, -1) for step in x]
            np.testing.assert_allclose(np.stack(parts), expected, atol=1e-5)
            stream.reset()


@pytest.mark.parametrize("op", ONE_STEP)
def test_a_file_that_sees_one_step_starts_from_zero_if_told_to(op: str) -> None:
    file = one_step(op)
    converted = compiled(file.data, state="stateless")
    assert leaks(converted.model) == []
    assert len(converted.report.lowerings) == 1
    x = np.random.default_rng(1).standard_normal((1, 1, DEPTH)).astype(np.float32)
    outputs = evaluate(converted.program, {"x": _shaped(file, x[0])})["y"]
    np.testing.assert_allclose(outputs.reshape(1, 1, -1), _steps(file, x), atol=1e-6)


def _shaped(file: FusedFile, step: Array) -> Array:
    """A step [B, n] in the shape that the file takes: [B, n], [1, B, n] or [B, 1, n]."""
    (x,) = read_model(file.data).main.inputs
    return step.reshape(x.type.shape)


def _steps(file: FusedFile, x: Array) -> Array:
    """What steps x [T, B, n] give one after another, [T, B, n]."""
    (op,) = file.meaning.recurrences()
    return evaluate(stack([op.cell], batch=1), {"x": x})["layer_0_outputs"]


@pytest.mark.runtime
def test_an_svdf_streams_and_can_be_reset(pool: WorkerPool) -> None:
    converted = compiled(Svdf().data(), state="streaming")
    x = np.random.default_rng(1).standard_normal((9, 1, DEPTH)).astype(np.float32)
    with pool.open(LITERT, converted.model) as running:
        stream = Stream(running)
        for _ in range(2):
            parts = [stream.feed({"x": step})["y"] for step in x]
            np.testing.assert_allclose(np.stack(parts), Svdf().outputs(x), atol=1e-5)
            stream.reset()


@pytest.mark.runtime
def test_the_equations_of_the_svdf_are_those_of_its_kernel(pool: WorkerPool) -> None:
    x = np.random.default_rng(1).standard_normal((9, 1, DEPTH)).astype(np.float32)
    with pool.open(LITERT, Svdf().data()) as running:
        np.testing.assert_allclose(
            np.stack([running.run({"x": step})["y"] for step in x]), Svdf().outputs(x), atol=1e-5
        )


@pytest.mark.parametrize("state", ["stateless", "explicit"])
def test_an_svdf_knows_only_streaming(state: str) -> None:
    with pytest.raises(ConversionError, match="streaming"):
        compiled(Svdf().data(), state=state)


@pytest.mark.runtime
def test_a_basic_lstm_takes_and_returns_its_states(pool: WorkerPool) -> None:
    """Its states are ordinary tensors: nothing is kept, and nothing has to be asked."""
    cell = lstm_cell()
    x, h, c = tensor("x", 1, DEPTH), tensor("h", 1, 4), tensor("c", 1, 4)
    results = [tensor("h_out", 1, 4), tensor("c_out", 1, 4), tensor("both", 1, DEPTH + 4), tensor("gates", 1, 16)]
    gates = [gate for _, gate in cell.gates()]
    order = [gates[0], gates[2], gates[1], gates[3]]
    kernel = np.concatenate([np.concatenate([gate.kernel, gate.recurrent_kernel], 1) for gate in order])
    bias = np.concatenate([gate.bias for gate in order])
    given = (x, h, constant("kernel", kernel), constant("bias", bias), c)
    options = {"kernelType": 1, "fusedActivationFunction": TANH}
    op = TfliteOp("LSTM", given, tuple(results), "LSTMOptions", options, version=2)
    converted = compiled(file_of([x, h, c], [op], results[:2]))
    source = stack([cell], time=1, batch=1, given_state=True)

    def reference(inputs: Mapping[str, Array]) -> dict[str, Array]:
        outputs = evaluate(source, {"x": inputs["x"][None], "s0_0": inputs["c"], "s0_1": inputs["h"]})
        return {"c_out": outputs["layer_0_state_0"], "h_out": outputs["layer_0_state_1"]}

    rng = np.random.default_rng(0)
    case = {
        name: rng.standard_normal((1, size)).astype(np.float32) for name, size in (("x", 3), ("h", 4), ("c", 4))
    }
    report = compare(converted.model, reference, [case], pool=pool, runtimes=[LITERT])
    assert report.ok, str(report)


# --- state tensors that somebody writes ----------------------------------------------------------------------


@pytest.mark.runtime
@pytest.mark.parametrize("is_output", [True, False])
def test_a_state_that_is_an_input_of_the_file_is_given_by_the_caller(is_output: bool, pool: WorkerPool) -> None:
    cell = lstm_cell()
    x, y = tensor("x", TIME, 1, DEPTH), tensor("y", TIME, 1, 4)
    h, c = state_tensor("h", 1, 4), state_tensor("c", 1, 4)
    ops: list[Op] = []
    given = (x, *lstm_weights(cell, FLOAT32, "", ops), h, c, *[None] * 4)
    options = {**lstm_options(cell, FLOAT32), "timeMajor": True}
    ops.append(TfliteOp("UNIDIRECTIONAL_SEQUENCE_LSTM", given, (y,), "UnidirectionalSequenceLSTMOptions", options))
    outputs = [y, h, c] if is_output else [y]
    model = compiled(file_of([x, h, c], ops, outputs)).model
    names = read_model(model).signature
    assert set(names.inputs) == {"x", "h", "c"}
    source = stack([cell], time=TIME, batch=1, given_state=True)

    def reference(inputs: Mapping[str, Array]) -> dict[str, Array]:
        found = evaluate(source, {"x": inputs["x"], "s0_0": inputs["c"], "s0_1": inputs["h"]})
        final = {"c": found["layer_0_state_0"], "h": found["layer_0_state_1"]}
        return {"y": found["layer_0_outputs"], **(final if is_output else {})}

    rng = np.random.default_rng(0)
    case = {
        "x": rng.standard_normal((TIME, 1, DEPTH)),
        "h": rng.standard_normal((1, 4)),
        "c": rng.standard_normal((1, 4)),
    }
    cases = [{name: array.astype(np.float32) for name, array in case.items()}]
    report = compare(model, reference, cases, pool=pool, runtimes=[LITERT])
    assert report.ok, str(report)


@pytest.mark.runtime
def test_a_state_that_is_an_output_of_the_file_is_the_final_state(pool: WorkerPool) -> None:
    cell = lstm_cell()
    x, y = tensor("x", TIME, 1, DEPTH), tensor("y", TIME, 1, 4)
    h, c = state_tensor("h", 1, 4), state_tensor("c", 1, 4)
    ops: list[Op] = []
    given = (x, *lstm_weights(cell, FLOAT32, "", ops), h, c, *[None] * 4)
    options = {**lstm_options(cell, FLOAT32), "timeMajor": True}
    ops.append(TfliteOp("UNIDIRECTIONAL_SEQUENCE_LSTM", given, (y,), "UnidirectionalSequenceLSTMOptions", options))
    model = compiled(file_of([x], ops, [y, h, c])).model
    source = stack([cell], time=TIME, batch=1)

    def reference(inputs: Mapping[str, Array]) -> dict[str, Array]:
        found = evaluate(source, inputs)
        return {"y": found["layer_0_outputs"], "c": found["layer_0_state_0"], "h": found["layer_0_state_1"]}

    case = random_inputs(np.random.default_rng(0), source, time=TIME, batch=1)
    report = compare(model, reference, [case], pool=pool, runtimes=[LITERT])
    assert report.ok, str(report)


@pytest.mark.runtime
@pytest.mark.parametrize("state", ["stateless", "explicit"])
def test_a_file_of_our_own_can_be_converted_again(state: str, pool: WorkerPool) -> None:
    """Its state tensors are written before the fused op, from zero or from what the caller gives."""
    source = stack([lstm_cell(), rnn_cell(depth=4)], batch=2)
    from converter.convert import compile_program
    from converter.options import ConvertOptions, StatePolicy

    first = compile_program(source, ConvertOptions(state=StatePolicy(state)))
    again = compiled(first.model)
    assert leaks(again.model) == []
    signature = read_model(first.model).signature
    assert set(read_model(again.model).signature.inputs) == set(signature.inputs)
    rng = np.random.default_rng(2)
    case = {"x": rng.standard_normal((5, 2, DEPTH)).astype(np.float32)}
    case |= {name: rng.standard_normal((2, 4)).astype(np.float32) for name in signature.inputs if name != "x"}
    with pool.open(LITERT, first.model) as running:
        expected = running.run(case)
    report = compare(again.model, lambda _: expected, [case], pool=pool, runtimes=[LITERT])
    assert report.ok, str(report)


# --- what is not read exactly is refused ---------------------------------------------------------------------


def exact_or_refused(
    data: bytes, expected: Mapping[str, Array], inputs: Mapping[str, Array], pool: WorkerPool
) -> None:
    """Convert a file: it is refused by name, or gives what is expected three times over."""
    try:
        converted = compiled(data)
    except ConversionError:
        return
    report = compare(converted.model, lambda _: expected, [inputs], pool=pool, runtimes=[LITERT])
    assert report.ok, str(report)


def fused_lstm(
    cell: LstmCell, x: Value, y: Value, states: tuple[Value, Value], ops: list[Op], prefix: str = ""
) -> None:
    """Append a time-major UNIDIRECTIONAL_SEQUENCE_LSTM over ``states`` (h, c)."""
    given = (x, *lstm_weights(cell, FLOAT32, prefix, ops), *states, *[None] * 4)
    options = {**lstm_options(cell, FLOAT32), "timeMajor": True}
    ops.append(TfliteOp("UNIDIRECTIONAL_SEQUENCE_LSTM", given, (y,), "UnidirectionalSequenceLSTMOptions", options))


def test_integer_kernels_are_refused_by_name() -> None:
    def integer(name: str, dtype: DType, data: Array | None, *shape: int, variable: bool = False) -> Value:
        kind = TensorType(dtype, shape)
        return Value(name, kind, data, is_variable=variable, quantization=quantization(2.0**-7))

    x, y = (integer(name, DType.INT8, None, TIME, 1, size) for name, size in (("x", DEPTH), ("y", 4)))
    kernels = [integer(f"w{n}", DType.INT8, np.ones((4, DEPTH), np.int8), 4, DEPTH) for n in range(4)]
    recurrent = [integer(f"r{n}", DType.INT8, np.ones((4, 4), np.int8), 4, 4) for n in range(4)]
    biases = [integer(f"b{n}", DType.INT32, np.ones(4, np.int32), 4) for n in range(4)]
    states = [
        integer("h", DType.INT8, None, 1, 4, variable=True),
        integer("c", DType.INT16, None, 1, 4, variable=True),
    ]
    given = (x, *kernels, *recurrent, None, None, None, *biases, None, None, *states, *[None] * 4)
    options = {"timeMajor": True, "fusedActivationFunction": TANH}
    name, options_type = "UNIDIRECTIONAL_SEQUENCE_LSTM", "UnidirectionalSequenceLSTMOptions"
    op = TfliteOp(name, given, (y,), options_type, options, version=3)
    with pytest.raises(ConversionError, match="int8"):
        compiled(file_of([x], [op], [y]))


@pytest.mark.runtime
def test_layer_norm_in_a_fused_lstm_is_exact_or_refused(pool: WorkerPool) -> None:
    """The kernel normalises Wx + Rh, times its coefficients, and adds the bias after that."""
    cell = lstm_cell()
    x, y = tensor("x", TIME, 1, DEPTH), tensor("y", TIME, 1, 4)
    ops: list[Op] = []
    fused_lstm(cell, x, y, (state_tensor("h", 1, 4), state_tensor("c", 1, 4)), ops)
    rng = np.random.default_rng(8)
    norms = [rng.standard_normal(4).astype(np.float32) for _ in range(4)]
    coefficients = [constant(f"norm_{n}", array) for n, array in enumerate(norms)]
    ops[-1] = replace(ops[-1], operands=(*ops[-1].operands[:20], *coefficients))
    steps = rng.standard_normal((TIME, 1, DEPTH)).astype(np.float32)
    h, c, outputs = np.zeros((1, 4)), np.zeros((1, 4)), []
    for step in steps:
        sums = [step @ gate.kernel.T + h @ gate.recurrent_kernel.T for _, gate in cell.gates()]
        normal = [(z - z.mean()) / np.sqrt(z.var() + 1e-8) for z in sums]
        i, f, g, o = (z * norm + gate.bias for z, norm, (_, gate) in zip(normal, norms, cell.gates(), strict=True))
        c = c / (1 + np.exp(-f)) + np.tanh(g) / (1 + np.exp(-i))
        h = np.tanh(c) / (1 + np.exp(-o))
        outputs.append(h)
    data = file_of([x], ops, [y])
    expected, inputs = {"y": np.stack(outputs)}, {"x": steps}
    with pool.open(LITERT, data) as running:
        np.testing.assert_allclose(running.run(inputs)["y"], expected["y"], atol=1e-5)
    exact_or_refused(data, expected, inputs, pool)


@pytest.mark.runtime
@pytest.mark.parametrize("kind", ["lstm", "rnn"])
@pytest.mark.parametrize("has_weights", [True, False])
def test_an_auxiliary_input_is_exact_or_refused(kind: str, has_weights: bool, pool: WorkerPool) -> None:
    """With weights of its own it is added in both directions; without, it is what the backward cell reads."""
    make = lstm_cell if kind == "lstm" else rnn_cell
    build = bidirectional_lstm if kind == "lstm" else bidirectional_rnn
    cells = [make(), make(seed=1)]
    plain = read_model(build(*cells, batch=1).data)
    op = plain.main.ops[-1]
    assert isinstance(op, TfliteOp)
    first = 39 if kind == "lstm" else 9
    aux = tensor("aux", TIME, 1, DEPTH)
    rng = np.random.default_rng(3)
    matrices = [rng.standard_normal((4, DEPTH)).astype(np.float32) for _ in range(len(op.operands) - first - 1)]
    weights = [constant(f"aux_{n}", matrix) if has_weights else None for n, matrix in enumerate(matrices)]
    op = replace(op, operands=(*op.operands[:first], aux, *weights))
    x, (y, z) = plain.main.inputs[0], plain.main.outputs
    data = file_of([x, aux], [op], [y, z])
    inputs = {name: rng.standard_normal((TIME, 1, DEPTH)).astype(np.float32) for name in ("x", "aux")}
    expected = {}
    for n, (name, cell) in enumerate(zip(("forward", "backward"), cells, strict=True)):
        own = matrices[n * len(matrices) // 2 : (n + 1) * len(matrices) // 2]
        sequence = np.concatenate([inputs["x"], inputs["aux"]], 2) if has_weights else inputs[("x", "aux")[n]]
        wide = _widened(cell, own) if has_weights else cell
        source = stack([wide], time=TIME, batch=1)
        turned = evaluate(source, {"x": sequence[::-1] if n else sequence})["layer_0_outputs"]
        expected[name] = turned[::-1] if n else turned
    with pool.open(LITERT, data) as running:
        for name, array in running.run(inputs).items():
            np.testing.assert_allclose(array, expected[name], atol=1e-5)
    exact_or_refused(data, expected, inputs, pool)


def _widened(cell: LstmCell | RnnCell, kernels: list[Array]) -> LstmCell | RnnCell:
    """The cell over x and another input, whose kernels these are, gate by gate."""
    if isinstance(cell, RnnCell):
        return replace(cell, gate=replace(cell.gate, kernel=np.concatenate([cell.gate.kernel, kernels[0]], 1)))
    gates = {
        name: replace(gate, kernel=np.concatenate([gate.kernel, kernel], 1))
        for (name, gate), kernel in zip(cell.gates(), kernels, strict=True)
    }
    return replace(cell, **gates)


@pytest.mark.runtime
def test_a_state_that_two_ops_share_is_exact_or_refused(pool: WorkerPool) -> None:
    """The second op goes on where the first one ended."""
    cell = lstm_cell()
    x, first, second = tensor("x", TIME, 1, DEPTH), tensor("first", TIME, 1, 4), tensor("second", TIME, 1, 4)
    states = (state_tensor("h", 1, 4), state_tensor("c", 1, 4))
    padded = tensor("padded", TIME, 1, DEPTH)
    ops: list[Op] = []
    fused_lstm(cell, x, first, states, ops)
    pads = constant("pads", np.array([[0, 0], [0, 0], [0, DEPTH - 4 + 1]], np.int32))
    cut = tensor("cut", TIME, 1, DEPTH)
    ends = [
        constant(name, np.array(ends, np.int32))
        for name, ends in (("begin", [0, 0, 0]), ("size", [TIME, 1, DEPTH]))
    ]
    ops.append(TfliteOp("SLICE", (first, *ends), (cut,), "SliceOptions"))
    ops.append(TfliteOp("PAD", (cut, pads), (padded,), "PadOptions"))
    fused_lstm(cell, padded, second, states, ops, prefix="again/")
    data = file_of([x], ops, [first, second])
    inputs = {"x": np.random.default_rng(0).standard_normal((TIME, 1, DEPTH)).astype(np.float32)}
    zero = np.zeros((1, 4), np.float32)
    source = stack([cell], time=TIME, batch=1, given_state=True)
    one = evaluate(source, {**inputs, "s0_0": zero, "s0_1": zero})
    final = {"s0_0": one["layer_0_state_0"], "s0_1": one["layer_0_state_1"]}
    two = evaluate(source, {"x": one["layer_0_outputs"][:, :, :DEPTH], **final})
    expected = {"first": one["layer_0_outputs"], "second": two["layer_0_outputs"]}
    with pool.open(LITERT, data) as running:
        for name, array in running.run(inputs).items():
            np.testing.assert_allclose(array, expected[name], atol=1e-5)
    exact_or_refused(data, expected, inputs, pool)


@pytest.mark.runtime
def test_a_state_that_another_op_reads_is_exact_or_refused(pool: WorkerPool) -> None:
    cell = lstm_cell()
    x, y = tensor("x", TIME, 1, DEPTH), tensor("y", TIME, 1, 4)
    h, c = state_tensor("h", 1, 4), state_tensor("c", 1, 4)
    zeros, last, total = tensor("zeros", TIME, 1, 4), tensor("last", 1, 4), tensor("total", 1, 4)
    ops: list[Op] = []
    fused_lstm(cell, x, y, (h, c), ops)
    axis = constant("axis", np.array([0], np.int32))
    ops += [
        TfliteOp("ZEROS_LIKE", (y,), (zeros,), "ZerosLikeOptions"),
        TfliteOp("SUM", (zeros, axis), (last,), "ReducerOptions", {"keepDims": False}),
        TfliteOp("ADD", (c, last), (total,), "AddOptions"),
    ]
    data = file_of([x], ops, [total])
    source = stack([cell], time=TIME, batch=1)
    inputs = random_inputs(np.random.default_rng(0), source, time=TIME, batch=1)
    exact_or_refused(data, {"total": evaluate(source, inputs)["layer_0_state_0"]}, inputs, pool)


@pytest.mark.runtime
def test_a_fused_op_in_a_loop_is_exact_or_refused(pool: WorkerPool) -> None:
    """The loop's own runtime starts its state tensors from zero once for all of its steps."""
    cell, steps = lstm_cell(), 3
    count, x, start = constant("zero", np.array(0, np.int32)), tensor("x", 1, 1, DEPTH), tensor("start", 1, 1, 4)
    results = [tensor("count_out", dtype=DType.INT32), tensor("x_out", 1, 1, DEPTH), tensor("y", 1, 1, 4)]
    options = {"condSubgraphIndex": 1, "bodySubgraphIndex": 2}
    loop = TfliteOp("WHILE", (count, x, start), tuple(results), "WhileOptions", options)

    def carried() -> list[Value]:
        return [tensor("i", dtype=DType.INT32), tensor("x_in", 1, 1, DEPTH), tensor("y_in", 1, 1, 4)]

    inside, goes_on = carried(), tensor("goes_on", dtype=DType.BOOL)
    limit = constant("limit", np.array(steps, np.int32))
    condition = Graph(
        "condition", tuple(inside), (goes_on,), (TfliteOp("LESS", (inside[0], limit), (goes_on,), "LessOptions"),)
    )
    inside, following, y = carried(), tensor("following", dtype=DType.INT32), tensor("y_now", 1, 1, 4)
    one = constant("one", np.array(1, np.int32))
    ops: list[Op] = [TfliteOp("ADD", (inside[0], one), (following,), "AddOptions")]
    fused_lstm(cell, inside[1], y, (state_tensor("h", 1, 4), state_tensor("c", 1, 4)), ops)
    body = Graph("body", tuple(inside), (following, inside[1], y), tuple(ops))
    data = file_of([x, start], [loop], [results[2]], condition, body)
    rng = np.random.default_rng(0)
    inputs = {"x": rng.standard_normal((1, 1, DEPTH)), "start": rng.standard_normal((1, 1, 4))}
    inputs = {name: array.astype(np.float32) for name, array in inputs.items()}
    outputs = evaluate(stack([cell], time=steps, batch=1), {"x": np.repeat(inputs["x"], steps, 0)})
    expected = {"y": outputs["layer_0_outputs"][-1:]}
    with pool.open(LITERT, data) as running:
        np.testing.assert_allclose(running.run(inputs)["y"], expected["y"], atol=1e-5)
    exact_or_refused(data, expected, inputs, pool)


@pytest.mark.runtime
def test_a_fused_op_in_a_branch_is_exact_or_refused(pool: WorkerPool) -> None:
    x, y = tensor("x", TIME, 1, DEPTH), tensor("y", TIME, 1, 4)
    choice = tensor("choice", dtype=DType.BOOL)
    options = {"thenSubgraphIndex": 1, "elseSubgraphIndex": 2}
    branches = []
    for seed in range(2):
        inner, outer = tensor("x_in", TIME, 1, DEPTH), tensor("y_out", TIME, 1, 4)
        ops: list[Op] = []
        fused_lstm(lstm_cell(seed=seed), inner, outer, (state_tensor("h", 1, 4), state_tensor("c", 1, 4)), ops)
        branches.append(Graph(f"branch_{seed}", (inner,), (outer,), tuple(ops)))
    data = file_of([choice, x], [TfliteOp("IF", (choice, x), (y,), "IfOptions", options)], [y], *branches)
    source = stack([lstm_cell()], time=TIME, batch=1)
    inputs = random_inputs(np.random.default_rng(0), source, time=TIME, batch=1)
    expected = {"y": evaluate(source, inputs)["layer_0_outputs"]}
    exact_or_refused(data, expected, {**inputs, "choice": np.array(True)}, pool)


# --- the last rule of the compiler ---------------------------------------------------------------------------


@pytest.mark.parametrize("shape", [(7, 2, 4, 1), (7, 2), (7, 2, 5), (6, 2, 4)], ids=str)
@pytest.mark.parametrize("kind", ["one", "both"])
def test_a_result_of_another_shape_is_refused(kind: str, shape: tuple[int, ...]) -> None:
    if kind == "one":
        made = sequence_lstm(lstm_cell(), time=7)
    else:
        made = bidirectional_lstm(lstm_cell(), lstm_cell(seed=1), time=7)
    graph = read_model(made.data).main
    op = graph.ops[-1]
    wrong = {op.results[-1]: replace(op.results[-1], type=TensorType(DType.FLOAT32, shape))}
    file = file_of(graph.inputs, [*graph.ops[:-1], with_results(op, wrong)], list(wrong.values()))
    with pytest.raises(rnn.TfliteRnnError, match="expected float32"):
        compiled(file)


def test_no_state_tensor_without_a_writer_leaves_the_compiler() -> None:
    """Whatever reads it: only `streaming` keeps anything, and it keeps it in resource variables."""
    x, y = tensor("x", 2, 4), tensor("y", 2, 4)
    op = TfliteOp("ADD", (x, state_tensor("kept", 2, 4)), (y,), "AddOptions")
    with pytest.raises(rnn.TfliteRnnError, match="kept"):
        compiled(file_of([x], [op], [y]))


def test_a_program_with_such_a_tensor_is_not_lowered() -> None:
    from converter.convert import compile_program

    x, y = tensor("x", 2, 4), tensor("y", 2, 4)
    op = TfliteOp("ADD", (x, state_tensor("kept", 2, 4)), (y,), "AddOptions")
    source = program([x], [], [y])
    with pytest.raises(rnn.TfliteRnnError, match="kept"):
        compile_program(replace(source, graphs=(Graph("main", (x,), (y,), (op,)),)))
