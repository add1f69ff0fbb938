"""``tf.Session``: runs operations of a graph, in this process or on a cluster.

A run is prepared once per combination of fetches and feeds (names resolved, nested structures
flattened) and then costs little more than its transport.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from flowray.client.framework.default_session import default_sessions
from flowray.client.framework.graph import Graph, Operation, Tensor, get_default_graph
from flowray.client.framework.indexed_slices import IndexedSlices
from flowray.client.framework.sparse_tensor import SparseTensor, SparseTensorValue
from flowray.client.session.forgotten import abandon, stop_at_exit
from flowray.client.session.transport import Transport, connect, default_target
from flowray.client.tf_export import tf_export
from flowray.proto import errors
from flowray.proto.messages import config_pb2
from flowray.proto.types import dtypes, tensors
from flowray.proto.types.shapes import as_shape, is_compatible
from flowray.proto.wire.signature import RunSignature, UnknownRunHandleError

_MAX_PREPARED = 1000
"""How many combinations of fetches and feeds a session remembers."""

_NODE_IN_MESSAGE = re.compile(r"\[\[(Node: )?(\{\{node )?([^\} ]*)(\}\})?\s*=*")


class _DeviceAttributes:
    """One entry of ``Session.list_devices()``."""

    def __init__(self, proto: config_pb2.DeviceAttributes) -> None:
        self.name = proto.name
        self.device_type = proto.device_type
        self.memory_limit_bytes = proto.memory_limit
        self.incarnation = proto.incarnation

    def __repr__(self) -> str:
        return (
            f"_DeviceAttributes({self.name}, {self.device_type}, {self.memory_limit_bytes}, "
            f"{self.incarnation})"
        )


# Fetches ------------------------------------------------------------------------------------------

Rebuild = Callable[[Sequence[Any]], Any]


class _Fetches:
    """A nested structure of fetches, flattened to tensors and operations without repetition."""

    def __init__(self, graph: Graph, fetches: Any) -> None:
        self._graph = graph
        self.elements: list[Tensor | Operation] = []
        self._index: dict[Tensor | Operation, int] = {}
        self.rebuild: Rebuild = self._flatten(fetches)

    def _flatten(self, fetch: Any) -> Rebuild:
        if fetch is None:
            raise TypeError(f"Fetch argument {fetch!r} has invalid type {type(fetch)}")
        if isinstance(fetch, IndexedSlices):
            slices = [getattr(fetch, part) for part in _parts(fetch)]
            return self._structure(slices, lambda items: IndexedSlicesValue(*items))
        if isinstance(fetch, SparseTensor):
            parts = [getattr(fetch, part) for part in _parts(fetch)]
            return self._structure(parts, lambda items: SparseTensorValue(*items))
        if isinstance(fetch, list):
            return self._structure(fetch, list)
        if isinstance(fetch, tuple):
            if hasattr(fetch, "_fields"):
                return self._structure(fetch, lambda items: type(fetch)(*items))
            return self._structure(fetch, tuple)
        if isinstance(fetch, Mapping):
            keys = list(fetch)
            make: Any = type(fetch)
            return self._structure(
                [fetch[k] for k in keys], lambda items: make(zip(keys, items, strict=True))
            )
        return self._single(fetch)

    def _structure(self, items: Sequence[Any], make: Callable[[Any], Any]) -> Rebuild:
        parts = [self._flatten(item) for item in items]
        return lambda values: make([part(values) for part in parts])

    def _single(self, fetch: Any) -> Rebuild:
        try:
            element = self._graph.as_graph_element(fetch)
        except TypeError as error:
            raise TypeError(
                f"Fetch argument {fetch!r} has invalid type {type(fetch)}, must be a string or "
                f"Tensor. ({error})"
            ) from None
        except ValueError as error:
            raise ValueError(
                f"Fetch argument {fetch!r} cannot be interpreted as a Tensor. ({error})"
            ) from None
        except KeyError as error:
            raise ValueError(
                f"Fetch argument {fetch!r} cannot be interpreted as a Tensor. ({error})"
            ) from None
        if not self._graph.is_fetchable(element):
            raise ValueError(f"Operation {element.name!r} has been marked as not fetchable.")
        index = self._index.setdefault(element, len(self.elements))
        if index == len(self.elements):
            self.elements.append(element)
        return lambda values: values[index]


class IndexedSlicesValue:
    """The value of fetched IndexedSlices."""

    def __init__(self, values: Any, indices: Any, dense_shape: Any = None) -> None:
        self.values = values
        self.indices = indices
        self.dense_shape = dense_shape


class _PreparedRun:
    """A run whose fetches and feeds are resolved, so that only values are missing."""

    def __init__(self, graph: Graph, fetches: Any, feed_keys: Sequence[Any]) -> None:
        parsed = _Fetches(graph, fetches)
        self.feeds = [_feed_tensor(graph, key) for key in feed_keys]
        # Arrays of these dtypes are sent as they are; the items of arrays of objects are checked.
        self._np_types = [
            None
            if t.dtype.base_dtype == dtypes.string
            else np.dtype(t.dtype.base_dtype.as_numpy_dtype)
            for t in self.feeds
        ]
        fed = {t: i for i, t in enumerate(self.feeds)}
        # Where each element's value comes from: a fetch, a feed, or nowhere (an operation).
        sources: list[tuple[str, int]] = []
        names: list[str] = []
        targets: list[str] = []
        for element in parsed.elements:
            if isinstance(element, Operation):
                targets.append(element.name)
                sources.append(("none", 0))
            elif element in fed:
                sources.append(("feed", fed[element]))
            else:
                sources.append(("fetch", len(names)))
                names.append(element.name)
        self.signature = RunSignature(
            tuple(t.name for t in self.feeds), tuple(names), tuple(targets)
        )
        self.run_handle: int | None = None
        """The master's handle of the run; None until it is prepared there."""
        self._sources = sources
        self._plain = all(source == ("fetch", i) for i, source in enumerate(sources))
        self._single = self._plain and not isinstance(
            fetches, list | tuple | Mapping | IndexedSlices | SparseTensor
        )
        self._rebuild = parsed.rebuild

    def feed_values(self, values: Sequence[Any]) -> list[np.ndarray]:
        """Returns the arrays to send: of the tensors' dtypes, with compatible shapes.

        Raises:
            TypeError, ValueError: a value that does not fit, with TensorFlow's text.
        """
        result = []
        for tensor, np_type, value in zip(self.feeds, self._np_types, values, strict=True):
            if type(value) is np.ndarray and np_type is not None and value.dtype == np_type:
                array = value
            else:
                array = _feed_array(tensor, value)
            if tensor._shape is not None and not is_compatible(tensor._shape, array.shape):
                raise ValueError(
                    f"Cannot feed value of shape {array.shape} for Tensor {tensor.name!r}, which "
                    f"has shape '{as_shape(tensor._shape)}'"
                )
            result.append(array)
        return result

    def results(self, fetched: Sequence[Any], fed: Sequence[np.ndarray]) -> Any:
        """Returns the fetched values in the structure that the caller asked for."""
        if not self._plain:
            by_source = {"fetch": fetched, "feed": fed, "none": (None,)}
            fetched = [by_source[source][index] for source, index in self._sources]
        values = [v if not isinstance(v, np.ndarray) or v.ndim else _scalar(v) for v in fetched]
        return values[0] if self._single else self._rebuild(values)


