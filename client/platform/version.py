"""``tf.version``: which TensorFlow this is, for scripts that ask.

``VERSION`` and ``flowray.__version__`` name the TensorFlow whose API flowray has, because scripts
compare ``tf.__version__`` with TensorFlow's numbers. flowray's own version is in ``GIT_VERSION``.
"""

from __future__ import annotations

import platform

from flowray.client.tf_export import tf_export

VERSION = tf_export("VERSION", "version.VERSION")("1.15.0")
GIT_VERSION = tf_export("GIT_VERSION", "version.GIT_VERSION")("flowray-0.1.0")
COMPILER_VERSION = tf_export("COMPILER_VERSION", "version.COMPILER_VERSION")(
    f"Python {platform.python_version()}"
)
GRAPH_DEF_VERSION = tf_export("GRAPH_DEF_VERSION", "version.GRAPH_DEF_VERSION")(134)
"""The version that GraphDefs state as their producer: that of TensorFlow 1.15."""

GRAPH_DEF_VERSION_MIN_CONSUMER = tf_export(
    "GRAPH_DEF_VERSION_MIN_CONSUMER", "version.GRAPH_DEF_VERSION_MIN_CONSUMER"
)(0)
GRAPH_DEF_VERSION_MIN_PRODUCER = tf_export(
    "GRAPH_DEF_VERSION_MIN_PRODUCER", "version.GRAPH_DEF_VERSION_MIN_PRODUCER"
)(0)
