"""State that outlives a step: variables and other resources, by container and name.

As in TensorFlow's ResourceMgr, the state belongs to the task, not to a session. Sessions that use
the same names share it, and it lives until ``reset`` or the end of the task.
"""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np

from flowray.proto import errors
from flowray.proto.messages import tensor_pb2
from flowray.proto.types.dtypes import DType
from flowray.proto.types.shapes import Shape

R = TypeVar("R", bound="Resource")


class Resource:
    """State with a name that a kernel gets for a ``Ref`` or resource argument."""

    __slots__ = ("container", "name")

    def __init__(self, name: str, container: str = "") -> None:
        self.name = name
        self.container = container

    def close(self) -> None:
        """Ends the threads of the resource, if it has any. The store calls it when it drops the
        resource.
        """


class Variable(Resource):
    """A variable's value: a numpy or JAX array, or (while a segment is traced) a tracer.

    Values are immutable: ``assign`` replaces the array and never writes into it, so an array that
    ``read`` returned does not change.
    """

    __slots__ = ("_host", "_value", "dtype", "shape")

    def __init__(
        self, name: str, dtype: DType, value: Any = None, shape: Shape = None, container: str = ""
    ) -> None:
        super().__init__(name, container)
        self.dtype = dtype
        self.shape = shape
        """The declared shape; None where it is unknown or may change."""
        self._value = value
        self._host: Any = None

    @property
    def is_initialized(self) -> bool:
        """Tells whether the variable has a value."""
        return self._value is not None

    def read(self) -> Any:
        """Returns the value; FailedPreconditionError if there is none yet."""
        if self._value is None:
            raise errors.failed_precondition(f"Attempting to use uninitialized value {self.name}")
        return self._value

    def assign(self, value: Any) -> None:
        """Replaces the value."""
        self._value = value

    def clear(self) -> None:
        """Makes the variable uninitialized again."""
        self._value = None


class StoredVariable(Variable):
    """A variable of the state store.

    Its value is where it was last written: in numpy after an interpreted op, on the device after a
    compiled segment. A compiled segment that updates it takes over its buffer (donation). So device
    values are read under ``StateStore.lock``, and numpy readers get a copy.
    """

    __slots__ = ("_lock",)

    def __init__(
        self, name: str, dtype: DType, shape: Shape, container: str, lock: threading.RLock
    ) -> None:
        super().__init__(name, dtype, None, shape, container)
        self._lock = lock

    def read(self) -> Any:
        """Returns the value as a numpy array that nobody writes to."""
        value = self._value
        if isinstance(value, np.ndarray):
            return value
        with self._lock:
            value = super().read()
            if isinstance(value, np.ndarray):
                return value
            if self._host is None:
                # A view would keep the buffer from being donated, or lose it to the next update.
                self._host = np.array(value)
                self._host.flags.writeable = False
            return self._host

    def assign(self, value: Any) -> None:
        """Replaces the value, with a copy if somebody else may write to ``value``."""
        array = np.asarray(value)
        if not (array.flags.owndata and array.flags.writeable):
            array = np.array(array)
        with self._lock:
            self._value = array
            self._host = None
        array.flags.writeable = False

    def device_value(self) -> Any:
        """Returns the value where it is; None if uninitialized.

        The caller holds the store's lock.
        """
        return self._value

    def set_device_value(self, value: Any) -> None:
        """Replaces the value by a device array without a copy.

        The caller holds the store's lock.
        """
        self._value = value
        self._host = None

    def drop_lost_value(self) -> bool:
        """Makes the variable uninitialized if an XLA program that failed took its buffer over.

        Returns whether it did. The caller holds the store's lock.
        """
        value = self._value
        if value is None or isinstance(value, np.ndarray) or not value.is_deleted():
            return False
        self._value = self._host  # the copy of a reader, if somebody has read it
        return self._value is None

    def clear(self) -> None:
        with self._lock:
            self._value = None
            self._host = None


