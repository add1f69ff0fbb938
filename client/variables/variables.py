"""``tf.Variable``: a tensor that lives between steps.

A variable is a node that stands for the state (``VariableV2``, whose output is a reference, or
``VarHandleOp``), an initial value, an op that assigns it, and a read. The nodes and their names are
TensorFlow 1.15's, since checkpoints, tools and users know them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from flowray.client.control_flow.cond import cond
from flowray.client.framework.collection_protos import register_proto_function
from flowray.client.framework.conversion import (
    constant,
    register_tensor_conversion_function,
)
from flowray.client.framework.default_session import get_default_session
from flowray.client.framework.function import init_scope
from flowray.client.framework.graph import (
    Graph,
    GraphKeys,
    Operation,
    Tensor,
    add_to_collections,
    device,
    get_collection,
    get_default_graph,
    name_scope,
)
from flowray.client.framework.op_builder import apply_op, output_of
from flowray.client.ops.control_flow_ops import group, no_op
from flowray.client.ops.math_ops import OVERLOADED_OPERATORS, logical_not
from flowray.client.ops.slice_ops import boolean_mask, slice_helper
from flowray.client.tf_export import tf_export
from flowray.client.variables.save_slice_info import SaveSliceInfo as SliceInfo
from flowray.client.variables.save_slice_info import in_scope
from flowray.client.variables.scatter_methods import ScatterMethods
from flowray.client.variables.variable_creation import CreatedInScope, default_creator
from flowray.client.variables.variable_modes import (
    VariableAggregation,
    VariableSynchronization,
    as_aggregation,
    as_synchronization,
    default_trainable,
)
from flowray.proto.messages import meta_graph_pb2
from flowray.proto.types import dtypes
from flowray.proto.types.dtypes import DType
from flowray.proto.types.shapes import TensorShape


@tf_export("Variable")
class Variable(ScatterMethods, metaclass=CreatedInScope):
    """A tensor with state: it keeps its value from one ``Session.run`` to the next.

    Args:
        initial_value: what the initializer assigns: anything that converts to a Tensor, or a
            function without arguments that returns it.
        trainable: whether optimizers change it (the collection ``TRAINABLE_VARIABLES``).
        collections: the graph collections it enters; ``[GLOBAL_VARIABLES]`` if None.
        validate_shape: whether the shape is that of ``initial_value`` for good, which then must be
            known.
        caching_device: where to keep a copy for readers, if not with the variable.
        name: the name of its op; "Variable" if None.
        variable_def: a ``VariableDef`` that names the nodes of the default graph to wrap; then
            only ``import_scope`` may be given with it.
        dtype: the dtype; that of ``initial_value`` if None.
        expected_shape: ignored, as it is deprecated.
        import_scope: the name scope that the graph was imported into.
        constraint: a function from a new value to the one to keep, which optimizers apply.
        use_resource: whether to make a resource variable; the variable scope's choice if None.
        synchronization, aggregation: accepted for TensorFlow's sake; there is one copy.
        shape: the shape, if it is to be less specific than that of ``initial_value``.

    Raises:
        ValueError: there is no initial value, or its shape is not known and should be, or
            ``collections`` is not a list.
    """

    SaveSliceInfo = SliceInfo
    _created_in_scope = True

    _trainable: bool
    _constraint: Callable[[Any], Any] | None
    _initial_value: Tensor | None
    _initializer_op: Operation
    _caching_device: Any = None
    _save_slice_info: SliceInfo | None = None
    _synchronization: VariableSynchronization
    _aggregation: VariableAggregation
    _graph: Graph

    def __init__(
        self,
        initial_value: Any = None,
        trainable: bool | None = None,
        collections: Any = None,
        validate_shape: bool = True,
        caching_device: Any = None,
        name: str | None = None,
        variable_def: meta_graph_pb2.VariableDef | None = None,
        dtype: Any = None,
        expected_shape: Any = None,
        import_scope: str | None = None,
        constraint: Callable[[Any], Any] | None = None,
        use_resource: bool | None = None,
        synchronization: Any = None,
        aggregation: Any = None,
        shape: Any = None,
    ) -> None:
        self._caching_device = caching_device
        self._graph = get_default_graph()
        if variable_def is not None:
            if initial_value is not None:
                raise ValueError("variable_def and initial_value are mutually exclusive.")
            self._trainable = variable_def.trainable
            self._constraint = None
            self._synchronization = as_synchronization(variable_def.synchronization, name)
            self._aggregation = as_aggregation(variable_def.aggregation, name)
            if variable_def.HasField("save_slice_info_def"):
                self._save_slice_info = SliceInfo(
                    save_slice_info_def=variable_def.save_slice_info_def, import_scope=import_scope
                )
            self._from_def(variable_def, import_scope)
            return
        if initial_value is None:
            raise ValueError("initial_value must be specified.")
        if collections is None:
            collections = [GraphKeys.GLOBAL_VARIABLES]
        if not isinstance(collections, list | tuple | set):
            raise ValueError(
                "collections argument to Variable constructor must be a list, tuple, or set. Got "
                f"{collections} of type {type(collections)}"
            )
        if constraint is not None and not callable(constraint):
            raise ValueError("The `constraint` argument must be a callable.")
        self._constraint = constraint
        self._synchronization = as_synchronization(synchronization, name)
        self._aggregation = as_aggregation(aggregation, name)
        if trainable is None:
            trainable = default_trainable(self._synchronization)
        self._trainable = trainable
        if self._trainable and GraphKeys.TRAINABLE_VARIABLES not in collections:
            collections = [*collections, GraphKeys.TRAINABLE_VARIABLES]
        values = [] if callable(initial_value) else [initial_value]
        # Whatever the code around it waits for, a variable can be initialized before.
        with init_scope(), name_scope(name, "Variable", values) as scope:
            self._graph = get_default_graph()
            self._build(initial_value, dtype, shape, validate_shape, scope)
        add_to_collections(collections, self)

    def _build(
        self, initial_value: Any, dtype: Any, shape: Any, validate_shape: bool, scope: str
    ) -> None:
        """Makes the nodes, inside the variable's name scope."""
        raise NotImplementedError

    def _from_def(self, variable_def: meta_graph_pb2.VariableDef, import_scope: str | None) -> None:
        """Finds the nodes that ``variable_def`` names."""
        raise NotImplementedError

    # What it is -----------------------------------------------------------------------------

    @property
    def op(self) -> Operation:
        """The node that stands for the state."""
        raise NotImplementedError

    @property
    def name(self) -> str:
        """The name of the node that stands for the state, with ":0"."""
        raise NotImplementedError

    @property
    def dtype(self) -> DType:
        """The dtype of the value; a reference dtype for a reference variable."""
        raise NotImplementedError

    @property
    def shape(self) -> TensorShape:
        """The static shape."""
        raise NotImplementedError

    def get_shape(self) -> TensorShape:
        """Returns ``shape``."""
        return self.shape

    @property
    def device(self) -> str:
        """The device that the variable was given; "" for none."""
        return self.op.device

    @property
    def graph(self) -> Graph:
        """The graph that the variable belongs to."""
        return self._graph

    @property
    def trainable(self) -> bool:
        """True if optimizers change the variable."""
        return self._trainable

    @property
    def synchronization(self) -> VariableSynchronization:
        """The mode that was given; see ``VariableSynchronization``."""
        return self._synchronization

    @property
    def aggregation(self) -> VariableAggregation:
        """The mode that was given; see ``VariableAggregation``."""
        return self._aggregation

    @property
    def constraint(self) -> Callable[[Any], Any] | None:
        """The function that optimizers apply to new values, or None."""
        return self._constraint

    @property
    def initializer(self) -> Operation:
        """The op that assigns the initial value."""
        return self._initializer_op

    @property
    def initial_value(self) -> Tensor | None:
        """The tensor that ``initializer`` assigns; it may give another value at every run."""
        return self._initial_value

    @property
    def _shared_name(self) -> str:
        return self.name[: self.name.index(":")]

    def _set_save_slice_info(self, info: Any) -> None:
        self._save_slice_info = info

    def _get_save_slice_info(self) -> Any:
        return self._save_slice_info

    # Reading --------------------------------------------------------------------------------

    def value(self) -> Tensor:
        """Returns the value, as the tensor that operators and conversions take."""
        raise NotImplementedError

    def read_value(self) -> Tensor:
        """Adds a read of the value, which obeys the control dependencies around the call."""
        raise NotImplementedError

    def eval(self, session: Any = None) -> Any:
        """Returns the value in ``session``, or in the default session, as a numpy array."""
        element = self._as_graph_element()
        return element.eval(session=session)

    def initialized_value(self) -> Tensor:
        """Returns the value for the initializer of another variable, which depends on this one.

        It is the value if the variable has one, and else the initial value: so an initializer need
        not wait for another one.
        """
        with init_scope():
            value: Tensor = cond(
                self.is_initialized(), self.read_value, lambda: self._initial_value
            )
            return value

    def is_initialized(self, name: str | None = None) -> Tensor:
        """Returns a bool scalar: whether the variable has a value."""
        raise NotImplementedError

    def _ref(self) -> Tensor:
        """Returns the reference, where there is one; else the value."""
        return self.value()

    def _as_graph_element(self) -> Tensor:
        raise NotImplementedError

    def __getitem__(self, spec: Any) -> Tensor:
        """Returns a slice of the value; its method ``assign`` writes to that slice."""
        return slice_helper(self.value(), spec, self)

    def __iter__(self) -> Any:
        raise TypeError("'Variable' object is not iterable.")

    # As in TensorFlow 1.15, == and hash go by identity.
    __hash__ = object.__hash__
    __array_priority__ = 100

    # Writing --------------------------------------------------------------------------------

    def assign(
        self,
        value: Any,
        use_locking: bool = False,
        name: str | None = None,
        read_value: bool = True,
    ) -> Any:
        """Adds an op that sets the variable to ``value``.

        Args:
            use_locking: accepted for TensorFlow's sake; assignments are atomic.
            read_value: whether to return the new value and not just the op.
        """
        raise NotImplementedError

    def assign_add(
        self,
        delta: Any,
        use_locking: bool = False,
        name: str | None = None,
        read_value: bool = True,
    ) -> Any:
        """Adds an op that adds ``delta``, shaped as the variable is."""
        raise NotImplementedError

    def assign_sub(
        self,
        delta: Any,
        use_locking: bool = False,
        name: str | None = None,
        read_value: bool = True,
    ) -> Any:
        """Adds an op that subtracts ``delta``, shaped as the variable is."""
        raise NotImplementedError

    def count_up_to(self, limit: int) -> Tensor:
        """Returns the value before adding 1; OutOfRangeError instead, once it is ``limit``."""
        raise NotImplementedError

    def _assign_slice(self, slice_op: Operation, value: Any, name: str | None = None) -> Any:
        raise NotImplementedError

    def load(self, value: Any, session: Any = None) -> None:
        """Sets the variable to a numpy value in ``session``, without new nodes.

        Raises:
            ValueError: there is no session.
        """
        session = session or get_default_session()
        if session is None:
            raise ValueError(
                "Either session argument should be provided or default session should be "
                "established"
            )
        session.run(self.initializer, {self.initializer.inputs[1]: value})

    # Protos ---------------------------------------------------------------------------------

    def to_proto(self, export_scope: str | None = None) -> meta_graph_pb2.VariableDef | None:
        """Returns the names of its nodes; None if it is outside ``export_scope``."""
        if export_scope is not None and not self.name.startswith(export_scope + "/"):
            return None

        def stripped(name: str) -> str:
            return name.removeprefix(export_scope + "/") if export_scope else name

        result = meta_graph_pb2.VariableDef(
            variable_name=stripped(self.name),
            initializer_name=stripped(self.initializer.name),
            trainable=self.trainable,
            synchronization=f"VARIABLE_SYNCHRONIZATION_{self._synchronization.name}",
            aggregation=f"VARIABLE_AGGREGATION_{self._aggregation.name}",
        )
        info = self._save_slice_info
        info_def = None if info is None else info.to_proto(export_scope)
        if info_def is not None:
            result.save_slice_info_def.CopyFrom(info_def)
        if self._initial_value is not None:
            result.initial_value_name = stripped(self._initial_value.name)
        self._complete_def(result, stripped)
        return result

    def _complete_def(
        self, result: meta_graph_pb2.VariableDef, stripped: Callable[[str], str]
    ) -> None:
        raise NotImplementedError

    @staticmethod
    def from_proto(
        variable_def: meta_graph_pb2.VariableDef, import_scope: str | None = None
    ) -> Variable:
        """Returns the variable of the default graph whose nodes ``variable_def`` names."""
        variable: Variable = default_creator()(variable_def=variable_def, import_scope=import_scope)
        return variable

    def _named_initial_value(
        self, variable_def: meta_graph_pb2.VariableDef, import_scope: str | None
    ) -> Tensor | None:
        if not variable_def.initial_value_name:
            return None
        name = in_scope(variable_def.initial_value_name, import_scope)
        return self._graph.get_tensor_by_name(name)


