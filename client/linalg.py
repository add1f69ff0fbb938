"""``tf.linalg``: linear algebra."""

from __future__ import annotations  # noqa: I001

from flowray.client.ops.array_ops import (
    matrix_transpose,
    matrix_transpose as transpose,
)
from flowray.client.ops.clip_ops import (
    global_norm,
)
from flowray.client.ops.layout_ops import (
    eye,
    matrix_band_part as band_part,
    matrix_diag as diag,
    matrix_diag_part as diag_part,
    matrix_set_diag as set_diag,
)
from flowray.client.ops.math_ops import (
    cross,
    matmul,
)
from flowray.client.ops.reduction_ops import (
    norm,
    tensordot,
)

__all__ = [
    "band_part",
    "cross",
    "diag",
    "diag_part",
    "eye",
    "global_norm",
    "matmul",
    "matrix_transpose",
    "norm",
    "set_diag",
    "tensordot",
    "transpose",
]
