#!/usr/bin/env python3
"""Writes the conformance cases under cases/conformance/: programs, inputs, and what PyTorch says they give.

Run it from anywhere after changing a case:  python3 scripts/golden.py
It needs numpy and torch; the tests that read the files need neither.

A case names its inputs, the body of a program in the text form (with names instead of numbers), and a function that
computes the same with PyTorch. Floats are computed in f64 from inputs that are exact in f32, so that the expected values
are the true ones and a tolerance measures the device alone. `gradients` asks for the derivatives of
sum(first output * direction) by the named inputs.
"""

import itertools
import math
import pathlib

import numpy as np
import torch
import torch.nn.functional as F

ROOT = pathlib.Path(__file__).resolve().parent.parent / "cases" / "conformance"
inf, nan = math.inf, math.nan
INT_MIN, INT_MAX, UINT_MAX = -(2**31), 2**31 - 1, 2**32 - 1


# ---------------------------------------------------------------- inputs


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


# ---------------------------------------------------------------- cases

files = {}
names = set()


def case(
    name, inputs, body, compute, gradients=(), tolerance=None, states=None, hypers=None, outputs=None, smooth=True
):
    """Adds one case to the file named by what stands before the last slash.

    `compute` is called with the inputs, then states, then hyperparameters and returns a dict from output names to
    values (`state:name` for a state after the run), or one value, the output y. The body must define the values that are
    returned, under their names, and write the states. `smooth` says whether finite differences make sense.
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


SPECIAL = [0.0, -0.0, 1.0, -1.0, 0.5, -0.5, 1.5, 2.5, -2.5, 3.49, -3.51, 1e-6, -1e-6, 20.0, -20.0, inf, -inf, nan]


def unary_cases():
    functions = {
        "neg": (torch.neg, -9, 9),
        "abs": (torch.abs, -9, 9),
        "sign": (lambda x: torch.where(x.isnan(), x, torch.sign(x)), -9, 9),
        "exp": (torch.exp, -90, 88),
        "expm1": (torch.expm1, -12, 12),
        "log": (torch.log, 1e-4, 100),
        "log1p": (torch.log1p, -0.99, 20),
        "sqrt": (torch.sqrt, 0, 100),
        "rsqrt": (torch.rsqrt, 0.01, 100),
        "reciprocal": (torch.reciprocal, 0.1, 10),
        "sin": (torch.sin, -30, 30),
        "cos": (torch.cos, -30, 30),
        "tanh": (torch.tanh, -10, 10),
        "sigmoid": (torch.sigmoid, -20, 20),
        "erf": (torch.erf, -4.5, 4.5),
        "relu": (torch.relu, -3, 3),
        "floor": (torch.floor, -9, 9),
        "ceil": (torch.ceil, -9, 9),
        "round": (torch.round, -9, 9),
    }
    exact = {"neg", "abs", "sign", "relu", "floor", "ceil", "round"}
    for name, (function, low, high) in functions.items():
        tolerance = 0.0 if name in exact else 3e-6
        special = f32(SPECIAL)
        case(f"ops/unary/{name}_special", {"x": special}, f"%y = {name} %x", function, tolerance=tolerance)
        x = uniform(1, [3, 89], float(low), float(high))
        case(f"ops/unary/{name}_range", {"x": x}, f"%y = {name} %x", function, tolerance=tolerance)
        if name not in {"sign", "floor", "ceil", "round"}:
            low, high = {"exp": (-4.0, 4.0), "log": (0.3, 3.0), "log1p": (-0.7, 3.0)}.get(name, (0.3, 3.0))
            if name in {"relu", "abs"}:
                low = -3.0
            x = uniform(2, [2, 7], low, high)
            case(f"gradients/unary/{name}", {"x": x}, f"%y = {name} %x", function, gradients=["x"], tolerance=5e-6)
    for name in ("expm1", "log1p", "tanh", "erf", "sin"):
        # Near 0 the result is about as small as the argument: only relative accuracy shows.
        x = f32([1e-3, -1e-4, 3e-5, -1e-6, 2e-8, -1e-12, 1e-30])
        body = f"%f = {name} %x\n%y = div %f, %x"
        case(f"ops/unary/{name}_tiny", {"x": x}, body, lambda x: functions[name][0](x) / x, tolerance=2e-6)
    for name, function in (("neg", torch.neg), ("abs", torch.abs), ("sign", torch.sign)):
        x = i32([0, 5, -7, INT_MAX, -INT_MAX])
        case(f"ops/unary/{name}_i32", {"x": x}, f"%y = {name} %x", function)
    for name in ("neg", "abs"):
        case(f"ops/unary/{name}_i32_wraps", {"x": i32([INT_MIN])}, f"%y = {name} %x", lambda x: x)
    x = given("bool", [[1, 0, 1], [0, 0, 1]])
    case("ops/unary/not", {"x": x}, "%y = not %x", torch.logical_not)
    for shape in ([], [1], [0], [3, 0, 2], [1, 1, 1], [1031]):
        x = uniform(3, shape, -2.0, 2.0)
        case(f"ops/unary/shape_{tag(shape) or 'scalar'}", {"x": x}, "%y = exp %x", torch.exp, tolerance=3e-6)


def wrap(array, dtype):
    array = np.asarray(array)
    return torch.tensor(array.astype(np.int64) & UINT_MAX if dtype == "u32" else array.astype(np.int64).astype(np.int32).astype(np.int64))


def integer_binary(kind, dtype, a, b):
    """C's rules on Python's integers: wrap, truncate, zero for division by zero."""
    if kind == "add":
        r = a + b
    elif kind == "sub":
        r = a - b
    elif kind == "mul":
        r = a * b
    elif kind == "div":
        r = 0 if b == 0 else abs(a) // abs(b) * (1 if (a < 0) == (b < 0) else -1)
    elif kind == "rem":
        r = 0 if b == 0 else abs(a) % abs(b) * (-1 if a < 0 else 1)
    elif kind == "max":
        r = max(a, b)
    elif kind == "min":
        r = min(a, b)
    elif kind == "and":
        r = a & b
    elif kind == "or":
        r = a | b
    elif kind == "xor":
        r = a ^ b
    elif kind == "shl":
        r = a << (b % 32)
    elif kind == "shr":
        r = a >> (b % 32)
    r &= UINT_MAX
    return r - 2**32 if dtype == "i32" and r > INT_MAX else r


def binary_cases():
    floats = {
        "add": torch.add,
        "sub": torch.sub,
        "mul": torch.mul,
        "div": torch.div,
        "pow": torch.pow,
        "max": torch.maximum,
        "min": torch.minimum,
        "rem": torch.fmod,
    }
    specials = [0.0, -0.0, 1.0, -1.0, 2.0, -2.5, 3.0, 0.5, inf, -inf, nan]
    pairs = list(itertools.product(specials, specials))
    left, right = f32([a for a, _ in pairs], [11, 11]), f32([b for _, b in pairs], [11, 11])
    for name, function in floats.items():
        tolerance = 4e-6 if name == "pow" else 1e-7
        body = f"%y = {name} %a, %b"
        case(f"ops/binary/{name}_special", {"a": left, "b": right}, body, function, tolerance=tolerance)
        low = 0.1 if name == "pow" else -4.0
        inputs = {"a": uniform(4, [7, 13], low, 4.0), "b": uniform(5, [7, 13], -4.0, 4.0)}
        if name == "pow":
            tolerance = 1e-5
        case(f"ops/binary/{name}_range", inputs, body, function, tolerance=tolerance)
        low = 0.4 if name in {"pow", "div", "rem"} else -2.0
        inputs = {"a": uniform(6, [3, 5], low, 2.0), "b": uniform(7, [3, 5], low, 2.0)}
        case(f"gradients/binary/{name}", inputs, body, function, gradients=["a", "b"], tolerance=1e-5)
    case("gradients/binary/square_as_product", {"a": uniform(6, [4])}, "%y = mul %a, %a", lambda a: a * a, gradients=["a"])
    squares = {"a": uniform(8, [9], -2.0, 2.0)}
    two = "%two: f32[9] = constant [2, 2, 2, 2, 2, 2, 2, 2, 2]\n%y = pow %a, %two"
    case("gradients/binary/pow_of_negative_base", squares, two, lambda a: a**2, gradients=["a"], tolerance=1e-5)
    for dtype, extremes, kinds in (
        ("i32", [0, 1, -1, 2, 7, -7, 40, INT_MAX, INT_MIN], "add sub mul div max min rem and or xor"),
        ("u32", [0, 1, 2, 7, 31, 33, 2**31, UINT_MAX], "add sub mul div max min rem and or xor shl shr"),
    ):
        pairs = list(itertools.product(extremes, extremes))
        a, b = given(dtype, [a for a, _ in pairs]), given(dtype, [b for _, b in pairs])
        for kind in kinds.split():
            expected = [integer_binary(kind, dtype, a, b) for a, b in pairs]
            compute = lambda a, b, expected=expected: torch.tensor(expected)
            case(f"ops/binary/{kind}_{dtype}", {"a": a, "b": b}, f"%y = {kind} %a, %b", compute)
    a, b = given("bool", [0, 0, 1, 1]), given("bool", [0, 1, 0, 1])
    for kind in ("and", "or", "xor"):
        function = getattr(torch, f"logical_{kind}")
        case(f"ops/binary/{kind}_bool", {"a": a, "b": b}, f"%y = {kind} %a, %b", function)


def compare_cases():
    kinds = {"eq": torch.eq, "ne": torch.ne, "lt": torch.lt, "le": torch.le, "gt": torch.gt, "ge": torch.ge}
    values = {
        "f32": [0.0, -0.0, 1.0, -1.0, inf, -inf, nan],
        "i32": [0, 1, -1, INT_MAX, INT_MIN],
        "u32": [0, 1, 2**31, UINT_MAX],
        "u8": [0, 1, 128, 255],
        "bool": [0, 1],
    }
    for (name, function), (dtype, elements) in itertools.product(kinds.items(), values.items()):
        pairs = list(itertools.product(elements, elements))
        inputs = {"a": given(dtype, [a for a, _ in pairs]), "b": given(dtype, [b for _, b in pairs])}
        case(f"ops/compare/{name}_{dtype}", inputs, f"%y = {name} %a, %b", function)
    condition = given("bool", [[1, 0, 1], [0, 1, 1]])
    for dtype, low in (("i32", -9), ("u32", 0), ("u8", 0), ("bool", 0)):
        high = 1 if dtype == "bool" else 9
        inputs = {"c": condition, "a": integers(1, [2, 3], low, high, dtype), "b": integers(2, [2, 3], low, high, dtype)}
        case(f"ops/select/{dtype}", inputs, "%y = select %c, %a, %b", torch.where)
    inputs = {"c": condition, "a": f32([[1, nan, 3], [nan, inf, -0.5]]), "b": f32([[nan, 2, nan], [4, nan, 6]])}
    case("ops/select/f32", inputs, "%y = select %c, %a, %b", torch.where, tolerance=0.0)
    inputs = {"c": given("bool", [1], []), "a": f32([2.5], []), "b": f32([3.5], [])}
    case("ops/select/scalar", inputs, "%y = select %c, %a, %b", torch.where, tolerance=0.0)
    inputs = {"c": condition, "a": uniform(1, [2, 3]), "b": uniform(2, [2, 3])}
    case("gradients/select/select", inputs, "%y = select %c, %a, %b", torch.where, gradients=["a", "b"])


def cast_cases():
    values = {
        "f32": [0.0, -0.0, 0.9, -0.9, 1.5, 2.5, -2.5, 100.7, 254.9, 255.0, 256.0, -1.0, -200.5, 3e9, -3e9, 5e9, inf, -inf, nan],
        "i32": [0, 1, -1, 255, 256, 257, -128, INT_MAX, INT_MIN, 16777216],
        "u32": [0, 1, 255, 256, 2**31, UINT_MAX, 4294967040],
        "u8": [0, 1, 127, 128, 255],
        "bool": [0, 1],
    }
    ranges = {"i32": (INT_MIN, INT_MAX), "u32": (0, UINT_MAX), "u8": (0, 255)}

    def cast(x, source, target):
        if target == "f32":
            return float(x)
        if target == "bool":
            return int(x != 0)
        low, high = ranges[target]
        if source == "f32":
            return 0 if math.isnan(x) else int(min(max(x, low), high))
        return (int(x) - low) % (high - low + 1) + low

    for source, target in itertools.product(values, values):
        x = given(source, values[source])
        result = [cast(float(v), source, target) if source == "f32" else cast(int(v), source, target) for v in x.array]
        compute = lambda x, r=result, t=target: torch.tensor(r, dtype=torch.float64 if t == "f32" else torch.int64)
        case(f"ops/cast/{source}_to_{target}", {"x": x}, f"%y = cast %x {{to={target}}}", compute, tolerance=0.0)
    x = uniform(1, [5], -3.0, 3.0)
    case("gradients/cast/same_type", {"x": x}, "%y = cast %x {to=f32}", lambda x: x * 1.0, gradients=["x"])


def movement_cases():
    for shape, axis in (([5], 0), ([3, 4], 0), ([3, 4], 1), ([2, 3, 5], 1), ([1, 7], 0), ([0, 3], 1)):
        body = f"%y = iota {{shape={shape}, axis={axis}}}"
        compute = lambda s=shape, a=axis: torch.arange(s[a]).reshape([-1 if i == a else 1 for i in range(len(s))]).expand(s)
        case(f"ops/iota/{tag(shape)}_{axis}", {}, body, compute)

    def both(name, inputs, body, function, of=("x",)):
        case(f"ops/{name}", inputs, body, function, tolerance=0.0)
        case(f"gradients/{name}", inputs, body, function, gradients=list(of), tolerance=1e-6)

    for shape, to in (([6], [2, 3]), ([2, 3, 4], [4, 6]), ([1, 5, 1], [5]), ([1], []), ([], [1, 1]), ([3, 0], [0, 7])):
        x = uniform(1, shape)
        both(f"movement/reshape_{tag(shape, to)}", {"x": x}, f"%y = reshape %x {{shape={to}}}", lambda x: x.reshape(to))
    orders = list(itertools.permutations(range(3))) + [(3, 0, 2, 1), (1, 0), (0, 1), (2, 4, 0, 3, 1)]
    for order in map(list, orders):
        shape = {2: [17, 5], 3: [3, 5, 7], 4: [2, 3, 4, 5], 5: [2, 3, 1, 4, 3]}[len(order)]
        body = f"%y = permute %x {{order={order}}}"
        both(f"movement/permute_{tag(order)}", {"x": uniform(1, shape)}, body, lambda x: x.permute(order))
    case("ops/movement/permute_scalar", {"x": f32([2.5], [])}, "%y = permute %x {order=[]}", lambda x: x, tolerance=0.0)
    for dtype in ("i32", "u32", "u8", "bool"):
        x = integers(1, [3, 4, 2], 0, 1 if dtype == "bool" else 200, dtype)
        body = "%p = permute %x {order=[2, 0, 1]}\n%f = flip %p {axes=[1]}\n%b = broadcast %f {shape=[2, 2, 3, 4], axes=[0, 2, 3]}"
        body += "\n%y = slice %b {start=[0, 0, 1, 0], stop=[2, 2, 3, 4], step=[1, 1, 1, 3]}"
        compute = lambda x: x.permute(2, 0, 1).flip(1)[:, None].expand(2, 2, 3, 4)[:, :, 1:, ::3]
        case(f"ops/movement/chain_{dtype}", {"x": x}, body, compute)
    for shape, to, axes in (
        ([], [3, 2], []),
        ([3], [3, 4], [0]),
        ([4], [3, 4], [1]),
        ([3, 1], [2, 3, 5, 1], [1, 3]),
        ([2, 3], [2, 3], [0, 1]),
        ([2, 5], [7, 2, 3, 5], [1, 3]),
        ([3], [3, 0], [0]),
    ):
        view = [1] * len(to)
        for axis, extent in zip(axes, shape):
            view[axis] = extent
        body = f"%y = broadcast %x {{shape={to}, axes={axes}}}"
        both(f"movement/broadcast_{tag(shape, to)}", {"x": uniform(1, shape)}, body, lambda x: x.reshape(view).expand(to))
    for shape, start, stop, step in (
        ([7], [2], [6], [1]),
        ([7], [0], [7], [3]),
        ([7], [1], [7], [2]),
        ([5, 6], [1, 0], [4, 6], [1, 4]),
        ([3, 4, 5], [0, 3, 1], [3, 4, 5], [2, 1, 3]),
        ([4, 3], [2, 1], [2, 3], [1, 1]),
    ):
        index = tuple(slice(*s) for s in zip(start, stop, step))
        body = f"%y = slice %x {{start={start}, stop={stop}, step={step}}}"
        both(f"movement/slice_{tag(shape, start, stop, step)}", {"x": uniform(1, shape)}, body, lambda x: x[index])
    for shape, low, high, interior in (
        ([4], [1], [2], [0]),
        ([4], [0], [0], [2]),
        ([2, 3], [1, 0], [0, 2], [1, 0]),
        ([3, 1, 2], [0, 2, 1], [1, 1, 0], [0, 3, 2]),
        ([1, 1], [0, 0], [0, 0], [0, 0]),
        ([0, 2], [1, 1], [1, 0], [2, 1]),
    ):

        def pad(x, value=0.5):
            extents = [max(0, n + max(0, n - 1) * i) for n, i in zip(shape, interior)]
            y = torch.full([e + a + b for e, a, b in zip(extents, low, high)], value, dtype=torch.float64)
            index = tuple(slice(a, a + e, i + 1) for a, e, i in zip(low, extents, interior))
            y[index] = x
            return y

        body = f"%y = pad %x {{low={low}, high={high}, interior={interior}, value=0.5}}"
        both(f"movement/pad_{tag(shape, low, high, interior)}", {"x": uniform(1, shape)}, body, pad)
    for value in ("inf", "-inf", "NaN"):
        body = f"%y = pad %x {{low=[1], high=[1], interior=[0], value={value}}}"
        compute = lambda x: F.pad(x, (1, 1), value=float(value))
        case(f"ops/movement/pad_value_{value}", {"x": f32([1, 2])}, body, compute, tolerance=0.0)
    for dtype, value in (("i32", -3), ("u32", 7), ("u8", 9), ("bool", 1)):
        x = given(dtype, [1, 0, 1])
        body = f"%y = pad %x {{low=[1], high=[0], interior=[1], value={value}}}"
        case(f"ops/movement/pad_{dtype}", {"x": x}, body, lambda x: torch.tensor([value, 1, value, 0, value, 1]))
    for shape, axes in (([5], [0]), ([3, 4], [1]), ([2, 3, 4], [0, 2]), ([3, 4], []), ([0, 2], [0])):
        body = f"%y = flip %x {{axes={axes}}}"
        both(f"movement/flip_{tag(shape, axes)}", {"x": uniform(1, shape)}, body, lambda x: x.flip(axes))
    for axis, shapes in ((0, [[2], [3]]), (1, [[2, 3], [2, 1], [2, 4]]), (0, [[2, 3], [0, 3], [1, 3]]), (2, [[2, 1, 3], [2, 1, 2]]), (0, [[4]])):
        inputs = {f"x{i}": uniform(i + 1, shape) for i, shape in enumerate(shapes)}
        body = f"%y = concat {', '.join('%' + key for key in inputs)} {{axis={axis}}}"
        both(f"movement/concat_{tag(axis, *shapes)}", inputs, body, lambda *x: torch.cat(x, axis), of=inputs)
    for dtype in ("i32", "u32", "u8", "bool"):
        inputs = {"a": integers(1, [2, 2], 0, 1, dtype), "b": integers(2, [2, 1], 0, 1, dtype)}
        body = "%y = concat %a, %b, %a {axis=1}"
        case(f"ops/movement/concat_{dtype}", inputs, body, lambda a, b: torch.cat([a, b, a], 1))
    x = uniform(1, [3, 2])
    body = "%y = concat %x, %x {axis=0}"
    case("gradients/movement/concat_same_twice", {"x": x}, body, lambda x: torch.cat([x, x]), gradients=["x"])


def amax(x, axes):
    return torch.amax(x, axes) if axes else x


def product(x, axes):
    for axis in reversed(axes):
        x = x.prod(axis)
    return x


def reduce_cases():
    floats = {
        "reduce_sum": (lambda x, axes: x.sum(axes) if axes else x * 1.0),
        "reduce_max": amax,
        "reduce_min": lambda x, axes: -amax(-x, axes),
        "reduce_prod": product,
    }
    for (name, function), axes in itertools.product(floats.items(), axes_of(3)):
        low, high = (0.7, 1.4) if name == "reduce_prod" else (-2.0, 2.0)
        x = uniform(1, [3, 5, 7], low, high)
        body = f"%y = {name} %x {{axes={axes}}}"
        compute = lambda x: function(x, axes)
        tolerance = {"reduce_sum": 3e-6, "reduce_prod": 2e-5}.get(name, 0.0)
        case(f"ops/reduce/{name[7:]}_{tag(axes)}", {"x": x}, body, compute, tolerance=tolerance)
        # A product has no gradient rule.
        if name != "reduce_prod" and (len(axes) != 1 or axes == [1]):
            x = uniform(2, [2, 3, 4], low, high)
            case(f"gradients/reduce/{name[7:]}_{tag(axes)}", {"x": x}, body, compute, gradients=["x"], tolerance=2e-5)
    for name, function in floats.items():
        body = f"%y = {name} %x {{axes=[1]}}"
        x = f32([[1, nan, 2], [inf, 3, 4], [-inf, 0.5, 2], [inf, -inf, 0], [nan, nan, nan], [0, -0.0, 0]])
        case(f"ops/reduce/{name[7:]}_special", {"x": x}, body, lambda x: function(x, [1]), tolerance=1e-6)
        empty = {"reduce_sum": 0.0, "reduce_max": -inf, "reduce_min": inf, "reduce_prod": 1.0}[name]
        case(f"ops/reduce/{name[7:]}_empty", {"x": f32([], [2, 0])}, body, lambda x: torch.full([2], empty), tolerance=0.0)
        case(f"ops/reduce/{name[7:]}_of_nothing", {"x": f32([], [0, 3])}, body, lambda x: torch.zeros([0]), tolerance=0.0)
    for shape, axes in (([10007], [0]), ([3, 2049], [1]), ([1025, 3], [0]), ([2, 257, 3], [0, 2]), ([2, 257, 3], [1]), ([5, 1, 513, 2], [0, 2])):
        for name in ("reduce_sum", "reduce_max"):
            body = f"%y = {name} %x {{axes={axes}}}"
            compute = lambda x: floats[name](x, axes)
            case(f"ops/reduce/{name[7:]}_long_{tag(shape, axes)}", {"x": uniform(3, shape)}, body, compute, tolerance=2e-5)
    for name, function in {
        "reduce_sum": lambda x: x.sum(1),
        "reduce_max": lambda x: torch.amax(x, 1),
        "reduce_min": lambda x: torch.amin(x, 1),
        "reduce_prod": lambda x: x.prod(1),
    }.items():
        body = f"%y = {name} %x {{axes=[1]}}"
        x = i32([[1, 2, -3], [INT_MAX, 1, 1], [INT_MIN, -1, 2], [65536, 65536, 3]])
        wrapped = lambda x: torch.tensor(function(x).numpy().astype(np.int32).astype(np.int64))
        case(f"ops/reduce/{name[7:]}_i32", {"x": x}, body, wrapped)
        empty = {"reduce_sum": 0, "reduce_max": INT_MIN, "reduce_min": INT_MAX, "reduce_prod": 1}[name]
        case(f"ops/reduce/{name[7:]}_i32_empty", {"x": i32([], [2, 0])}, body, lambda x: torch.tensor([empty, empty]))
    for shape, axis in (([7], 0), ([3, 5], 0), ([3, 5], 1), ([2, 6, 3], 1), ([1025], 0), ([4, 1], 1)):
        body = f"%y = argmax %x {{axis={axis}}}"
        case(f"ops/argmax/{tag(shape, axis)}", {"x": uniform(1, shape)}, body, lambda x: x.argmax(axis))
    x = f32([[1, 3, 3, 2], [nan, 5, nan, 1], [1, 2, nan, inf], [-inf, -inf, -inf, -inf], [0, -0.0, 0, -1], [-inf, inf, inf, 0]])
    body = "%y = argmax %x {axis=1}"
    case("ops/argmax/ties_and_nan", {"x": x}, body, lambda x: torch.tensor([1, 0, 2, 0, 0, 1]))

    for shape, axes in (([7], [0]), ([3, 5], [1]), ([3, 5], [0]), ([2, 3, 5], [0, 2]), ([2, 3], [0, 1]), ([2, 3], []), ([3, 1030], [1])):
        body = f"%y = logsumexp %x {{axes={axes}}}"
        compute = lambda x: torch.logsumexp(x, axes) if axes else x * 1.0
        case(f"ops/logsumexp/{tag(shape, axes)}", {"x": uniform(1, shape, -5.0, 5.0)}, body, compute, tolerance=4e-6)
        if shape != [3, 1030]:
            x = uniform(2, shape, -3.0, 3.0)
            case(f"gradients/logsumexp/{tag(shape, axes)}", {"x": x}, body, compute, gradients=["x"], tolerance=1e-5)
    x = f32([[1000, 1000.5, 999], [-1000, -1001, -1002], [-inf, -inf, -inf], [-inf, 0, -inf], [inf, 0, 1], [nan, 0, 1], [inf, -inf, 0], [88, 89, -inf]])
    case("ops/logsumexp/special", {"x": x}, "%y = logsumexp %x {axes=[1]}", lambda x: torch.logsumexp(x, 1), tolerance=1e-6)
    x = f32([], [2, 0])
    case("ops/logsumexp/empty", {"x": x}, "%y = logsumexp %x {axes=[1]}", lambda x: torch.full([2], -inf), tolerance=0.0)
    x = f32([[1000, 1001, -inf], [-inf, 2, 3]])
    body = "%y = logsumexp %x {axes=[1]}"
    compute = lambda x: torch.logsumexp(x, 1)
    case("gradients/logsumexp/masked", {"x": x}, body, compute, gradients=["x"], tolerance=1e-5, smooth=False)

    def moments(x, axes):
        if not axes:
            return {"y": x * 1.0, "z": x * 0.0}
        return {"y": x.mean(axes), "z": x.var(axes, correction=0)}

    for shape, axes in (
        ([7], [0]),
        ([3, 5], [1]),
        ([3, 5], [0]),
        ([4, 3, 5, 2], [0, 2, 3]),
        ([2, 3], []),
        ([5, 1], [1]),
        ([2, 1031], [1]),
        ([1031, 2], [0]),
    ):
        body = f"%y, %z = mean_variance %x {{axes={axes}}}"
        compute = lambda x: moments(x, axes)
        case(f"ops/mean_variance/{tag(shape, axes)}", {"x": uniform(1, shape, -2.0, 3.0)}, body, compute, tolerance=4e-6)
        if 1031 not in shape:
            x = uniform(2, shape, -2.0, 3.0)
            case(f"gradients/mean_variance/mean_{tag(shape, axes)}", {"x": x}, body, compute, gradients=["x"], tolerance=1e-5)
            swapped = lambda x: dict(reversed(compute(x).items()))
            case(f"gradients/mean_variance/variance_{tag(shape, axes)}", {"x": x}, body, swapped, gradients=["x"], tolerance=1e-5)
            both = lambda x: {"s": compute(x)["y"] * compute(x)["z"], **compute(x)}
            case(f"gradients/mean_variance/both_{tag(shape, axes)}", {"x": x}, body + "\n%s = mul %y, %z", both, gradients=["x"], tolerance=1e-5)
    # Σx² − (Σx)² would lose everything here.
    x = uniform(3, [2, 500], 999.0, 1001.0)
    body = "%y, %z = mean_variance %x {axes=[1]}"
    case("ops/mean_variance/far_from_zero", {"x": x}, body, lambda x: moments(x, [1]), tolerance=2e-4)
    x = f32([[1, nan, 2], [inf, 1, 2], [3, 3, 3]])
    case("ops/mean_variance/special", {"x": x}, body, lambda x: moments(x, [1]), tolerance=1e-6)
    nothing = lambda x: {"y": torch.full([2], nan), "z": torch.full([2], nan)}
    case("ops/mean_variance/empty", {"x": f32([], [2, 0])}, body, nothing)


def dot_cases():
    letters = "abcdefgh"

    def einsum(shapes, lb, rb, lc, rc):
        left = list(letters[: len(shapes[0])])
        right = [None] * len(shapes[1])
        for l, r in zip(lb + lc, rb + rc):
            right[r] = left[l]
        fresh = iter("stuvwxyz")
        right = [letter or next(fresh) for letter in right]
        out = [left[i] for i in lb] + [left[i] for i in range(len(left)) if i not in lb + lc]
        out += [right[i] for i in range(len(right)) if i not in rb + rc]
        return f"{''.join(left)},{''.join(right)}->{''.join(out)}"

    table = [
        ("matmul", [[5, 7], [7, 3]], [], [], [1], [0]),
        ("transposed_right", [[5, 7], [3, 7]], [], [], [1], [1]),
        ("transposed_left", [[7, 5], [7, 3]], [], [], [0], [0]),
        ("transposed_both", [[7, 5], [3, 7]], [], [], [0], [1]),
        ("one_by_one", [[1, 1], [1, 1]], [], [], [1], [0]),
        ("row_times_matrix", [[1, 33], [33, 17]], [], [], [1], [0]),
        ("matrix_times_column", [[17, 33], [33, 1]], [], [], [1], [0]),
        ("outer", [[4], [5]], [], [], [], []),
        ("inner", [[9], [9]], [], [], [0], [0]),
        ("matrix_vector", [[4, 9], [9]], [], [], [1], [0]),
        ("batched", [[3, 5, 7], [3, 7, 2]], [0], [0], [2], [1]),
        ("batched_transposed", [[3, 7, 5], [3, 2, 7]], [0], [0], [1], [2]),
        ("batch_inside", [[5, 3, 7], [7, 2, 3]], [1], [2], [2], [0]),
        ("two_batches", [[2, 3, 4, 5], [2, 3, 5, 6]], [0, 1], [0, 1], [3], [2]),
        ("batches_swapped", [[2, 3, 4, 5], [3, 2, 5, 6]], [1, 0], [0, 1], [3], [2]),
        ("two_contracted", [[4, 3, 5], [3, 5, 2]], [], [], [1, 2], [0, 1]),
        ("two_contracted_swapped", [[4, 3, 5], [5, 2, 3]], [], [], [1, 2], [2, 0]),
        ("free_on_both_sides", [[2, 3, 4], [5, 4, 6]], [], [], [2], [1]),
        ("contract_middle", [[2, 4, 3], [4, 5]], [], [], [1], [0]),
        ("batch_only", [[4], [4]], [0], [0], [], []),
        ("attention_scores", [[2, 5, 3, 4], [2, 6, 3, 4]], [0, 2], [0, 2], [3], [3]),
        ("odd_sizes", [[37, 65], [65, 23]], [], [], [1], [0]),
        ("nothing_contracted_away", [[3, 0], [0, 2]], [], [], [1], [0]),
        ("empty_rows", [[0, 3], [3, 2]], [], [], [1], [0]),
        ("long", [[2, 2000], [2000, 3]], [], [], [1], [0]),
    ]
    for name, shapes, lb, rb, lc, rc in table:
        equation = einsum(shapes, lb, rb, lc, rc)
        body = f"%y = dot %a, %b {{lhs_batch={lb}, rhs_batch={rb}, lhs_contract={lc}, rhs_contract={rc}}}"
        inputs = {"a": uniform(1, shapes[0]), "b": uniform(2, shapes[1])}
        compute = lambda a, b: torch.einsum(equation, a, b)
        case(f"ops/dot/{name}", inputs, body, compute, tolerance=2e-5 if name == "long" else 5e-6)
        if count_of(shapes[0]) < 200:
            case(f"gradients/dot/{name}", inputs, body, compute, gradients=["a", "b"], tolerance=1e-5)
    a, b = f32([[1, inf, 0], [nan, 1, 2], [1, 2, 3]]), f32([[1, 0], [2, 0], [3, -inf]])
    body = "%y = dot %a, %b {lhs_batch=[], rhs_batch=[], lhs_contract=[1], rhs_contract=[0]}"
    case("ops/dot/special", {"a": a, "b": b}, body, torch.matmul, tolerance=1e-6)
    x = uniform(3, [4, 4])
    body = "%y = dot %x, %x {lhs_batch=[], rhs_batch=[], lhs_contract=[1], rhs_contract=[0]}"
    case("gradients/dot/with_itself", {"x": x}, body, lambda x: x @ x, gradients=["x"], tolerance=1e-5)


def convolve(x, w, stride, low, high, dilation, groups):
    x = F.pad(x, (low[1], high[1], low[0], high[0]))
    return F.conv2d(x, w, stride=stride, dilation=dilation, groups=groups)


def convolution_cases():
    one, zero = [1, 1], [0, 0]
    table = [
        # name, x, filter, stride, low, high, dilation, groups
        ("plain_3x3", [2, 3, 7, 6], [4, 3, 3, 3], one, zero, zero, one, 1),
        ("same_3x3", [2, 4, 6, 5], [5, 4, 3, 3], one, one, one, one, 1),
        ("pointwise", [2, 5, 4, 3], [7, 5, 1, 1], one, zero, zero, one, 1),
        ("pointwise_strided", [1, 3, 5, 6], [2, 3, 1, 1], [2, 3], zero, zero, one, 1),
        ("strided_2", [2, 3, 7, 8], [4, 3, 3, 3], [2, 2], one, one, one, 1),
        ("stride_leaves_rest", [1, 2, 8, 9], [3, 2, 3, 2], [3, 4], zero, zero, one, 1),
        ("stride_beyond_kernel", [1, 2, 9, 9], [2, 2, 2, 2], [4, 3], zero, zero, one, 1),
        ("uneven_padding", [1, 2, 5, 5], [3, 2, 3, 2], one, [0, 2], [3, 1], one, 1),
        ("wide_padding", [1, 1, 3, 3], [2, 1, 2, 2], one, [3, 2], [2, 4], one, 1),
        ("dilated", [1, 2, 9, 8], [3, 2, 3, 3], one, [2, 1], [2, 1], [2, 3], 1),
        ("dilated_strided", [2, 2, 11, 9], [2, 2, 3, 2], [2, 3], [1, 0], [2, 1], [3, 2], 1),
        ("grouped", [2, 6, 5, 5], [4, 3, 3, 3], one, one, one, one, 2),
        ("depthwise", [2, 5, 6, 6], [5, 1, 3, 3], one, one, one, one, 5),
        ("depthwise_strided", [1, 4, 7, 7], [4, 1, 3, 3], [2, 2], one, one, one, 4),
        ("depthwise_multiplied", [1, 3, 5, 5], [6, 1, 3, 3], one, zero, zero, one, 3),
        ("grouped_dilated_strided", [1, 4, 9, 9], [6, 2, 3, 3], [2, 1], [1, 2], [0, 2], [1, 2], 2),
        ("one_row", [2, 3, 1, 9], [4, 3, 1, 3], one, [0, 1], [0, 1], one, 1),
        ("one_column", [2, 3, 9, 1], [4, 3, 5, 1], [2, 1], [2, 0], [2, 0], one, 1),
        ("kernel_is_input", [3, 2, 4, 5], [6, 2, 4, 5], one, zero, zero, one, 1),
        ("large_kernel", [1, 1, 9, 9], [2, 1, 7, 6], one, [3, 2], [3, 3], one, 1),
        ("one_channel", [2, 1, 8, 8], [1, 1, 3, 3], one, one, one, one, 1),
        ("many_channels", [1, 17, 5, 4], [19, 17, 3, 3], one, one, one, one, 1),
        ("five_by_five", [2, 1, 12, 12], [6, 1, 5, 5], one, [2, 2], [2, 2], one, 1),
        ("empty_batch", [0, 2, 5, 5], [3, 2, 3, 3], one, zero, zero, one, 1),
    ]
    for name, x, w, stride, low, high, dilation, groups in table:
        window = f"window=[stride:{stride} low:{low} high:{high} dilation:{dilation} groups:{groups}]"
        inputs = {"x": uniform(1, x), "w": uniform(2, w)}
        forward = lambda x, w: convolve(x, w, stride, low, high, dilation, groups)
        body = f"%y = convolution %x, %w {{{window}}}"
        case(f"ops/convolution/{name}", inputs, body, forward, tolerance=1e-5)
        gradient = uniform(3, forward(inputs["x"].torch(), inputs["w"].torch()).shape)

        def input_gradient(g, w):
            zeros = torch.zeros(x, dtype=torch.float64, requires_grad=True)
            return torch.autograd.grad(forward(zeros, w), zeros, g, create_graph=True)[0]

        def filter_gradient(x, g):
            zeros = torch.zeros(w, dtype=torch.float64, requires_grad=True)
            return torch.autograd.grad(forward(x, zeros), zeros, g, create_graph=True)[0]

        by_input = f"%y = convolution_input_gradient %g, %w {{{window}, input={x[2:]}}}"
        by_filter = f"%y = convolution_filter_gradient %x, %g {{{window}, kernel={w[2:]}}}"
        given_gw, given_xg = {"g": gradient, "w": inputs["w"]}, {"x": inputs["x"], "g": gradient}
        case(f"ops/convolution/{name}_input_gradient", given_gw, by_input, input_gradient, tolerance=1e-5)
        case(f"ops/convolution/{name}_filter_gradient", given_xg, by_filter, filter_gradient, tolerance=2e-5)
        if name in {"plain_3x3", "dilated_strided", "grouped_dilated_strided", "depthwise_strided", "uneven_padding", "stride_beyond_kernel"}:
            case(f"gradients/convolution/{name}", inputs, body, forward, gradients=["x", "w"], tolerance=2e-5)
            case(f"gradients/convolution/{name}_input_gradient", given_gw, by_input, input_gradient, gradients=["g", "w"], tolerance=2e-5)
            case(f"gradients/convolution/{name}_filter_gradient", given_xg, by_filter, filter_gradient, gradients=["x", "g"], tolerance=2e-5)
    x = f32([[[[1, 2, nan], [4, 5, 6], [7, inf, 9]]]])
    w = f32([[[[1, 0], [0, 2]]]])
    body = f"%y = convolution %x, %w {{window=[stride:[1, 1] low:[1, 0] high:[0, 0] dilation:[1, 1] groups:1]}}"
    compute = lambda x, w: convolve(x, w, one, [1, 0], zero, one, 1)
    case("ops/convolution/special", {"x": x, "w": w}, body, compute, tolerance=1e-6)


def pooling_cases():
    table = [
        # name, x, kernel, stride, low, high
        ("plain_2x2", [2, 3, 6, 8], [2, 2], [2, 2], [0, 0], [0, 0]),
        ("leaves_rest", [1, 2, 7, 5], [2, 2], [2, 2], [0, 0], [0, 0]),
        ("overlapping", [2, 2, 7, 6], [3, 3], [2, 1], [0, 0], [0, 0]),
        ("padded", [1, 2, 6, 5], [3, 2], [2, 1], [1, 1], [1, 1]),
        ("ceil_mode", [1, 2, 5, 7], [2, 3], [2, 3], [0, 0], [1, 2]),
        ("gaps", [1, 1, 9, 9], [2, 1], [3, 4], [0, 0], [0, 0]),
        ("global", [2, 3, 4, 5], [4, 5], [1, 1], [0, 0], [0, 0]),
        ("one_by_one", [1, 2, 3, 3], [1, 1], [1, 1], [0, 0], [0, 0]),
        ("one_row", [1, 3, 1, 9], [1, 3], [1, 2], [0, 1], [0, 1]),
        ("wide", [1, 1, 3, 20], [3, 5], [1, 3], [1, 2], [1, 2]),
    ]
    for name, shape, kernel, stride, low, high in table:
        window = f"window=[kernel:{kernel} stride:{stride} low:{low} high:{high}]"
        x = uniform(1, shape)
        padding = (low[1], high[1], low[0], high[0])

        def max_pool(x):
            padded = F.pad(x, padding, value=-inf)
            y, at = F.max_pool2d(padded, kernel, stride, return_indices=True)
            width = padded.shape[3]
            rows, columns = at // width - low[0], at % width - low[1]
            return {"y": y, "at": rows * shape[3] + columns}

        def window_sum(x):
            return F.avg_pool2d(F.pad(x, padding), kernel, stride, divisor_override=1)

        result = max_pool(x.torch())
        g = uniform(2, result["y"].shape)
        body = f"%y, %at = max_pool %x {{{window}}}"
        case(f"ops/max_pool/{name}", {"x": x}, body, max_pool, tolerance=0.0)
        case(f"gradients/max_pool/{name}", {"x": x}, body, max_pool, gradients=["x"], tolerance=2e-6)

        def unpool(g, at):
            y = torch.zeros([shape[0] * shape[1], shape[2] * shape[3]], dtype=torch.float64)
            y = y.scatter_add(1, at.reshape(len(y), -1), g.reshape(len(y), -1))
            return y.reshape(shape)

        body = f"%y = max_pool_gradient %g, %at {{input={shape[2:]}}}"
        inputs = {"g": g, "at": i32(result["at"].numpy())}
        case(f"ops/max_pool_gradient/{name}", inputs, body, unpool, tolerance=2e-6)
        case(f"gradients/max_pool_gradient/{name}", inputs, body, unpool, gradients=["g"], tolerance=2e-6)
        body = f"%y = window_sum %x {{{window}}}"
        case(f"ops/window_sum/{name}", {"x": x}, body, window_sum, tolerance=3e-6)
        case(f"gradients/window_sum/{name}", {"x": x}, body, window_sum, gradients=["x"], tolerance=5e-6)

        def transpose(g):
            zeros = torch.zeros(shape, dtype=torch.float64, requires_grad=True)
            return torch.autograd.grad(window_sum(zeros), zeros, g, create_graph=True)[0]

        body = f"%y = window_sum_transpose %g {{{window}, input={shape[2:]}}}"
        case(f"ops/window_sum_transpose/{name}", {"g": g}, body, transpose, tolerance=3e-6)
        case(f"gradients/window_sum_transpose/{name}", {"g": g}, body, transpose, gradients=["g"], tolerance=5e-6)
    window = "window=[kernel:[2, 2] stride:[1, 1] low:[1, 0] high:[0, 0]]"
    body = f"%y, %at = max_pool %x {{{window}}}"
    # Written by hand: PyTorch takes the last NaN of a window and has no rule for -inf against padding.
    x = f32([[[[1, 1, 2], [1, nan, nan], [-inf, -inf, 3]]], [[[-inf] * 3] * 3]])
    y = torch.tensor([[1, 2, nan, nan, nan, nan], [-inf] * 6], dtype=torch.float64)
    at = torch.tensor([[0, 2, 4, 4, 4, 4], [0, 1, 0, 1, 3, 4]])
    compute = lambda x: {"y": y.reshape(2, 1, 3, 2), "at": at.reshape(2, 1, 3, 2)}
    case("ops/max_pool/special", {"x": x}, body, compute, tolerance=0.0)
    g, at = f32([[[[1, 2], [3, 4]]]]), i32([[[[3, -1], [4, 3]]]])
    body = "%y = max_pool_gradient %g, %at {input=[2, 2]}"
    compute = lambda g, at: torch.tensor([0.0, 0.0, 0.0, 5.0])
    case("ops/max_pool_gradient/positions_outside", {"g": g, "at": at}, body, compute, tolerance=0.0)


def gather_cases():
    table = [
        ("first_axis", [5, 3], 0, [4]),
        ("last_axis", [3, 5], 1, [2, 3]),
        ("middle_axis", [2, 4, 3], 1, [5]),
        ("scalar_index", [4, 3], 0, []),
        ("no_index", [4, 3], 0, [0]),
        ("vector", [7], 0, [3, 2]),
        ("embedding", [11, 8], 0, [3, 5]),
        ("many", [3, 2], 0, [300]),
    ]
    for name, shape, axis, index_shape in table:
        index = integers(5, index_shape, 0, shape[axis] - 1)
        gather = lambda x, index: x.index_select(axis, index.reshape(-1)).reshape(shape[:axis] + index_shape + shape[axis + 1 :])
        body = f"%y = gather %x, %index {{axis={axis}}}"
        inputs = {"x": uniform(1, shape), "index": index}
        case(f"ops/gather/{name}", inputs, body, gather, tolerance=0.0)
        case(f"gradients/gather/{name}", inputs, body, gather, gradients=["x"], tolerance=2e-5)

        def scatter(updates, index):
            flat = updates.reshape(shape[:axis] + [-1] + shape[axis + 1 :]) if updates.numel() else updates.reshape(shape[:axis] + [0] + shape[axis + 1 :])
            return torch.zeros(shape, dtype=torch.float64).index_add(axis, index.reshape(-1), flat)

        updates = uniform(2, shape[:axis] + index_shape + shape[axis + 1 :])
        body = f"%y = scatter_add %updates, %index {{axis={axis}, size={shape[axis]}}}"
        inputs = {"updates": updates, "index": index}
        case(f"ops/scatter_add/{name}", inputs, body, scatter, tolerance=1e-5)
        case(f"gradients/scatter_add/{name}", inputs, body, scatter, gradients=["updates"], tolerance=1e-5)
    outside = i32([0, -1, 2, 3, INT_MIN, INT_MAX])
    body = "%y = gather %x, %index {axis=0}"
    compute = lambda x, index: torch.stack([x[i] if 0 <= i < 3 else torch.zeros_like(x[0]) for i in index.tolist()])
    case("ops/gather/outside", {"x": f32([[1, 2], [3, nan], [5, 6]]), "index": outside}, body, compute, tolerance=0.0)
    for dtype in ("i32", "u32", "u8", "bool"):
        x = integers(1, [3, 4], 0 if dtype != "i32" else -9, 1 if dtype == "bool" else 9, dtype)
        case(f"ops/gather/{dtype}", {"x": x, "index": outside}, body, compute)
    x = uniform(1, [3, 2])
    case("gradients/gather/outside", {"x": x, "index": outside}, body, compute, gradients=["x"], tolerance=2e-6)
    body = "%y = scatter_add %u, %index {axis=0, size=3}"

    def scatter_inside(u, index):
        y = torch.zeros([3, 2], dtype=torch.float64)
        for row, i in zip(u, index.tolist()):
            if 0 <= i < 3:
                y = y.index_add(0, torch.tensor([i]), row[None])
        return y

    inputs = {"u": uniform(2, [6, 2]), "index": outside}
    case("ops/scatter_add/outside", inputs, body, scatter_inside, tolerance=2e-6)
    case("gradients/scatter_add/outside", inputs, body, scatter_inside, gradients=["u"], tolerance=2e-6)
    nan_updates = f32([[nan, 1], [2, inf], [3, nan], [nan, nan], [1, 1], [2, 2]])
    case("ops/scatter_add/special", {"u": nan_updates, "index": outside}, body, scatter_inside, tolerance=0.0)


def attend(q, k, v, causal, scale):
    t, s = q.shape[2], k.shape[2]
    scores = scale * (q @ k.transpose(2, 3))
    if causal:
        visible = torch.ones(t, s, dtype=torch.bool).tril(s - t)
        scores = scores.masked_fill(~visible, -inf)
    if t > s and causal:
        # Queries that see nothing give zeros; PyTorch would give NaN.
        blind = t - s
        rest = attend(q[:, :, blind:], k, v, True, scale)
        pad = torch.zeros_like(q[:, :, :blind])
        lse = torch.full(list(q.shape[:2]) + [blind], -inf, dtype=torch.float64)
        return {"y": torch.cat([pad, rest["y"]], 2), "lse": torch.cat([lse, rest["lse"]], 2)}
    expected = F.scaled_dot_product_attention(q, k, v, attn_mask=torch.zeros_like(scores).masked_fill(scores == -inf, -inf), scale=scale)
    return {"y": expected, "lse": torch.logsumexp(scores, 3)}


def attention_cases():
    table = [
        ("square", [2, 3, 5, 4], 5, 0, 0.5),
        ("causal", [2, 2, 6, 4], 6, 1, 0.5),
        ("more_keys", [1, 2, 4, 8], 7, 0, 0.35),
        ("causal_more_keys", [1, 2, 4, 3], 7, 1, 0.6),
        ("causal_fewer_keys", [1, 1, 5, 3], 3, 1, 0.6),
        ("one_query", [2, 2, 1, 5], 9, 0, 0.4),
        ("one_key", [1, 2, 3, 2], 1, 0, 1.0),
        ("wide_head", [1, 1, 3, 40], 4, 0, 0.15),
        ("long", [1, 1, 33, 4], 70, 1, 0.5),
    ]
    for name, shape, keys, causal, scale in table:
        other = [shape[0], shape[1], keys, shape[3]]
        inputs = {"q": uniform(1, shape), "k": uniform(2, other), "v": uniform(3, other)}
        attributes = f"{{causal={causal}, scale={scale}}}"
        body = f"%y, %lse = attention %q, %k, %v {attributes}"
        compute = lambda q, k, v: attend(q, k, v, causal, scale)
        case(f"ops/attention/{name}", inputs, body, compute, tolerance=5e-6)
        if name != "long":
            case(f"gradients/attention/{name}", inputs, body, compute, gradients=["q", "k", "v"], tolerance=1e-5)

        def gradient(q, k, v, o, lse, g):
            q, k, v = (x.clone().requires_grad_(True) for x in (q, k, v))
            dq, dk, dv = torch.autograd.grad(compute(q, k, v)["y"], (q, k, v), g)
            return {"dq": dq, "dk": dk, "dv": dv}

        made = compute(*(inputs[key].torch() for key in "qkv"))
        rest = {"o": f32(made["y"].numpy()), "lse": f32(made["lse"].numpy()), "g": uniform(4, shape)}
        body = f"%dq, %dk, %dv = attention_gradient %q, %k, %v, %o, %lse, %g {attributes}"
        case(f"ops/attention_gradient/{name}", {**inputs, **rest}, body, gradient, tolerance=1e-5)
    big = {"q": uniform(1, [1, 1, 3, 4], -30.0, 30.0), "k": uniform(2, [1, 1, 5, 4], -30.0, 30.0), "v": uniform(3, [1, 1, 5, 4])}
    body = "%y, %lse = attention %q, %k, %v {causal=0, scale=1.0}"
    case("ops/attention/large_scores", big, body, lambda q, k, v: attend(q, k, v, False, 1.0), tolerance=2e-4)


def random_cases():
    for shape, seed, step, stream in (
        ([8], (0, 0), 0, 0),
        ([], (1, 2), 3, 4),
        ([1], (1, 2), 3, 4),
        ([7], (12345, 678910), 5, 6),
        ([3, 5], (UINT_MAX, UINT_MAX - 1), UINT_MAX, UINT_MAX),
        ([2, 1, 9], (2**31, 7), 1, 0),
        ([0, 3], (1, 1), 1, 1),
        ([301], (42, 0), 17, 2),
    ):
        inputs = {"seed": given("u32", list(seed)), "step": given("u32", [step], [])}
        body = f"%y = random_bits %seed, %step {{shape={shape}, stream={stream}}}"
        compute = lambda seed, step: torch.tensor(philox(seed.tolist(), step.item(), stream, count_of(shape)).astype(np.int64)).reshape(shape)
        case(f"ops/random_bits/{tag(shape, stream)}", inputs, body, compute)


def composed_cases():
    x = uniform(1, [4, 7], -3.0, 3.0)
    softmax = """
        %m = reduce_max %x {axes=[1]}
        %mb = broadcast %m {shape=[4, 7], axes=[0]}
        %d = sub %x, %mb
        %e = exp %d
        %s = reduce_sum %e {axes=[1]}
        %sb = broadcast %s {shape=[4, 7], axes=[0]}
        %y = div %e, %sb
    """
    by_lse = """
        %l = logsumexp %x {axes=[1]}
        %lb = broadcast %l {shape=[4, 7], axes=[0]}
        %d = sub %x, %lb
        %y = exp %d
    """
    case("composed/softmax", {"x": x}, softmax, lambda x: F.softmax(x, 1), gradients=["x"], tolerance=1e-5)
    case("composed/softmax_by_logsumexp", {"x": x}, by_lse, lambda x: F.softmax(x, 1), gradients=["x"], tolerance=1e-5)
    first_axis = """
        %l = logsumexp %x {axes=[0]}
        %lb = broadcast %l {shape=[4, 7], axes=[1]}
        %y = sub %x, %lb
    """
    case("composed/log_softmax_of_columns", {"x": x}, first_axis, lambda x: F.log_softmax(x, 0), gradients=["x"], tolerance=1e-5)
    long = uniform(1, [3, 1000], -3.0, 3.0)
    body = """
        %l = logsumexp %x {axes=[1]}
        %lb = broadcast %l {shape=[3, 1000], axes=[0]}
        %d = sub %x, %lb
        %p = exp %d
        %q = mul %p, %d
        %y = reduce_sum %q {axes=[1]}
    """
    entropy = lambda x: (F.softmax(x, 1) * F.log_softmax(x, 1)).sum(1)
    case("composed/negative_entropy_of_long_rows", {"x": long}, body, entropy, tolerance=2e-5)
    labels = i32([2, 0, 6, 3])
    cross_entropy = """
        %l = logsumexp %x {axes=[1]}
        %classes = iota {shape=[4, 7], axis=1}
        %lab = broadcast %labels {shape=[4, 7], axes=[0]}
        %hit = eq %classes, %lab
        %zero: f32[] = constant 0
        %zeros = broadcast %zero {shape=[4, 7], axes=[]}
        %chosen = select %hit, %x, %zeros
        %logit = reduce_sum %chosen {axes=[1]}
        %each = sub %l, %logit
        %quarter: f32[] = constant 0.25
        %sum = reduce_sum %each {axes=[0]}
        %y = mul %sum, %quarter
    """
    inputs = {"x": x, "labels": labels}
    case("composed/cross_entropy", inputs, cross_entropy, lambda x, labels: F.cross_entropy(x, labels), gradients=["x"], tolerance=1e-5)
    norm = """
        %mean, %variance = mean_variance %x {axes=[1]}
        %epsilon: f32[] = constant 1e-5
        %eb = broadcast %epsilon {shape=[4], axes=[]}
        %shifted = add %variance, %eb
        %r = rsqrt %shifted
        %rb = broadcast %r {shape=[4, 7], axes=[0]}
        %mb = broadcast %mean {shape=[4, 7], axes=[0]}
        %c = sub %x, %mb
        %n = mul %c, %rb
        %wb = broadcast %w {shape=[4, 7], axes=[1]}
        %bb = broadcast %b {shape=[4, 7], axes=[1]}
        %scaled = mul %n, %wb
        %y = add %scaled, %bb
    """
    inputs = {"x": x, "w": uniform(2, [7], 0.5, 1.5), "b": uniform(3, [7])}
    compute = lambda x, w, b: F.layer_norm(x, [7], w, b, 1e-5)
    case("composed/layer_norm", inputs, norm, compute, gradients=["x", "w", "b"], tolerance=2e-5)
    batch_norm = """
        %mean, %variance = mean_variance %x {axes=[0, 2, 3]}
        %epsilon: f32[] = constant 1e-5
        %eb = broadcast %epsilon {shape=[3], axes=[]}
        %shifted = add %variance, %eb
        %r = rsqrt %shifted
        %a = mul %r, %w
        %ab = broadcast %a {shape=[4, 3, 5, 2], axes=[1]}
        %mb = broadcast %mean {shape=[4, 3, 5, 2], axes=[1]}
        %bb = broadcast %b {shape=[4, 3, 5, 2], axes=[1]}
        %c = sub %x, %mb
        %scaled = mul %c, %ab
        %y = add %scaled, %bb
        %tenth: f32[3] = constant [0.1, 0.1, 0.1]
        %rest: f32[3] = constant [0.9, 0.9, 0.9]
        %unbiased: f32[3] = constant [0.10256410256, 0.10256410256, 0.10256410256]
        %old_mean = mul %running_mean, %rest
        %new_mean = mul %mean, %tenth
        %next_mean = add %old_mean, %new_mean
        %old_variance = mul %running_variance, %rest
        %new_variance = mul %variance, %unbiased
        %next_variance = add %old_variance, %new_variance
        write "running_mean" = %next_mean
        write "running_variance" = %next_variance
    """

    def batch_norm_torch(x, w, b, running_mean, running_variance):
        mean, variance = running_mean.clone(), running_variance.clone()
        y = F.batch_norm(x, mean, variance, w, b, training=True, momentum=0.1, eps=1e-5)
        return {"y": y, "state:running_mean": mean, "state:running_variance": variance}

    inputs = {"x": uniform(1, [4, 3, 5, 2], -2.0, 3.0), "w": uniform(2, [3], 0.5, 1.5), "b": uniform(3, [3])}
    states = {"running_mean": uniform(4, [3]), "running_variance": uniform(5, [3], 0.5, 1.5)}
    case("composed/batch_norm", inputs, batch_norm, batch_norm_torch, gradients=["x", "w", "b"], states=states, tolerance=3e-5)
    gelu = """
        %c: f32[] = constant 0.70710678118
        %cb = broadcast %c {shape=[4, 7], axes=[]}
        %xc = mul %x, %cb
        %e = erf %xc
        %one: f32[] = constant 1
        %ob = broadcast %one {shape=[4, 7], axes=[]}
        %e1 = add %e, %ob
        %half: f32[] = constant 0.5
        %hb = broadcast %half {shape=[4, 7], axes=[]}
        %xh = mul %x, %hb
        %y = mul %xh, %e1
    """
    case("composed/gelu", {"x": x}, gelu, F.gelu, gradients=["x"], tolerance=5e-6)
    silu = "%s = sigmoid %x\n%y = mul %x, %s"
    case("composed/silu", {"x": x}, silu, F.silu, gradients=["x"], tolerance=5e-6)
    dropout = """
        %bits = random_bits %seed, %step {shape=[4, 7], stream=3}
        %eight: u32[] = constant 8
        %eb = broadcast %eight {shape=[4, 7], axes=[]}
        %high = shr %bits, %eb
        %f = cast %high {to=f32}
        %unit: f32[] = constant 5.9604645e-8
        %ub = broadcast %unit {shape=[4, 7], axes=[]}
        %u = mul %f, %ub
        %p: f32[] = constant 0.25
        %pb = broadcast %p {shape=[4, 7], axes=[]}
        %keep = ge %u, %pb
        %scale: f32[] = constant 1.3333334
        %sb = broadcast %scale {shape=[4, 7], axes=[]}
        %xs = mul %x, %sb
        %zero: f32[] = constant 0
        %zb = broadcast %zero {shape=[4, 7], axes=[]}
        %y = select %keep, %xs, %zb
        %one: u32[] = constant 1
        %next = add %step, %one
        write "step" = %next
    """

    def dropout_torch(x, seed, step):
        u = torch.tensor((philox(seed.tolist(), step.item(), 3, 28) >> np.uint64(8)).astype(np.float64) / 2**24).reshape(4, 7)
        return {"y": torch.where(u >= 0.25, x / 0.75, 0.0), "state:step": step + 1}

    inputs = {"x": x, "seed": given("u32", [77, 3])}
    states = {"step": given("u32", [9], [])}
    case("composed/dropout", inputs, dropout, dropout_torch, gradients=["x"], states=states, tolerance=2e-6)
    adamw = """
        %rb = broadcast %rate {shape=[11], axes=[]}
        %b1 = broadcast %beta1 {shape=[11], axes=[]}
        %b2 = broadcast %beta2 {shape=[11], axes=[]}
        %db = broadcast %decay {shape=[11], axes=[]}
        %one_scalar: f32[] = constant 1
        %one = broadcast %one_scalar {shape=[11], axes=[]}
        %t = add %step, %one_scalar
        %c1 = sub %one, %b1
        %c2 = sub %one, %b2
        %m1 = mul %m, %b1
        %g1 = mul %g, %c1
        %m2 = add %m1, %g1
        %v1 = mul %v, %b2
        %gg = mul %g, %g
        %g2 = mul %gg, %c2
        %v2 = add %v1, %g2
        %p1 = pow %beta1, %t
        %p2 = pow %beta2, %t
        %k1 = sub %one_scalar, %p1
        %k2 = sub %one_scalar, %p2
        %k1b = broadcast %k1 {shape=[11], axes=[]}
        %k2b = broadcast %k2 {shape=[11], axes=[]}
        %mh = div %m2, %k1b
        %vh = div %v2, %k2b
        %root = sqrt %vh
        %eps_scalar: f32[] = constant 1e-8
        %eps = broadcast %eps_scalar {shape=[11], axes=[]}
        %bottom = add %root, %eps
        %step_size = div %mh, %bottom
        %update = mul %rb, %step_size
        %rd = mul %rb, %db
        %shrink = sub %one, %rd
        %w1 = mul %w, %shrink
        %w2 = sub %w1, %update
        write "w" = %w2
        write "m" = %m2
        write "v" = %v2
        write "step" = %t
    """

    def adamw_torch(g, w, m, v, step, rate, beta1, beta2, decay):
        parameter = torch.nn.Parameter(w.clone())
        optimizer = torch.optim.AdamW([parameter], lr=rate.item(), betas=(beta1.item(), beta2.item()), weight_decay=decay.item(), foreach=False)
        parameter.grad = g.clone()
        optimizer.state[parameter] = {"step": step.clone(), "exp_avg": m.clone(), "exp_avg_sq": v.clone()}
        optimizer.step()
        state = optimizer.state[parameter]
        return {"state:w": parameter.detach(), "state:m": state["exp_avg"], "state:v": state["exp_avg_sq"], "state:step": state["step"]}

    states = {"w": uniform(2, [11]), "m": uniform(3, [11], -0.1, 0.1), "v": uniform(4, [11], 0.0, 0.01), "step": f32([4], [])}
    hypers = {"rate": 1e-2, "beta1": 0.9, "beta2": 0.99, "decay": 0.1}
    case("composed/adamw", {"g": uniform(1, [11])}, adamw, adamw_torch, states=states, hypers=hypers, tolerance=1e-5)
    network = """
        %c = convolution %x, %kernel {window=[stride:[1, 1] low:[1, 1] high:[1, 1] dilation:[1, 1] groups:1]}
        %kb = broadcast %kernel_bias {shape=[3, 4, 6, 6], axes=[1]}
        %cb = add %c, %kb
        %r = relu %cb
        %pooled, %at = max_pool %r {window=[kernel:[2, 2] stride:[2, 2] low:[0, 0] high:[0, 0]]}
        %flat = reshape %pooled {shape=[3, 36]}
        %z = dot %flat, %weight {lhs_batch=[], rhs_batch=[], lhs_contract=[1], rhs_contract=[1]}
        %bb = broadcast %bias {shape=[3, 5], axes=[1]}
        %y = add %z, %bb
    """

    def network_torch(x, kernel, kernel_bias, weight, bias):
        h = F.max_pool2d(F.relu(F.conv2d(x, kernel, kernel_bias, padding=1)), 2)
        return F.linear(h.flatten(1), weight, bias)

    inputs = {
        "x": uniform(1, [3, 2, 6, 6]),
        "kernel": uniform(2, [4, 2, 3, 3]),
        "kernel_bias": uniform(3, [4]),
        "weight": uniform(4, [5, 36]),
        "bias": uniform(5, [5]),
    }
    case("composed/small_network", inputs, network, network_torch, gradients=["x", "kernel", "kernel_bias", "weight", "bias"], tolerance=2e-5)
    lstm = """
        %zi = dot %x, %wi {lhs_batch=[], rhs_batch=[], lhs_contract=[1], rhs_contract=[1]}
        %zh = dot %h, %wh {lhs_batch=[], rhs_batch=[], lhs_contract=[1], rhs_contract=[1]}
        %z0 = add %zi, %zh
        %bb = broadcast %b {shape=[2, 12], axes=[1]}
        %z = add %z0, %bb
        %z1 = slice %z {start=[0, 0], stop=[2, 3], step=[1, 1]}
        %z2 = slice %z {start=[0, 3], stop=[2, 6], step=[1, 1]}
        %z3 = slice %z {start=[0, 6], stop=[2, 9], step=[1, 1]}
        %z4 = slice %z {start=[0, 9], stop=[2, 12], step=[1, 1]}
        %i = sigmoid %z1
        %f = sigmoid %z2
        %g = tanh %z3
        %o = sigmoid %z4
        %fc = mul %f, %c
        %ig = mul %i, %g
        %cell = add %fc, %ig
        %tc = tanh %cell
        %y = mul %o, %tc
    """

    def lstm_torch(x, h, c, wi, wh, b):
        y, cell = torch._VF.lstm_cell(x, (h, c), wi, wh, b, torch.zeros_like(b))
        return {"y": y, "cell": cell}

    inputs = {"x": uniform(1, [2, 4]), "h": uniform(2, [2, 3]), "c": uniform(3, [2, 3])}
    inputs |= {"wi": uniform(4, [12, 4]), "wh": uniform(5, [12, 3]), "b": uniform(6, [12])}
    case("composed/lstm_cell", inputs, lstm, lstm_torch, gradients=list(inputs), tolerance=1e-5)


def program_cases():
    """Ports: what is read, written and given back, in every combination that memory planning could get wrong."""
    a, b = uniform(1, [5]), uniform(2, [5])
    both = {"a": a, "b": b}
    case("programs/swap_states", {}, 'write "a" = %b\nwrite "b" = %a', lambda a, b: {"state:a": b, "state:b": a}, states=both, tolerance=0.0)
    body = '%n = neg %a\nwrite "a" = %n'
    case("programs/old_value_of_a_written_state", {}, body, lambda a: {"a": a, "n": -a, "state:a": -a}, states={"a": a}, tolerance=0.0)
    body = '%s = add %a, %b\nwrite "a" = %s\nwrite "b" = %s'
    case("programs/one_value_in_two_states", {}, body, lambda a, b: {"s": a + b, "state:a": a + b, "state:b": a + b}, states=both, tolerance=2e-7)
    body = 'write "a" = %x'
    case("programs/input_into_state", {"x": b}, body, lambda x, a: {"state:a": x, "a": a}, states={"a": a}, tolerance=0.0)
    body = '%c: f32[5] = constant [1, 2, 3, 4, 5]\nwrite "a" = %c'
    compute = lambda a: {"state:a": torch.arange(1.0, 6.0), "c": torch.arange(1.0, 6.0)}
    case("programs/constant_into_state", {}, body, compute, states={"a": a}, tolerance=0.0)
    body = 'write "a" = %a'
    case("programs/state_into_itself", {}, body, lambda a: {"state:a": a, "a": a}, states={"a": a}, tolerance=0.0)
    case("programs/unwritten_state", {"x": a}, "%y = add %x, %b", lambda x, b: {"y": x + b, "state:b": b}, states={"b": b}, tolerance=2e-7)
    case("programs/input_as_output", {"x": a}, "", lambda x: {"x": x}, tolerance=0.0)
    case("programs/hyper_as_output", {}, "", lambda h: {"h": h}, hypers={"h": 0.3}, tolerance=0.0)
    body = "%c: f32[] = constant 2.5\n%d: i32[3] = constant [1, -2, 3]\n%e: bool[2] = constant [true, false]"
    compute = lambda: {"c": torch.tensor(2.5), "d": torch.tensor([1, -2, 3]), "e": torch.tensor([True, False])}
    case("programs/constants_as_outputs", {}, body, compute, tolerance=0.0)
    body = '%y = neg %x\noutput "once" = %y\noutput "twice" = %y'
    case("programs/one_value_in_two_outputs", {"x": a}, body, lambda x: {"once": -x, "twice": -x}, tolerance=0.0)
    case("programs/no_output", {"x": a}, "%unused = neg %x", lambda x: {})
    body = "%p = permute %x {order=[1, 0]}\n%r = reshape %x {shape=[6]}\n%b = broadcast %x {shape=[2, 2, 3], axes=[0, 2]}"
    compute = lambda x: {"p": x.T, "r": x.reshape(6), "b": x[:, None].expand(2, 2, 3)}
    case("programs/views_as_outputs", {"x": uniform(1, [2, 3])}, body, compute, tolerance=0.0)
    body = '%p = permute %w {order=[1, 0]}\nwrite "w" = %p'
    case("programs/transposed_state", {}, body, lambda w: {"state:w": w.T, "w": w}, states={"w": uniform(1, [4, 4])}, tolerance=0.0)
    body = """
        %p = permute %w {order=[1, 0]}
        %s = add %w, %p
        %f = flip %s {axes=[0]}
        write "w" = %f
    """
    case("programs/state_read_in_another_order", {}, body, lambda w: {"state:w": (w + w.T).flip(0)}, states={"w": uniform(1, [5, 5])}, tolerance=2e-7)
    body = """
        %e = exp %x
        %s = reduce_sum %e {axes=[1]}
        %sb = broadcast %s {shape=[6, 9], axes=[0]}
        %y = div %e, %sb
        %m = reduce_max %e {axes=[0]}
    """
    compute = lambda x: {"e": x.exp(), "y": x.softmax(1), "m": x.exp().amax(0)}
    case("programs/value_used_by_two_reductions", {"x": uniform(1, [6, 9])}, body, compute, tolerance=3e-6)
    body = """
        %t = permute %x {order=[1, 0]}
        %d = sub %x, %t
        %q = mul %d, %d
        %r = reduce_sum %q {axes=[0]}
        %c = reduce_sum %q {axes=[1]}
        %y = sub %r, %c
    """
    compute = lambda x: {"r": ((x - x.T) ** 2).sum(0), "c": ((x - x.T) ** 2).sum(1), "y": torch.zeros(6, dtype=torch.float64)}
    case("programs/two_index_maps", {"x": uniform(1, [6, 6])}, body, compute, tolerance=4e-6)
    body = "\n".join(["%v0 = exp %x"] + [f"%v{i + 1} = {'tanh' if i % 2 else 'sin'} %v{i}" for i in range(40)] + ["%y = add %v40, %v0"])

    def chain(x):
        y = x.exp()
        for i in range(40):
            y = y.tanh() if i % 2 else y.sin()
        return y + x.exp()

    case("programs/long_chain", {"x": uniform(1, [700])}, body, chain, tolerance=1e-5)
    body = "\n".join([f"%v{i} = exp %x{i}" for i in range(20)] + ["%s0 = add %v0, %v1"] + [f"%s{i} = add %s{i - 1}, %v{i + 1}" for i in range(1, 19)] + ["%y = neg %s18"])
    inputs = {f"x{i}": uniform(i + 1, [6]) for i in range(20)}
    case("programs/many_inputs", inputs, body, lambda *x: -sum(v.exp() for v in x), tolerance=5e-6)


for build in (
    unary_cases,
    binary_cases,
    compare_cases,
    cast_cases,
    movement_cases,
    reduce_cases,
    dot_cases,
    convolution_cases,
    pooling_cases,
    gather_cases,
    attention_cases,
    random_cases,
    composed_cases,
    program_cases,
):
    build()

for file, cases in files.items():
    path = ROOT / f"{file}.txt"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("// Written by scripts/golden.py.\n\n" + "\n".join(cases))
size = sum(path.stat().st_size for path in ROOT.rglob("*.txt"))
print(f"{len(names)} cases in {len(files)} files, {size / 1e6:.2f} MB")
