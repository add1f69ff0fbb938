"""Freed memory is used again, in whichever thread."""

from __future__ import annotations

import subprocess
import sys

import pytest

_FAULTS = """
import resource, threading
from flowray.worker.memory import keep_all_freed_memory, keep_freed_memory

def faults():
    begin = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    b"x" * {size}  # unlike numpy's arrays, always on pages of 4 KiB
    found.append(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - begin)

def run():
    for _ in range(3):
        faults()

found = []
{keep}
thread = threading.Thread(target=run)
thread.start()
thread.join()
print(*found)
"""


def faults(size: int, keep: str) -> list[int]:
    """The pages that three blocks, one after the other in a thread, take from the system."""
    code = _FAULTS.format(size=size, keep=keep)
    output = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    return [int(number) for number in output.stdout.split()]


@pytest.mark.skipif(sys.platform != "linux", reason="mallopt is glibc's")
@pytest.mark.parametrize(
    ("megabytes", "keep"),
    [(24, "keep_freed_memory()"), (200, "keep_freed_memory(); keep_all_freed_memory()")],
)
def test_a_thread_gets_the_pages_of_what_it_frees_once(megabytes: int, keep: str) -> None:
    pages = (megabytes << 20) // 4096
    first, *others = faults(megabytes << 20, keep)
    assert first > 0.9 * pages
    assert max(others) < 0.01 * pages