# Building blocks of the two kinds of variables ---------------------------------------------------


def slice_masks(slice_op: Operation) -> dict[str, int]:
    """Returns the five mask attributes of a StridedSlice."""
    return {key: value for key, value in slice_op._attrs.items() if key.endswith("_mask")}


# Conversion and operators -------------------------------------------------------------------------


def _to_tensor(
    variable: Variable, dtype: DType | None = None, name: str | None = None, as_ref: bool = False
) -> Tensor:
    if dtype is not None and not dtype.is_compatible_with(variable.dtype):
        raise ValueError(
            f"Incompatible type conversion requested to type '{dtype.name}' for variable of type "
            f"'{variable.dtype.name}'"
        )
    return variable._ref() if as_ref else variable.value()


register_tensor_conversion_function(Variable, _to_tensor, 50)

for _collection in (
    GraphKeys.GLOBAL_STEP,
    GraphKeys.GLOBAL_VARIABLES,
    GraphKeys.LOCAL_VARIABLES,
    GraphKeys.METRIC_VARIABLES,
    GraphKeys.MODEL_VARIABLES,
    GraphKeys.MOVING_AVERAGE_VARIABLES,
    GraphKeys.TRAINABLE_VARIABLES,
):
    register_proto_function(
        _collection, meta_graph_pb2.VariableDef, Variable.to_proto, Variable.from_proto
    )


