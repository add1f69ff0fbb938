"""``tf.variable_scope`` and ``tf.get_variable``: variables that code shares by name.

A variable scope is a prefix of variables' names and the defaults of ``tf.get_variable``'s
arguments. Which variables there are, and how they are made, is for ``variable_store``.
"""

from __future__ import annotations

import enum
import functools
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from typing import Any

from flowray.client.control_flow.functional import register_loop_scope
from flowray.client.framework.conversion import convert_to_tensor
from flowray.client.framework.graph import (
    Graph,
    GraphKeys,
    get_collection,
    get_default_graph,
    name_scope,
)
from flowray.client.framework.graph import _graph_of as graph_of
from flowray.client.tf_export import tf_export
from flowray.client.variables.variable_modes import VariableAggregation, VariableSynchronization
from flowray.client.variables.variable_store import VariableStore
from flowray.client.variables.variables import Variable
from flowray.proto.types import dtypes


class _ReuseMode(enum.Enum):
    AUTO_REUSE = 1


AUTO_REUSE = tf_export("AUTO_REUSE")(_ReuseMode.AUTO_REUSE)
"""As ``reuse``: take the variable if it is there, make it if it is not."""

# Scopes -------------------------------------------------------------------------------------------


@tf_export("VariableScope")
class VariableScope:
    """The prefix and the defaults that ``tf.get_variable`` uses.

    Args:
        reuse: True: variables are taken; False: they are made; ``tf.AUTO_REUSE``: either.
        name: the prefix.
        name_scope: the name scope that was opened with the variable scope.
        initializer, regularizer, caching_device, partitioner, custom_getter, dtype, use_resource,
        constraint: defaults of the arguments of ``tf.get_variable``.
    """

    def __init__(
        self,
        reuse: Any,
        name: str = "",
        initializer: Any = None,
        regularizer: Any = None,
        caching_device: Any = None,
        partitioner: Any = None,
        custom_getter: Any = None,
        name_scope: str = "",
        dtype: Any = dtypes.float32,
        use_resource: bool | None = None,
        constraint: Any = None,
    ) -> None:
        self._reuse = reuse
        self._name = name
        self._initializer = initializer
        self._regularizer = regularizer
        self._caching_device = caching_device
        self._partitioner = partitioner
        self._custom_getter = custom_getter
        self._name_scope = name_scope
        self._dtype = dtype
        self._use_resource = use_resource
        self._constraint = constraint

    @property
    def name(self) -> str:
        """The prefix of the names of variables, without a slash at its end."""
        return self._name

    @property
    def original_name_scope(self) -> str:
        """The name scope that was opened with the variable scope, with a slash at its end."""
        return self._name_scope

    @property
    def reuse(self) -> Any:
        """True, False or ``tf.AUTO_REUSE``."""
        return self._reuse

    @property
    def initializer(self) -> Any:
        """The initializer of variables that have none of their own."""
        return self._initializer

    @property
    def regularizer(self) -> Any:
        """The regularizer of variables that have none of their own."""
        return self._regularizer

    @property
    def caching_device(self) -> Any:
        """The device where reads are cached, or a function of the op; None for no cache."""
        return self._caching_device

    @property
    def partitioner(self) -> Any:
        """The partitioner of variables that have none of their own."""
        return self._partitioner

    @property
    def custom_getter(self) -> Any:
        """The function that stands between ``tf.get_variable`` and its result."""
        return self._custom_getter

    @property
    def dtype(self) -> Any:
        """The dtype of variables that state none."""
        return self._dtype

    @property
    def use_resource(self) -> bool | None:
        """True for resource variables, False for references, None for the default."""
        return self._use_resource

    @property
    def constraint(self) -> Any:
        """The constraint of variables that have none of their own."""
        return self._constraint

    def reuse_variables(self) -> None:
        """Lets ``get_variable`` only return variables that exist, from now on."""
        self._reuse = True

    def set_initializer(self, initializer: Any) -> None:
        """Sets the default initializer of this scope."""
        self._initializer = initializer

    def set_regularizer(self, regularizer: Any) -> None:
        """Sets the default regularizer of this scope."""
        self._regularizer = regularizer

    def set_caching_device(self, caching_device: Any) -> None:
        """Sets where reads of the variables of this scope are cached."""
        self._caching_device = caching_device

    def set_partitioner(self, partitioner: Any) -> None:
        """Sets the default partitioner of this scope."""
        self._partitioner = partitioner

    def set_custom_getter(self, custom_getter: Any) -> None:
        """Sets the custom getter of this scope."""
        self._custom_getter = custom_getter

    def set_dtype(self, dtype: Any) -> None:
        """Sets the default dtype of this scope."""
        self._dtype = dtype

    def set_use_resource(self, use_resource: bool | None) -> None:
        """Sets the kind of the variables of this scope."""
        self._use_resource = use_resource

    def get_collection(self, name: Any) -> list[Any]:
        """Returns the items of a collection that are in this scope."""
        return get_collection(name, f"{self._name}/" if self._name else "")

    def trainable_variables(self) -> list[Any]:
        """Returns the trainable variables whose names begin with this scope."""
        return self.get_collection(GraphKeys.TRAINABLE_VARIABLES)

    def global_variables(self) -> list[Any]:
        """Returns the global variables whose names begin with this scope."""
        return self.get_collection(GraphKeys.GLOBAL_VARIABLES)

    def local_variables(self) -> list[Any]:
        """Returns the local variables whose names begin with this scope."""
        return self.get_collection(GraphKeys.LOCAL_VARIABLES)

    def get_variable(
        self,
        var_store: VariableStore,
        name: str | None,
        shape: Any = None,
        dtype: Any = None,
        initializer: Any = None,
        regularizer: Any = None,
        reuse: Any = None,
        trainable: bool | None = None,
        collections: Any = None,
        caching_device: Any = None,
        partitioner: Any = None,
        validate_shape: bool = True,
        use_resource: bool | None = None,
        custom_getter: Any = None,
        constraint: Any = None,
        synchronization: Any = VariableSynchronization.AUTO,
        aggregation: Any = VariableAggregation.NONE,
    ) -> Any:
        """Makes or returns a variable, as ``tf.get_variable`` does in this scope."""

        def chosen(given: Any, default: Any) -> Any:
            return default if given is None else given

        # The names of variables depend on variable scopes only.
        with name_scope(None):
            if dtype is not None and initializer is not None and not callable(initializer):
                found = convert_to_tensor(initializer).dtype.base_dtype
                if found != dtype:
                    raise ValueError(
                        f"Initializer type '{found}' and explicit dtype "
                        f"'{dtypes.as_dtype(dtype)}' don't match."
                    )
            return var_store.get_variable(
                # A slot's name is "": the slash at the end makes it the scope's own name.
                "/".join(part for part in (self._name or None, name) if part is not None),
                shape=shape,
                dtype=chosen(dtype, self._dtype),
                initializer=chosen(initializer, self._initializer),
                regularizer=chosen(regularizer, self._regularizer),
                reuse=chosen(reuse, self._reuse),
                trainable=trainable,
                collections=collections,
                caching_device=chosen(caching_device, self._caching_device),
                partitioner=chosen(partitioner, self._partitioner),
                validate_shape=validate_shape,
                use_resource=chosen(use_resource, self._use_resource),
                custom_getter=chosen(custom_getter, self._custom_getter),
                constraint=chosen(constraint, self._constraint),
                synchronization=synchronization,
                aggregation=aggregation,
            )

    def _copy(self, **changes: Any) -> VariableScope:
        """Returns this scope with other values for those arguments that are not None."""
        values = {key.removeprefix("_"): value for key, value in vars(self).items()}
        values.update((key, value) for key, value in changes.items() if value is not None)
        return VariableScope(**values)


