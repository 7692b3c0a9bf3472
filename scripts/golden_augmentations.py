#!/usr/bin/env python3
"""Writes what each random change of images makes of one image, by the numbers that it draws.

    python3 scripts/golden_augmentations.py

A file for each name of the registry, with a line for each case: the seed of the draws, the settings, and every seventh number
of what comes out. The draws are those of `Random` (SplitMix64) in the order in which the change takes them; what is made of
them is torchvision's where it has such a change, and else by the formula that stands here. Needs torchvision.
"""

from pathlib import Path

import numpy as np
import torch
from torchvision.transforms import AutoAugmentPolicy, InterpolationMode, v2
from torchvision.transforms.v2 import functional as F

from golden_transforms import CHANGES

TARGET = Path(__file__).parent.parent / "crates/dropforge/tests/data/transforms"
CHANNELS, HEIGHT, WIDTH = 3, 16, 18
KEPT = 7
BITS = (1 << 64) - 1
STEP = 0x9E3779B97F4A7C15
BILINEAR = InterpolationMode.BILINEAR
f32 = np.float32


def mix(z):
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & BITS
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & BITS
    return z ^ (z >> 31)


class Random:
    def __init__(self, key):
        self.state = mix(((STEP + STEP) & BITS) ^ mix((key + STEP) & BITS))

    def bits(self):
        self.state = (self.state + STEP) & BITS
        return mix(self.state)

    def below(self, n):
        return (self.bits() * n) >> 64

    def unit(self):
        return f32(self.bits() >> 40) / f32(1 << 24)

    def between(self, low, high):
        low, high = f32(low), f32(high)
        return low + (high - low) * self.unit()

    def normal(self):
        a, b = self.bits(), self.bits()
        parts = (a >> 32) + (a & 0xFFFFFFFF) + (b >> 32) + (b & 0xFFFFFFFF)
        return f32(parts / 2.0**32 - 2.0) * f32(1.7320508)


def image():
    at = torch.arange(CHANNELS * HEIGHT * WIDTH)
    return ((at * at * 37) % 101 / 101).reshape(CHANNELS, HEIGHT, WIDTH)


def always(change):
    """A change that happens with a probability, here 1: one number is drawn for that."""

    def apply(x, random, **settings):
        random.unit()
        return change(x, random, **settings)

    return apply


def affine(x, random, degrees, shift, scale, shear):
    either = lambda most: float(random.between(-most, most))
    turn, right, down = either(degrees), either(shift) * WIDTH, either(shift) * HEIGHT
    size = 1 + either(scale)
    return F.affine_image(x, turn, [right, down], size, [either(shear), 0.0], interpolation=BILINEAR)


def blur(x, random, least, most):
    deviation = float(random.between(least, most))
    reach = int(np.ceil(3 * deviation))
    return F.gaussian_blur_image(x, [2 * reach + 1] * 2, [deviation] * 2)


def colour_jitter(x, random, brightness, contrast, saturation, hue):
    factors = [float(max(random.between(1 - most, 1 + most), 0)) for most in (brightness, contrast, saturation)]
    x = F.adjust_brightness_image(x, factors[0])
    x = F.adjust_contrast_image(x, factors[1])
    x = F.adjust_saturation_image(x, factors[2])
    return F.adjust_hue_image(x, float(random.between(-hue, hue)))


def elastic(x, random, strength, smooth):
    moves = torch.tensor([random.between(-1, 1) for _ in range(2 * HEIGHT * WIDTH)]).reshape(2, HEIGHT, WIDTH)
    reach = int(np.ceil(3 * smooth))
    moves = F.gaussian_blur_image(moves, [2 * reach + 1] * 2, [smooth] * 2) * strength
    moves = moves * torch.tensor([2 / WIDTH, 2 / HEIGHT]).reshape(2, 1, 1)
    return F.elastic_image(x, moves.permute(1, 2, 0).unsqueeze(0), interpolation=BILINEAR)


