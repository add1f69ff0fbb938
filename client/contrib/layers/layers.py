"""Layers as functions that make model variables: ``weights`` and ``biases``.

They are those of ``tf.layers``, with other names and defaults. All take

* ``reuse``: whether the variables of the scope are there already;
* ``variables_collections``: the collections of the variables, or a dict of them by name;
* ``outputs_collections``: the collections of the output, under the name of the scope;
* ``trainable``: whether optimizers change the variables;
* ``scope``: the variable scope, or its name.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from flowray.client.contrib.framework import add_arg_scope
from flowray.client.contrib.layers.utils import collect_named_outputs, get_variable_collections
from flowray.client.contrib.layers.weights import xavier_initializer
from flowray.client.framework.conversion import convert_to_tensor
from flowray.client.framework.graph import (
    GraphKeys,
    add_to_collections,
    control_dependencies,
    name_scope,
)
from flowray.client.layers import convolutional, core, normalization, pooling
from flowray.client.ops import array_ops, math_ops, nn_ops, norm_ops
from flowray.client.tf_export import tf_export
from flowray.client.variables import initializers
from flowray.client.variables.variable_scope import get_variable, variable_scope
from flowray.proto import errors

_FORMATS = ("NWC", "NCW", "NHWC", "NCHW", "NDHWC", "NCDHW")
_ZEROS = initializers.zeros()


# Scopes and collections ---------------------------------------------------------------------------


def _model_variables(rename: Mapping[str, str]) -> Callable[..., Any]:
    """Returns a custom getter of model variables, some by other names."""

    def get(getter: Any, name: str, **arguments: Any) -> Any:
        *scopes, last = name.split("/")
        collections = arguments.get("collections") or [GraphKeys.GLOBAL_VARIABLES]
        arguments["collections"] = [*collections, GraphKeys.MODEL_VARIABLES]
        return getter("/".join([*scopes, rename.get(last, last)]), **arguments)

    return get


@contextmanager
def _opened(
    scope: Any, default_name: str, inputs: Any, reuse: Any, **rename: str
) -> Iterator[dict[str, Any]]:
    """Opens the layer's variable scope and gives the arguments for a layer of ``tf.layers``."""
    with variable_scope(
        scope, default_name, [inputs], reuse=reuse, custom_getter=_model_variables(rename)
    ) as opened:
        yield {"name": opened.name, "_scope": opened, "_reuse": reuse}


def _collect(variable: Any, collections: Any, name: str) -> None:
    if variable is not None and collections:
        add_to_collections(get_variable_collections(collections, name) or (), variable)


def _finished(
    outputs: Any,
    scope: str,
    normalizer_fn: Any,
    normalizer_params: Any,
    activation_fn: Any,
    outputs_collections: Any,
) -> Any:
    if normalizer_fn is not None:
        outputs = normalizer_fn(outputs, **(normalizer_params or {}))
    if activation_fn is not None:
        outputs = activation_fn(outputs)
    return collect_named_outputs(outputs_collections, scope, outputs)


def _order(data_format: str | None) -> str:
    """Returns ``channels_first`` or ``channels_last``."""
    if data_format not in (None, *_FORMATS):
        raise ValueError(f"Invalid data_format: {data_format!r}")
    first = data_format is not None and data_format.startswith("NC")
    return "channels_first" if first else "channels_last"


# Dense layers and convolutions --------------------------------------------------------------------


