"""What a case is, and how it is written.

A case names its inputs, the body of a program in the text form (with names instead of numbers), and a function
that computes the same with PyTorch. Floats are computed in f64 from inputs that are exact in f32, so that the
expected values are the true ones and a tolerance measures the device alone. `gradients` asks for the derivatives
of sum(first output * direction) by the named inputs.

Within `halves` the same cases are written for f16 or bf16: inputs and expected values are rounded to it.
"""

import contextlib
import itertools
import math
import pathlib

import numpy as np
import torch

ROOT = pathlib.Path(__file__).resolve().parents[2] / "cases" / "conformance"
inf, nan = math.inf, math.nan
INT_MIN, INT_MAX, UINT_MAX = -(2**31), 2**31 - 1, 2**32 - 1
FLOATS = {"f32": torch.float32, "f16": torch.float16, "bf16": torch.bfloat16}
# The largest relative distance of two neighbours.
STEPS = {"f16": 2.0**-10, "bf16": 2.0**-7}

# What stands for f32 at the moment, and which cases are written.
float_type = "f32"
is_wanted = lambda name: True


@contextlib.contextmanager
def halves(dtype, wanted):
    """Cases of f32 whose name `wanted` accepts are written for a half type; all others are left out."""
    global float_type, is_wanted
    before, float_type, is_wanted = (float_type, is_wanted), dtype, wanted
    yield
    float_type, is_wanted = before


def rounded(array, dtype):
    """The nearest numbers of a float type, in f64."""
    exact = torch.tensor(np.asarray(array, dtype=np.float64))
    return exact.to(FLOATS[dtype]).to(torch.float64).numpy()


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
        if self.dtype in FLOATS:
            return torch.tensor(self.array.astype(np.float64))
        return torch.tensor(self.array.astype(bool if self.dtype == "bool" else np.int64))


def count_of(shape):
    return int(np.prod(shape, dtype=np.int64))


def uniform(seed, shape, low=-1.0, high=1.0, dtype=None):
    words = philox((seed, 0), 0, 0, count_of(shape)).astype(np.float64)
    numbers = low + (high - low) * (np.floor(words / 256) / 2.0**24)
    text = f"uniform({seed}, {low!r}, {high!r})"
    dtype = dtype or float_type
    return Given(dtype, shape, rounded(numbers.astype(np.float32), dtype), text)


def integers(seed, shape, low, high, dtype="i32"):
    """Whole numbers from low to high, both included."""
    words = philox((seed, 0), 0, 0, count_of(shape)).astype(np.int64)
    return Given(dtype, shape, low + words % (high - low + 1), f"integers({seed}, {low}, {high})")


def given(dtype, elements, shape=None):
    if dtype == "f32":
        dtype = float_type
    is_float = dtype in FLOATS
    array = np.array(elements, dtype=np.float32 if is_float else np.int64)
    if is_float:
        array = rounded(array, dtype)
    shape = array.shape if shape is None else shape
    return Given(dtype, shape, array, listing(array, is_float, dtype))


def f32(elements, shape=None):
    return given("f32", elements, shape)


def i32(elements, shape=None):
    return given("i32", elements, shape)


def number(x, is_float, dtype="f32"):
    if not is_float:
        return str(int(x))
    with np.errstate(over="ignore"):
        text = str(np.float32(x))
        if dtype == "f16":
            text = str(np.float16(x))
        elif dtype == "bf16" and math.isfinite(x):
            exact = rounded([x], dtype)[0]
            short = (f"{x:.{digits}g}" for digits in range(1, 10))
            text = next(text for text in short if rounded([float(text)], dtype)[0] == exact)
    return text[:-2] if text.endswith(".0") else text


def listing(array, is_float, dtype="f32"):
    return "[" + ", ".join(number(x, is_float, dtype) for x in np.asarray(array).reshape(-1)) + "]"


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
    wide=("lse",),
):
    """Adds one case to the file named by what stands before the last slash.

    `compute` is called with the inputs, then states, then hyperparameters and returns a dict from output names
    to values (`state:name` for a state after the run), or one value, the output y. The body must define the
    values that are returned, under their names, and write the states. `smooth` says whether finite differences
    make sense, and `wide` which results stay f32 within `halves`.

    For halves a tolerance that allows f32 some error allows one step of the half type more, and eight steps where gradients
    round on the way; one below a rounding of f32 stays, since then the nearest number is asked for.
    """
    if float_type != "f32":
        floats = [x for x in [*inputs.values(), *(states or {}).values()] if x.dtype == float_type]
        if not floats or not is_wanted(name):
            return
        name, body, smooth = f"halves/{float_type}/{name}", body.replace("f32", float_type), False
        tolerance = 1e-6 if tolerance is None else tolerance
        if gradients or tolerance > 1e-7:
            tolerance += STEPS[float_type] * (8 if gradients else 1)
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
        dtype = "f32" if key in wide else float_type
        if value.is_floating_point():
            value = value.to(torch.float64)
        text.append(f'expect {sort}"{key}" = {listing(value.numpy(), value.is_floating_point(), dtype)}')
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
