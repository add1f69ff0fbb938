"""Checkpoints in TensorFlow's V2 format: pure code that clients and workers share.

A checkpoint with the prefix ``p`` is the files ``p.index``, a sorted table of entries (``table``),
and ``p.data-00000-of-0000N``, the values. ``BundleReader`` and ``BundleWriter`` are all that most
code needs; ``merge`` makes one checkpoint of several.
"""

from flowray.proto.files.checkpoint.bundle_reader import BundleReader
from flowray.proto.files.checkpoint.bundle_writer import BundleWriter, merge

__all__ = ["BundleReader", "BundleWriter", "merge"]
