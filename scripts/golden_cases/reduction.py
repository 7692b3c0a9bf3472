"""Reductions over axes."""

import itertools

import numpy as np
import torch

from .write import INT_MAX, INT_MIN, axes_of, case, f32, i32, inf, nan, tag, uniform


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
        if len(axes) != 1 or axes == [1]:
            x = uniform(2, [2, 3, 4], low, high)
            case(
                f"gradients/reduce/{name[7:]}_{tag(axes)}",
                {"x": x},
                body,
                compute,
                gradients=["x"],
                tolerance=2e-5,
            )
    zeros = f32([[2.0, -3.0, 0.5], [2.0, 0.0, -0.5], [0.0, 0.0, 4.0], [0.0, 0.0, 0.0]])
    body = "%y = reduce_prod %x {axes=[1]}"
    case("gradients/reduce/prod_of_zeros", {"x": zeros}, body, lambda x: x.prod(1), gradients=["x"], tolerance=2e-6)
    for name, function in floats.items():
        body = f"%y = {name} %x {{axes=[1]}}"
        x = f32([[1, nan, 2], [inf, 3, 4], [-inf, 0.5, 2], [inf, -inf, 0], [nan, nan, nan], [0, -0.0, 0]])
        case(f"ops/reduce/{name[7:]}_special", {"x": x}, body, lambda x: function(x, [1]), tolerance=1e-6)
        empty = {"reduce_sum": 0.0, "reduce_max": -inf, "reduce_min": inf, "reduce_prod": 1.0}[name]
        case(
            f"ops/reduce/{name[7:]}_empty",
            {"x": f32([], [2, 0])},
            body,
            lambda x: torch.full([2], empty),
            tolerance=0.0,
        )
        case(
            f"ops/reduce/{name[7:]}_of_nothing",
            {"x": f32([], [0, 3])},
            body,
            lambda x: torch.zeros([0]),
            tolerance=0.0,
        )
    for shape, axes in (
        ([10007], [0]),
        ([3, 2049], [1]),
        ([1025, 3], [0]),
        ([2, 257, 3], [0, 2]),
        ([2, 257, 3], [1]),
        ([5, 1, 513, 2], [0, 2]),
    ):
        for name in ("reduce_sum", "reduce_max"):
            body = f"%y = {name} %x {{axes={axes}}}"
            compute = lambda x: floats[name](x, axes)
            case(
                f"ops/reduce/{name[7:]}_long_{tag(shape, axes)}",
                {"x": uniform(3, shape)},
                body,
                compute,
                tolerance=2e-5,
            )
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
        case(
            f"ops/reduce/{name[7:]}_i32_empty",
            {"x": i32([], [2, 0])},
            body,
            lambda x: torch.tensor([empty, empty]),
        )
    for shape, axis in (([7], 0), ([3, 5], 0), ([3, 5], 1), ([2, 6, 3], 1), ([1025], 0), ([4, 1], 1)):
        body = f"%y = argmax %x {{axis={axis}}}"
        case(f"ops/argmax/{tag(shape, axis)}", {"x": uniform(1, shape)}, body, lambda x: x.argmax(axis))
    x = f32(
        [
            [1, 3, 3, 2],
            [nan, 5, nan, 1],
            [1, 2, nan, inf],
            [-inf, -inf, -inf, -inf],
            [0, -0.0, 0, -1],
            [-inf, inf, inf, 0],
        ]
    )
    body = "%y = argmax %x {axis=1}"
    case("ops/argmax/ties_and_nan", {"x": x}, body, lambda x: torch.tensor([1, 0, 2, 0, 0, 1]))

    for shape, axes in (
        ([7], [0]),
        ([3, 5], [1]),
        ([3, 5], [0]),
        ([2, 3, 5], [0, 2]),
        ([2, 3], [0, 1]),
        ([2, 3], []),
        ([3, 1030], [1]),
    ):
        body = f"%y = logsumexp %x {{axes={axes}}}"
        compute = lambda x: torch.logsumexp(x, axes) if axes else x * 1.0
        case(
            f"ops/logsumexp/{tag(shape, axes)}",
            {"x": uniform(1, shape, -5.0, 5.0)},
            body,
            compute,
            tolerance=4e-6,
        )
        if shape != [3, 1030]:
            x = uniform(2, shape, -3.0, 3.0)
            case(
                f"gradients/logsumexp/{tag(shape, axes)}",
                {"x": x},
                body,
                compute,
                gradients=["x"],
                tolerance=1e-5,
            )
    x = f32(
        [
            [1000, 1000.5, 999],
            [-1000, -1001, -1002],
            [-inf, -inf, -inf],
            [-inf, 0, -inf],
            [inf, 0, 1],
            [nan, 0, 1],
            [inf, -inf, 0],
            [88, 89, -inf],
        ]
    )
    case(
        "ops/logsumexp/special",
        {"x": x},
        "%y = logsumexp %x {axes=[1]}",
        lambda x: torch.logsumexp(x, 1),
        tolerance=1e-6,
    )
    x = f32([], [2, 0])
    case(
        "ops/logsumexp/empty",
        {"x": x},
        "%y = logsumexp %x {axes=[1]}",
        lambda x: torch.full([2], -inf),
        tolerance=0.0,
    )
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
        case(
            f"ops/mean_variance/{tag(shape, axes)}",
            {"x": uniform(1, shape, -2.0, 3.0)},
            body,
            compute,
            tolerance=4e-6,
        )
        if 1031 not in shape:
            x = uniform(2, shape, -2.0, 3.0)
            case(
                f"gradients/mean_variance/mean_{tag(shape, axes)}",
                {"x": x},
                body,
                compute,
                gradients=["x"],
                tolerance=1e-5,
            )
            swapped = lambda x: dict(reversed(compute(x).items()))
            case(
                f"gradients/mean_variance/variance_{tag(shape, axes)}",
                {"x": x},
                body,
                swapped,
                gradients=["x"],
                tolerance=1e-5,
            )
            both = lambda x: {"s": compute(x)["y"] * compute(x)["z"], **compute(x)}
            case(
                f"gradients/mean_variance/both_{tag(shape, axes)}",
                {"x": x},
                body + "\n%s = mul %y, %z",
                both,
                gradients=["x"],
                tolerance=1e-5,
            )
    # Σx² − (Σx)² would lose everything here.
    x = uniform(3, [2, 500], 999.0, 1001.0)
    body = "%y, %z = mean_variance %x {axes=[1]}"
    case("ops/mean_variance/far_from_zero", {"x": x}, body, lambda x: moments(x, [1]), tolerance=2e-4)
    x = f32([[1, nan, 2], [inf, 1, 2], [3, 3, 3]])
    case("ops/mean_variance/special", {"x": x}, body, lambda x: moments(x, [1]), tolerance=1e-6)
    nothing = lambda x: {"y": torch.full([2], nan), "z": torch.full([2], nan)}
    case("ops/mean_variance/empty", {"x": f32([], [2, 0])}, body, nothing)
