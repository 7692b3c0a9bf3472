"""Pooling."""

import torch
import torch.nn.functional as F

from .write import case, f32, i32, inf, nan, uniform


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
        case(
            f"gradients/window_sum_transpose/{name}",
            {"g": g},
            body,
            transpose,
            gradients=["g"],
            tolerance=5e-6,
        )
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