class _GraphScopes:
    """The variable scopes of a graph: the current one, and how often each name was opened."""

    _KEY = ("__varscope",)

    def __init__(self) -> None:
        self.current = VariableScope(False)
        self.store = VariableStore()
        self._opened: dict[str, int] = {}

    @classmethod
    def of(cls, graph: Graph) -> _GraphScopes:
        # Keys of collections that are not strings stay out of MetaGraphs.
        held = graph.get_collection_ref(cls._KEY)
        if not held:
            held.append(cls())
        scopes: _GraphScopes = held[0]
        return scopes

    def unique(self, prefix: str) -> str:
        """Returns ``prefix``, with a number if the current scope had a subscope of that name."""
        base = f"{self.current.name}/{prefix}" if self.current.name else prefix
        if not self._opened.get(base):
            return prefix
        number = 1
        while self._opened.get(f"{base}_{number}"):
            number += 1
        return f"{prefix}_{number}"

    @contextmanager
    def inside(self, scope: VariableScope, jump: bool) -> Iterator[VariableScope]:
        """Makes ``scope`` the current one; with ``jump`` it need not be under the present one."""
        outer = self.current
        self._opened[scope.name] = self._opened.get(scope.name, 0) + 1
        before = dict(self._opened)
        self.current = scope
        try:
            yield scope
        finally:
            if self.current is not scope:
                raise RuntimeError("Improper nesting of variable_scope.")
            if jump:
                self._opened = before
            else:
                under = f"{scope.name}/"
                self._opened = {k: n for k, n in self._opened.items() if not k.startswith(under)}
            self.current = outer


