"""Half precision: the cases of f32 once more, mixed products, and what rounding after each operation means."""

import torch

from . import attention, contraction, elementwise, indexing, movement, reduction, window
from .contraction import convolve
from .write import FLOATS, case, f32, given, halves, inf, nan, uniform

CONVOLUTIONS = ("plain_3x3", "same_3x3", "pointwise", "dilated_strided", "grouped", "depthwise_strided", "special")


def is_wanted(name):
    """Leaves out what takes much room, and what goes below the numbers of f16."""
    kind = name.split("/")[1]
    short = name.split("/")[-1]
    for ending in ("_input_gradient", "_filter_gradient"):
        short = short.removesuffix(ending)
    if kind == "convolution":
        return short in CONVOLUTIONS
    if kind == "movement" and name.startswith("gradients"):
        return False
    return kind != "attention_gradient" and not short.endswith("_tiny")


def half_cases():
    with halves("f16", is_wanted):
        for cases in (
            elementwise.unary_cases,
            elementwise.binary_cases,
            elementwise.compare_cases,
            elementwise.cast_cases,
            movement.movement_cases,
            reduction.reduce_cases,
            contraction.dot_cases,
            contraction.convolution_cases,
            window.pooling_cases,
            indexing.gather_cases,
            attention.attention_cases,
        ):
            cases()
    with halves("bf16", lambda name: is_wanted(name) and not name.startswith("gradients")):
        for cases in (
            elementwise.unary_cases,
            elementwise.binary_cases,
            elementwise.cast_cases,
            reduction.reduce_cases,
            contraction.dot_cases,
            contraction.convolution_cases,
        ):
            cases()
    for name in ("f16", "bf16"):
        with halves(name, lambda _: True):
            rounding_cases(FLOATS[name])
        mixed_cases(name)
    between_halves()


def rounding_cases(dtype):
    """Chains that a device may compute in one kernel give what their operations give one by one."""
    x, w = uniform(1, [3, 37], -2.0, 2.0), uniform(2, [3, 37], 0.5, 3.0)

    def chain(x, w):
        x, w = x.to(dtype), w.to(dtype)
        big = torch.tensor(300.0, dtype=dtype)
        shifted = (x + big) - big
        return {"y": shifted * w + x, "z": (x / w) * w - x}

    body = """
        %big: f32[] = constant 300.0
        %b = broadcast %big {shape=[3, 37], axes=[]}
        %up = add %x, %b
        %shifted = sub %up, %b
        %scaled = mul %shifted, %w
        %y = add %scaled, %x
        %ratio = div %x, %w
        %back = mul %ratio, %w
        %z = sub %back, %x
    """
    case("chains/elementwise", {"x": x, "w": w}, body, chain, tolerance=0.0)

    def rows(x, w):
        largest = x.to(dtype).amax(1, keepdim=True)
        # Sums are exact until they are rounded.
        total = (x.to(dtype) - largest).double().sum(1).to(dtype)
        return total / torch.tensor(37.0, dtype=dtype) + largest[:, 0]

    body = """
        %largest = reduce_max %x {axes=[1]}
        %all = broadcast %largest {shape=[3, 37], axes=[0]}
        %below = sub %x, %all
        %total = reduce_sum %below {axes=[1]}
        %n: f32[3] = constant [37, 37, 37]
        %mean = div %total, %n
        %y = add %mean, %largest
    """
    case("chains/rows", {"x": x, "w": w}, body, rows, tolerance=0.0)
    # Small numbers survive in a sum that is rounded once, and large products in one.
    long = f32([[1.0] + [2.0**-9] * 600, [-1.0] + [2.0**-12] * 600])
    case("chains/long_sum", {"x": long}, "%y = reduce_sum %x {axes=[1]}", lambda x: x.sum(1), tolerance=0.0)
    a, b = f32([[240.0, -240.0, 1.0] * 9]), f32([[300.0], [300.0], [0.125]] * 9)
    body = "%y = dot %a, %b {lhs_batch=[], rhs_batch=[], lhs_contract=[1], rhs_contract=[0]}"
    case("chains/products_beyond_the_range", {"a": a, "b": b}, body, torch.matmul, tolerance=0.0)


