"""``tf.data``: input pipelines."""

from flowray.client.data import experimental as experimental
from flowray.client.data.dataset import Dataset as Dataset
from flowray.client.data.dataset import get_legacy_output_classes as get_output_classes
from flowray.client.data.dataset import get_legacy_output_shapes as get_output_shapes
from flowray.client.data.dataset import get_legacy_output_types as get_output_types
from flowray.client.data.iterator import Iterator as Iterator
from flowray.client.data.iterator import (
    make_initializable_iterator as make_initializable_iterator,
)
from flowray.client.data.iterator import make_one_shot_iterator as make_one_shot_iterator
from flowray.client.data.options import Options as Options
from flowray.client.data.readers import FixedLengthRecordDataset as FixedLengthRecordDataset
from flowray.client.data.readers import TextLineDataset as TextLineDataset
from flowray.client.data.readers import TFRecordDataset as TFRecordDataset

__all__ = [
    "Dataset", "FixedLengthRecordDataset", "Iterator", "Options", "TFRecordDataset",
    "TextLineDataset", "experimental", "get_output_classes", "get_output_shapes",
    "get_output_types", "make_initializable_iterator", "make_one_shot_iterator",
]  # fmt: skip
