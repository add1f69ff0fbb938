"""flowray: TensorFlow-1-style dataflow graphs on a Ray cluster.

``import flowray as tf`` is the TensorFlow 1 API. Start reading at ``docs/architecture.md``.
"""

from typing import TYPE_CHECKING

from flowray.client import api
from flowray.client.api import __all__ as __all__
from flowray.client.platform.module_finder import ModuleFinder, install

if TYPE_CHECKING:
    from flowray.client.api import *  # noqa: F403
else:
    # A star import would also import the namespaces that client/api imports when they are used.
    globals().update((name, vars(api)[name]) for name in __all__ if name in vars(api))
    __getattr__, __dir__ = api.__getattr__, api.__dir__
    install(ModuleFinder("flowray"))

__version__ = api.VERSION  # TensorFlow's, for scripts that ask (docs/decisions/0005-version.md)
