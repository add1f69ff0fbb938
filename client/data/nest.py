"""Nested structures as ``tf.data`` knows them.

Unlike elsewhere a list is a leaf, which becomes one tensor. So is the value of a sparse tensor.
"""

from __future__ import annotations

from flowray.client.framework.nest import Nest
from flowray.client.framework.sparse_tensor import SparseTensorValue

_NEST = Nest(list, SparseTensorValue)

is_nested = _NEST.is_nested
flatten = _NEST.flatten
pack_sequence_as = _NEST.pack_sequence_as
map_structure = _NEST.map_structure
assert_same_structure = _NEST.assert_same_structure
flatten_up_to = _NEST.flatten_up_to
