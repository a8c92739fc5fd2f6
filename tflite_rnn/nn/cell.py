"""The protocol of a recurrent cell and the variables it owns.

Any object is a cell that has

* ``state_size`` and ``output_size``: the depth of state and output, an int, a ``TensorShape``, or a nest of them;
* ``zero_state(batch_size, dtype)``, or ``get_initial_state(inputs=None, batch_size=..., dtype=...)``, called by
  keyword and preferred if both exist: the state before the first step, [batch_size, size] in the structure of
  ``state_size``;
* a call ``cell(inputs, state) -> (output, new_state)``: one step, inputs [batch, ...] and state in, output in the
  structure of ``output_size`` and new state in that of ``state_size`` out. It is called inside a loop, once or at
  every step, so it must not create variables.

It needs no base class. For example a cell without weights that outputs how the inputs change (its state is a
scalar for each row, ``TensorShape([])``)::

    >>> import tensorflow as tf
    >>> from tflite_rnn import nn
    >>> class Change:
    ...     state_size = tf.TensorShape([])
    ...     output_size = 1
    ...     def zero_state(self, batch_size, dtype):
    ...         return tf.zeros([batch_size], dtype)
    ...     def __call__(self, inputs, state):
    ...         total = tf.reduce_sum(inputs, axis=1)
    ...         return (total - state)[:, tf.newaxis], total
    >>> outputs, state = nn.dynamic_rnn(Change(), tf.constant([[[1.0], [4.0], [6.0]]]), dtype=tf.float32)
    >>> print(outputs.numpy().tolist(), state.numpy().tolist())
    [[[1.0], [3.0], [2.0]]] [6.0]

A cell with weights is best a subclass of `RNNCell`, which makes them outside the loop, once, and names them as
TensorFlow 1 does::

    >>> class LeakyCell(nn.RNNCell):
    ...     def __init__(self, num_units, **options):
    ...         super().__init__(**options)
    ...         self.num_units = num_units
    ...     @property
    ...     def state_size(self):
    ...         return self.num_units
    ...     output_size = state_size
    ...     def build(self, inputs_shape):
    ...         self.kernel = self.add_variable("kernel", [inputs_shape[1], self.output_size])
    ...     def call(self, inputs, state):
    ...         state = 0.9 * state + tf.matmul(inputs, self.kernel)
    ...         return state, state
    >>> cell = LeakyCell(4)
    >>> outputs, state = nn.dynamic_rnn(cell, tf.ones([2, 3, 5]), dtype=tf.float32)
    >>> print(outputs.shape, state.shape, [v.name for v in cell.variables])
    (2, 3, 4) (2, 4) ['rnn/leaky_cell/kernel:0']

Both can be wrapped and stacked like the cells of this package. The compiler does not know them, so their loop
stays an ordinary TensorFlow loop.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeAlias, TypeVar, cast

import tensorflow as tf

Tensor: TypeAlias = Any
Variable: TypeAlias = Any
Nest: TypeAlias = Any
Initializer: TypeAlias = Callable[..., Tensor]
Function = TypeVar("Function", bound=Callable[..., Any])


def without_autograph(function: Function) -> Function:
    """Keep AutoGraph from rewriting ``function`` and what it calls when a user's tf.function reaches it."""
    return cast(Function, tf.autograph.experimental.do_not_convert(function))


