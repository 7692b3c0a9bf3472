#!/usr/bin/env python3
"""Writes an image and what torchvision's changes and policies make of it, as text.

    python3 scripts/golden_transforms.py

The first line has the image, 3 × 9 × 12 numbers; each other one the name of a change, its settings, and what comes
out. The pairs of AutoAugment have a file of their own, with every 17th number of what comes out. Needs torchvision.
"""

from pathlib import Path

import torch
from torchvision.transforms import AutoAugmentPolicy, InterpolationMode
from torchvision.transforms import v2
from torchvision.transforms.v2 import functional as F

TARGET = Path(__file__).parent.parent / "crates/data/tests/data/transforms.txt"
POLICIES = TARGET.with_name("policies.txt")
HEIGHT, WIDTH = 9, 12
# Changes of policies in our order, by torchvision's names.
CHANGES = {
    "Identity": "Nothing",
    "ShearX": "ShearRows",
    "ShearY": "ShearColumns",
    "TranslateX": "ShiftRight",
    "TranslateY": "ShiftDown",
    "Rotate": "Turn",
    "Brightness": "Brightness",
    "Color": "Saturation",
    "Contrast": "Contrast",
    "Sharpness": "Sharpness",
    "Posterize": "Posterise",
    "Solarize": "Solarise",
    "AutoContrast": "AutoContrast",
    "Equalize": "Equalise",
    "Invert": "Invert",
}


def text(numbers):
    return ",".join(f"{float(number):.6g}" for number in numbers)


def affine(image, degrees, right, down, scale, along, across):
    return F.affine_image(image, degrees, [right, down], scale, [along, across], interpolation=InterpolationMode.BILINEAR)


def perspective(image, *to):
    corners = [[0, 0], [WIDTH - 1, 0], [WIDTH - 1, HEIGHT - 1], [0, HEIGHT - 1]]
    to = [list(to[at : at + 2]) for at in range(0, 8, 2)]
    return F.perspective_image(image, corners, to, interpolation=InterpolationMode.BILINEAR)


def made_by(method, image, name, strength, strengths, way):
    magnitudes, signed = type(method)._AUGMENTATION_SPACE[name]
    values = magnitudes(strengths, HEIGHT, WIDTH)
    magnitude = 0.0 if values is None else float(values[strength]) * (way if signed else 1)
    return method._apply_image_or_video_transform(image, name, magnitude, InterpolationMode.BILINEAR, {torch.Tensor: None})


def policy(image, change, strength, far, way):
    method = v2.TrivialAugmentWide() if far else v2.RandAugment()
    return made_by(method, image, list(CHANGES)[change], strength, 31, way)


def elastic(image, strength):
    moves = torch.tensor([(at * at * 37) % 101 / 101 - 0.5 for at in range(2 * HEIGHT * WIDTH)])
    moves = moves.reshape(2, HEIGHT, WIDTH) * strength * torch.tensor([2 / WIDTH, 2 / HEIGHT]).reshape(2, 1, 1)
    return F.elastic_image(image, moves.permute(1, 2, 0).unsqueeze(0), interpolation=InterpolationMode.BILINEAR)


CASES = [
    *(("policy", policy, [change, 17, far, way]) for change in range(14) for far, way in [(0, 1), (1, -1)]),
    ("elastic", elastic, [3]),
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
    pairs = [text(image.flatten())]
    for name, which in [("cifar10", AutoAugmentPolicy.CIFAR10), ("imagenet", AutoAugmentPolicy.IMAGENET)]:
        method = v2.AutoAugment(which)
        for number, pair in enumerate(method._policies):
            changed = image
            for change, _, strength in pair:
                changed = made_by(method, changed, change, strength or 0, 10, 1)
            steps = [f"{CHANGES[change]}:{round(10 * part)}:{strength or 0}" for change, part, strength in pair]
            pairs.append(f"{name} {number} {','.join(steps)} {text(changed.flatten()[::17])}")
    POLICIES.write_text("\n".join(pairs) + "\n")


if __name__ == "__main__":
    main()
