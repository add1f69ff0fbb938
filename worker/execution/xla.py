"""JAX, imported when first needed and set up as flowray needs it.

Importing JAX takes about a second, and a session's first steps run on numpy, so nothing imports it
at module level: ``xla.jax()`` and ``xla.numpy()`` do.
"""

from __future__ import annotations

import functools
import logging
import os
from pathlib import Path
from typing import Any, Final

from flowray.worker.memory import keep_all_freed_memory

logger = logging.getLogger("flowray.worker")

CACHE_VARIABLE = "FLOWRAY_CACHE_DIR"
"""The environment variable that names the folder of compiled programs ("" for none)."""


@functools.cache
def jax() -> Any:
    """The ``jax`` module, set up: 64-bit types (results keep TensorFlow's dtypes), a disk cache."""
    keep_all_freed_memory()
    import jax as module

    module.config.update("jax_enable_x64", True)
    # A step waits for its results, so a thread of XLA's own would only have to be woken.
    module.config.update("jax_cpu_enable_async_dispatch", False)
    folder = cache_folder()
    if folder is not None:
        module.config.update("jax_compilation_cache_dir", str(folder))
        module.config.update("jax_persistent_cache_min_compile_time_secs", 0.1)
        module.config.update("jax_persistent_cache_min_entry_size_bytes", -1)
    return module


@functools.cache
def numpy() -> Any:
    """The ``jax.numpy`` module, configured like ``jax()``."""
    jax()
    import jax.numpy as module

    return module


_FUSION_OPTION: Final = "xla_cpu_experimental_ynn_fusion_type"
_YNNPACK: Final = {
    _FUSION_OPTION: "LIBRARY_FUSION_TYPE_INDIVIDUAL_DOT,LIBRARY_FUSION_TYPE_REDUCE",
}


@functools.cache
def compiler_options() -> dict[str, str]:
    """Returns the options that every program is compiled with.

    jaxlib 0.10 gives convolutions, matrix products and reductions on CPUs to the library YNNPACK.
    Products and reductions are faster there, convolutions take 1.7 to 2.5 times as long as in
    Eigen; elementwise operations, which it can take as well, gain and lose (docs/decisions/0012).
    A jaxlib that does not know the option decides for itself.
    """
    module = jax()
    try:
        module.jit(lambda: 0).lower().compile(compiler_options=_YNNPACK)
    except module.errors.JaxRuntimeError as error:
        logger.warning("XLA chooses its libraries itself: %s", error)
        return {}
    return _YNNPACK


def cache_folder() -> Path | None:
    """Where compiled programs are kept between processes; None if they are not."""
    chosen = os.environ.get(CACHE_VARIABLE)
    if chosen is None:
        base = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
        return Path(base).expanduser() / "flowray" / "xla"
    return Path(chosen).expanduser() if chosen else None


def device(kind: str, index: int = 0) -> Any:
    """JAX's device for a device type of TensorFlow ("CPU", "GPU")."""
    return jax().local_devices(backend=kind.lower())[index]


def gpu_count(limit: int | None) -> int:
    """How many GPUs a task may use: those that JAX sees, at most ``limit``.

    A machine without NVIDIA's driver has none, which is known without importing JAX.
    """
    if limit == 0 or not Path("/proc/driver/nvidia").exists():
        return 0
    try:
        found = len(jax().local_devices(backend="gpu"))
    except RuntimeError:  # JAX has no GPU support installed
        return 0
    return found if limit is None else min(found, limit)


def memory_limit(device_name: str) -> int:
    """Bytes that a device of this process ("CPU:0", "GPU:1") can use; 0 where unknown."""
    kind, _, index = device_name.partition(":")
    if kind == "CPU":
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return int((device("GPU", int(index)).memory_stats() or {}).get("bytes_limit", 0))