def _scalar(value: np.ndarray) -> Any:
    """Converts scalars as TensorFlow: to numpy scalars, and strings to bytes."""
    return value[()]


def _feed_tensor(graph: Graph, key: Any) -> Tensor:
    try:
        tensor = graph.as_graph_element(key, allow_operation=False)
    except Exception as error:
        raise TypeError(f"Cannot interpret feed_dict key as Tensor: {error.args[0]}") from None
    assert isinstance(tensor, Tensor)
    if not graph.is_feedable(tensor):
        raise ValueError(f"Tensor {tensor} may not be fed.")
    return tensor


def _feed_array(tensor: Tensor, value: Any) -> np.ndarray:
    """Returns the array to feed for ``value``, converted as TensorFlow's client converts it.

    Raises:
        TypeError: a Tensor, or a Python integer that the dtype cannot hold. (Those in a list, and
            the numbers of an array, are cast as numpy casts arrays.)
        ValueError: no number where there should be one.
        InternalError: something else than text or bytes where there should be strings.
    """
    if isinstance(value, Tensor):
        raise TypeError(
            "The value of a feed cannot be a tf.Tensor object. Acceptable feed values include "
            "Python scalars, strings, lists, numpy ndarrays, or TensorHandles. For reference, the "
            f"tensor object was {value!s} which was passed to the feed with key {tensor!s}."
        )
    np_type = tensor.dtype.base_dtype.as_numpy_dtype
    if tensor.dtype.base_dtype == dtypes.string:
        if isinstance(value, int):
            raise _misfit(value, object)
        return _string_array(tensor, value)
    if isinstance(value, int) and np.asarray(value).astype(np_type) != value:
        raise _misfit(value, np_type)
    if not np.issubdtype(np_type, np.number):
        return np.asarray(value, np_type)
    return np.asarray(value).astype(np_type)