def mixed_cases(dtype):
    """Factors of half precision, results of f32: as exact as with factors of f32."""
    half = lambda seed, shape: uniform(seed, shape, dtype=dtype)
    to_wide = "%wa = cast %a {to=f32}\n%wb = cast %b {to=f32}\n"
    sizes = {"small": ([5, 7], [7, 3]), "large": ([37, 65], [65, 40]), "one_row": ([1, 300], [300, 9])}
    for name, (left, right) in sizes.items():
        body = f"{to_wide}%y = dot %wa, %wb {{lhs_batch=[], rhs_batch=[], lhs_contract=[1], rhs_contract=[0]}}"
        inputs = {"a": half(1, left), "b": half(2, right)}
        case(f"halves/{dtype}/mixed/dot_{name}", inputs, body, torch.matmul, tolerance=5e-6)
    inputs = {"a": half(1, [4, 33]), "b": half(2, [6, 33])}
    body = f"{to_wide}%y = dot %wa, %wb {{lhs_batch=[], rhs_batch=[], lhs_contract=[1], rhs_contract=[1]}}"
    case(f"halves/{dtype}/mixed/dot_turned", inputs, body, lambda a, b: a @ b.T, tolerance=5e-6)
    for groups in (1, 2):
        window = f"window=[stride:[1, 2] low:[1, 0] high:[1, 1] dilation:[1, 1] groups:{groups}]"
        inputs = {"a": half(1, [2, 4, 7, 6]), "b": half(2, [6, 4 // groups, 3, 3])}
        forward = lambda a, b: convolve(a, b, [1, 2], [1, 0], [1, 1], [1, 1], groups)
        body = f"{to_wide}%y = convolution %wa, %wb {{{window}}}"
        case(f"halves/{dtype}/mixed/convolution_{groups}", inputs, body, forward, tolerance=1e-5)
        gradient = half(3, forward(inputs["a"].torch(), inputs["b"].torch()).shape)

        def by_filter(x, g):
            zeros = torch.zeros([6, 4 // groups, 3, 3], dtype=torch.float64, requires_grad=True)
            return torch.autograd.grad(forward(x, zeros), zeros, g)[0]

        inputs = {"a": inputs["a"], "b": gradient}
        body = f"{to_wide}%y = convolution_filter_gradient %wa, %wb {{{window}, kernel=[3, 3]}}"
        case(f"halves/{dtype}/mixed/filter_gradient_{groups}", inputs, body, by_filter, tolerance=2e-5)


def between_halves():
    """Casts from one half type to another, and factors of two types."""
    special = [0.0, -0.0, 1.0, 0.1, -3.14159, 65504.0, 65520.0, -1e5, 3e38, 6e-8, 1e-8, 1e-40, 257.0, inf, -inf, nan]
    for source, target in (("f16", "bf16"), ("bf16", "f16"), ("f32", "f16"), ("f32", "bf16")):
        x = given(source, special)
        compute = lambda x, target=target: torch.tensor(x.numpy()).to(FLOATS[target])
        case(f"halves/cast/{source}_to_{target}", {"x": x}, f"%y = cast %x {{to={target}}}", compute, tolerance=0.0)
    integers = [0, 1, -1, 2049, 2051, 65519, 65520, -70000, 16777217, 33619969, 2**31 - 1]
    for target in ("f16", "bf16"):
        x = given("i32", integers)
        # By way of f32.
        compute = lambda x, target=target: x.to(torch.float32).to(FLOATS[target])
        case(f"halves/cast/i32_to_{target}", {"x": x}, f"%y = cast %x {{to={target}}}", compute, tolerance=0.0)
    a, b = given("f16", [[0.1, 2.0, -0.3], [1.5, 0.7, 4.0]]), given("bf16", [[0.1], [1.7], [-2.5]])
    body = """
        %wa = cast %a {to=f32}
        %wb = cast %b {to=f32}
        %y = dot %wa, %wb {lhs_batch=[], rhs_batch=[], lhs_contract=[1], rhs_contract=[0]}
    """
    case("halves/cast/two_halves", {"a": a, "b": b}, body, torch.matmul, tolerance=1e-6)
    # Weights of f32, computed with as halves: the gradient comes back as f32.
    x, w = given("f16", [[0.5, -1.25], [2.0, 0.75]]), given("f32", [[0.5, 1.5], [-0.25, 1.0]])
    body = """
        %n = cast %w {to=f16}
        %h = dot %x, %n {lhs_batch=[], rhs_batch=[], lhs_contract=[1], rhs_contract=[0]}
        %y = cast %h {to=f32}
    """
    case("halves/cast/narrow_weights", {"x": x, "w": w}, body, torch.matmul, ["x", "w"], 2e-3, smooth=False)