@tf_export("contrib.layers.fully_connected", "contrib.slim.fully_connected")
@add_arg_scope
def fully_connected(
    inputs: Any,
    num_outputs: int,
    activation_fn: Any = nn_ops.relu,
    normalizer_fn: Any = None,
    normalizer_params: Mapping[str, Any] | None = None,
    weights_initializer: Any = xavier_initializer(),  # noqa: B008 - has no state
    weights_regularizer: Any = None,
    biases_initializer: Any = _ZEROS,
    biases_regularizer: Any = None,
    reuse: Any = None,
    variables_collections: Any = None,
    outputs_collections: Any = None,
    trainable: bool = True,
    scope: Any = None,
) -> Any:
    """Adds a dense layer, by default with ``relu``.

    Args:
        normalizer_fn, normalizer_params: a function of the output (and its arguments) that takes
            the place of the bias, such as ``batch_norm``.
        biases_initializer: None for no bias.
    """
    with _opened(
        scope, "fully_connected", inputs, reuse, kernel="weights", bias="biases"
    ) as options:
        inputs = convert_to_tensor(inputs)
        layer = core.Dense(
            num_outputs,
            use_bias=normalizer_fn is None and biases_initializer is not None,
            kernel_initializer=weights_initializer,
            bias_initializer=biases_initializer,
            kernel_regularizer=weights_regularizer,
            bias_regularizer=biases_regularizer,
            trainable=trainable,
            dtype=inputs.dtype.base_dtype,
            **options,
        )
        outputs = layer(inputs)
        _collect(layer.kernel, variables_collections, "weights")
        _collect(layer.bias, variables_collections, "biases")
        return _finished(
            outputs,
            options["name"],
            normalizer_fn,
            normalizer_params,
            activation_fn,
            outputs_collections,
        )


linear = tf_export("contrib.layers.linear")(functools.partial(fully_connected, activation_fn=None))
relu = tf_export("contrib.layers.relu")(
    functools.partial(fully_connected, activation_fn=nn_ops.relu)
)
relu6 = tf_export("contrib.layers.relu6")(
    functools.partial(fully_connected, activation_fn=nn_ops.relu6)
)

_CONVOLUTIONS: dict[int, Any] = {
    3: convolutional.Conv1D, 4: convolutional.Conv2D, 5: convolutional.Conv3D,
}  # fmt: skip


@tf_export("contrib.layers.convolution", "contrib.slim.convolution")
@add_arg_scope
def convolution(
    inputs: Any,
    num_outputs: int,
    kernel_size: Any,
    stride: Any = 1,
    padding: str = "SAME",
    data_format: str | None = None,
    rate: Any = 1,
    activation_fn: Any = nn_ops.relu,
    normalizer_fn: Any = None,
    normalizer_params: Mapping[str, Any] | None = None,
    weights_initializer: Any = xavier_initializer(),  # noqa: B008 - has no state
    weights_regularizer: Any = None,
    biases_initializer: Any = _ZEROS,
    biases_regularizer: Any = None,
    reuse: Any = None,
    variables_collections: Any = None,
    outputs_collections: Any = None,
    trainable: bool = True,
    scope: Any = None,
    conv_dims: int | None = None,
) -> Any:
    """Convolves over as many dimensions as the inputs have between batch and channels.

    Args:
        rate: the distance of a window's elements.
        conv_dims: how many dimensions there must be.
    """
    with _opened(scope, "Conv", inputs, reuse, kernel="weights", bias="biases") as options:
        inputs = convert_to_tensor(inputs)
        rank = inputs.shape.rank
        if conv_dims is not None and rank != conv_dims + 2:
            raise ValueError(f"Convolution expects input with rank {conv_dims + 2}, got {rank}")
        if rank not in _CONVOLUTIONS:
            raise ValueError("Convolution not supported for input with rank", rank)
        layer = _CONVOLUTIONS[rank](
            num_outputs,
            kernel_size,
            stride,
            padding,
            _order(data_format),
            rate,
            use_bias=normalizer_fn is None and biases_initializer is not None,
            kernel_initializer=weights_initializer,
            bias_initializer=biases_initializer,
            kernel_regularizer=weights_regularizer,
            bias_regularizer=biases_regularizer,
            trainable=trainable,
            dtype=inputs.dtype.base_dtype,
            **options,
        )
        outputs = layer(inputs)
        _collect(layer.kernel, variables_collections, "weights")
        _collect(layer.bias, variables_collections, "biases")
        return _finished(
            outputs,
            options["name"],
            normalizer_fn,
            normalizer_params,
            activation_fn,
            outputs_collections,
        )


def _convolution_over(dims: int) -> Any:
    """Makes ``convolution`` for inputs of one rank only."""

    def convolution_over(*args: Any, **kwargs: Any) -> Any:
        return convolution(*args, conv_dims=dims, **kwargs)

    convolution_over.__name__ = convolution_over.__qualname__ = f"convolution{dims}d"
    convolution_over.__doc__ = f"``convolution`` over {dims} dimension(s)."
    return add_arg_scope(convolution_over)


