#!/usr/bin/env python3
"""Writes an image and what torchvision's changes make of it, as text.

    python3 scripts/golden_transforms.py

The first line has the image, 3 × 9 × 12 numbers; each other one the name of a change, its settings, and what comes
out. Needs torchvision.
"""

from pathlib import Path

import torch
from torchvision.transforms import InterpolationMode
from torchvision.transforms.v2 import functional as F

TARGET = Path(__file__).parent.parent / "crates/data/tests/data/transforms.txt"
HEIGHT, WIDTH = 9, 12


def text(numbers):
    return ",".join(f"{float(number):.6g}" for number in numbers)


def affine(image, degrees, right, down, scale, along, across):
    return F.affine_image(image, degrees, [right, down], scale, [along, across], interpolation=InterpolationMode.BILINEAR)


def perspective(image, *to):
    corners = [[0, 0], [WIDTH - 1, 0], [WIDTH - 1, HEIGHT - 1], [0, HEIGHT - 1]]
    to = [list(to[at : at + 2]) for at in range(0, 8, 2)]
    return F.perspective_image(image, corners, to, interpolation=InterpolationMode.BILINEAR)


CASES = [
    ("flip", F.horizontal_flip_image, []),
    ("flip_vertically", F.vertical_flip_image, []),
    ("brightness", F.adjust_brightness_image, [1.4]),
    ("brightness", F.adjust_brightness_image, [0.3]),
    ("contrast", F.adjust_contrast_image, [1.7]),
    ("contrast", F.adjust_contrast_image, [0.2]),
    ("saturation", F.adjust_saturation_image, [1.8]),
    ("saturation", F.adjust_saturation_image, [0.0]),
    ("hue", F.adjust_hue_image, [0.3]),
    ("hue", F.adjust_hue_image, [-0.45]),
    ("posterise", F.posterize_image, [3]),
    ("posterise", F.posterize_image, [1]),
    ("solarise", F.solarize_image, [0.4]),
    ("equalise", F.equalize_image, []),
    ("auto_contrast", F.autocontrast_image, []),
    ("sharpen", F.adjust_sharpness_image, [2.0]),
    ("sharpen", F.adjust_sharpness_image, [0.0]),
    ("blur", lambda image, reach, deviation: F.gaussian_blur_image(image, [2 * reach + 1] * 2, [deviation] * 2), [2, 0.8]),
    ("blur", lambda image, reach, deviation: F.gaussian_blur_image(image, [2 * reach + 1] * 2, [deviation] * 2), [5, 1.7]),
    ("affine", affine, [30, 0, 0, 1, 0, 0]),
    ("affine", affine, [-17, 2, -3, 1.3, 0, 0]),
    ("affine", affine, [8, -1, 1, 0.7, 25, 0]),
    ("affine", affine, [0, 0, 0, 1, 10, -20]),
    ("perspective", perspective, [1, 2, 10, 0, 9, 8, 2, 6]),
    ("perspective", perspective, [0, 0, 8, 1, 11, 7, 3, 8]),
]


def main():
    image = torch.rand(3, HEIGHT, WIDTH, generator=torch.Generator().manual_seed(3))
    # As written, so that both sides start from the same numbers.
    image = torch.tensor([float(f"{number:.6g}") for number in image.flatten().tolist()]).reshape(image.shape)
    lines = [text(image.flatten())]
    for name, change, settings in CASES:
        lines.append(f"{name} {text(settings)} {text(change(image, *settings).flatten())}")
    # Shades are spread in 255 steps, which takes more pixels than that.
    large = torch.tensor([(at * at * 37) % 101 for at in range(400)]).reshape(1, 20, 20) / 101
    lines.append(f"equalise_large , {text(F.equalize_image(large).flatten())}")
    TARGET.write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
