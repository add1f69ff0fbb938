"""``tf.layers.Layer``, the base of all layers: variable scope, variables, losses, updates."""

from __future__ import annotations

import copy
import inspect
import re
from collections import Counter
from collections.abc import Callable, Iterable
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np

from flowray.client.framework import nest
from flowray.client.framework.conversion import convert_to_tensor
from flowray.client.framework.graph import (
    Graph,
    GraphKeys,
    Operation,
    Tensor,
    get_collection_ref,
    get_default_graph,
    name_scope,
)
from flowray.client.layers.input_spec import InputSpec, check_inputs
from flowray.client.ops import array_ops
from flowray.client.ops.math_ops import cast
from flowray.client.tf_export import tf_export
from flowray.client.variables.partitioned_variables import PartitionedVariable
from flowray.client.variables.variable_modes import VariableAggregation, VariableSynchronization
from flowray.client.variables.variable_scope import VariableScope, get_variable, variable_scope
from flowray.client.variables.variables import Variable, global_variables, trainable_variables
from flowray.proto.types import dtypes
from flowray.proto.types.shapes import TensorShape

_names: WeakKeyDictionary[Graph, Counter[str]] = WeakKeyDictionary()
"""How many layers of each kind have got a name, by graph."""

_WORD_START = re.compile(r"(?<=.)(?=[A-Z][a-z0-9])|(?<=[a-z])(?=[A-Z])")


