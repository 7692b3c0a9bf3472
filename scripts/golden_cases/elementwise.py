"""Functions of single elements: unary, binary, comparison, selection, cast."""

import itertools
import math

import torch

from .write import (
    INT_MAX,
    INT_MIN,
    UINT_MAX,
    case,
    f32,
    given,
    i32,
    inf,
    integers,
    nan,
    tag,
    uniform,
)

SPECIAL = [
    0.0,
    -0.0,
    1.0,
    -1.0,
    0.5,
    -0.5,
    1.5,
    2.5,
    -2.5,
    3.49,
    -3.51,
    1e-6,
    -1e-6,
    20.0,
    -20.0,
    inf,
    -inf,
    nan,
]


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
            case(
                f"gradients/unary/{name}",
                {"x": x},
                f"%y = {name} %x",
                function,
                gradients=["x"],
                tolerance=5e-6,
            )
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
    case(
        "gradients/binary/square_as_product",
        {"a": uniform(6, [4])},
        "%y = mul %a, %a",
        lambda a: a * a,
        gradients=["a"],
    )
    squares = {"a": uniform(8, [9], -2.0, 2.0)}
    two = "%two: f32[9] = constant [2, 2, 2, 2, 2, 2, 2, 2, 2]\n%y = pow %a, %two"
    case(
        "gradients/binary/pow_of_negative_base", squares, two, lambda a: a**2, gradients=["a"], tolerance=1e-5
    )
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
        inputs = {
            "c": condition,
            "a": integers(1, [2, 3], low, high, dtype),
            "b": integers(2, [2, 3], low, high, dtype),
        }
        case(f"ops/select/{dtype}", inputs, "%y = select %c, %a, %b", torch.where)
    inputs = {
        "c": condition,
        "a": f32([[1, nan, 3], [nan, inf, -0.5]]),
        "b": f32([[nan, 2, nan], [4, nan, 6]]),
    }
    case("ops/select/f32", inputs, "%y = select %c, %a, %b", torch.where, tolerance=0.0)
    inputs = {"c": given("bool", [1], []), "a": f32([2.5], []), "b": f32([3.5], [])}
    case("ops/select/scalar", inputs, "%y = select %c, %a, %b", torch.where, tolerance=0.0)
    inputs = {"c": condition, "a": uniform(1, [2, 3]), "b": uniform(2, [2, 3])}
    case("gradients/select/select", inputs, "%y = select %c, %a, %b", torch.where, gradients=["a", "b"])


def cast_cases():
    values = {
        "f32": [
            0.0,
            -0.0,
            0.9,
            -0.9,
            1.5,
            2.5,
            -2.5,
            100.7,
            254.9,
            255.0,
            256.0,
            -1.0,
            -200.5,
            3e9,
            -3e9,
            5e9,
            inf,
            -inf,
            nan,
        ],
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
        result = [
            cast(float(v), source, target) if source == "f32" else cast(int(v), source, target)
            for v in x.array
        ]
        compute = lambda x, r=result, t=target: torch.tensor(
            r, dtype=torch.float64 if t == "f32" else torch.int64
        )
        case(
            f"ops/cast/{source}_to_{target}",
            {"x": x},
            f"%y = cast %x {{to={target}}}",
            compute,
            tolerance=0.0,
        )
    x = uniform(1, [5], -3.0, 3.0)
    case("gradients/cast/same_type", {"x": x}, "%y = cast %x {to=f32}", lambda x: x * 1.0, gradients=["x"])
