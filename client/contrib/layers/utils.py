"""``tf.contrib.layers.utils``: collections of outputs by name."""

from __future__ import annotations

from typing import Any

from flowray.client.framework.graph import (
    add_to_collections,
    get_collection,
    get_collection_ref,
)
from flowray.client.tf_export import tf_export


@tf_export("contrib.layers.utils.collect_named_outputs")
def collect_named_outputs(collections: Any, alias: str, outputs: Any) -> Any:
    """Adds ``outputs`` to the collections (None: to none) under the name ``alias``."""
    if collections:
        outputs.aliases = [*getattr(outputs, "aliases", ()), alias]
        add_to_collections(collections, outputs)
    return outputs


@tf_export("contrib.layers.utils.convert_collection_to_dict")
def convert_collection_to_dict(collection: str, clear_collection: bool = False) -> dict[str, Any]:
    """Returns the tensors of a collection by their aliases, or else their names."""
    tensors = list(get_collection(collection))
    if clear_collection:
        get_collection_ref(collection).clear()
    return {
        alias: tensor
        for tensor in tensors
        for alias in getattr(tensor, "aliases", None) or [tensor.op.name]
    }


@tf_export("contrib.layers.utils.get_variable_collections")
def get_variable_collections(variables_collections: Any, name: str) -> Any:
    """Returns the collections for variables called ``name``: a dict's entry, else all."""
    if isinstance(variables_collections, dict):
        return variables_collections.get(name)
    return variables_collections