@tf_export("layers.Layer")
class Layer:
    """The base of layers: ``build`` makes variables at the first call, ``call`` makes the ops.

    A layer's variables are in a variable scope of its own. The scope is chosen at the first call:
    it has the layer's name, made unique (``dense``, ``dense_1``...), unless the layer shares the
    variables of another one.

    Args:
        trainable: whether optimizers may change the variables.
        name: the name; the snake case of the class if None.
        dtype: of the variables; that of the first input if None.
        activity_regularizer: a function of the output to a loss.
        _scope: the variable scope (or its name) to use as it stands.
        _reuse: whether the variables are those of a layer before (or ``tf.AUTO_REUSE``).

    Attributes:
        built: whether ``build`` has run.
        input_spec: an ``InputSpec``, or several, that inputs are checked against.
        updates_collections: the collection (or several, or None) that updates join.
        trainable: see above; if it is changed, what follows from it changes, too, but not the
            collections that variables have joined.
    """

    stateful = False
    supports_masking = False
    trainable: bool

    def __init__(
        self,
        trainable: bool = True,
        name: str | VariableScope | None = None,
        dtype: Any = None,
        *,
        activity_regularizer: Callable[[Any], Any] | None = None,
        _scope: str | VariableScope | None = None,
        _reuse: Any = None,
        **kwargs: Any,
    ) -> None:
        for key in kwargs:
            if key not in ("autocast", "dynamic"):
                raise TypeError("Keyword argument not understood:", key)
        self.trainable = trainable
        self.built = False
        self.input_spec: Any = None
        self.activity_regularizer = activity_regularizer
        self.updates_collections: Any = GraphKeys.UPDATE_OPS
        self._dtype = None if dtype is None else dtypes.as_dtype(dtype).name
        self._reuse = _reuse
        self._trainable_weights: list[Any] = []
        self._non_trainable_weights: list[Any] = []
        self._losses: list[Tensor] = []
        self._updates: list[Any] = []
        self._inputs: list[Tensor] = []
        """The inputs of all calls."""
        self._choose_name(name)
        self._current_scope: Any = None
        self._scope: VariableScope | None = None
        if _scope:
            with variable_scope(_scope) as captured:
                self._scope = captured

    def _choose_name(self, name: str | VariableScope | None) -> None:
        if isinstance(name, str) and name:
            self._name = self._base_name = name
            return
        kind = snake_case(type(self).__name__)
        counter = _names.setdefault(get_default_graph(), Counter())
        counter[kind] += 1
        self._name = f"{kind}_{counter[kind]}"
        self._base_name = name.name if isinstance(name, VariableScope) else kind

    # Properties -----------------------------------------------------------------------------

    @property
    def name(self) -> str:
        """The name of the layer."""
        return self._name

    @property
    def scope_name(self) -> str:
        """The name of the variable scope. ValueError before the first call."""
        if self._scope is None:
            raise ValueError(
                f'No name available for layer scope because the layer "{self._name}" has not been '
                "used yet. The scope name  is determined the first time the layer instance is "
                "called. You must therefore call the layer before querying `scope_name`."
            )
        return self._scope.name

    @property
    def dtype(self) -> str | None:
        """The name of the variables' dtype; None as long as it is not known."""
        return self._dtype

    @property
    def graph(self) -> None:
        """None: as in TensorFlow 1.15, layers no longer know their graph."""

    @property
    def trainable_weights(self) -> list[Any]:
        """The variables that optimizers change."""
        return list(self._trainable_weights) if self.trainable else []

    @property
    def non_trainable_weights(self) -> list[Any]:
        """The other variables."""
        if self.trainable:
            return list(self._non_trainable_weights)
        return self._trainable_weights + self._non_trainable_weights

    @property
    def weights(self) -> list[Any]:
        """All variables, the trainable ones first."""
        return self.trainable_weights + self.non_trainable_weights

    @property
    def variables(self) -> list[Any]:
        """All variables, the trainable ones first."""
        return self.weights

    @property
    def trainable_variables(self) -> list[Any]:
        """The variables that optimizers change."""
        return self.trainable_weights

    @property
    def non_trainable_variables(self) -> list[Any]:
        """The other variables."""
        return self.non_trainable_weights

    def count_params(self) -> int:
        """Counts the elements of all variables. ValueError before the first call."""
        if not self.built:
            raise ValueError(
                f"You tried to call `count_params` on {self.name}, but the layer isn't built. You "
                f"can build it manually via: `{self.name}.build(batch_input_shape)`."
            )
        return sum(int(np.prod(weight.shape.as_list())) for weight in self.weights)

    # Losses and updates ---------------------------------------------------------------------

    @property
    def losses(self) -> list[Tensor]:
        """The losses of the variables' and the outputs' regularizers, and those added."""
        return list(self._losses)

    @property
    def updates(self) -> list[Any]:
        """The ops that should run with every training step; none if the layer is not trainable."""
        return list(self._updates) if self.trainable or self.stateful else []

    def add_loss(self, losses: Any, inputs: Any = None) -> None:
        """Adds losses (or functions that make them); they join ``REGULARIZATION_LOSSES``."""
        for loss in nest.flatten(losses):
            made = loss() if callable(loss) else loss
            if made is not None:
                self._losses.append(convert_to_tensor(made))
        _add_to_collection(self._losses, GraphKeys.REGULARIZATION_LOSSES)

    def add_update(self, updates: Any, inputs: Any = None) -> None:
        """Adds ops (tensors, or functions that make them); see ``updates_collections``."""
        for update in nest.flatten(updates):
            made = update() if callable(update) else update
            self._updates.append(made if isinstance(made, Operation) else made.op)

    def get_losses_for(self, inputs: Any) -> list[Tensor]:
        """Returns the losses that depend on ``inputs``; with None, those that depend on none."""
        return self._chosen(self.losses, inputs)

    def get_updates_for(self, inputs: Any) -> list[Any]:
        """Returns the updates that depend on ``inputs``; with None, those that depend on none."""
        return self._chosen(self.updates, inputs)

    def _chosen(self, items: list[Any], inputs: Any) -> list[Any]:
        if inputs is None:
            return [item for item in items if not _depends_on(item, self._inputs)]
        tensors = [t for t in nest.flatten(inputs) if t in self._inputs]
        return [item for item in items if _depends_on(item, tensors)]

    # Variables ------------------------------------------------------------------------------

    def add_weight(
        self,
        name: str,
        shape: Any,
        dtype: Any = None,
        initializer: Any = None,
        regularizer: Callable[[Any], Any] | None = None,
        trainable: bool | None = None,
        constraint: Callable[[Any], Any] | None = None,
        use_resource: bool | None = None,
        synchronization: Any = VariableSynchronization.AUTO,
        aggregation: Any = VariableAggregation.NONE,
        partitioner: Any = None,
        experimental_autocast: bool = True,
    ) -> Any:
        """Makes the variable ``name`` in the layer's scope, or takes it if the layer reuses.

        Args:
            name, shape, initializer, constraint, use_resource, synchronization, aggregation,
            partitioner: as for ``tf.get_variable``.
            dtype: the layer's if None.
            regularizer: a function from the variable to a loss, which ``add_loss`` gets when the
                variable is made.
            trainable: whether optimizers may change it, if they may change the layer; True if
                None, but for ``ON_READ``.
            experimental_autocast: accepted for TensorFlow's sake; nothing is cast.

        Raises:
            ValueError: as ``tf.get_variable``; or it is to be trainable and ``ON_READ``.
        """
        if synchronization == VariableSynchronization.ON_READ and trainable:
            raise ValueError(
                "Synchronization value can be set to VariableSynchronization.ON_READ only for "
                "non-trainable variables. You have specified trainable=True and "
                "synchronization=VariableSynchronization.ON_READ."
            )
        if trainable is None:
            trainable = synchronization != VariableSynchronization.ON_READ
        before = set(global_variables())
        self._set_scope(None)
        with variable_scope(
            self._scope, reuse=self.built or self._reuse, auxiliary_name_scope=False
        ) as scope:
            self._current_scope = scope
            with name_scope(self._name_scope()):
                variable = get_variable(
                    name,
                    shape=() if shape is None else shape,
                    dtype=dtypes.as_dtype(dtype or self._dtype or dtypes.float32),
                    initializer=initializer,
                    trainable=trainable and self.trainable,
                    constraint=constraint,
                    partitioner=partitioner,
                    use_resource=use_resource,
                    synchronization=synchronization,
                    aggregation=aggregation,
                )
                if regularizer is not None and before.isdisjoint(_parts(variable)):
                    for part in _parts(variable):
                        with name_scope(f"{name}/Regularizer"):
                            self.add_loss(regularizer(part))
        # Custom getters may make variables that are not trainable.
        if trainable and set(trainable_variables()).issuperset(_parts(variable)):
            self._trainable_weights.append(variable)
        else:
            self._non_trainable_weights.append(variable)
        return variable

    def add_variable(self, *args: Any, **kwargs: Any) -> Any:
        """Calls ``add_weight``, by its older name."""
        return self.add_weight(*args, **kwargs)

    # Calls ----------------------------------------------------------------------------------

    def build(self, input_shape: Any) -> None:
        """Makes the variables, which depend on the (structure of) ``TensorShape`` of the inputs."""
        self.built = True

    def call(self, inputs: Any, *args: Any, **kwargs: Any) -> Any:
        """Makes the ops of the layer; returns a tensor or a structure of them."""
        return inputs

    def compute_output_shape(self, input_shape: Any) -> TensorShape:
        """Returns the shape of the output for inputs of shape ``input_shape``."""
        raise NotImplementedError

    def __call__(self, inputs: Any, *args: Any, **kwargs: Any) -> Any:
        """Builds the layer, if this is the first call, and calls it.

        Args:
            inputs: a tensor or a structure of them; numbers and arrays are converted.
            args, kwargs: what else ``call`` gets, but for ``scope``: the name of the variable scope
                (if it is not chosen yet). ``call`` gets the scope itself, if it takes it.

        Raises:
            ValueError: an input is not as ``input_spec`` demands, or ``call`` returns None.
        """
        self._set_scope(kwargs.pop("scope", None))
        with variable_scope(
            self._scope, reuse=self.built or self._reuse, auxiliary_name_scope=False
        ) as scope:
            self._current_scope = scope
            if "scope" in inspect.signature(self.call).parameters:
                kwargs["scope"] = scope
            outputs = self._call_in_scope(inputs, *args, **kwargs)
        for name in nest.flatten(self.updates_collections or []):
            _add_to_collection(self.updates, name)
        return outputs

    def apply(self, inputs: Any, *args: Any, **kwargs: Any) -> Any:
        """Calls the layer."""
        return self(inputs, *args, **kwargs)

    def _call_in_scope(self, inputs: Any, *args: Any, **kwargs: Any) -> Any:
        inputs = nest.map_structure(
            lambda x: (
                convert_to_tensor(x) if isinstance(x, np.ndarray | np.generic | float | int) else x
            ),
            inputs,
        )
        check_inputs(self.input_spec, inputs, self.name)
        self._inputs.extend(nest.flatten(inputs))
        with name_scope(self._name_scope()):
            self._build_once(inputs)
            outputs = self.call(inputs, *args, **kwargs)
            if outputs is None:
                raise ValueError(
                    "A layer's `call` method should return a Tensor or a list of Tensors, not None "
                    f"(layer: {self.name})."
                )
            if self.activity_regularizer is not None:
                self._regularize_activity(outputs)
        return outputs

    def _build_once(self, inputs: Any) -> None:
        if self.built:
            return
        check_inputs(self.input_spec, inputs, self.name)
        tensors = nest.flatten(inputs)
        if self._dtype is None and tensors and hasattr(tensors[0], "dtype"):
            self._dtype = tensors[0].dtype.base_dtype.name
        shapes = None
        if all(hasattr(tensor, "shape") for tensor in tensors):
            shapes = nest.map_structure(lambda tensor: tensor.shape, inputs)
        self.build(shapes)
        self.built = True

    def _regularize_activity(self, outputs: Any) -> None:
        assert self.activity_regularizer is not None
        with name_scope("ActivityRegularizer"):
            for output in nest.flatten(outputs):
                loss = self.activity_regularizer(output)
                self.add_loss(loss / cast(array_ops.shape(output)[0], loss.dtype))

    def _name_scope(self) -> str:
        """The name scope of the layer's ops: the one that its variable scope was opened with."""
        return str(self._current_scope.original_name_scope)

    def _set_scope(self, scope: Any) -> None:
        """Chooses the variable scope, unless it is chosen."""
        if self._scope is not None:
            return
        if self._reuse:
            opened = variable_scope(self._base_name if scope is None else scope)
        else:
            opened = variable_scope(scope, default_name=self._base_name)
        with opened as captured:
            self._scope = captured

    def __deepcopy__(self, memo: dict[int, Any]) -> Layer:
        """Copies the layer: the same tensors and variables, but state of its own."""
        result = type(self).__new__(type(self))
        memo[id(self)] = result
        for key, value in vars(self).items():
            if isinstance(value, VariableScope):
                value = copy.copy(value)
            elif any(isinstance(leaf, _IN_A_GRAPH) for leaf in nest.flatten(value)):
                value = copy.copy(value) if isinstance(value, list | dict) else value
            else:
                value = copy.deepcopy(value, memo)
            setattr(result, key, value)
        return result


_IN_A_GRAPH = (Graph, Operation, PartitionedVariable, Tensor, Variable)


def snake_case(name: str) -> str:
    """Converts ``MaxPooling2D`` to ``max_pooling2d``."""
    return _WORD_START.sub("_", name).lower()


def _parts(variable: Any) -> list[Any]:
    return list(variable) if isinstance(variable, PartitionedVariable) else [variable]


def _add_to_collection(items: Iterable[Any], name: str) -> None:
    """Adds the items that are not there yet."""
    collection = get_collection_ref(name)
    present = {id(item) for item in collection}
    collection.extend(item for item in items if id(item) not in present)


def _depends_on(item: Any, tensors: list[Tensor]) -> bool:
    """Tells whether a tensor or op is computed from one of ``tensors``."""
    wanted, seen = set(tensors), set()
    pending = [item.op if isinstance(item, Tensor) else item]
    while pending:
        op = pending.pop()
        if op in seen:
            continue
        seen.add(op)
        if not wanted.isdisjoint(op.inputs):
            return True
        pending.extend(tensor.op for tensor in op.inputs)
        pending.extend(op.control_inputs)
    return False


__all__ = ["InputSpec", "Layer"]
