"""Images as tensors: the user's functions."""

from __future__ import annotations

from typing import Any

from flowray.client.framework.conversion import convert_to_tensor
from flowray.client.framework.graph import name_scope
from flowray.client.ops import array_ops, math_ops
from flowray.proto import dtypes


def convert_image_dtype(
    image: Any, dtype: Any, saturate: bool = False, name: str | None = None
) -> Any:
    """``image`` in another dtype, scaled from the one's range of values to the other's.

    Floats range from 0 to 1, integers from 0 to the largest.

    Args:
        saturate: whether values out of the range become its ends, instead of overflowing.
    """
    image = convert_to_tensor(image, name="image")
    wanted, given = dtypes.as_dtype(dtype), image.dtype.base_dtype
    if wanted == given:
        return array_ops.identity(image, name=name)
    cast = math_ops.saturate_cast if saturate else math_ops.cast
    with name_scope(name, "convert_image", [image]) as name:
        if given.is_integer and wanted.is_integer:
            if given.max > wanted.max:
                scale = (given.max + 1) // (wanted.max + 1)
                return cast(math_ops.floordiv(image, scale), wanted, name=name)
            scale = (wanted.max + 1) // (given.max + 1)
            return math_ops.multiply(cast(image, wanted), scale, name=name)
        if given.is_floating and wanted.is_floating:
            return math_ops.cast(image, wanted, name=name)
        if given.is_integer:
            scaled = math_ops.cast(image, wanted)
            return math_ops.multiply(scaled, 1.0 / given.max, name=name)
        # Not quite the largest plus one, which a float could round to.
        return cast(math_ops.multiply(image, wanted.max + 0.5), wanted, name=name)