def _forward_operator(operator: str) -> None:
    of_tensor = getattr(Tensor, operator)

    def of_variable(self: Variable, *args: Any) -> Any:
        return of_tensor(self.value(), *args)

    of_variable.__name__ = operator
    of_variable.__doc__ = of_tensor.__doc__
    setattr(Variable, operator, of_variable)


for _operator in OVERLOADED_OPERATORS:
    _forward_operator(_operator)


# The variables of the default graph --------------------------------------------------------------


@tf_export("global_variables", "contrib.framework.get_variables", "contrib.slim.get_variables")
def global_variables(scope: str | None = None) -> list[Any]:
    """Returns the variables that all workers share, to which ``tf.Variable`` adds by default.

    Args:
        scope: only those whose name matches this regular expression.
    """
    return get_collection(GraphKeys.GLOBAL_VARIABLES, scope)


@tf_export("all_variables")
def all_variables() -> list[Any]:
    """Returns ``global_variables()``, by its older name."""
    return global_variables()


@tf_export(
    "local_variables", "contrib.framework.get_local_variables", "contrib.slim.get_local_variables"
)
def local_variables(scope: str | None = None) -> list[Any]:
    """Returns the variables that belong to one process and are not saved."""
    return get_collection(GraphKeys.LOCAL_VARIABLES, scope)


