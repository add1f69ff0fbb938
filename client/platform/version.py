"""``tf.version``: which TensorFlow this is, for scripts that ask.

``VERSION`` and ``flowray.__version__`` name the TensorFlow whose API flowray has, because scripts
compare ``tf.__version__`` with TensorFlow's numbers. flowray's own version is in ``GIT_VERSION``.
"""

from __future__ import annotations

import platform

from flowray.client.framework.graph import GRAPH_DEF_PRODUCER

VERSION = "1.15.0"
GIT_VERSION = "flowray-0.1.0"
COMPILER_VERSION = f"Python {platform.python_version()}"
GRAPH_DEF_VERSION = GRAPH_DEF_PRODUCER
GRAPH_DEF_VERSION_MIN_CONSUMER = 0
GRAPH_DEF_VERSION_MIN_PRODUCER = 0

__all__ = [
    "COMPILER_VERSION",
    "GIT_VERSION",
    "GRAPH_DEF_VERSION",
    "GRAPH_DEF_VERSION_MIN_CONSUMER",
    "GRAPH_DEF_VERSION_MIN_PRODUCER",
    "VERSION",
]