@tf_export("variable_scope")
class variable_scope(AbstractContextManager[VariableScope]):  # noqa: N801 - TensorFlow's name
    """``with tf.variable_scope("layer"):`` opens a variable scope, and a name scope.

    Args:
        name_or_scope: a name, which prolongs the current scope's; or a ``VariableScope``, to go
            back to its variables. None takes ``default_name``, made unique.
        default_name: see above.
        values: tensors whose graph is entered.
        initializer, regularizer, caching_device, partitioner, custom_getter, dtype, use_resource,
        constraint: defaults for ``tf.get_variable``; None keeps those of the outer scope (but
            constraints are not kept). Custom getters are chained, the new one outermost.
        reuse: True, None (as the outer scope) or ``tf.AUTO_REUSE``. Subscopes keep it.
        auxiliary_name_scope: False opens no name scope.

    Raises:
        TypeError, ValueError: a name is missing, or an argument is invalid.
    """

    def __init__(
        self,
        name_or_scope: str | VariableScope | None,
        default_name: str | None = None,
        values: Any = None,
        initializer: Any = None,
        regularizer: Any = None,
        caching_device: Any = None,
        partitioner: Any = None,
        custom_getter: Any = None,
        reuse: Any = None,
        dtype: Any = None,
        use_resource: bool | None = None,
        constraint: Any = None,
        auxiliary_name_scope: bool = True,
    ) -> None:
        if default_name is None and name_or_scope is None:
            raise TypeError("If default_name is None then name_or_scope is required")
        if not (reuse in (True, False, None) or reuse is AUTO_REUSE):
            raise ValueError("The reuse parameter must be True or False or None.")
        if not isinstance(auxiliary_name_scope, bool):
            raise TypeError(
                "The auxiliary_name_scope must be `True` or `False`, while get "
                f"{auxiliary_name_scope}"
            )
        self._name_or_scope = name_or_scope
        self._default_name = default_name
        self._reuse = reuse or None  # an inner scope cannot switch it off
        self._custom_getter = custom_getter
        self._changes = {
            "initializer": initializer, "regularizer": regularizer,
            "caching_device": caching_device, "partitioner": partitioner, "dtype": dtype,
            "use_resource": use_resource,
        }  # fmt: skip
        self._constraint = constraint
        self._auxiliary_name_scope = auxiliary_name_scope
        self._graph = graph_of(values or ())
        self._entered: list[ExitStack] = []

    def __enter__(self) -> VariableScope:
        with ExitStack() as stack:
            stack.enter_context(self._graph.as_default())
            scope = self._enter(stack)
            self._entered.append(stack.pop_all())
        return scope

    def __exit__(self, *exc_info: Any) -> None:
        self._entered.pop().__exit__(*exc_info)

    def _enter(self, stack: ExitStack) -> VariableScope:
        given = self._name_or_scope
        if not isinstance(given, str | VariableScope | None):
            raise TypeError("VariableScope: name_or_scope must be a string or VariableScope.")
        if given is None and self._reuse:
            raise ValueError("reuse=True cannot be used without a name_or_scope")
        scopes = _GraphScopes.of(self._graph)
        if isinstance(given, VariableScope):
            last_part = given.name.split("/")[-1]
            self._open_name_scope(stack, last_part)
            scope = given._copy(
                reuse=self._reuse,
                custom_getter=_chained(self._custom_getter, given.custom_getter),
                **self._changes,
            )
            return stack.enter_context(scopes.inside(scope, jump=True))
        name = self._default_name if given is None else given
        assert name is not None
        opened = self._open_name_scope(stack, name)
        if given is None:
            name = scopes.unique(name)
        outer = scopes.current
        scope = outer._copy(
            reuse=self._reuse or outer.reuse,
            name=f"{outer.name}/{name}" if outer.name else name,
            name_scope=opened,
            custom_getter=_chained(self._custom_getter, outer.custom_getter),
            **self._changes,
        )
        scope._constraint = self._constraint
        return stack.enter_context(scopes.inside(scope, jump=False))

    def _open_name_scope(self, stack: ExitStack, name: str) -> str:
        """Opens the name scope ``name``, or the present one again; returns it, with its slash."""
        if self._auxiliary_name_scope:
            return stack.enter_context(name_scope(name)) if name else ""
        present = self._graph.get_name_scope()
        return stack.enter_context(name_scope(f"{present}/" if present else None))