@tf_export(
    "model_variables", "contrib.framework.get_model_variables", "contrib.slim.get_model_variables"
)
def model_variables(scope: str | None = None) -> list[Any]:
    """Returns the variables that the model needs for inference."""
    return get_collection(GraphKeys.MODEL_VARIABLES, scope)


@tf_export(
    "trainable_variables",
    "contrib.framework.get_trainable_variables",
    "contrib.slim.get_trainable_variables",
)
def trainable_variables(scope: str | None = None) -> list[Any]:
    """Returns the variables that optimizers change."""
    return get_collection(GraphKeys.TRAINABLE_VARIABLES, scope)


@tf_export("moving_average_variables")
def moving_average_variables(scope: str | None = None) -> list[Any]:
    """Returns the variables whose moving averages are kept."""
    return get_collection(GraphKeys.MOVING_AVERAGE_VARIABLES, scope)


@tf_export("variables_initializer", "initializers.variables")
def variables_initializer(var_list: Sequence[Any], name: str = "init") -> Operation:
    """Adds an op that runs the initializers of ``var_list``, in any order."""
    if var_list:
        return group(*[v.initializer for v in var_list], name=name)
    return no_op(name=name)


@tf_export("initialize_variables")
def initialize_variables(var_list: Sequence[Any], name: str = "init") -> Operation:
    """Calls ``variables_initializer``, by its older name."""
    return variables_initializer(var_list, name)