conv1d = convolution1d = tf_export(
    "contrib.layers.conv1d", "contrib.layers.convolution1d", "contrib.slim.conv1d"
)(_convolution_over(1))
conv2d = convolution2d = tf_export(
    "contrib.layers.conv2d",
    "contrib.layers.convolution2d",
    "contrib.slim.conv2d",
    "contrib.slim.convolution2d",
)(_convolution_over(2))
conv3d = convolution3d = tf_export(
    "contrib.layers.conv3d", "contrib.layers.convolution3d", "contrib.slim.conv3d"
)(_convolution_over(3))


@tf_export(
    "contrib.layers.conv2d_transpose",
    "contrib.layers.convolution2d_transpose",
    "contrib.slim.conv2d_transpose",
    "contrib.slim.convolution2d_transpose",
)
@add_arg_scope
def convolution2d_transpose(
    inputs: Any,
    num_outputs: int,
    kernel_size: Any,
    stride: Any = 1,
    padding: str = "SAME",
    data_format: str = "NHWC",
    activation_fn: Any = nn_ops.relu,
    normalizer_fn: Any = None,
    normalizer_params: Mapping[str, Any] | None = None,
    weights_initializer: Any = xavier_initializer(),  # noqa: B008 - has no state
    weights_regularizer: Any = None,
    biases_initializer: Any = _ZEROS,
    biases_regularizer: Any = None,
    reuse: Any = None,
    variables_collections: Any = None,
    outputs_collections: Any = None,
    trainable: bool = True,
    scope: Any = None,
) -> Any:
    """Adds a transposed convolution over two dimensions."""
    with _opened(
        scope, "Conv2d_transpose", inputs, reuse, kernel="weights", bias="biases"
    ) as options:
        inputs = convert_to_tensor(inputs)
        layer = convolutional.Conv2DTranspose(
            num_outputs,
            kernel_size,
            stride,
            padding,
            _order(data_format),
            use_bias=normalizer_fn is None and biases_initializer is not None,
            kernel_initializer=weights_initializer,
            bias_initializer=biases_initializer,
            kernel_regularizer=weights_regularizer,
            bias_regularizer=biases_regularizer,
            trainable=trainable,
            dtype=inputs.dtype.base_dtype,
            **options,
        )
        outputs = layer(inputs)
        _collect(layer.kernel, variables_collections, "weights")
        _collect(layer.bias, variables_collections, "biases")
        return _finished(
            outputs,
            options["name"],
            normalizer_fn,
            normalizer_params,
            activation_fn,
            outputs_collections,
        )


conv2d_transpose = convolution2d_transpose


@tf_export(
    "contrib.layers.separable_conv2d",
    "contrib.layers.separable_convolution2d",
    "contrib.slim.separable_conv2d",
    "contrib.slim.separable_convolution2d",
)
@add_arg_scope
def separable_convolution2d(
    inputs: Any,
    num_outputs: int,
    kernel_size: Any,
    depth_multiplier: int = 1,
    stride: Any = 1,
    padding: str = "SAME",
    data_format: str = "NHWC",
    rate: Any = 1,
    activation_fn: Any = nn_ops.relu,
    normalizer_fn: Any = None,
    normalizer_params: Mapping[str, Any] | None = None,
    weights_initializer: Any = xavier_initializer(),  # noqa: B008 - has no state
    pointwise_initializer: Any = None,
    weights_regularizer: Any = None,
    biases_initializer: Any = _ZEROS,
    biases_regularizer: Any = None,
    reuse: Any = None,
    variables_collections: Any = None,
    outputs_collections: Any = None,
    trainable: bool = True,
    scope: Any = None,
) -> Any:
    """Convolves each channel, then mixes them by a convolution of size 1.

    Args:
        pointwise_initializer: of the second; ``weights_initializer`` if None.
    """
    if num_outputs is None:
        raise errors.unimplemented(
            "flowray has no tf.contrib.layers.separable_conv2d without num_outputs yet"
        )
    rename = {
        "bias": "biases", "depthwise_kernel": "depthwise_weights",
        "pointwise_kernel": "pointwise_weights",
    }  # fmt: skip
    with _opened(scope, "SeparableConv2d", inputs, reuse, **rename) as options:
        inputs = convert_to_tensor(inputs)
        layer = convolutional.SeparableConv2D(
            num_outputs,
            kernel_size,
            stride,
            padding,
            _order(data_format),
            rate,
            depth_multiplier,
            use_bias=normalizer_fn is None and biases_initializer is not None,
            depthwise_initializer=weights_initializer,
            pointwise_initializer=pointwise_initializer or weights_initializer,
            bias_initializer=biases_initializer,
            depthwise_regularizer=weights_regularizer,
            pointwise_regularizer=weights_regularizer,
            bias_regularizer=biases_regularizer,
            trainable=trainable,
            dtype=inputs.dtype.base_dtype,
            **options,
        )
        outputs = layer(inputs)
        _collect(layer.depthwise_kernel, variables_collections, "weights")
        _collect(layer.pointwise_kernel, variables_collections, "weights")
        _collect(layer.bias, variables_collections, "biases")
        return _finished(
            outputs,
            options["name"],
            normalizer_fn,
            normalizer_params,
            activation_fn,
            outputs_collections,
        )