def _chained(inner: Callable[..., Any] | None, outer: Callable[..., Any] | None) -> Any:
    """Returns a custom getter that calls ``inner`` with ``outer`` as (part of) its getter."""
    if inner is None or outer is None:
        return inner

    def chained(getter: Any, *args: Any, **kwargs: Any) -> Any:
        return inner(functools.partial(outer, getter), *args, **kwargs)

    return chained


@tf_export("variable_op_scope")
def variable_op_scope(
    values: Any,
    name_or_scope: str | VariableScope | None,
    default_name: str | None = None,
    initializer: Any = None,
    regularizer: Any = None,
    caching_device: Any = None,
    partitioner: Any = None,
    custom_getter: Any = None,
    reuse: Any = None,
    dtype: Any = None,
    use_resource: bool | None = None,
    constraint: Any = None,
) -> variable_scope:
    """Opens a scope as ``tf.variable_scope``; its first arguments are in another order."""
    return variable_scope(
        name_or_scope,
        default_name,
        values,
        initializer,
        regularizer,
        caching_device,
        partitioner,
        custom_getter,
        reuse,
        dtype,
        use_resource,
        constraint,
    )


@tf_export("get_variable_scope")
def get_variable_scope() -> VariableScope:
    """Returns the current variable scope."""
    return _GraphScopes.of(get_default_graph()).current


@register_loop_scope
@contextmanager
def _variables_read_once() -> Iterator[None]:
    """Lets ``get_variable`` cache what it makes where it is used: iterations share that."""
    scope = get_variable_scope()
    chosen = scope.caching_device is None
    if chosen:
        scope.set_caching_device(lambda op: op.device)
    try:
        yield
    finally:
        if chosen:
            scope.set_caching_device(None)


# Variables ----------------------------------------------------------------------------------------


