"""Modules that scripts import beside ``tensorflow``, such as ``tensorflow.python.ops.math_ops``.

``client/api/tensorflow_modules.txt`` tells which public names each of them has in TensorFlow
1.15, so an object that is declared with ``tf_export`` appears there by itself. The table below
adds names that are not public in TensorFlow but that scripts take from these modules. A module is
made when it is imported; it looks its names up when they are used.
"""

from __future__ import annotations

import contextlib
import functools
import importlib
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

from flowray.client.platform import missing_names

MODULES_FILE = Path(__file__).resolve().parent.parent / "api" / "tensorflow_modules.txt"

_CONVERSION = "flowray.client.framework.conversion"
_META_GRAPH = "flowray.client.framework.meta_graph"

INTERNAL: Mapping[str, Mapping[str, str]] = {
    "python.client.device_lib": {
        "list_local_devices": "flowray.client.session.device_lib:list_local_devices",
    },
    "python.client.session": {"BaseSession": "Session"},
    "python.client.timeline": {"Timeline": "flowray.client.platform.timeline:Timeline"},
    "python.eager.context": {"executing_eagerly": "executing_eagerly"},
    "python.estimator.estimator": {"Estimator": "estimator.Estimator"},
    "python.estimator.inputs.inputs": {
        "numpy_input_fn": "estimator.inputs.numpy_input_fn",
        "pandas_input_fn": "estimator.inputs.pandas_input_fn",
    },
    "python.estimator.model_fn": {
        "EstimatorSpec": "estimator.EstimatorSpec", "ModeKeys": "estimator.ModeKeys",
    },
    "python.estimator.run_config": {
        "RunConfig": "estimator.RunConfig", "TaskType": "estimator.TaskType",
    },
    "python.estimator.training": {
        name: f"estimator.{name}" for name in ("EvalSpec", "TrainSpec", "train_and_evaluate")
    },
    "python.framework.constant_op": {"constant_v1": "constant"},
    "python.framework.meta_graph": {
        name: f"{_META_GRAPH}:{name}"
        for name in ("export_scoped_meta_graph", "import_scoped_meta_graph", "read_meta_graph_file")
    },
    "python.framework.ops": {
        "colocate_with": "colocate_with",
        "convert_n_to_tensor": f"{_CONVERSION}:convert_n_to_tensor",
        "get_gradient_function": "flowray.client.gradients.registry:lookup",
        "internal_convert_to_tensor": "convert_to_tensor",
        "strip_name_scope": f"{_META_GRAPH}:strip_name_scope",
        "prepend_name_scope": f"{_META_GRAPH}:prepend_name_scope",
    },
    "python.framework.tensor_shape": {
        "as_shape": "flowray.proto.types.shapes:as_shape",
        "scalar": "flowray.proto.types.shapes:scalar",
        "unknown_shape": "flowray.proto.types.shapes:unknown_shape",
    },
    "python.framework.tensor_util": {
        "MakeNdarray": "make_ndarray",
        "constant_value": "flowray.client.framework.constant_value:constant_value",
        "make_tensor_proto": "make_tensor_proto",
    },
    "python.lib.io.file_io": {"FileIO": "gfile.GFile"},
    "python.ops.array_ops": {"constant": "constant", "listdiff": "setdiff1d"},
    "python.ops.control_flow_ops": {"while_loop": "while_loop"},
    "python.ops.functional_ops": {
        name: name for name in ("foldl", "foldr", "map_fn", "scan")
    },
    "python.ops.gradients": {
        "AggregationMethod": "flowray.client.gradients.engine:AggregationMethod",
        "gradients": "gradients",
    },
    "python.ops.init_ops": {
        name: f"{target}_initializer"
        for name, target in {
            "Constant": "constant", "GlorotNormal": "glorot_normal",
            "GlorotUniform": "glorot_uniform", "Ones": "ones", "Orthogonal": "orthogonal",
            "RandomNormal": "random_normal", "RandomUniform": "random_uniform",
            "TruncatedNormal": "truncated_normal",
            "UniformUnitScaling": "uniform_unit_scaling", "VarianceScaling": "variance_scaling",
            "Zeros": "zeros", "constant_initializer": "constant",
            "glorot_normal_initializer": "glorot_normal",
            "glorot_uniform_initializer": "glorot_uniform", "ones_initializer": "ones",
            "orthogonal_initializer": "orthogonal", "random_normal_initializer": "random_normal",
            "random_uniform_initializer": "random_uniform",
            "truncated_normal_initializer": "truncated_normal",
            "uniform_unit_scaling_initializer": "uniform_unit_scaling",
            "variance_scaling_initializer": "variance_scaling", "zeros_initializer": "zeros",
        }.items()
    } | {"Initializer": "flowray.client.variables.initializers:Initializer"},
    "python.ops.resource_variable_ops": {
        "ResourceVariable": "flowray.client.variables.resource_variable:ResourceVariable",
        "is_resource_variable": "flowray.client.variables.resource_variable:is_resource_variable",
    },
    "python.ops.variables": {
        "RefVariable": "flowray.client.variables.ref_variable:RefVariable",
        "VariableV1": "Variable",
    },
    "python.platform.app": {"flags": "flags"},
    "python.pywrap_tensorflow": {"NewCheckpointReader": "train.NewCheckpointReader"},
    "python.training.moving_averages": {
        "assign_moving_average":
            "flowray.client.train.optimizers.moving_averages:assign_moving_average",
    },
    "python.training.slot_creator": {
        name: f"flowray.client.train.optimizers.slot_creator:{name}"
        for name in ("create_slot", "create_slot_with_initializer", "create_zeros_slot")
    },
    "python.util.deprecation": {
        name: f"flowray.client.platform.deprecation:{name}"
        for name in ("deprecated", "deprecated_argument_lookup")
    },
    "python.util.nest": {
        name: f"contrib.framework.nest.{name}"
        for name in ("assert_same_structure", "flatten", "is_nested", "map_structure",
                     "pack_sequence_as")
    } | {"is_sequence": "contrib.framework.nest.is_nested"},
}  # fmt: skip
"""For each module the names that are not public in TensorFlow.

A name's value is a public name of flowray, or ``module:name``.
"""