separable_conv2d = separable_convolution2d


# Normalization ------------------------------------------------------------------------------------


@tf_export("contrib.layers.batch_norm", "contrib.slim.batch_norm")
@add_arg_scope
def batch_norm(
    inputs: Any,
    decay: float = 0.999,
    center: bool = True,
    scale: bool = False,
    epsilon: float = 0.001,
    activation_fn: Any = None,
    param_initializers: Mapping[str, Any] | None = None,
    param_regularizers: Mapping[str, Any] | None = None,
    updates_collections: Any = GraphKeys.UPDATE_OPS,
    is_training: Any = True,
    reuse: Any = None,
    variables_collections: Any = None,
    outputs_collections: Any = None,
    trainable: bool = True,
    batch_weights: Any = None,
    fused: bool | None = None,
    data_format: str = "NHWC",
    zero_debias_moving_mean: bool = False,
    scope: Any = None,
    renorm: bool = False,
    renorm_clipping: Any = None,
    renorm_decay: float = 0.99,
    adjustment: Any = None,
) -> Any:
    """Normalizes batches (Ioffe and Szegedy, 2015); see ``tf.layers.batch_normalization``.

    Args:
        decay, renorm_decay: the momentum of the moving averages.
        param_initializers, param_regularizers: by the names of the variables.
        updates_collections: those of the averages' updates; None has the output wait for
            them.
        batch_weights, zero_debias_moving_mean: not supported.
    """
    if batch_weights is not None:
        raise errors.unimplemented("flowray has no tf.contrib.layers.batch_norm(batch_weights=...)")
    if zero_debias_moving_mean:
        raise errors.unimplemented(
            "flowray has no tf.contrib.layers.batch_norm(zero_debias_moving_mean=True)"
        )
    if data_format not in ("NCHW", "NHWC"):
        raise ValueError("data_format has to be either NCHW or NHWC.")
    start, penalties = dict(param_initializers or {}), dict(param_regularizers or {})
    with _opened(scope, "BatchNorm", inputs, reuse) as options:
        inputs = convert_to_tensor(inputs)
        shape = inputs.shape
        # Of two dimensions, too, TensorFlow takes the fused op.
        flat = shape.rank == 2 and fused in (None, True) and not renorm and adjustment is None
        layer = normalization.BatchNormalization(
            1 if data_format == "NCHW" else -1,
            decay,
            epsilon,
            center,
            scale,
            start.get("beta", _ZEROS),
            start.get("gamma", initializers.ones()),
            start.get("moving_mean", _ZEROS),
            start.get("moving_variance", initializers.ones()),
            penalties.get("beta"),
            penalties.get("gamma"),
            renorm=renorm,
            renorm_clipping=renorm_clipping,
            renorm_momentum=renorm_decay,
            fused=fused,
            trainable=trainable,
            adjustment=adjustment,
            **options,
        )
        layer.updates_collections = updates_collections
        if flat:
            channels = shape[1].value
            around = [-1, channels, 1, 1] if data_format == "NCHW" else [-1, 1, 1, channels]
            inputs = array_ops.reshape(inputs, around)
        outputs = layer(inputs, training=is_training)
        if flat:
            outputs = array_ops.reshape(outputs, [-1, shape[1].value])
            outputs.set_shape(shape)
        if updates_collections is None:
            with control_dependencies(layer.updates):
                outputs = array_ops.identity(outputs)
        for name in ("moving_mean", "moving_variance", "beta", "gamma"):
            _collect(getattr(layer, name), variables_collections, name)
        return _finished(outputs, options["name"], None, None, activation_fn, outputs_collections)


