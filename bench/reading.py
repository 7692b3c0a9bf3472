"""How many pictures of a folder one thread decodes, scales, changes at random and normalises in a second, by torchvision:
`python3 bench/reading.py FOLDER [SIZE]`. The same work as the example `reading_speed` of crates/data: the largest centred
square is scaled, mirrored at random, moved by up to an eighth, and normalised."""

import os
import sys
import time
from pathlib import Path

import torch
from PIL import Image
from torchvision.io import ImageReadMode, decode_image, read_file
from torchvision.transforms import v2

MEASURED = 3.0


def main():
    torch.set_num_threads(1)
    folder, size = sys.argv[1], int(sys.argv[2]) if len(sys.argv) > 2 else 96
    files = sorted(str(path) for path in Path(folder).rglob("*.jpg"))
    normalize = v2.Normalize([0.485, 0.456, 0.406], [0.229, 0.224, 0.225])
    changes = [v2.RandomHorizontalFlip(), v2.RandomCrop(size, padding=size // 8)]
    scale = [v2.Resize(size, antialias=True), v2.CenterCrop(size)]
    of_tensors = v2.Compose([*scale, *changes, v2.ToDtype(torch.float32, scale=True), normalize])
    of_pictures = v2.Compose([*scale, *changes, v2.ToImage(), v2.ToDtype(torch.float32, scale=True), normalize])

    def pillow(path):
        with open(path, "rb") as file:
            return Image.open(file).convert("RGB")

    def tensor(path):
        return decode_image(read_file(path), ImageReadMode.RGB)

    for what, read in [
        ("tensors, decoded", tensor),
        ("tensors, decoded, scaled, changed, normalised", lambda path: of_tensors(tensor(path))),
        ("Pillow, decoded", pillow),
        ("Pillow, decoded, scaled, changed, normalised", lambda path: of_pictures(pillow(path))),
    ]:
        for path in files[:64]:
            read(path)
        count, started = 0, time.perf_counter()
        while time.perf_counter() - started < MEASURED:
            for path in files:
                read(path)
                count += 1
                if time.perf_counter() - started > MEASURED:
                    break
        rate = count / (time.perf_counter() - started)
        print(f"{what}: {rate:.0f} pictures/s, {1e6 / rate:.0f} µs each")


if __name__ == "__main__":
    main()
