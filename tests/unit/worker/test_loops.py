"""Loops that numba compiles: what they compute, and when."""

from __future__ import annotations

import sys
import threading
from typing import Any

import numpy as np
import pytest

from flowray.worker.kernels import resize_ops
from flowray.worker.kernels.support import loops

RANDOM = np.random.default_rng(3)
SHAPES = [(1, 9, 7, 3), (2, 5, 8, 1), (1, 1, 1, 4), (3, 40, 2, 2)]
MODES = [(False, False), (True, False), (False, True)]


@loops.Loop
def double(x: Any, result: Any) -> None:
    for i in range(len(x)):
        result[i] = x[i] + x[i]


def arrays(dtype: Any = np.float32) -> tuple[Any, Any]:
    return np.arange(5, dtype=dtype), np.zeros(5, dtype)


def test_a_loop_is_compiled_in_the_background(monkeypatch: pytest.MonkeyPatch) -> None:
    x, result = arrays(np.int16)
    # Quick as it may be, the compiler does not begin before the first call has its answer.
    may_begin, compile_now = threading.Event(), double._compile

    def compile_later(types: Any) -> Any:
        assert may_begin.wait(60)
        return compile_now(types)

    monkeypatch.setattr(double, "_compile", compile_later)
    assert double.compiled(x, result) is None
    may_begin.set()
    double._compilers[x.dtype].thread.join(60)
    compiled = double.compiled(x, result)
    assert compiled is not None
    compiled(x, result)
    np.testing.assert_array_equal(result, 2 * x)


def test_threads_start_one_compilation_and_wait_if_they_keep_calling(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    loop = loops.Loop(double._function)
    may_end, tries = threading.Event(), []
    compile_now = loop._compile

    def compile_slowly(types: Any) -> Any:
        tries.append(types)
        assert may_end.wait(60)
        return compile_now(types)

    monkeypatch.setattr(loop, "_compile", compile_slowly)
    for _ in range(loops._CALLS_WITHOUT):
        assert loop.compiled(*arrays()) is None
    results: list[Any] = []
    caller = threading.Thread(target=lambda: results.append(loop.compiled(*arrays())))
    caller.start()
    assert not results
    may_end.set()
    caller.join(60)
    assert results[0] is loop.compiled(*arrays()) is not None
    assert len(tries) == 1


def test_without_numba_it_stays_with_numpy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "numba", None)
    loop = loops.Loop(double._function)
    with pytest.raises(ImportError):
        loop.compile(*arrays())
    assert loop.compiled(*arrays()) is None
    loop._compilers[np.dtype(np.float32)].thread.join(60)
    assert loop.compiled(*arrays()) is None


def test_without_a_directory_for_its_cache_it_compiles_all_the_same() -> None:
    names: dict[str, Any] = {}
    exec("def triple(x, result):\n    for i in range(len(x)):\n        result[i] = 3 * x[i]", names)
    x, result = arrays()
    loops.Loop(names["triple"]).compile(x, result)(x, result)
    np.testing.assert_array_equal(result, 3 * x)


def resize(images: Any, size: tuple[int, int], mode: tuple[bool, bool] = (False, False)) -> None:
    """Compares the kernel with what it computes without the loop."""
    rows = resize_ops._Between.of(images.shape[1], size[0], *mode)
    columns = resize_ops._Between.of(images.shape[2], size[1], *mode)
    result = resize_ops._interpolate_on_host(images, rows, columns)
    assert result.dtype == np.float32
    np.testing.assert_array_equal(result, resize_ops._interpolate(np, images, rows, columns))


@pytest.fixture
def compile_now(monkeypatch: pytest.MonkeyPatch) -> None:
    for loop in (resize_ops._interpolate_rows_first, resize_ops._interpolate_columns_first):
        monkeypatch.setattr(loop, "compiled", loop.compile)


@pytest.mark.usefixtures("compile_now")
@pytest.mark.parametrize("dtype", sorted(map(str, loops.TYPES)))
def test_resizing_is_the_same_to_the_last_bit(dtype: str) -> None:
    for shape in SHAPES:
        images = RANDOM.uniform(0, 100, shape).astype(dtype)
        for size in ((4, 11), (20, 3), (1, 2)):
            for mode in MODES:
                resize(images, size, mode)


@pytest.mark.usefixtures("compile_now")
def test_resizing_takes_arrays_as_they_come_in_messages() -> None:
    frame = np.zeros(4 * 60 + 1, np.uint8)
    unaligned = frame[1:].view(np.float32).reshape(1, 5, 4, 3)
    unaligned[:] = RANDOM.uniform(size=(1, 5, 4, 3))
    unaligned.flags.writeable = False
    resize(unaligned, (3, 3))
    resize(unaligned[:, ::-1], (3, 3))
