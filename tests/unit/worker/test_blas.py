"""The number of threads of matrix products on numpy."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from flowray.worker.execution import blas


class Library:
    def __init__(self, num_threads: int) -> None:
        self.num_threads = num_threads

    def get_num_threads(self) -> int:
        return self.num_threads

    def set_num_threads(self, num_threads: int) -> None:
        self.num_threads = num_threads


@pytest.fixture
def library(monkeypatch: pytest.MonkeyPatch) -> Library:
    library = Library(8)
    limit = blas.ThreadLimit([library])
    monkeypatch.setattr(blas, "limit", lambda: limit)
    return library


@pytest.mark.parametrize(
    ("shapes", "threads"),
    [
        (((4, 8), (8, 4)), 8),  # the library itself uses one
        (((32, 128), (128, 256)), 1),
        (((10, 64, 64), (10, 64, 64)), 1),
        (((64,), (64, 8192)), 1),
        (((1 << 10, 1 << 10), (1 << 10, 1 << 10)), 8),
    ],
)
def test_only_large_products_use_several_threads(library, monkeypatch, shapes, threads) -> None:
    seen = []
    monkeypatch.setattr(np, "matmul", lambda a, b: seen.append(library.num_threads))
    blas.matmul(*(np.zeros(shape, np.float32) for shape in shapes))
    assert seen == [threads]
    assert library.num_threads == 8


def test_the_number_of_threads_comes_back_when_the_last_holder_leaves(library) -> None:
    inside, leave = threading.Event(), threading.Event()

    def hold() -> None:
        with blas.limit().one_thread():
            inside.set()
            leave.wait()

    thread = threading.Thread(target=hold)
    thread.start()
    inside.wait()
    with pytest.raises(ValueError, match="mismatch"):
        blas.matmul(np.zeros((128, 128)), np.zeros((64, 128)))
    assert library.num_threads == 1
    leave.set()
    thread.join()
    assert library.num_threads == 8


def test_the_libraries_of_this_process_are_found() -> None:
    blas.limit.cache_clear()
    a = np.random.default_rng(0).standard_normal((128, 128))
    np.testing.assert_allclose(blas.matmul(a, a), np.einsum("ij,jk->ik", a, a), rtol=1e-9)
    libraries = blas.limit()._libraries
    assert libraries, "numpy's own wheels bring OpenBLAS"
    before = [library.get_num_threads() for library in libraries]

    def hold() -> None:
        with blas.limit().one_thread():
            assert [library.get_num_threads() for library in libraries] == [1] * len(libraries)

    hold()
    with ThreadPoolExecutor(1) as pool:  # threads share the limit
        pool.submit(hold).result()
    assert [library.get_num_threads() for library in libraries] == before