def erase(x, random):
    # Zhong et al., Random erasing data augmentation (2020); behind the rectangle a hash of key and place (Wellons' lowbias32).
    part, proportion = random.between(0.02, 0.33), random.between(1.0, 3.3)
    proportion = proportion if random.below(2) == 0 else f32(1) / proportion
    side = lambda extent, part: min(max(int(f32(extent) * np.sqrt(part)), 1), extent)
    rows, columns = side(HEIGHT, part * proportion), side(WIDTH, part / proportion)
    top, left = random.below(HEIGHT - rows + 1), random.below(WIDTH - columns + 1)
    key = random.bits() >> 40
    for channel in range(CHANNELS):
        for row in range(top, top + rows):
            for column in range(left, left + columns):
                bits = (((channel * HEIGHT + row) * WIDTH + column) * 0x9E3779B9 + key) & 0xFFFFFFFF
                bits = ((bits ^ (bits >> 16)) * 0x7FEB352D) & 0xFFFFFFFF
                bits = ((bits ^ (bits >> 15)) * 0x846CA68B) & 0xFFFFFFFF
                x[channel, row, column] = ((bits ^ (bits >> 16)) >> 8) / 2.0**24
    return x


def noise(x, random, deviation):
    # x + deviation · normal, cut off at 0 and 1.
    added = torch.tensor([random.normal() for _ in range(x.numel())]).reshape(x.shape)
    return (x + f32(deviation) * added).clamp(0, 1)


def perspective(x, random, distortion):
    inwards = lambda extent: float(f32(distortion) * random.unit()) * extent / 2
    corners = [[0, 0], [WIDTH - 1, 0], [WIDTH - 1, HEIGHT - 1], [0, HEIGHT - 1]]
    to = []
    for column, row in corners:
        right, down = inwards(WIDTH), inwards(HEIGHT)
        to.append([column - right if column else right, row - down if row else down])
    return F.perspective_image(x, corners, to, interpolation=BILINEAR)


def random_crop(x, random, padding):
    down, right = random.below(2 * padding + 1) - padding, random.below(2 * padding + 1) - padding
    return F.crop_image(F.pad_image(x, [padding] * 4), padding - down, padding - right, HEIGHT, WIDTH)


def random_resized_crop(x, random, least):
    # Szegedy et al., Going deeper with convolutions (2015): a part of the image, bilinear, its edges repeated.
    part = f32(least) + (f32(1) - f32(least)) * random.unit()
    proportion = random.between(1.0, 4 / 3)
    proportion = proportion if random.below(2) == 0 else f32(1) / proportion
    width = min(max(WIDTH * np.sqrt(part * proportion), f32(1)), f32(WIDTH))
    height = min(max(HEIGHT * np.sqrt(part / proportion), f32(1)), f32(HEIGHT))
    left, top = (WIDTH - width) * random.unit(), (HEIGHT - height) * random.unit()
    columns = (left + (np.arange(WIDTH) + 0.5) * width / WIDTH).clip(0.5, WIDTH - 0.5)
    rows = (top + (np.arange(HEIGHT) + 0.5) * height / HEIGHT).clip(0.5, HEIGHT - 0.5)
    grid = np.stack(np.meshgrid(2 * columns / WIDTH - 1, 2 * rows / HEIGHT - 1), axis=-1).astype(np.float32)
    grid = torch.tensor(grid).unsqueeze(0)
    return torch.nn.functional.grid_sample(x.unsqueeze(0), grid, mode="bilinear", align_corners=False)[0]


def rotate(x, random, degrees):
    return F.affine_image(x, float(random.between(-degrees, degrees)), [0, 0], 1.0, [0.0, 0.0], interpolation=BILINEAR)


def made_by(method, x, name, strength, strengths, way):
    magnitudes, signed = type(method)._AUGMENTATION_SPACE[name]
    values = magnitudes(strengths, HEIGHT, WIDTH)
    magnitude = 0.0 if values is None else float(values[strength]) * (way if signed else 1)
    return method._apply_image_or_video_transform(x, name, magnitude, BILINEAR, {torch.Tensor: None})


def way(random):
    return 1 if random.below(2) == 0 else -1