@tf_export("get_variable")
def get_variable(
    name: str | None,
    shape: Any = None,
    dtype: Any = None,
    initializer: Any = None,
    regularizer: Any = None,
    trainable: bool | None = None,
    collections: Any = None,
    caching_device: Any = None,
    partitioner: Any = None,
    validate_shape: bool = True,
    use_resource: bool | None = None,
    custom_getter: Any = None,
    constraint: Any = None,
    synchronization: Any = VariableSynchronization.AUTO,
    aggregation: Any = VariableAggregation.NONE,
) -> Any:
    """Makes the variable ``name`` in the current variable scope, or returns it if the scope reuses.

    Args:
        shape, dtype: of the variable; the dtype is the scope's if None.
        initializer: an initializer (or its class); or the value itself, and then no ``shape``. None
            is the scope's, else Glorot's for floating types and zeros for others.
        regularizer: a function from the variable to a loss, which goes to the collection
            ``REGULARIZATION_LOSSES``.
        trainable, collections, caching_device, validate_shape, use_resource, constraint,
        synchronization, aggregation: as for ``tf.Variable``.
        partitioner: a function of shape and dtype that tells the number of parts of each axis; the
            result is a ``PartitionedVariable``.
        custom_getter: called in place of this function, with it as ``getter`` and all arguments.

    Raises:
        ValueError: the variable is there and must not be, or the other way round; or it is of
            another shape or dtype.
    """
    return get_variable_scope().get_variable(
        _GraphScopes.of(get_default_graph()).store,
        name,
        shape=shape,
        dtype=dtype,
        initializer=initializer,
        regularizer=regularizer,
        trainable=trainable,
        collections=collections,
        caching_device=caching_device,
        partitioner=partitioner,
        validate_shape=validate_shape,
        use_resource=use_resource,
        custom_getter=custom_getter,
        constraint=constraint,
        synchronization=synchronization,
        aggregation=aggregation,
    )


@tf_export("get_local_variable")
def get_local_variable(
    name: str,
    shape: Any = None,
    dtype: Any = None,
    initializer: Any = None,
    regularizer: Any = None,
    trainable: bool = False,
    collections: Any = None,
    caching_device: Any = None,
    partitioner: Any = None,
    validate_shape: bool = True,
    use_resource: bool | None = None,
    custom_getter: Any = None,
    constraint: Any = None,
    synchronization: Any = VariableSynchronization.AUTO,
    aggregation: Any = VariableAggregation.NONE,
) -> Any:
    """Makes or returns a variable of ``LOCAL_VARIABLES``, which is never trainable."""
    return get_variable(
        name,
        shape,
        dtype,
        initializer,
        regularizer,
        False,
        [*(collections or ()), GraphKeys.LOCAL_VARIABLES],
        caching_device,
        partitioner,
        validate_shape,
        use_resource,
        custom_getter,
        constraint,
        synchronization,
        aggregation,
    )


@tf_export("create_partitioned_variables")
def create_partitioned_variables(
    shape: Any,
    slicing: Sequence[int],
    initializer: Any,
    dtype: Any = dtypes.float32,
    trainable: bool = True,
    collections: Any = None,
    name: str | None = None,
    reuse: Any = None,
) -> list[Any]:
    """Makes the parts of a variable; superseded by ``tf.get_variable`` with a partitioner.

    Args:
        shape: of the whole.
        slicing: the number of parts along each axis; one of them may be more than 1.
        initializer: a tensor of ``shape``, or an initializer for a part's shape.
    """
    if len(shape) != len(slicing):
        raise ValueError(
            "The 'shape' and 'slicing' of a partitioned Variable must have the length: shape: "
            f"{shape}, slicing: {slicing}"
        )
    if len(shape) < 1:
        raise ValueError(f"A partitioned Variable must have rank at least 1: shape: {shape}")
    with variable_scope(name, "PartitionedVariable", reuse=reuse):
        # The variable has the scope's own name.
        whole = get_variable(
            None,
            shape=shape,
            dtype=dtype,
            initializer=initializer,
            trainable=trainable,
            partitioner=lambda **_: slicing,
            collections=collections,
        )
        return list(whole)


@tf_export("no_regularizer")
def no_regularizer(_: Any) -> None:
    """Returns None: a regularizer that keeps that of an outer scope from a variable."""


def variables_by_name() -> dict[str, Variable]:
    """Returns what ``get_variable`` made in the default graph, partitioned variables by parts."""
    return dict(_GraphScopes.of(get_default_graph()).store._variables)
