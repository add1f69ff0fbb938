"""The program ``examples/dogs_vs_cats.py`` as a module, its images, and broken files."""

from __future__ import annotations

import functools
import importlib.util
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

EXAMPLES = Path(__file__).parents[1] / "examples"


@functools.cache
def example(name: str) -> ModuleType:
    """Loads a program of ``examples/``, once, since it defines flags."""
    spec = importlib.util.spec_from_file_location(f"examples_{name}", EXAMPLES / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def input_fn(pattern: str, **options: Any) -> Callable[[], Any]:
    """Returns the program's input function, for images of 16 by 16 pixels unless told otherwise."""
    options = {"image_size": (16, 16), "batch_size": 4, "num_epochs": 1, **options}
    made: Callable[[], Any] = example("dogs_vs_cats").get_input_fn(pattern, **options)
    return made


def draw(directory: Path, train: int, valid: int = 0, seed: int = 0) -> Path:
    """Draws images and returns ``directory``."""
    example("animal_images").draw(str(directory), train, valid, seed)
    return directory


# Faults of image files. Each function gets a good file and breaks it.


def _truncated(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def _header_only(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:100])


def _directory(path: Path) -> None:
    path.unlink()
    path.mkdir()


def _replaced_by_link(target: str) -> Callable[[Path], None]:
    def replace(path: Path) -> None:
        path.unlink()
        path.symlink_to(target)

    return replace


def _bitmap(path: Path) -> None:
    from PIL import Image

    Image.new("RGB", (8, 8)).save(path, "BMP")


_UNCOMPRESS = "jpeg::Uncompress failed. Invalid JPEG data or crop window."
BAD_FILES: dict[str, tuple[Callable[[Path], None], str, str]] = {
    "text": (
        lambda path: _write(path, b"hello"),
        "InvalidArgumentError",
        "Unknown image file format. One of JPEG, ",  # of which TensorFlow 2 knows more
    ),
    "empty": (lambda path: _write(path, b""), "InvalidArgumentError", "Input is empty."),
    "truncated": (_truncated, "InvalidArgumentError", _UNCOMPRESS),
    "header only": (_header_only, "InvalidArgumentError", _UNCOMPRESS),
    "bitmap": (
        _bitmap,
        "InvalidArgumentError",
        "Trying to decode BMP format using a wrong op. Use `decode_bmp` or `decode_image` "
        "instead. Op used: DecodeJpeg",
    ),
    "directory": (_directory, "FailedPreconditionError", "{path}; Is a directory"),
    "dangling link": (
        _replaced_by_link("nowhere.jpg"),
        "NotFoundError",
        "{path}; No such file or directory",
    ),
    "endless link": (
        lambda path: _replaced_by_link(path.name)(path),
        "UnknownError",
        "{path}; Too many levels of symbolic links",
    ),
    "failing read": (
        _replaced_by_link("/proc/self/mem"),
        "UnknownError",
        "{path}; Input/output error",
    ),
}
"""By name: a function that breaks an image, and the class and text of TensorFlow's error."""


def _write(path: Path, content: bytes) -> None:
    path.write_bytes(content)


def only_one_class(directory: Path) -> None:
    """Removes the dogs."""
    for part in os.listdir(directory):
        shutil.rmtree(directory / part / "dogs")
