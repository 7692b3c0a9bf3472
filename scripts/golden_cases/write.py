"""What a case is, and how it is written.

A case names its inputs, the body of a program in the text form (with names instead of numbers), and a function
that computes the same with PyTorch. Floats are computed in f64 from inputs that are exact in f32, so that the
expected values are the true ones and a tolerance measures the device alone. `gradients` asks for the derivatives
of sum(first output * direction) by the named inputs.
"""

import itertools
import math
import pathlib

import numpy as np
import torch

ROOT = pathlib.Path(__file__).resolve().parents[2] / "cases" / "conformance"
inf, nan = math.inf, math.nan
INT_MIN, INT_MAX, UINT_MAX = -(2**31), 2**31 - 1, 2**32 - 1


def philox(seed, step, stream, count):
    """The words of the operation random_bits."""
    blocks = (count + 3) // 4
    mask = np.uint64(0xFFFFFFFF)
    c = [np.arange(blocks, dtype=np.uint64)] + [np.full(blocks, x, np.uint64) for x in (step, stream, 0)]
    k = [np.uint64(seed[0]), np.uint64(seed[1])]
    for _ in range(10):
        a, b = c[0] * np.uint64(0xD2511F53), c[2] * np.uint64(0xCD9E8D57)
        c = [(b >> np.uint64(32)) ^ c[1] ^ k[0], b & mask, (a >> np.uint64(32)) ^ c[3] ^ k[1], a & mask]
        k = [(k[0] + np.uint64(0x9E3779B9)) & mask, (k[1] + np.uint64(0xBB67AE85)) & mask]
    return np.stack(c, 1).reshape(-1)[:count]


class Given:
    """Elements with a type, and how the file writes them."""

    def __init__(self, dtype, shape, array, text):
        self.dtype, self.shape, self.array, self.text = dtype, list(shape), array.reshape(shape), text
        self.type = f"{dtype}{self.shape}"

    def torch(self):
        if self.dtype == "f32":
            return torch.tensor(self.array.astype(np.float64))
        return torch.tensor(self.array.astype(bool if self.dtype == "bool" else np.int64))


def count_of(shape):
    return int(np.prod(shape, dtype=np.int64))


def uniform(seed, shape, low=-1.0, high=1.0):
    words = philox((seed, 0), 0, 0, count_of(shape)).astype(np.float64)
    numbers = low + (high - low) * (np.floor(words / 256) / 2.0**24)
    return Given("f32", shape, numbers.astype(np.float32), f"uniform({seed}, {low!r}, {high!r})")


def integers(seed, shape, low, high, dtype="i32"):
    """Whole numbers from low to high, both included."""
    words = philox((seed, 0), 0, 0, count_of(shape)).astype(np.int64)
    return Given(dtype, shape, low + words % (high - low + 1), f"integers({seed}, {low}, {high})")


def given(dtype, elements, shape=None):
    array = np.array(elements, dtype=np.float32 if dtype == "f32" else np.int64)
    shape = array.shape if shape is None else shape
    return Given(dtype, shape, array, listing(array, dtype == "f32"))


def f32(elements, shape=None):
    return given("f32", elements, shape)


def i32(elements, shape=None):
    return given("i32", elements, shape)


def number(x, is_float):
    if not is_float:
        return str(int(x))
    with np.errstate(over="ignore"):
        text = str(np.float32(x))
    return text[:-2] if text.endswith(".0") else text


def listing(array, is_float):
    return "[" + ", ".join(number(x, is_float) for x in np.asarray(array).reshape(-1)) + "]"


files = {}
names = set()


def case(
    name,
    inputs,
    body,
    compute,
    gradients=(),
    tolerance=None,
    states=None,
    hypers=None,
    outputs=None,
    smooth=True,
):
    """Adds one case to the file named by what stands before the last slash.

    `compute` is called with the inputs, then states, then hyperparameters and returns a dict from output names
    to values (`state:name` for a state after the run), or one value, the output y. The body must define the
    values that are returned, under their names, and write the states. `smooth` says whether finite differences
    make sense.
    """
    assert name not in names, name
    names.add(name)
    file, _, short = name.rpartition("/")
    states, hypers = states or {}, hypers or {}
    lines = [f"program {short} {{"]
    lines += [f'  %{key}: {x.type} = input "{key}"' for key, x in inputs.items()]
    lines += [f'  %{key}: {x.type} = state "{key}"' for key, x in states.items()]
    lines += [f'  %{key} = hyper "{key}"' for key in hypers]
    lines += ["  " + line.strip() for line in body.strip().splitlines() if line.strip()]
    arguments = {key: x.torch() for key, x in {**inputs, **states}.items()}
    arguments |= {key: torch.tensor(np.float32(x).astype(np.float64)) for key, x in hypers.items()}
    for key in gradients:
        arguments[key] = arguments[key].clone().requires_grad_(True)
    results = compute(*arguments.values())
    if not isinstance(results, dict):
        results = {"y": results}
    if gradients:
        first = next(iter(results))
        direction = uniform(9999, results[first].shape)
        lines[1:1] = [f'  %direction: {direction.type} = input "direction"']
        inputs = {"direction": direction, **inputs}
        axes = list(range(len(direction.shape)))
        lines.append(f"  %directed = mul %{first}, %direction")
        lines.append(f"  %loss = reduce_sum %directed {{axes={axes}}}")
        loss = (results[first] * direction.torch()).sum()
        grads = torch.autograd.grad(loss, [arguments[key] for key in gradients])
        results = {**results, "loss": loss} | {f"gradient {key}": g for key, g in zip(gradients, grads)}
    declared = [key for key in results if not key.startswith(("state:", "gradient "))]
    lines += [f'  output "{key}" = %{key}' for key in declared if f'output "{key}"' not in body]
    lines.append("}")
    text = [f"case {name}"]
    if tolerance is not None:
        text.append(f"tolerance {tolerance!r}")
    text += lines
    if gradients:
        by = ", ".join(f'"{key}"' for key in gradients)
        text.append(f'differentiate "loss" by {by}')
        if not smooth:
            text.append("not smooth")
    text += [f'input "{key}" = {x.text}' for key, x in inputs.items()]
    text += [f'state "{key}" = {x.text}' for key, x in states.items()]
    text += [f'hyper "{key}" = {number(x, True)}' for key, x in hypers.items()]
    for key, value in results.items():
        value = torch.as_tensor(value).detach()
        sort, key = ("state ", key[6:]) if key.startswith("state:") else ("", key)
        text.append(f'expect {sort}"{key}" = {listing(value.numpy(), value.is_floating_point())}')
    files.setdefault(file, []).append("\n".join(text) + "\n")


def axes_of(rank):
    return [list(axes) for count in range(rank + 1) for axes in itertools.combinations(range(rank), count)]


def tag(*parts):
    """Numbers and lists as part of a name."""
    text = "_".join("x".join(map(str, p)) if isinstance(p, (list, tuple)) else str(p) for p in parts)
    return text or "none"


def write_files():
    """Writes all cases that were added."""
    for file, cases in files.items():
        path = ROOT / f"{file}.txt"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("// Written by scripts/golden.py.\n\n" + "\n".join(cases))
    size = sum(path.stat().st_size for path in ROOT.rglob("*.txt"))
    print(f"{len(names)} cases in {len(files)} files, {size / 1e6:.2f} MB")