@tf_export("contrib.layers.layer_norm", "contrib.slim.layer_norm")
@add_arg_scope
def layer_norm(
    inputs: Any,
    center: bool = True,
    scale: bool = True,
    activation_fn: Any = None,
    reuse: Any = None,
    variables_collections: Any = None,
    outputs_collections: Any = None,
    trainable: bool = True,
    begin_norm_axis: int = 1,
    begin_params_axis: int = -1,
    scope: Any = None,
) -> Any:
    """Normalizes each example by its own mean and variance (Ba et al., 2016).

    Args:
        begin_norm_axis: the first of the dimensions that the moments are over.
        begin_params_axis: the first of the dimensions that beta and gamma have.
    """
    with variable_scope(
        scope, "LayerNorm", [inputs], reuse=reuse, custom_getter=_model_variables({})
    ) as opened:
        inputs = convert_to_tensor(inputs)
        rank = inputs.shape.rank
        if rank is None:
            raise ValueError(f"Inputs {inputs.name} has undefined rank.")
        begin = begin_norm_axis + rank if begin_norm_axis < 0 else begin_norm_axis
        if begin_params_axis >= rank or begin >= rank:
            raise ValueError(
                f"begin_params_axis ({begin_params_axis}) and begin_norm_axis "
                f"({begin_norm_axis}) must be < rank(inputs) ({rank})"
            )
        shape = inputs.shape[begin_params_axis:]
        if not shape.is_fully_defined():
            raise ValueError(
                f"Inputs {inputs.name}: shape(inputs)[{begin_params_axis}:] is not fully defined: "
                f"{inputs.shape}"
            )

        def parameter(name: str, initializer: Any) -> Any:
            variable = get_variable(
                name,
                shape=shape,
                dtype=inputs.dtype.base_dtype,
                initializer=initializer,
                trainable=trainable,
            )
            _collect(variable, variables_collections, name)
            return variable

        beta = parameter("beta", _ZEROS) if center else None
        gamma = parameter("gamma", initializers.ones()) if scale else None
        mean, variance = norm_ops.moments(inputs, list(range(begin, rank)), keepdims=True)
        epsilon = 1e-3 if inputs.dtype.size == 2 else 1e-12
        outputs = norm_ops.batch_normalization(inputs, mean, variance, beta, gamma, epsilon)
        outputs.set_shape(inputs.shape)
        return _finished(outputs, opened.name, None, None, activation_fn, outputs_collections)


# Layers without variables -------------------------------------------------------------------------


def _pool(layer_class: Any, default_name: str, default_format: str, what: str) -> Any:
    def pool(
        inputs: Any,
        kernel_size: Any,
        stride: Any = 2,
        padding: str = "VALID",
        data_format: str = default_format,
        outputs_collections: Any = None,
        scope: str | None = None,
    ) -> Any:
        with name_scope(scope, default_name, [inputs]) as opened:
            inputs = convert_to_tensor(inputs)
            layer = layer_class(kernel_size, stride, padding, _order(data_format), _scope=opened)
            return collect_named_outputs(outputs_collections, opened, layer(inputs))

    pool.__name__ = pool.__qualname__ = what
    pool.__doc__ = f"``tf.layers.{layer_class.__name__}``, by default with a stride of 2."
    return add_arg_scope(pool)


max_pool2d = tf_export("contrib.layers.max_pool2d", "contrib.slim.max_pool2d")(
    _pool(pooling.MaxPooling2D, "MaxPool2D", "NHWC", "max_pool2d")
)
max_pool3d = tf_export("contrib.layers.max_pool3d", "contrib.slim.max_pool3d")(
    _pool(pooling.MaxPooling3D, "MaxPool3D", "NDHWC", "max_pool3d")
)
avg_pool2d = tf_export("contrib.layers.avg_pool2d", "contrib.slim.avg_pool2d")(
    _pool(pooling.AveragePooling2D, "AvgPool2D", "NHWC", "avg_pool2d")
)
avg_pool3d = tf_export("contrib.layers.avg_pool3d", "contrib.slim.avg_pool3d")(
    _pool(pooling.AveragePooling3D, "AvgPool3D", "NDHWC", "avg_pool3d")
)


