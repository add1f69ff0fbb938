"""``tf_export``: declares public names where an object is defined.

    @tf_export("matmul", "linalg.matmul")
    def matmul(a, b, ...): ...

    sin = tf_export("sin", "math.sin")(_unary("Sin", ...))

    newaxis = tf_export("newaxis")(None)

The names are those under ``tf``: ``linalg.matmul`` is ``tf.linalg.matmul``. An object has all its
names in one declaration. ``client/api/generate.py`` reads the declarations from the source, without
running it, so they must stand at the top level of a module and be string literals; it writes the
modules of ``client/api`` from them. At run time a declaration does nothing.

Public objects of ``flowray.proto``, which does not import the client, are declared in
``client/proto_exports.py``.
"""

from __future__ import annotations

from typing import TypeVar

T = TypeVar("T")


class tf_export:  # noqa: N801 - TensorFlow's name for it
    """Declares the public names of the function, class or constant that it is called with."""

    def __init__(self, *names: str) -> None:
        pass

    def __call__(self, exported: T) -> T:
        return exported
