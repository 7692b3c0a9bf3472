"""Sorting and running sums along an axis."""

import torch

from .write import INT_MAX, INT_MIN, case, f32, i32, inf, integers, nan, tag, uniform

SHAPES = [([7], 0), ([3, 5], 1), ([3, 5], 0), ([2, 3, 4], 1), ([4, 1], 1), ([0, 3], 1), ([3, 0], 1), ([1], 0), ([2, 300], 1)]


def scan_cases():
    for descending in (False, True):
        sort = lambda x, axis: torch.argsort(x, dim=axis, descending=descending, stable=True)
        attributes = lambda axis: f"{{axis={axis}, descending={int(descending)}}}"
        name = lambda *parts: f"ops/argsort/{'descending' if descending else 'ascending'}_{tag(*parts)}"
        for shape, axis in SHAPES:
            body = f"%y = argsort %x {attributes(axis)}"
            case(name(shape, axis), {"x": uniform(1, shape)}, body, lambda x: sort(x, axis))
        body = f"%y = argsort %x {attributes(0)}"
        special = f32([1.0, nan, -inf, 0.0, -0.0, inf, 1.0, nan, -2.0, 1e-40, -1e-40])
        case(name("special"), {"x": special}, body, lambda x: sort(x, 0))
        case(name("integers"), {"x": i32([3, INT_MIN, INT_MAX, -1, 0, 3, -1])}, body, lambda x: sort(x, 0))
        case(name("many_equal"), {"x": integers(4, [600], -3, 3)}, body, lambda x: sort(x, 0))
    for reverse in (False, True):
        turn = lambda x, axis: x.flip(axis) if reverse else x
        total = lambda x, axis: turn(turn(x, axis).cumsum(axis), axis)
        attributes = lambda axis: f"{{axis={axis}, reverse={int(reverse)}}}"
        name = lambda *parts: f"cumulative_sum/{'reverse' if reverse else 'forward'}_{tag(*parts)}"
        for shape, axis in SHAPES:
            body = f"%y = cumulative_sum %x {attributes(axis)}"
            case(f"ops/{name(shape, axis)}", {"x": uniform(1, shape)}, body, lambda x: total(x, axis), tolerance=2e-5)
            case(
                f"gradients/{name(shape, axis)}",
                {"x": uniform(1, shape)},
                body,
                lambda x: total(x, axis),
                gradients=["x"],
                tolerance=2e-5,
            )
        body = f"%y = cumulative_sum %x {attributes(0)}"
        case(f"ops/{name('special')}", {"x": f32([1.0, 2.0, inf, 3.0, -inf, 1.0])}, body, lambda x: total(x, 0), tolerance=0.0)
        wrapped = lambda x: total(x.to(torch.int32), 0).to(torch.int32)
        case(f"ops/{name('wraps')}", {"x": i32([INT_MAX, 1, -5, INT_MIN])}, body, wrapped)
