"""Layers as functions: ``tf.layers.dense(x, 10)`` for ``tf.layers.Dense(10)(x)``."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Any

from flowray.client.layers.base import Layer

_VARIADIC = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)


def layer_function(layer_class: type[Layer], name: str) -> Callable[..., Any]:
    """Returns a function that makes a layer and calls it.

    Its arguments are ``inputs``, then those of the class, and then, if layers of the class can
    share variables (``takes_reuse``), ``reuse``: such a layer has the variable scope ``name``, and
    its variables are taken instead of made if ``reuse`` is true.
    """
    parameters = [
        parameter
        for parameter in list(inspect.signature(layer_class.__init__).parameters.values())[1:]
        if parameter.kind not in _VARIADIC
    ]
    keyword = functools.partial(inspect.Parameter, kind=inspect.Parameter.POSITIONAL_OR_KEYWORD)
    takes_reuse = getattr(layer_class, "takes_reuse", False)
    if takes_reuse:
        parameters.append(keyword("reuse", default=None))
    signature = inspect.Signature([keyword("inputs"), *parameters])

    def function(*args: Any, **kwargs: Any) -> Any:
        arguments = signature.bind(*args, **kwargs).arguments
        inputs = arguments.pop("inputs")
        if takes_reuse:
            arguments["_reuse"] = arguments.pop("reuse", None)
            arguments["_scope"] = arguments.get("name")
        return layer_class(**arguments)(inputs)

    function.__name__ = function.__qualname__ = name
    function.__signature__ = signature  # type: ignore[attr-defined]
    function.__doc__ = layer_class.__doc__
    return function
