"""Random networks of the frontend: plans that hypothesis draws and shrinks, and the functions that they mean."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import tensorflow as tf
from hypothesis import strategies as st

from tflite_rnn import nn

WORDS = 11
Array = np.ndarray

CELLS: Mapping[str, Callable[..., Any]] = {
    "rnn": nn.BasicRNNCell,
    "tflite rnn": nn.TfLiteRNNCell,
    "lstm": nn.LSTMCell,
    "basic lstm": nn.BasicLSTMCell,
    "tflite lstm": nn.TFLiteLSTMCell,
    "coupled": nn.CoupledInputForgetGateLSTMCell,
    "layer norm": nn.LayerNormBasicLSTMCell,
    "gru": nn.GRUCell,
    "cudnn gru": nn.CudnnCompatibleGRUCell,
}
WITH_PROJECTION = ("lstm", "tflite lstm", "coupled")
FUSABLE = ("rnn", "tflite rnn", "lstm", "basic lstm", "tflite lstm", "coupled")
FUSABLE_ACTIVATIONS = ("tanh", "relu6")
ACTIVATIONS = (*FUSABLE_ACTIVATIONS, "sigmoid", "softsign")
WRAPPERS = ("", "", "", "residual", "dropout", "device")
AROUND = ("", "dense", "conv", "dropout", "residual", "softmax")


@dataclass(frozen=True)
class CellPlan:
    """A cell of the frontend; with ``stacked`` cells on it, a stack."""

    kind: str
    units: int
    options: tuple[tuple[str, Any], ...] = ()
    wrapper: str = ""
    stacked: tuple[CellPlan, ...] = ()


@dataclass(frozen=True)
class LayerPlan:
    """A recurrent layer and what comes after it.

    ``call`` is the function of the frontend. ``start`` is where its states come from: zero, an input, or the
    layer before it, whose cell it may also share. ``lengths`` says whether it reads them.
    """

    call: str
    cell: CellPlan
    flavour: str = "nn"
    start: str = "zero"
    lengths: bool = False
    shares: bool = False
    after: str = ""


@dataclass(frozen=True)
class NetworkPlan:
    """A network: its input (numbers, or words to look up), its sizes (None: open), its layers."""

    time_major: bool
    time: int | None
    batch: int | None
    words: bool
    before: str
    layers: tuple[LayerPlan, ...]
    seed: int


# --- plans -----------------------------------------------------------------------------------------------------


@st.composite
def _cells(draw: st.DrawFn, deepest: int, fusable: bool) -> CellPlan:
    kinds = FUSABLE if fusable else [*CELLS]
    kind, units = draw(st.sampled_from(kinds)), draw(st.integers(2, 4))
    options: dict[str, Any] = {}
    if draw(st.booleans()):
        options["activation"] = draw(st.sampled_from(FUSABLE_ACTIVATIONS if fusable else ACTIVATIONS))
    if kind in WITH_PROJECTION:
        options["use_peepholes"] = draw(st.booleans())
        options["num_proj"] = draw(st.sampled_from([None, None, 2, 2 if fusable else 5]))
        options["proj_clip"] = draw(st.sampled_from([None, 0.3])) if options["num_proj"] else None
    if kind in {"lstm", "tflite lstm"}:
        options["cell_clip"] = draw(st.sampled_from([None, 0.4]))
    if kind in {"lstm", "basic lstm"}:
        options["state_is_tuple"] = draw(st.sampled_from([True, True, False]))
    count = draw(st.integers(0, deepest))
    stacked = tuple(draw(_cells(0, fusable)) for _ in range(count))
    given = tuple((name, value) for name, value in options.items() if value is not None)
    return CellPlan(kind, units, given, draw(st.sampled_from(WRAPPERS)), stacked)


@st.composite
def _layers(draw: st.DrawFn, static: bool, fusable: bool) -> LayerPlan:
    calls = ["dynamic", "dynamic", "dynamic", "bidirectional", "stack bidirectional", *["static"] * static]
    return LayerPlan(
        draw(st.sampled_from(calls)),
        draw(_cells(2, fusable)),
        draw(st.sampled_from(["nn", "lite"])),
        draw(st.sampled_from(["zero", "zero state", "given", "handed over"])),
        draw(st.booleans()),
        draw(st.sampled_from([False, False, True])),
        draw(st.sampled_from(AROUND)),
    )


@st.composite
def networks(draw: st.DrawFn) -> NetworkPlan:
    """Networks of one to three recurrent layers."""
    time = draw(st.sampled_from([None, None, 4]))
    fusable = draw(st.booleans())  # of one loop in a graph of open sizes all others become loops
    return NetworkPlan(
        time_major=draw(st.booleans()),
        time=time,
        batch=draw(st.sampled_from([None, None, 2])),
        words=draw(st.sampled_from([False, False, True])),
        before=draw(st.sampled_from(AROUND)),
        layers=tuple(draw(st.lists(_layers(time is not None, fusable), min_size=1, max_size=3))),
        seed=draw(st.integers(0, 99)),
    )


# --- networks --------------------------------------------------------------------------------------------------


@dataclass
class Network:
    """A plan with its weights: made once, called while it is traced."""

    plan: NetworkPlan
    rng: np.random.Generator = field(init=False)
    weights: dict[str, tf.Variable] = field(default_factory=dict)
    cells: dict[str, Any] = field(default_factory=dict)
    starts: list[tf.TensorSpec] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.rng = np.random.default_rng(self.plan.seed)

    def function(self) -> Any:
        """Return the tf.function; it is traced once before if states are given, to learn which."""
        if any(layer.start == "given" for layer in self.plan.layers):
            self._trace()
        return tf.function(self._call, input_signature=self._specs(), autograph=False)

    def cases(self, sizes: tuple[tuple[int, int], ...]) -> list[dict[str, Array]]:
        """Return inputs of several sizes (time, batch), as far as these are open."""
        return [self._case(self.plan.time or time, self.plan.batch or batch) for time, batch in sizes]

    def _case(self, time: int, batch: int) -> dict[str, Array]:
        case: dict[str, Array] = {}
        for spec in self._specs():
            shape = spec.shape.as_list()
            if spec.name == "lengths":
                case["lengths"] = self.rng.integers(0, time + 1, batch).astype(np.int32)
                continue
            leading = [time, batch] if self.plan.time_major else [batch, time]
            leading = [batch] if spec.name.startswith("start") else leading
            full = [*leading, *shape[len(leading) :]]
            is_words = spec.dtype == tf.int32
            case[spec.name] = (
                self.rng.integers(0, WORDS, full).astype(np.int32)
                if is_words
                else self.rng.standard_normal(full).astype(np.float32)
            )
        return case

    def _specs(self) -> list[tf.TensorSpec]:
        plan = self.plan
        leading = [plan.time, plan.batch] if plan.time_major else [plan.batch, plan.time]
        x = tf.TensorSpec(leading, tf.int32, "x") if plan.words else tf.TensorSpec([*leading, 3], tf.float32, "x")
        some = any(layer.lengths for layer in plan.layers)
        lengths = [tf.TensorSpec([plan.batch], tf.int32, "lengths")] if some else []
        return [x, *lengths, *self.starts]

    def _trace(self) -> None:
        """Make weights and find the states that are given, without any."""
        self.starts = []
        found: list[tf.TensorSpec] = []

        def ask(size: int) -> Any:
            found.append(tf.TensorSpec([self.plan.batch, size], tf.float32, f"start_{len(found)}"))
            return tf.zeros([self._batch, size])

        specs = self._specs()
        tf.function(
            lambda *given: self._run(dict(zip([spec.name for spec in specs], given, strict=True)), ask),
            input_signature=specs,
            autograph=False,
        ).get_concrete_function()
        self.starts = found

    def _call(self, *given: Any) -> dict[str, Any]:
        named = dict(zip([spec.name for spec in self._specs()], given, strict=True))
        waiting = iter([named[spec.name] for spec in self.starts])
        return self._run(named, lambda _: next(waiting))

    def _run(self, given: Mapping[str, Any], ask: Callable[[int], Any]) -> dict[str, Any]:
        plan = self.plan
        x = given["x"]
        self._batch = tf.shape(x)[1 if plan.time_major else 0]
        if plan.words:
            x = tf.gather(self._weight("table", [WORDS, 3]), x)
        x = self._around(plan.before, x, "before")
        states: list[Any] = []
        previous = None
        for number, layer in enumerate(plan.layers):
            entered = x
            x, state, previous = self._layer(number, layer, x, given.get("lengths"), ask, previous)
            states += tf.nest.flatten(state)
            if layer.after == "residual" and x.shape[-1] == entered.shape[-1]:
                x = x + entered
            x = self._around(layer.after, x, f"after_{number}")
        return {"y": x, "states": {"final": states}}

    # --- layers ------------------------------------------------------------------------------------------------

    def _layer(
        self, number: int, layer: LayerPlan, x: Any, lengths: Any, ask: Callable[[int], Any], previous: Any
    ) -> tuple[Any, Any, Any]:
        lengths = lengths if layer.lengths else None
        if layer.call == "dynamic":
            return self._dynamic(number, layer, x, lengths, ask, previous)
        if layer.call == "static":
            return self._static(number, layer, x, lengths)
        name = f"layer_{number}"
        depth = x.shape[-1]
        if layer.call == "stack bidirectional":
            # One function for it, batch-major.
            x = tf.transpose(x, [1, 0, 2]) if self.plan.time_major else x
            cells = [self._cell(f"{name}_{side}", layer.cell, depth) for side in ("fw", "bw")]
            width = sum(cell.output_size for cell in cells)
            more = [self._cell(f"{name}_{side}_2", CellPlan("rnn", 2), width) for side in ("fw", "bw")]
            y, *state = nn.stack_bidirectional_dynamic_rnn(
                [cells[0], more[0]], [cells[1], more[1]], x, dtype=tf.float32, sequence_length=lengths, scope=name
            )
            return tf.transpose(y, [1, 0, 2]) if self.plan.time_major else y, state, None
        module = nn.lite if layer.flavour == "lite" else nn
        forward, backward = (self._cell(f"{name}_{side}", layer.cell, depth) for side in ("fw", "bw"))
        outputs, state = module.bidirectional_dynamic_rnn(
            forward,
            backward,
            x,
            sequence_length=lengths,
            initial_state_fw=self._start(layer, forward, ask, None),
            initial_state_bw=self._start(layer, backward, ask, None),
            dtype=tf.float32,
            time_major=self.plan.time_major,
            scope=name,
        )
        return tf.concat(outputs, 2), state, None

    def _dynamic(
        self, number: int, layer: LayerPlan, x: Any, lengths: Any, ask: Callable[[int], Any], previous: Any
    ) -> tuple[Any, Any, Any]:
        name = f"layer_{number}"
        shared = layer.shares and previous is not None and previous[1] == x.shape[-1]
        cell = previous[0] if shared else self._cell(name, layer.cell, x.shape[-1])
        module = nn.lite if layer.flavour == "lite" else nn
        y, state = module.dynamic_rnn(
            cell,
            x,
            sequence_length=lengths,
            initial_state=self._start(layer, cell, ask, previous),
            dtype=tf.float32,
            time_major=self.plan.time_major,
            scope=name,
        )
        return y, state, (cell, x.shape[-1], state)

    def _static(self, number: int, layer: LayerPlan, x: Any, lengths: Any) -> tuple[Any, Any, Any]:
        axis = 0 if self.plan.time_major else 1
        cell = self._cell(f"layer_{number}", layer.cell, x.shape[-1])
        y, state = nn.static_rnn(
            cell, tf.unstack(x, axis=axis), dtype=tf.float32, sequence_length=lengths, scope=f"layer_{number}"
        )
        return tf.stack(y, axis=axis), state, None

    def _start(self, layer: LayerPlan, cell: Any, ask: Callable[[int], Any], previous: Any) -> Any:
        if layer.start == "zero state":
            return cell.zero_state(self._batch, tf.float32)
        if layer.start == "given":
            return tf.nest.map_structure(ask, cell.state_size)
        if layer.start == "handed over" and previous is not None and _fits(previous[2], cell):
            return previous[2]
        return None

    # --- cells and weights -------------------------------------------------------------------------------------

    def _cell(self, name: str, plan: CellPlan, depth: int) -> Any:
        if name in self.cells:
            return self.cells[name]
        with tf.init_scope():
            made = _made(plan, depth)
            made.ensure_built(tf.TensorSpec([None, depth], tf.float32))
            for variable in made.variables:
                variable.assign(0.5 * self.rng.standard_normal(variable.shape))
        self.cells[name] = made
        return made

    def _weight(self, name: str, shape: list[int]) -> tf.Variable:
        if name not in self.weights:
            with tf.init_scope():
                self.weights[name] = tf.Variable(self.rng.standard_normal(shape).astype(np.float32) / 2, name=name)
        return self.weights[name]

    def _around(self, kind: str, x: Any, name: str) -> Any:
        depth = x.shape[-1]
        if kind == "dense":
            product = tf.tensordot(x, self._weight(f"{name}_kernel", [depth, 4]), 1)
            return tf.nn.tanh(product + self._weight(f"{name}_bias", [4]))
        if kind == "conv":
            by_batch = tf.transpose(x, [1, 0, 2]) if self.plan.time_major else x
            y = tf.nn.conv1d(by_batch, self._weight(f"{name}_filter", [3, depth, 3]), 1, "SAME")
            return tf.transpose(y, [1, 0, 2]) if self.plan.time_major else y
        if kind == "dropout":
            return tf.nn.dropout(x, 0.0)
        return tf.nn.softmax(x) if kind == "softmax" else x


def _made(plan: CellPlan, depth: int) -> Any:
    cells = []
    for part in (plan, *plan.stacked):
        cell = _wrapped(CELLS[part.kind](part.units, **dict(part.options)), part.wrapper, depth)
        cells.append(cell)
        depth = cell.output_size
    return cells[0] if len(cells) == 1 else nn.MultiRNNCell(cells)


def _wrapped(cell: Any, wrapper: str, depth: int) -> Any:
    if wrapper == "residual" and cell.output_size == depth:
        return nn.ResidualWrapper(cell)
    if wrapper == "dropout":
        return nn.DropoutWrapper(cell, 1.0, 1.0, tf.constant(1.0))
    return nn.DeviceWrapper(cell, "/cpu:0") if wrapper == "device" else cell


def _fits(state: Any, cell: Any) -> bool:
    sizes = [part.shape[-1] for part in tf.nest.flatten(state)]
    try:
        tf.nest.assert_same_structure(state, cell.state_size)
    except (TypeError, ValueError):
        return False
    return sizes == tf.nest.flatten(cell.state_size)
