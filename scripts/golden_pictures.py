#!/usr/bin/env python3
"""Writes small pictures of every kind that is read, and what Pillow sees in them, as text.

    python3 scripts/golden_pictures.py

Each case has a name, the file in hexadecimal, width, height, channels (1 grey, 3 colours), and the pixels in
hexadecimal: upright, on white where they are transparent. Needs Pillow and NumPy.
"""

import io
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

TARGET = Path(__file__).parent.parent / "crates/data/tests/data/pictures.txt"
WIDTH, HEIGHT = 11, 7


def smooth(channels, width=WIDTH, height=HEIGHT):
    """Colours that change slowly, so that lossy kinds keep them."""
    y, x = np.mgrid[0:height, 0:width]
    planes = [255 * x / (width - 1), 255 * y / (height - 1), 255 * (x + y) / (width + height - 2), 200 - 20 * y]
    return np.stack([plane.clip(0, 255) for plane in planes[:channels]], -1).astype(np.uint8)


def seen(picture, channels):
    picture = ImageOps.exif_transpose(picture)
    if "transparency" in picture.info or picture.mode in ("RGBA", "LA", "PA"):
        white = Image.new("RGBA", picture.size, "white")
        picture = Image.alpha_composite(white, picture.convert("RGBA")).convert("RGB")
    picture = picture.convert("RGB" if channels == 3 else "L")
    return picture.size, np.asarray(picture).astype(np.uint8).tobytes()


def saved(picture, kind, **options):
    out = io.BytesIO()
    picture.save(out, kind, **options)
    return out.getvalue()


def exif(orientation):
    tags = Image.Exif()
    tags[274] = orientation
    return tags


def cases():
    colour, grey = Image.fromarray(smooth(3)), Image.fromarray(smooth(1)[..., 0])
    clear = Image.fromarray(smooth(4))
    palette = colour.quantize(16)
    yield "jpeg", saved(colour, "JPEG", quality=95, subsampling=0), 3
    yield "jpeg_subsampled", saved(Image.fromarray(smooth(3, 32, 24)), "JPEG", quality=95, subsampling=2), 3
    yield "jpeg_progressive", saved(colour, "JPEG", quality=95, progressive=True, subsampling=0), 3
    yield "jpeg_grey", saved(grey, "JPEG", quality=95), 1
    yield "jpeg_cmyk", saved(colour.convert("CMYK"), "JPEG", quality=95), 3
    yield "jpeg_restarts", saved(Image.fromarray(smooth(3, 32, 24)), "JPEG", quality=95, restart_marker_blocks=1), 3
    for orientation in (2, 6, 8):
        yield f"jpeg_turned_{orientation}", saved(colour, "JPEG", quality=95, subsampling=0, exif=exif(orientation)), 3
    yield "png", saved(colour, "PNG"), 3
    yield "png_grey", saved(grey, "PNG"), 1
    yield "png_palette", saved(palette, "PNG"), 3
    yield "png_palette_clear", saved(palette, "PNG", transparency=bytes([0, 128] + [255] * 14)), 3
    yield "png_clear", saved(clear, "PNG"), 3
    yield "png_grey_clear", saved(Image.merge("LA", (grey, clear.getchannel(3))), "PNG"), 1
    yield "png_one_bit", saved(grey.convert("1"), "PNG"), 1
    yield "png_16_bit", saved(Image.fromarray(smooth(1)[..., 0].astype(np.uint16) * 257), "PNG"), 1
    yield "webp", saved(colour, "WEBP", quality=95), 3
    yield "webp_lossless", saved(colour, "WEBP", lossless=True), 3
    yield "webp_clear", saved(clear, "WEBP", lossless=True, exact=True), 3
    yield "webp_turned", saved(colour, "WEBP", lossless=True, exif=exif(6)), 3
    moving = dict(save_all=True, append_images=[ImageOps.invert(colour)], lossless=True)
    yield "webp_moving", saved(colour, "WEBP", **moving), 3
    yield "gif", saved(palette, "GIF", interlace=0), 3
    yield "gif_interlaced", saved(palette, "GIF", interlace=1), 3
    yield "gif_clear", saved(palette, "GIF", transparency=3), 3
    large = Image.fromarray(np.random.default_rng(1).integers(0, 256, (60, 90), np.uint8))
    yield "gif_many_codes", saved(large, "GIF"), 3
    yield "gif_moving", saved(palette, "GIF", save_all=True, append_images=[ImageOps.flip(palette)], duration=9), 3
    yield "bmp", saved(colour, "BMP"), 3
    yield "bmp_palette", saved(palette, "BMP"), 3
    yield "bmp_grey", saved(grey, "BMP"), 3
    yield "bmp_one_bit", saved(grey.convert("1"), "BMP"), 3
    yield "bmp_32_bit", saved(clear, "BMP"), 3


def sixteen_bit_seen(file):
    """Pillow cuts these off at 255; read are the upper 8 bits."""
    return (np.asarray(Image.open(io.BytesIO(file))) >> 8).astype(np.uint8).tobytes()


def main():
    lines = []
    for name, file, channels in cases():
        size, pixels = seen(Image.open(io.BytesIO(file)), channels)
        if name == "png_16_bit":
            pixels = sixteen_bit_seen(file)
        lines.append(f"{name} {file.hex()} {size[0]} {size[1]} {channels} {pixels.hex()}")
    TARGET.write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