class RNNCell(tf.Module):  # type: ignore[misc]  # TensorFlow ships no stubs, so its classes are Any
    """One step of a recurrent network: ``cell(inputs, state) -> (output, new_state)``.

    A cell defines the depth of its states and outputs as ``state_size`` and ``output_size`` (an int, a
    ``TensorShape``, or a nest of them) and implements ``call``; if it has variables, it creates them in ``build``
    with ``add_variable``. They are created once, at first use, under the variable scope that is current then, and
    outside of any loop or function that uses the cell.

    Args:
        name: name of the cell's variable scope; by default the class name in snake case.
        dtype: type of the variables; by default the type of the first inputs.
        reuse: True to share existing variables of a TensorFlow 1 graph, as in ``tf.compat.v1.variable_scope``.
        trainable: whether the variables are trainable.
    """

    def __init__(
        self,
        name: str | None = None,
        dtype: Any = None,
        reuse: Any = None,
        trainable: bool = True,
    ) -> None:
        super().__init__()
        # tf.Module accepts only identifiers as names; a variable scope may also be called "fw/cell-1".
        self._cell_name = name or _snake_case(type(self).__name__)
        self._dtype = floating_dtype(dtype)
        self._reuse = reuse
        self._trainable = trainable
        self._scope: Any = None
        self.built = False

    @property
    def name(self) -> str:
        """Name of the cell, and of its variable scope."""
        return self._cell_name

    @property
    def dtype(self) -> Any:
        """Type of the variables; None before first use unless it was given."""
        return self._dtype

    @property
    def state_size(self) -> Nest:
        """Depth of the state: an int, a TensorShape, or a nest of them."""
        raise NotImplementedError(f"{type(self).__name__} does not define state_size")

    @property
    def output_size(self) -> Nest:
        """Depth of the output: an int, a TensorShape, or a nest of them."""
        raise NotImplementedError(f"{type(self).__name__} does not define output_size")

    def build(self, inputs_shape: Nest) -> None:
        """Create the variables for inputs of this shape, [batch, depth]; called once, before the first step."""

    def call(self, inputs: Nest, state: Nest) -> tuple[Nest, Nest]:
        """Compute one step: (inputs [batch, ...], state [batch, state_size]) -> (output, new state)."""
        raise NotImplementedError(f"{type(self).__name__} does not define call(inputs, state)")

    @without_autograph
    def __call__(self, inputs: Nest, state: Nest) -> tuple[Nest, Nest]:
        """Run one step, creating the variables if this is the first: see ``call``."""
        inputs = tf.nest.map_structure(tf.convert_to_tensor, inputs)
        if self.built and tf.executing_eagerly():
            return self.call(inputs, state)
        with self._variable_scope():
            self._build(inputs)
            return self.call(inputs, state)

    def ensure_built(self, inputs: Nest) -> None:
        """Create the variables for inputs like ``inputs`` (tensors or TensorSpecs) unless they exist."""
        if not self.built:
            with self._variable_scope():
                self._build(inputs)

    def _build(self, inputs: Nest) -> None:
        if self.built:
            return
        if self._dtype is None:
            self._dtype = tf.nest.flatten(inputs)[0].dtype
        self.build(tf.nest.map_structure(lambda x: x.shape, inputs))
        self.built = True

    def add_variable(
        self,
        name: str,
        shape: list[int],
        initializer: Initializer | None = None,
        partitioner: Any = None,
    ) -> Variable | tuple[Variable, ...]:
        """Create and return one variable named ``<scope>/<name>``; a tuple of its parts if it is partitioned.

        The initializer defaults to that of the variable scope, else to Glorot's uniform one. An existing variable
        of a TensorFlow 1 graph is an error (ValueError) unless the scope or the cell reuses. Under a
        `tf.distribute` strategy that does not partition variables, the variable is never partitioned.
        """
        with tf.init_scope(), tf.compat.v1.variable_scope(self._scope, auxiliary_name_scope=False):
            variable = tf.compat.v1.get_variable(
                name,
                shape,
                dtype=self._dtype,
                initializer=initializer,
                trainable=self._trainable,
                partitioner=partitioner,
            )
        return variable if isinstance(variable, tf.Variable) else tuple(variable)

    def zero_state(self, batch_size: int | Tensor, dtype: Any) -> Nest:
        """Return the state of zeros: [batch_size, size] for every size in ``state_size``."""
        return tf.nest.map_structure(
            lambda size: tf.zeros([batch_size, *tf.TensorShape(_dimensions(size)).as_list()], dtype),
            self.state_size,
        )

    def get_initial_state(
        self, inputs: Tensor | None = None, batch_size: int | Tensor | None = None, dtype: Any = None
    ) -> Nest:
        """Return the initial state, zeros, for ``inputs`` [batch, ...] or for a batch size and a type.

        Raises ValueError if they contradict the inputs, or without inputs if one of them is missing.
        """
        if inputs is not None:
            inputs = tf.convert_to_tensor(inputs)
            _check_agreement(inputs, batch_size, dtype)
            batch_size = inputs.shape[0] if inputs.shape[0] is not None else tf.shape(inputs)[0]
            dtype = inputs.dtype
        if batch_size is None or dtype is None:
            raise ValueError(
                "batch_size and dtype cannot be None while constructing the initial state without inputs: "
                f"batch_size={batch_size}, dtype={dtype}"
            )
        return self.zero_state(batch_size, dtype)

    @contextmanager
    def _variable_scope(self) -> Iterator[None]:
        """Enter the cell's variable scope, which is chosen at first use."""
        if self._scope is None:
            with self._new_scope() as scope:
                self._scope = scope
        reuse = True if self.built else self._reuse
        with (
            tf.compat.v1.variable_scope(self._scope, reuse=reuse, auxiliary_name_scope=False),
            tf.name_scope(self._scope.name.rsplit("/", 1)[-1]),
        ):
            yield

    def _new_scope(self) -> Any:
        if self._reuse:  # the scope exists already: its name must not be made unique
            return tf.compat.v1.variable_scope(self._cell_name, reuse=self._reuse)
        return tf.compat.v1.variable_scope(None, default_name=self._cell_name)


