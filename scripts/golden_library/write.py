"""How named tensors are written, and what a case of a tensor function is."""

import zlib
from pathlib import Path

import numpy as np
import torch

FOLDER = Path(__file__).resolve().parents[2] / "crates/dropforge/tests/data"
TYPES = {torch.bool: "bool", torch.int32: "i32", torch.int64: "i32"}


def number(x, kind):
    # f32 is what the tests hold, so no more digits than tell its numbers apart are written.
    return str(np.float32(x)) if kind == "f32" else str(int(x))


def lines_of(key, value):
    value = torch.as_tensor(value).detach()
    kind = TYPES.get(value.dtype, "f32")
    return [f"{key} {kind}{list(value.shape)}", " ".join(number(x, kind) for x in value.flatten().tolist())]


families = {}


def tensor(*shape, seed=0, low=-2.0, high=2.0):
    """Random numbers that f32 holds exactly, in f64."""
    generator = torch.Generator().manual_seed(1000 + seed)
    return (torch.rand(shape, generator=generator) * (high - low) + low).double()


def given(elements, dtype=torch.float64):
    return torch.tensor(elements, dtype=torch.float32).double() if dtype == torch.float64 else torch.tensor(elements, dtype=dtype)


def case(family, name, inputs, function, gradients=True, tolerance=None):
    """Adds what `function` gives for `inputs`, in f64, and the gradients of its sum with random weights by all inputs of floats."""
    lines = families.setdefault(family, [])
    inputs = [x.clone() for x in (inputs if isinstance(inputs, (list, tuple)) else [inputs])]
    for place, x in enumerate(inputs):
        lines += lines_of(f"{name}.{place}", x)
    floats = [x.requires_grad_() for x in inputs if x.is_floating_point()]
    y = torch.as_tensor(function(*inputs))
    lines += lines_of(f"{name}.y", y)
    if tolerance is not None:
        lines += lines_of(f"{name}.tolerance", torch.tensor(tolerance))
    if gradients and y.is_floating_point() and y.requires_grad:
        weights = tensor(*y.shape, seed=zlib.crc32(name.encode()) % 1000)
        slopes = torch.autograd.grad((y * weights).sum(), floats, allow_unused=True)
        lines += lines_of(f"{name}.weights", weights)
        number = 0
        for place, x in enumerate(inputs):
            if x.is_floating_point():
                if slopes[number] is not None:
                    lines += lines_of(f"{name}.gradient.{place}", slopes[number])
                number += 1


def write_families(folder):
    for family, lines in families.items():
        path = FOLDER / folder / f"{family}.txt"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("\n".join(lines) + "\n")
    families.clear()