def _misfit(value: int, np_type: Any) -> TypeError:
    return TypeError(
        f"Type of feed value {value!s} with type {type(value)} is not compatible with Tensor "
        f"type {np_type}. Try explicitly setting the type of the feed tensor to a larger type "
        "(e.g. int64)."
    )


def _string_array(tensor: Tensor, value: Any) -> np.ndarray:
    """Makes an array of bytes; ``str`` is encoded as UTF-8."""
    array = np.asarray(value, dtype=object)
    result = np.empty(array.size, object)
    try:
        result[:] = [tensors.string_bytes(element) for element in array.reshape(-1)]
    except errors.InternalError as error:
        what = f"the value fed for {tensor.name}, which takes strings"
        raise errors.internal(f"{error.message} (in {what})") from None
    return result.reshape(array.shape)


# Sessions -----------------------------------------------------------------------------------------


@tf_export("Session")
class Session:
    """Runs operations of one graph.

    Args:
        target: ``grpc://host:port`` runs on the cluster of that master, "" in this process (or
            where the environment variable FLOWRAY_TARGET says).
        graph: the default graph if None.
        config: a ConfigProto.

    As a context manager it is the default session and makes its graph the default graph; leaving
    the block closes it. May be used by several threads at once.
    """

    def __init__(
        self,
        target: str = "",
        graph: Graph | None = None,
        config: config_pb2.ConfigProto | None = None,
    ) -> None:
        if isinstance(target, bytes):
            target = target.decode()
        if not isinstance(target, str):
            raise TypeError(f"target must be a string, but got {target!r}")
        if graph is not None and not isinstance(graph, Graph):
            raise TypeError(f"graph must be a tf.Graph, but got {type(graph)}")
        if config is not None and not isinstance(config, config_pb2.ConfigProto):
            raise TypeError(f"config must be a tf.ConfigProto, but got {type(config)}")
        self._graph = graph if graph is not None else get_default_graph()
        self._target = target = target or default_target()
        self._config = config if config is not None else config_pb2.ConfigProto()
        self._transport: Transport = connect(target, self._config)
        self._handle: str | None = None
        self._sent_version = 0
        self._server_version = 0
        self._closed = False
        self._extend_lock = threading.Lock()
        # Bounded: a program that makes new fetches in every step must not grow without end.
        self._prepared: dict[Any, _PreparedRun] = {}
        self._run_handles: dict[RunSignature, int] = {}
        self._cache_lock = threading.Lock()
        self._contexts: list[Any] = []

    @property
    def graph(self) -> Graph:
        """The graph that the session runs."""
        return self._graph

    @property
    def graph_def(self) -> Any:
        """The graph as a GraphDef."""
        return self._graph.as_graph_def()

    @property
    def sess_str(self) -> str:
        """The target."""
        return self._target

    def run(
        self,
        fetches: Any,
        feed_dict: Mapping[Any, Any] | None = None,
        options: config_pb2.RunOptions | None = None,
        run_metadata: config_pb2.RunMetadata | None = None,
    ) -> Any:
        """Runs the operations and returns the values of the tensors in ``fetches``.

        Args:
            fetches: a tensor, an operation (whose value is None), a name, or a nested list, tuple,
                named tuple or dict of these.
            feed_dict: values that replace those of tensors in this run.
            options: RunOptions: a timeout, tracing.
            run_metadata: filled with the data that ``options`` asks for.

        Raises:
            RuntimeError: the session is closed.
            TypeError, ValueError: a fetch or feed is invalid.
            OpError: the error of the run.
        """
        feeds = feed_dict or {}
        prepared = self._prepare(fetches, feeds)
        values = prepared.feed_values(list(_flat_values(feeds)))
        return self._run_prepared(prepared, values, options, run_metadata)

    def make_callable(
        self, fetches: Any, feed_list: Sequence[Any] | None = None, accept_options: bool = False
    ) -> Callable[..., Any]:
        """Returns a function that runs ``fetches``; its arguments are fed to ``feed_list``.

        With ``accept_options`` it takes ``options`` and ``run_metadata`` as keywords, too.
        """
        if feed_list is not None and not isinstance(feed_list, list | tuple):
            raise TypeError("`feed_list` must be a list or tuple.")
        if callable(fetches) and not isinstance(fetches, Tensor | Operation):
            raise TypeError("fetches must be a tensor, an operation or a structure of these")
        self._check_open()
        prepared = _PreparedRun(self._graph, fetches, list(feed_list or ()))

        def call(*values: Any, **keywords: Any) -> Any:
            if not accept_options and keywords:
                raise TypeError(f"unexpected keyword arguments: {sorted(keywords)}")
            feeds = list(values)
            if feed_list is None and feeds and isinstance(feeds[0], Mapping):
                return self.run(fetches, feeds[0], **keywords)
            if len(feeds) != len(prepared.feeds):
                raise TypeError(f"expected {len(prepared.feeds)} feed values, got {len(feeds)}")
            return self._run_prepared(
                prepared,
                prepared.feed_values(feeds),
                keywords.get("options"),
                keywords.get("run_metadata"),
            )

        return call

    def partial_run(self, handle: Any, fetches: Any, feed_dict: Any = None) -> Any:
        """Raises UnimplementedError: flowray has no partial runs."""
        raise errors.unimplemented("flowray has no partial_run yet")

    def partial_run_setup(self, fetches: Any, feeds: Any = None) -> Any:
        """Raises UnimplementedError: flowray has no partial runs."""
        raise errors.unimplemented("flowray has no partial_run_setup yet")

    def list_devices(self) -> list[_DeviceAttributes]:
        """Returns the devices on which this session's operations can be placed."""
        self._check_open()
        self._extend()
        assert self._handle is not None
        return [_DeviceAttributes(d) for d in self._transport.list_devices(self._handle)]

    def close(self) -> None:
        """Ends the session: its running steps are cancelled, its stages dropped."""
        with self._extend_lock:
            if self._closed:
                return
            self._closed = True
            handle, self._handle = self._handle, None
        try:
            if handle is not None:
                self._transport.close_session(handle)
        finally:
            self._transport.close()

    @staticmethod
    def reset(target: str, containers: Sequence[str] | None = None, config: Any = None) -> None:
        """Clears the named resource containers of a cluster (None: the default ones)."""
        if not target:
            raise ValueError("Session.reset needs the target of a cluster")
        transport = connect(target, config or config_pb2.ConfigProto())
        try:
            transport.reset(list(containers or ()))
        finally:
            transport.close()

    def as_default(self) -> Any:
        """Makes this the default session inside the block, without closing it afterwards."""
        return default_sessions.pushed(self)

    def __enter__(self) -> Session:
        graph_context = self._graph.as_default()
        graph_context.__enter__()
        session_context = self.as_default()
        session_context.__enter__()
        self._contexts.append((session_context, graph_context))
        return self

    def __exit__(self, *exc_info: Any) -> None:
        session_context, graph_context = self._contexts.pop()
        session_context.__exit__(*exc_info)
        graph_context.__exit__(*exc_info)
        self.close()

    def __del__(self) -> None:
        # A forgotten session must not keep its steps and state on the cluster.
        if not getattr(self, "_closed", True):
            abandon(self._transport)

    # How a run goes -------------------------------------------------------------------------

    def _prepare(self, fetches: Any, feeds: Mapping[Any, Any]) -> _PreparedRun:
        keys = list(_flat_keys(feeds)) if feeds else []
        cache_key = _cache_key(fetches)
        if cache_key is None:
            return _PreparedRun(self._graph, fetches, keys)
        full_key = (cache_key, tuple(id(k) if isinstance(k, Tensor) else k for k in keys))
        try:
            prepared = self._prepared.get(full_key)
        except TypeError as error:  # an unhashable key is not a tensor
            raise TypeError(f"Cannot interpret feed_dict key as Tensor: {error}") from None
        if prepared is None:
            prepared = _PreparedRun(self._graph, fetches, keys)
            self._remember(self._prepared, full_key, prepared)
        return prepared

    def _run_prepared(
        self,
        prepared: _PreparedRun,
        values: list[np.ndarray],
        options: config_pb2.RunOptions | None,
        run_metadata: config_pb2.RunMetadata | None,
    ) -> Any:
        self._check_open()
        if self._graph.version != self._sent_version:
            self._extend()
        signature = prepared.signature
        if not signature.fetches and not signature.targets:
            return prepared.results((), values)
        session = self._handle
        assert session is not None
        try:
            run_handle = prepared.run_handle
            if run_handle is None:
                run_handle = self._prepare_remotely(session, prepared)
            try:
                fetched, metadata = self._transport.run(session, run_handle, values, options)
            except UnknownRunHandleError:  # nothing was run
                with self._cache_lock:
                    self._run_handles.pop(signature, None)
                run_handle = self._prepare_remotely(session, prepared)
                fetched, metadata = self._transport.run(session, run_handle, values, options)
        except errors.OpError as error:
            raise self._explained(error) from None
        if run_metadata is not None:
            run_metadata.Clear()
            if metadata is not None:
                run_metadata.CopyFrom(metadata)
        return prepared.results(fetched, values)

    def _prepare_remotely(self, session: str, prepared: _PreparedRun) -> int:
        """Returns the master's handle of the run, which it prepares if it has not before."""
        handle = self._run_handles.get(prepared.signature)
        if handle is None:
            handle = self._transport.prepare_run(session, prepared.signature)
            self._remember(self._run_handles, prepared.signature, handle)
        prepared.run_handle = handle
        return handle

    def _remember(self, cache: dict[Any, Any], key: Any, value: Any) -> None:
        """Puts ``value`` into a cache, in the place of its oldest entry if it is full."""
        with self._cache_lock:
            if len(cache) >= _MAX_PREPARED:
                del cache[next(iter(cache))]
            cache[key] = value

    def _check_open(self) -> None:
        if self._closed:
            raise RuntimeError("Attempted to use a closed Session.")

    def _extend(self) -> None:
        """Sends the nodes that were added to the graph since the last run."""
        with self._extend_lock:
            self._check_open()
            version = self._graph.version
            if self._handle is not None and version == self._sent_version:
                return
            try:
                if self._handle is None:
                    graph_def = self._graph.as_graph_def()
                    self._handle = self._transport.create_session(graph_def, self._config)
                else:
                    graph_def = self._graph.as_graph_def(from_version=self._sent_version)
                    if graph_def.node:
                        self._server_version = self._transport.extend_session(
                            self._handle, graph_def, self._server_version
                        )
            except errors.OpError as error:
                raise self._explained(error) from None
            self._sent_version = version

    def _explained(self, error: errors.OpError) -> errors.OpError:
        """Returns ``error`` with the operation of the graph that its message names."""
        stop_at_exit()
        match = _NODE_IN_MESSAGE.search(error.message)
        op = self._graph._nodes_by_name.get(match.group(3)) if match else None
        if op is None:
            return error
        return type(error)(op.node_def, op, error.message)  # type: ignore[call-arg]


