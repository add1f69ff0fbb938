"""flowray: TensorFlow-1-style dataflow graphs on a Ray cluster.

``import flowray as tf`` is the TensorFlow 1 API; ``docs/architecture.md`` is where to start reading.
"""  # noqa: E501

from flowray.client import *  # noqa: F403
from flowray.client import __all__ as __all__

__version__ = VERSION  # noqa: F405 - TensorFlow's, for scripts that ask (docs/decisions/0005-version.md)
