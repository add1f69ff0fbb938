"""JAX, imported at its first use and configured for flowray.

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
"""The environment variable that names the directory of compiled programs ("" for no cache)."""


@functools.cache
def jax() -> Any:
    """Returns the ``jax`` module, with 64-bit types (TensorFlow's dtypes) and a cache on disk."""
    keep_all_freed_memory()
    import jax as module  # noqa: PLC0415 - slow, and interpreted programs need none

    module.config.update("jax_enable_x64", True)
    # A step waits for its results, so a thread of XLA's own would only have to be woken.
    module.config.update("jax_cpu_enable_async_dispatch", False)
    directory = cache_directory()
    if directory is not None:
        module.config.update("jax_compilation_cache_dir", str(directory))
        module.config.update("jax_persistent_cache_min_compile_time_secs", 0.1)
        module.config.update("jax_persistent_cache_min_entry_size_bytes", -1)
    return module


@functools.cache
def numpy() -> Any:
    """Returns the ``jax.numpy`` module, configured as by ``jax()``."""
    jax()
    import jax.numpy as module  # noqa: PLC0415 - see jax()

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


def cache_directory() -> Path | None:
    """Returns the directory that keeps compiled programs between processes; None for no cache."""
    chosen = os.environ.get(CACHE_VARIABLE)
    if chosen is None:
        base = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
        return Path(base).expanduser() / "flowray" / "xla"
    return Path(chosen).expanduser() if chosen else None


def device(kind: str, index: int = 0) -> Any:
    """Returns JAX's device for a device type of TensorFlow ("CPU", "GPU")."""
    return jax().local_devices(backend=kind.lower())[index]


def gpu_count(limit: int | None) -> int:
    """Returns the number of GPUs that a task may use: those that JAX sees, at most ``limit``.

    It is 0 without NVIDIA's driver, and then JAX is not imported.
    """
    if limit == 0 or not Path("/proc/driver/nvidia").exists():
        return 0
    try:
        found = len(jax().local_devices(backend="gpu"))
    except RuntimeError:  # JAX has no GPU support installed
        return 0
    return found if limit is None else min(found, limit)


def memory_limit(device_name: str) -> int:
    """Returns the bytes that a device of this process ("CPU:0", "GPU:1") can use; 0 if unknown."""
    kind, _, index = device_name.partition(":")
    if kind == "CPU":
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return int((device("GPU", int(index)).memory_stats() or {}).get("bytes_limit", 0))