class StateStore:
    """All resources of a task."""

    def __init__(self, default_container: str) -> None:
        self.lock = threading.RLock()
        """Held while device values are read or replaced."""
        self.stack_sizes: dict[str, int] = {}
        """The most values that were on a stack, by session and node: the capacity that it needs."""
        self._default = default_container
        self._resources: dict[tuple[str, str, str], Resource] = {}
        self._private_names = itertools.count()

    def lookup_or_create(
        self, scope: str, container: str, name: str, kind: type[R], make: Callable[[str], R]
    ) -> R:
        """Returns the resource at ``(scope, container, name)``.

        ``make(container)`` if there is none.

        Raises:
            InvalidArgumentError: a resource of another kind has the name.
        """
        container = container or self._default
        key = (scope, container, name)
        with self.lock:
            found = self._resources.get(key)
            if found is None:
                found = self._resources[key] = make(container)
        if not isinstance(found, kind):
            raise errors.invalid_argument(
                f"Trying to access resource {name} located in container {container} as a "
                f"{kind.__name__}, but it is a {type(found).__name__}"
            )
        return found

    def private(
        self,
        owner: str,
        scope: str,
        container: str,
        node: str,
        kind: type[R],
        make: Callable[[str, str], R],
    ) -> R:
        """Returns the resource that belongs to ``node`` of ``owner``, the scope that it ends with.

        ``make(container, name)`` makes it if there is none. It can also be found by its handle, in
        ``scope``, under a name that no client can choose.
        """

        def make_named(_: str) -> R:
            name = f"_{next(self._private_names)}_{node}"
            return self.lookup_or_create(
                scope, container, name, kind, lambda where: make(where, name)
            )

        return self.lookup_or_create(owner, "", node, kind, make_named)

    def variable(
        self, scope: str, container: str, name: str, dtype: DType, shape: Shape, what: str
    ) -> StoredVariable:
        """Returns the variable of that name.

        Args:
            what: "ref" or "resource", for the texts of errors about the dtype.
        """
        variable = self.lookup_or_create(
            scope,
            container,
            name,
            StoredVariable,
            lambda where: StoredVariable(name, dtype, shape, where, self.lock),
        )
        if variable.dtype != dtype:
            if variable.is_initialized and what == "ref":
                raise errors.internal(
                    f"Output 0 of type {variable.dtype.name}_ref does not match declared output "
                    f"type {dtype.name}_ref for node {{{{node {name}}}}}"
                )
            if variable.is_initialized:
                raise errors.invalid_argument(
                    f"Trying to access variable {name} with wrong dtype. Expected {dtype.name} "
                    f"got {variable.dtype.name}"
                )
            variable.dtype = dtype
        if not variable.is_initialized:
            variable.shape = shape
        return variable

    def by_handle(self, handle: tensor_pb2.ResourceHandleProto, scope: str) -> Resource:
        """Returns the resource that a handle names; NotFoundError if it is gone."""
        with self.lock:
            found = self._resources.get((scope, handle.container, handle.name))
        if found is None:
            raise errors.not_found(f"Resource {handle.container}/{handle.name} does not exist.")
        return found

    def remove_scope(self, scope: str) -> None:
        """Drops everything of a private scope (a session's)."""
        with self.lock:
            dropped = [self._resources.pop(k) for k in list(self._resources) if k[0] == scope]
            gone = {id(resource) for resource in dropped}
            for key in [k for k, v in self._resources.items() if id(v) in gone]:
                del self._resources[key]
        for resource in dropped:
            resource.close()

    def reset(self, containers: Iterable[str]) -> None:
        """Clears the named shared containers; the default one if none is named."""
        chosen = set(containers) or {self._default}
        with self.lock:
            keys = [k for k in self._resources if k[0] == "" and k[1] in chosen]
            dropped = [self._resources.pop(k) for k in keys]
        for resource in dropped:
            if isinstance(resource, Variable):
                resource.clear()
            resource.close()


@dataclass(frozen=True, slots=True)
class KernelContext:
    """The store and the names with which a kernel makes and finds resources."""

    store: StateStore
    device: str
    """The full name of the device that runs the kernel."""
    scope: str
    """The scope of named resources."""
    session: str
    node: str
    """The node's name, unique in its session."""

    def resource(
        self, container: bytes, shared_name: bytes, kind: type[R], make: Callable[[str, str], R]
    ) -> R:
        """Returns the resource that the attributes name, or the node's private one of this session.

        ``make(container, name)`` makes it if there is none.
        """
        where, name = container.decode(), shared_name.decode()
        if name:
            return self.store.lookup_or_create(
                self.scope, where, name, kind, lambda found: make(found, name)
            )
        owner = f"private:{self.session}"
        return self.store.private(owner, self.scope, where, self.node, kind, make)

    def handle(self, resource: Resource) -> tensor_pb2.ResourceHandleProto:
        """Returns the handle that names ``resource`` outside this process."""
        return tensor_pb2.ResourceHandleProto(
            device=self.device,
            container=resource.container,
            name=resource.name,
            hash_code=id(resource),
            maybe_type_name=type(resource).__name__,
        )

    def by_handle(self, handle: tensor_pb2.ResourceHandleProto) -> Resource:
        """Returns the resource that a handle names; NotFoundError if it is gone."""
        return self.store.by_handle(handle, self.scope)
