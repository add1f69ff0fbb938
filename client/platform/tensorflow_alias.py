"""``import tensorflow`` gets flowray: for scripts that were written for TensorFlow 1.

After ``install()``, ``tensorflow`` is the module ``flowray`` in this process, ``tensorflow.train``
is ``flowray.train`` and so on (``module_finder``). What flowray does not have raises ImportError
and says so.
"""

from __future__ import annotations

import importlib
import sys

from flowray.client.platform.module_finder import ModuleFinder
from flowray.client.platform.module_finder import install as install_finder

NAME = "tensorflow"


def install() -> None:
    """Makes ``import tensorflow`` get flowray. Doing it twice changes nothing.

    Raises:
        RuntimeError: another TensorFlow has been imported already.
    """
    flowray = importlib.import_module("flowray")
    if sys.modules.get(NAME, flowray) is not flowray:
        raise RuntimeError("TensorFlow has been imported already; flowray cannot take its place")
    install_finder(ModuleFinder(NAME), first=True)