@tf_export("contrib.layers.flatten", "contrib.slim.flatten")
@add_arg_scope
def flatten(inputs: Any, outputs_collections: Any = None, scope: str | None = None) -> Any:
    """Reshapes ``[batch, ...]`` to ``[batch, size]``."""
    with name_scope(scope, "Flatten", [inputs]) as opened:
        outputs = core.flatten(convert_to_tensor(inputs))
        return collect_named_outputs(outputs_collections, opened, outputs)


@tf_export("contrib.layers.dropout", "contrib.slim.dropout")
@add_arg_scope
def dropout(
    inputs: Any,
    keep_prob: Any = 0.5,
    noise_shape: Any = None,
    is_training: Any = True,
    outputs_collections: Any = None,
    scope: Any = None,
    seed: int | None = None,
) -> Any:
    """Applies ``tf.layers.dropout``, which keeps a part ``keep_prob``, in training by default."""
    with _opened(scope, "Dropout", inputs, None) as options:
        inputs = convert_to_tensor(inputs)
        layer = core.Dropout(1 - keep_prob, noise_shape, seed, **options)
        outputs = layer(inputs, training=is_training)
        return collect_named_outputs(outputs_collections, options["name"], outputs)


@tf_export("contrib.layers.one_hot_encoding", "contrib.slim.one_hot_encoding")
@add_arg_scope
def one_hot_encoding(
    labels: Any,
    num_classes: int,
    on_value: float = 1.0,
    off_value: float = 0.0,
    outputs_collections: Any = None,
    scope: str | None = None,
) -> Any:
    """Applies ``tf.one_hot`` to int64 labels."""
    with name_scope(scope, "OneHotEncoding", [labels, num_classes]) as opened:
        labels = convert_to_tensor(labels)
        if labels.dtype.name == "int32":
            labels = math_ops.to_int64(labels)
        outputs = array_ops.one_hot(labels, num_classes, on_value=on_value, off_value=off_value)
        return collect_named_outputs(outputs_collections, opened, outputs)


@tf_export("contrib.layers.softmax", "contrib.slim.softmax")
@add_arg_scope
def softmax(logits: Any, scope: str | None = None) -> Any:
    """Applies ``tf.nn.softmax`` along the last dimension."""
    with variable_scope(scope, "softmax", [logits]):
        return nn_ops.softmax(logits, name="predictions")


# Several layers -----------------------------------------------------------------------------------


@tf_export("contrib.layers.stack", "contrib.slim.stack")
def stack(inputs: Any, layer: Callable[..., Any], stack_args: Sequence[Any], **kwargs: Any) -> Any:
    """Adds one layer after another, each with one of ``stack_args`` (a tuple or one argument)."""
    scope = kwargs.pop("scope", None)
    with variable_scope(scope, "Stack", [inputs]):
        default = _scope_name(layer, kwargs.pop("name", None))
        for i, arguments in enumerate(stack_args, 1):
            given = arguments if isinstance(arguments, list | tuple) else [arguments]
            inputs = layer(inputs, *given, scope=f"{default}_{i}", **kwargs)
        return inputs


@tf_export("contrib.layers.repeat", "contrib.slim.repeat")
@add_arg_scope
def repeat(
    inputs: Any, repetitions: int, layer: Callable[..., Any], *args: Any, **kwargs: Any
) -> Any:
    """Adds ``repetitions`` layers with the same arguments, one after another."""
    scope = kwargs.pop("scope", None)
    with variable_scope(scope, "Repeat", [inputs]):
        default = scope if isinstance(scope, str) else _scope_name(layer, None)
        for i in range(1, repetitions + 1):
            inputs = layer(inputs, *args, scope=f"{default}_{i}", **kwargs)
        return inputs


def _scope_name(layer: Any, name: str | None) -> str:
    named = layer.func if isinstance(layer, functools.partial) else layer
    return name or str(getattr(named, "__name__", "stack"))