def rand_augment(x, random, changes, strength):
    for _ in range(changes):
        name = list(CHANGES)[random.below(14)]
        x = made_by(v2.RandAugment(), x, name, strength, 31, way(random))
    return x


def trivial_augment(x, random):
    name = list(CHANGES)[random.below(14)]
    strength = random.below(31)
    return made_by(v2.TrivialAugmentWide(), x, name, strength, 31, way(random))


def auto_augment(x, random, policy):
    method = v2.AutoAugment({"cifar10": AutoAugmentPolicy.CIFAR10, "imagenet": AutoAugmentPolicy.IMAGENET}[policy])
    for name, part, strength in method._policies[random.below(25)]:
        chance, direction = random.unit(), way(random)
        if chance < f32(round(10 * part)) / f32(10):
            x = made_by(method, x, name, strength or 0, 10, direction)
    return x


CERTAIN = {"probability": 1.0}
CASES = [
    ("affine", affine, {"degrees": 30.0, "shift": 0.2, "scale": 0.3, "shear": 20.0}, [3, 4]),
    ("auto_augment", auto_augment, {"policy": "cifar10"}, [1, 5]),
    ("auto_augment", auto_augment, {"policy": "imagenet"}, [2, 7]),
    ("auto_contrast", always(lambda x, _: F.autocontrast_image(x * 1)), CERTAIN, [1]),
    ("blur", always(blur), {"least": 0.4, "most": 1.9, **CERTAIN}, [1, 2]),
    ("colour_jitter", colour_jitter, {"brightness": 0.3, "contrast": 0.4, "saturation": 0.5, "hue": 0.2}, [5, 6]),
    ("elastic", elastic, {"strength": 12.0, "smooth": 1.5}, [4]),
    ("equalise", always(lambda x, _: F.equalize_image(x)), CERTAIN, [1]),
    ("erase", always(erase), CERTAIN, [1, 8]),
    ("flip", always(lambda x, _: F.horizontal_flip_image(x)), CERTAIN, [1]),
    ("flip_vertically", always(lambda x, _: F.vertical_flip_image(x)), CERTAIN, [1]),
    ("grey", always(lambda x, _: F.rgb_to_grayscale_image(x, num_output_channels=3)), CERTAIN, [1]),
    ("noise", noise, {"deviation": 0.2}, [1]),
    ("perspective", always(perspective), {"distortion": 0.6, **CERTAIN}, [1, 2]),
    ("posterise", always(lambda x, _, bits: F.posterize_image(x, bits)), {"bits": 3, **CERTAIN}, [1]),
    ("rand_augment", rand_augment, {"changes": 3, "strength": 17}, [1, 2, 3]),
    ("random_crop", random_crop, {"padding": 3}, [1, 2]),
    ("random_resized_crop", random_resized_crop, {"least": 0.2}, [1, 2]),
    ("rotate", rotate, {"degrees": 40.0}, [1, 2]),
    ("sharpen", lambda x, random, most: F.adjust_sharpness_image(x, float(random.between(1 - most, 1 + most))), {"most": 0.9}, [1, 2]),
    ("solarise", always(lambda x, _, threshold: F.solarize_image(x, threshold)), {"threshold": 0.35, **CERTAIN}, [1]),
    ("trivial_augment", trivial_augment, {}, [1, 2, 3]),
]


def toml(value):
    return f'"{value}"' if isinstance(value, str) else str(value)


def main():
    TARGET.mkdir(exist_ok=True)
    files = {}
    for name, change, settings, seeds in CASES:
        given = {key: value for key, value in settings.items() if key != "probability"}
        table = ", ".join(f"{key} = {toml(value)}" for key, value in {"type": name, **settings}.items())
        for seed in seeds:
            out = change(image(), Random(seed), **given).flatten()[::KEPT]
            numbers = ",".join(f"{float(number):.6g}" for number in out)
            files.setdefault(name, []).append(f"{seed}\t{{ {table} }}\t{numbers}")
    for name, lines in files.items():
        (TARGET / f"{name}.txt").write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