@tf_export("InteractiveSession")
class InteractiveSession(Session):
    """A Session that installs itself as the default session when it is made."""

    def __init__(
        self,
        target: str = "",
        graph: Graph | None = None,
        config: config_pb2.ConfigProto | None = None,
    ) -> None:
        super().__init__(target, graph, config)
        self._graph_context = None if graph is None else graph.as_default()
        if self._graph_context is not None:
            self._graph_context.__enter__()
        default_sessions.push(self)

    def close(self) -> None:
        super().close()
        default_sessions.remove(self)
        if self._graph_context is not None:
            self._graph_context.__exit__(None, None, None)
            self._graph_context = None


def _cache_key(fetches: Any) -> Any:
    """Returns a hashable stand-in for ``fetches``; None if no safe one exists."""
    if isinstance(fetches, Tensor | Operation | str) or hasattr(fetches, "_as_graph_element"):
        return fetches
    if type(fetches) is dict:
        items = tuple((key, _cache_key(value)) for key, value in fetches.items())
        return None if any(part is None for _, part in items) else (dict, items)
    if type(fetches) in (list, tuple):
        parts = tuple(_cache_key(f) for f in fetches)
        return None if None in parts else (type(fetches), parts)
    return None


def _parts(key: SparseTensor | IndexedSlices) -> tuple[str, ...]:
    """Returns the attributes that are fed and fetched for an object of several tensors."""
    if isinstance(key, SparseTensor):
        return ("indices", "values", "dense_shape")
    return (
        ("values", "indices") if key.dense_shape is None else ("values", "indices", "dense_shape")
    )


def _flat_keys(feeds: Mapping[Any, Any]) -> Any:
    """Returns the fed tensors; a tuple of tensors is fed with a tuple of values."""
    for key in feeds:
        if isinstance(key, tuple):
            yield from key
        elif isinstance(key, SparseTensor | IndexedSlices):
            yield from (getattr(key, part) for part in _parts(key))
        else:
            yield key


def _flat_values(feeds: Mapping[Any, Any]) -> Any:
    for key, value in feeds.items():
        if isinstance(key, tuple):
            if len(key) != len(value):
                raise ValueError(f"feed of {len(key)} tensors with {len(value)} values")
            yield from value
        elif isinstance(key, SparseTensor | IndexedSlices):
            yield from _part_values(_parts(key), value)
        else:
            yield value


def _part_values(parts: tuple[str, ...], value: Any) -> Sequence[Any]:
    """Returns the values of the parts: attributes of ``value``, or its items in the same order."""
    if isinstance(value, tuple | list) and not hasattr(value, "_fields"):
        if len(value) != len(parts):
            raise ValueError(f"feed of {len(parts)} tensors with {len(value)} values")
        return value
    return [getattr(value, part) for part in parts]
