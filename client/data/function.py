"""The functions that users give to datasets, traced on the structure of the elements."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from flowray.client.data import nest, structure
from flowray.client.framework.function import trace
from flowray.client.framework.graph import Tensor


class StructuredFunction:
    """A function of elements, in the library of the graph.

    Args:
        function: gets the parts of an element that is a tuple as its arguments, any other element
            as its one argument.
        element: the structure of its argument.
        name: of the transformation, for errors and the function's name.

    Attributes:
        traced: the function in the library, the value of an attribute.
        captures: the tensors to pass with it.
        result: the structure of what it returns.

    Raises:
        TypeError: it returns something that has no tensor form.
    """

    def __init__(self, function: Callable[..., Any], element: Any, name: str) -> None:
        leaves = nest.flatten(element)
        results: list[Any] = []

        def body(*tensors: Tensor) -> None:
            value = structure.from_tensors(element, tensors)
            result = function(*value) if type(value) is tuple else function(value)
            if isinstance(result, list):
                # It rather comes from an op with several outputs than it is to be stacked.
                result = tuple(result)
            try:
                results.append(structure.normalized(result))
            except (TypeError, ValueError) as error:
                raise TypeError(
                    f"Unsupported return value from function passed to {name}: {result}."
                ) from error

        label = getattr(function, "__name__", type(function).__name__)
        self.traced = trace(
            body,
            [(leaf.flat_type, leaf.flat_shape) for leaf in leaves],
            f"{name.replace('.', '_').rstrip('()')}_{label}",
            flatten=lambda _: structure.to_tensors(results[0]),
        )
        self.captures: Sequence[Tensor] = self.traced.captures
        self.result = structure.structure_of(results[0])