WHOLE: Mapping[str, str] = {
    "contrib.layers.python.layers.utils": "flowray.client.api.contrib.layers.utils",
    "contrib.learn.python.learn.datasets.mnist": "flowray.client.data.mnist_input_data",
    "examples.tutorials.mnist.input_data": "flowray.client.data.mnist_input_data",
    "python.platform.flags": "flowray.client.api.flags",
    "python.platform.gfile": "flowray.client.api.gfile",
    "python.platform.tf_logging": "flowray.client.api.logging",
}
"""Modules that are a module of flowray."""


@functools.cache
def public_names() -> Mapping[str, Mapping[str, str]]:
    """Returns for each module of TensorFlow what its names stand for, as ``INTERNAL`` has it."""
    modules: dict[str, dict[str, str]] = {
        module: {
            name: public_name or name
            for name, _, public_name in (item.partition("=") for item in items)
        }
        for module, items in missing_names.read_lists(MODULES_FILE).items()
    }
    for module, names in INTERNAL.items():
        modules.setdefault(module, {}).update(names)
    return modules


@functools.cache
def _packages() -> frozenset[str]:
    """The packages that the modules are in."""
    return frozenset(
        parent
        for module in (*public_names(), *WHOLE)
        for parent in _parents(module)
    )  # fmt: skip


def _parents(name: str) -> list[str]:
    parts = name.split(".")
    return [".".join(parts[:length]) for length in range(1, len(parts))]


@functools.cache
def find(name: str) -> ModuleType | None:
    """Returns the module ``tensorflow.<name>``; None if flowray does not know it."""
    if name in WHOLE:
        return importlib.import_module(WHOLE[name])
    if name in public_names() or name in _packages():
        return _TensorflowModule(name)
    return None


def explain(name: str) -> str | None:
    """Returns what to tell a user about a name of TensorFlow's own modules that flowray lacks.

    Args:
        name: the name, without ``tensorflow``: "python.ops.rnn_cell._linear". None is returned for
            names that are not of such modules.
    """
    if (
        name.partition(".")[0] not in ("core", "examples", "python")
        and ".python." not in f"{name}."
    ):
        return None
    module, _, attribute = name.rpartition(".")
    if (target := public_names().get(module, {}).get(attribute)) and ":" not in target:
        return missing_names.explain(target)
    return (
        f"flowray has no tensorflow.{name}: of TensorFlow's own modules it has what is in the API "
        f"of TensorFlow 1.15, as far as flowray has that ({missing_names.LIST})"
    )


class _TensorflowModule(ModuleType):
    """A module of TensorFlow. Its names are those of flowray's public API."""

    def __init__(self, name: str) -> None:
        super().__init__(
            f"tensorflow.{name}", "A module of TensorFlow 1.15, made of flowray's API."
        )
        self.__path__: list[str] = []
        self._name = name

    def __getattr__(self, name: str) -> Any:
        target = public_names().get(self._name, {}).get(name)
        if name.startswith("__"):
            raise AttributeError(name)
        if target is None:
            if (value := _enum_value(self._name, name)) is not None:
                return value
            missing = f"{self._name}.{name}"
            raise AttributeError(explain(missing) or missing_names.explain(missing))
        value = _message(name) if self._name.startswith("core.") else _resolve(target)
        setattr(self, name, value)
        return value

    def __dir__(self) -> list[str]:
        return sorted(public_names().get(self._name, ()))


def _resolve(target: str) -> Any:
    """The object of a public name or of ``module:name``.

    Raises:
        AttributeError: flowray does not have it (yet).
    """
    module, colon, name = target.rpartition(":")
    found: Any = importlib.import_module(module if colon else "flowray")
    for part in name.split("."):
        found = getattr(found, part)
    return found


_MESSAGES = ("checkpoint", "config", "error", "event", "example", "graph", "master", "meta_graph",
             "tensor", "types")  # fmt: skip
"""The modules of flowray.proto.messages with TensorFlow's messages."""


def _message(name: str) -> Any:
    for module in _MESSAGES:
        found = importlib.import_module(f"flowray.proto.messages.{module}_pb2")
        if hasattr(found, name):
            return getattr(found, name)
    raise AttributeError(f"flowray has no protocol buffer {name}")


def _enum_value(module: str, name: str) -> int | None:
    """A value of an enumeration, which a module of tensorflow.core has beside its messages."""
    if module.startswith("core."):
        for enumeration in public_names().get(module, ()):
            with contextlib.suppress(AttributeError, ValueError):
                value: int = _message(enumeration).Value(name)
                return value
    return None
