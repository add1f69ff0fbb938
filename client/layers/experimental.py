"""``tf.layers.experimental``: named, but not there."""

from __future__ import annotations

from contextlib import AbstractContextManager

from flowray.client.tf_export import tf_export
from flowray.proto import errors


@tf_export("layers.experimental.keras_style_scope")
def keras_style_scope() -> AbstractContextManager[None]:
    """Raises UnimplementedError: layers have their variables in variable scopes."""
    raise errors.unimplemented("flowray has no tf.layers.experimental.keras_style_scope yet")


@tf_export("layers.experimental.set_keras_style")
def set_keras_style() -> None:
    """Raises UnimplementedError: layers have their variables in variable scopes."""
    raise errors.unimplemented("flowray has no tf.layers.experimental.set_keras_style yet")
