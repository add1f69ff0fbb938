"""Properties of image files beyond the tables of the image ops."""

from __future__ import annotations

import sys
import threading
import time

import numpy as np
import pytest

from flowray.proto import errors
from flowray.worker.formats.images import jpeg, library, png


@pytest.mark.parametrize("module", ["simplejpeg", "PIL.Image"])
def test_a_missing_library_is_named(monkeypatch, module) -> None:
    pixels = np.zeros((2, 2, 3), np.uint8)
    use = {"simplejpeg": (jpeg.decode, jpeg.encode(pixels)), "PIL.Image": (jpeg.encode, pixels)}
    function, argument = use[module]
    library.cache_clear()
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(errors.UnimplementedError, match=module.partition(".")[0]):
        function(argument)


def test_decoding_lets_other_threads_run() -> None:
    """Another thread gets about as much CPU time as decoding takes.

    Of a call that holds the lock, ``sum(range(3_000_000))``, it gets about 0.14 of that.
    """
    image = np.random.default_rng(0).integers(0, 256, (1500, 1500, 3)).astype(np.uint8)
    data = jpeg.encode(image)
    running, used = True, 0.0

    def count() -> None:
        nonlocal used
        while running:
            pass
        used = time.thread_time()

    other = threading.Thread(target=count)
    old = sys.getswitchinterval()
    sys.setswitchinterval(1e-3)
    try:
        other.start()
        start = time.thread_time()
        for _ in range(5):
            jpeg.decode(data)
        decoding = time.thread_time() - start
        running = False
        other.join()
    finally:
        sys.setswitchinterval(old)
    assert used > 0.5 * decoding


def test_encoded_png_files_hold_the_pixels() -> None:
    for dtype in (np.uint8, np.uint16):
        for channels in (1, 2, 3, 4):
            top = np.iinfo(dtype).max
            pixels = np.random.default_rng(channels).integers(0, top, (7, 9, channels), dtype)
            for compression in (-1, 0, 9):
                decoded = png.decode(png.encode(pixels, compression), bits=pixels.itemsize * 8)
                np.testing.assert_array_equal(decoded, pixels)
