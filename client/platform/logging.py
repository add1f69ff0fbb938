"""``tf.logging``: a script's messages, through Python's logger ``tensorflow``.

Unless the script has configured logging itself, they go to stderr as ``INFO:tensorflow:text``. As
in TensorFlow, the level is WARN until ``set_verbosity`` says otherwise.
"""

from __future__ import annotations

import logging
import sys
import threading
from collections import Counter
from typing import Any

from flowray.client.tf_export import tf_export

DEBUG = tf_export("logging.DEBUG")(logging.DEBUG)
ERROR = tf_export("logging.ERROR")(logging.ERROR)
FATAL = tf_export("logging.FATAL")(logging.FATAL)
INFO = tf_export("logging.INFO")(logging.INFO)
WARN = tf_export("logging.WARN")(logging.WARN)

_lock = threading.Lock()
_calls: Counter[tuple[str, int]] = Counter()
"""The number of calls of ``log_every_n`` and ``log_first_n``, by the line that called."""


@tf_export("get_logger", "logging.get_logger")
def get_logger() -> logging.Logger:
    """Returns the logger that everything here uses.

    It gets a handler of its own when it is first used and nobody handles its messages: not earlier,
    because a script may configure logging after it has imported flowray.
    """
    logger = logging.getLogger("tensorflow")
    if not logger.hasHandlers():
        with _lock:
            if not logger.hasHandlers():
                handler = logging.StreamHandler(sys.stderr)
                handler.setFormatter(logging.Formatter(logging.BASIC_FORMAT))
                logger.addHandler(handler)
    return logger


@tf_export("logging.get_verbosity")
def get_verbosity() -> int:
    """Returns the least level that is shown."""
    return get_logger().getEffectiveLevel()


@tf_export("logging.set_verbosity")
def set_verbosity(v: int) -> None:
    """Shows messages of level ``v`` and above."""
    get_logger().setLevel(v)


# Python's logging counts the frames between the script and the logger (``stacklevel``), so that a
# formatter can show the script's file and line.


@tf_export("logging.log")
def log(level: int, msg: Any, *args: Any, **kwargs: Any) -> None:
    """Logs ``msg % args`` at ``level``."""
    get_logger().log(level, msg, *args, stacklevel=2, **kwargs)


@tf_export("logging.debug")
def debug(msg: Any, *args: Any, **kwargs: Any) -> None:
    """Logs ``msg % args`` at level DEBUG."""
    get_logger().debug(msg, *args, stacklevel=2, **kwargs)


@tf_export("logging.info")
def info(msg: Any, *args: Any, **kwargs: Any) -> None:
    """Logs ``msg % args`` at level INFO."""
    get_logger().info(msg, *args, stacklevel=2, **kwargs)


@tf_export("logging.warn")
def warn(msg: Any, *args: Any, **kwargs: Any) -> None:
    """Logs ``msg % args`` at level WARN."""
    get_logger().warning(msg, *args, stacklevel=2, **kwargs)


@tf_export("logging.warning")
def warning(msg: Any, *args: Any, **kwargs: Any) -> None:
    """Logs ``msg % args`` at level WARN."""
    get_logger().warning(msg, *args, stacklevel=2, **kwargs)


@tf_export("logging.error")
def error(msg: Any, *args: Any, **kwargs: Any) -> None:
    """Logs ``msg % args`` at level ERROR."""
    get_logger().error(msg, *args, stacklevel=2, **kwargs)


@tf_export("logging.fatal")
def fatal(msg: Any, *args: Any, **kwargs: Any) -> None:
    """Logs at the highest level. The program goes on."""
    get_logger().fatal(msg, *args, stacklevel=2, **kwargs)


@tf_export("logging.vlog")
def vlog(level: int, msg: Any, *args: Any, **kwargs: Any) -> None:
    """Logs at a level of Python's logging, as ``log`` does."""
    get_logger().log(level, msg, *args, stacklevel=2, **kwargs)


@tf_export("logging.log_if")
def log_if(level: int, msg: Any, condition: Any, *args: Any) -> None:
    """Logs if ``condition`` holds."""
    if condition:
        get_logger().log(level, msg, *args, stacklevel=2)


@tf_export("logging.log_every_n")
def log_every_n(level: int, msg: Any, n: int, *args: Any) -> None:
    """Logs the first call from a line of code, and then every ``n``-th."""
    if _earlier_calls() % n == 0:
        get_logger().log(level, msg, *args, stacklevel=2)


@tf_export("logging.log_first_n")
def log_first_n(level: int, msg: Any, n: int, *args: Any) -> None:
    """Logs the first ``n`` calls from a line of code."""
    if _earlier_calls() < n:
        get_logger().log(level, msg, *args, stacklevel=2)


def _earlier_calls() -> int:
    """Counts the earlier calls from the line that called our caller."""
    frame = sys._getframe(2)
    line = frame.f_code.co_filename, frame.f_lineno
    with _lock:
        _calls[line] += 1
        return _calls[line] - 1


@tf_export("logging.flush")
def flush() -> None:
    """Flushes the handlers of the logger."""
    for handler in get_logger().handlers:
        handler.flush()
