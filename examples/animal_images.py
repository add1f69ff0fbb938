"""Draws the images for ``dogs_vs_cats.py``: two classes that differ in shape and texture.

A cat has pointed ears and a striped coat, a dog hanging ears and a spotted one. Position, size,
colours, light and noise vary, and so do the sizes of the images.
"""

import os

import numpy as np
from PIL import Image, ImageDraw


def draw(directory, train=1600, valid=400, seed=0):
    """Writes ``directory/{train,valid}/{dogs,cats}/NNNN.jpg``, half of each class."""
    random = np.random.RandomState(seed)
    for part, count in (("train", train), ("valid", valid)):
        for name, animal in (("dogs", _dog), ("cats", _cat)):
            class_directory = os.path.join(directory, part, name)
            os.makedirs(class_directory, exist_ok=True)
            for number in range(count // 2):
                image = _image(animal, random)
                image.save(os.path.join(class_directory, f"{number:04d}.jpg"), quality=85)


def _image(animal, random):
    width, height = random.randint(96, 161, 2)
    image = Image.new("RGB", (int(width), int(height)), _colour(random, 90, 256))
    size = min(width, height) * random.uniform(0.55, 0.8)
    left = random.uniform(0, width - size)
    top = random.uniform(0, height - size)
    animal(ImageDraw.Draw(image), left, top, size, random)
    pixels = np.asarray(image, np.float32) * random.uniform(0.7, 1.1)
    pixels += random.normal(0, random.uniform(4, 18), pixels.shape)
    return Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8))


def _colour(random, low, high):
    return tuple(int(v) for v in random.randint(low, high, 3))


def _head(draw, left, top, size, coat):
    draw.ellipse([left + 0.15 * size, top + 0.25 * size, left + 0.85 * size, top + size], coat)


def _face(draw, left, top, size):
    for x in (0.38, 0.62):
        centre_x, centre_y, r = left + x * size, top + 0.55 * size, 0.045 * size
        draw.ellipse([centre_x - r, centre_y - r, centre_x + r, centre_y + r], (15, 15, 15))
    x, y, r = left + 0.5 * size, top + 0.72 * size, 0.05 * size
    draw.polygon([(x - r, y), (x + r, y), (x, y + r)], (60, 20, 30))


def _cat(draw, left, top, size, random):
    coat, dark = _colour(random, 60, 220), _colour(random, 0, 70)
    for x in (0.2, 0.6):
        a = left + x * size
        points = [(a, top + 0.45 * size), (a + 0.2 * size, top + 0.4 * size)]
        draw.polygon(
            [points[0], (a + (x < 0.5) * 0.02 * size + (x > 0.5) * 0.18 * size, top), points[1]],
            coat,
        )
    _head(draw, left, top, size, coat)
    for i in range(4):
        y = top + (0.34 + 0.05 * i) * size
        draw.line([(left + 0.36 * size, y), (left + 0.64 * size, y)], dark, max(1, int(size / 40)))
    _face(draw, left, top, size)


def _dog(draw, left, top, size, random):
    coat, dark = _colour(random, 60, 220), _colour(random, 0, 70)
    _head(draw, left, top, size, coat)
    for x in (0.02, 0.78):
        a = left + x * size
        draw.ellipse([a, top + 0.3 * size, a + 0.2 * size, top + 0.8 * size], dark)
    for _ in range(6):
        angle, distance = random.uniform(0, 2 * np.pi), random.uniform(0.1, 0.25)
        x = left + (0.5 + distance * np.cos(angle)) * size
        y = top + (0.6 + distance * np.sin(angle)) * size
        r = random.uniform(0.03, 0.06) * size
        draw.ellipse([x - r, y - r, x + r, y + r], dark)
    _face(draw, left, top, size)
