"""Compares libraries that decode JPEG files: time, the use of the GIL, and pixels.

    pip install pillow simplejpeg opencv-python-headless imagecodecs scikit-learn tensorflow-cpu
    python benchmarks/jpeg.py

Libraries that are not installed are left out; so is the comparison without TensorFlow. The images
are scikit-learn's two photographs, resized.
"""

from __future__ import annotations

import importlib.util
import io
import os
import sys
import threading
import time
from collections.abc import Callable

import numpy as np
from PIL import Image
from sklearn.datasets import load_sample_images

SIZES = (250, 1000)
REPEAT = 60

Decoder = Callable[[bytes], np.ndarray]


def decoders() -> dict[str, Decoder]:
    """Returns the installed libraries, each as a function to an RGB array."""
    found: dict[str, Decoder] = {
        "Pillow": lambda data: np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))
    }
    if importlib.util.find_spec("simplejpeg"):
        import simplejpeg

        found["simplejpeg"] = lambda data: simplejpeg.decode_jpeg(data, "RGB")
        found["simplejpeg, fast transform"] = lambda data: simplejpeg.decode_jpeg(
            data, "RGB", fastdct=True
        )
    if importlib.util.find_spec("cv2"):
        import cv2

        cv2.setNumThreads(1)
        found["opencv-python-headless"] = lambda data: cv2.cvtColor(
            cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB
        )
    if importlib.util.find_spec("imagecodecs"):
        import imagecodecs

        found["imagecodecs"] = imagecodecs.jpeg8_decode
    return found


def tensorflow_decoder() -> Decoder | None:
    if not importlib.util.find_spec("tensorflow"):
        return None
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    import tensorflow as tf

    return lambda data: tf.io.decode_jpeg(data, channels=3).numpy()


def files() -> dict[str, bytes]:
    result = {}
    for number, image in enumerate(load_sample_images().images):
        for size in SIZES:
            buffer = io.BytesIO()
            resized = Image.fromarray(image).resize((size, size), Image.Resampling.BICUBIC)
            resized.save(buffer, "JPEG", quality=90)
            result[f"{size} #{number}"] = buffer.getvalue()
    return result


def milliseconds(decode: Decoder, data: bytes) -> float:
    """Returns the best time of many: a busy machine makes others longer."""
    times = []
    for _ in range(REPEAT):
        start = time.perf_counter()
        decode(data)
        times.append(time.perf_counter() - start)
    return min(times) * 1e3


def share_of_others(decode: Decoder, data: bytes) -> float:
    """Measures the CPU time of a thread that runs Python code, for each second of decoding.

    It is about 1 if decoding releases the GIL, and at most a third if it holds it.
    """
    sys.setswitchinterval(1e-4)
    running, used = True, 0.0

    def count() -> None:
        nonlocal used
        while running:
            pass
        used = time.thread_time()

    other = threading.Thread(target=count)
    other.start()
    start = time.thread_time()
    for _ in range(REPEAT):
        decode(data)
    decoding = time.thread_time() - start
    running = False
    other.join()
    return used / decoding


def main() -> None:
    reference = tensorflow_decoder()
    images = files()
    wanted = {name: reference(data) for name, data in images.items()} if reference else {}
    print(
        "| library | " + " | ".join(f"{n}x{n}" for n in SIZES) + " | others per second | pixels |"
    )
    print("|---|" + "---|" * (len(SIZES) + 2))
    for name, decode in decoders().items():
        times = [milliseconds(decode, images[f"{size} #0"]) for size in SIZES]
        share = share_of_others(decode, images[f"{SIZES[-1]} #0"])
        off = [np.abs(decode(images[k]).astype(int) - wanted[k]) for k in wanted]
        pixels = "" if not off else "equal" if not any(d.any() for d in off) else (
            f"off by up to {max(d.max() for d in off)}, mean {np.mean([d.mean() for d in off]):.2f}"
        )  # fmt: skip
        cells = [f"{t:.2f} ms" for t in times] + [f"{share:.1f} s", pixels]
        print(f"| {name} | {' | '.join(cells)} |")


if __name__ == "__main__":
    main()