def zero_state(cell: Any, batch_size: int | Tensor, dtype: Any) -> Nest:
    """Return the zero state of any cell, or its initial state if it has no ``zero_state``."""
    if hasattr(cell, "zero_state"):
        return cell.zero_state(batch_size, dtype)
    return cell.get_initial_state(inputs=None, batch_size=batch_size, dtype=dtype)


def check_inputs(shape: Any, dtype: Any) -> int:
    """Return the depth of a cell's inputs [batch, depth].

    Raises ValueError unless they are floating point (or complex), of rank 2 and of known depth.
    """
    if not (dtype.is_floating or dtype.is_complex):
        raise ValueError(f"RNN cell only supports floating point inputs, but saw dtype: {dtype.name}")
    if shape.rank is not None and shape.rank != 2:
        raise ValueError(f"RNN cell expects inputs of rank 2, [batch, depth], but saw shape {shape}")
    if shape.rank is None or shape[1] is None:
        raise ValueError(f"RNN cell needs to know the depth of its inputs, but saw shape {shape}")
    return int(shape[1])


def floating_dtype(dtype: Any) -> tf.DType | None:
    """Return ``dtype`` as a type of TensorFlow. Raises ValueError if it is not floating."""
    found = None if dtype is None else tf.as_dtype(dtype)
    if found is not None and not found.is_floating:
        raise ValueError(f"dtype: expected a floating type, got {found.name}; use tf.float32")
    return found


def check_one_type(*types: Any) -> None:
    """Raise ValueError if the types of inputs, state, weights and ``dtype`` differ; nothing is cast."""
    names = sorted({dtype.name for dtype in types})
    if len(names) > 1:
        raise ValueError(
            f"inputs, state, weights and dtype must be of one type, but saw {', '.join(names)}; cast the inputs"
        )


def as_tensor(weight: Variable | tuple[Variable, ...]) -> Tensor:
    """Return the value of a weight; the parts of a partitioned one are joined along its rows."""
    if isinstance(weight, tuple):
        return tf.concat([tf.convert_to_tensor(part) for part in weight], axis=0)
    return tf.convert_to_tensor(weight)


def _check_agreement(inputs: Tensor, batch_size: int | Tensor | None, dtype: Any) -> None:
    known = tf.get_static_value(batch_size) if batch_size is not None else None
    if known is not None and inputs.shape[0] is not None and inputs.shape[0] != known:
        raise ValueError(
            f"batch_size is {known}, but the inputs have batch size {inputs.shape[0]}; give only one of them"
        )
    if dtype is not None and inputs.dtype != tf.as_dtype(dtype):
        raise ValueError(
            f"dtype is {tf.as_dtype(dtype).name}, but the inputs are {inputs.dtype.name}; give only one of them"
        )


def _dimensions(size: Any) -> Any:
    return [size] if isinstance(size, int) else size


def _snake_case(name: str) -> str:
    """Return a class name as TensorFlow 1 writes it in variable names: TFLiteLSTMCell is tf_lite_lstm_cell."""
    words = re.sub(r"(.)([A-Z][a-z0-9]+)", r"\1_\2", name)
    return re.sub(r"([a-z])([A-Z])", r"\1_\2", words).lower()