@tf_export("global_variables_initializer", "initializers.global_variables")
def global_variables_initializer() -> Operation:
    """Adds an op that initializes all global variables."""
    return variables_initializer(global_variables())


@tf_export("initialize_all_variables")
def initialize_all_variables() -> Operation:
    """Calls ``global_variables_initializer``, by its older name."""
    return global_variables_initializer()


@tf_export("local_variables_initializer", "initializers.local_variables")
def local_variables_initializer() -> Operation:
    """Adds an op that initializes all local variables."""
    return variables_initializer(local_variables())


@tf_export("initialize_local_variables")
def initialize_local_variables() -> Operation:
    """Calls ``local_variables_initializer``, by its older name."""
    return local_variables_initializer()


@tf_export("is_variable_initialized")
def is_variable_initialized(variable: Any) -> Tensor:
    """Returns a bool scalar: whether ``variable`` has a value."""
    if isinstance(variable, Variable):
        return variable.is_initialized()
    return output_of("IsVariableInitialized", variable)


@tf_export("report_uninitialized_variables")
def report_uninitialized_variables(
    var_list: Sequence[Any] | None = None, name: str = "report_uninitialized_variables"
) -> Tensor:
    """Returns a string vector: the names of those of ``var_list`` that have no value.

    Args:
        var_list: variables; all global and local ones if None.
    """
    if var_list is None:
        var_list = global_variables() + local_variables()
    with name_scope(name):
        initialized = [is_variable_initialized(v) for v in var_list]
        with device("/cpu:0"):
            if not var_list:
                return constant([], dtypes.string)
            mask = logical_not(apply_op("Pack", initialized, axis=0, name="stack"))
            names = constant([v.op.name for v in var_list])
            return boolean_mask(names, mask)


@tf_export("assert_variables_initialized")
def assert_variables_initialized(var_list: Sequence[Any] | None = None) -> Tensor | None:
    """Adds an op that fails with FailedPreconditionError if a variable has no value; superseded.

    None if there are no variables.
    """
    if var_list is None:
        var_list = global_variables() + local_variables()
    if not var_list:
        return None
    ranks = [output_of("Rank", v) for v in var_list]
    return ranks[0] if len(ranks) == 1 else output_of("Pack", ranks, axis=0)
