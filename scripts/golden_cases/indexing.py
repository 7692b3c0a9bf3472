"""Gather, scatter and random bits."""

import numpy as np
import torch

from .write import (
    INT_MAX,
    INT_MIN,
    UINT_MAX,
    case,
    count_of,
    f32,
    given,
    i32,
    inf,
    integers,
    nan,
    philox,
    tag,
    uniform,
)


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
        gather = lambda x, index: x.index_select(axis, index.reshape(-1)).reshape(
            shape[:axis] + index_shape + shape[axis + 1 :]
        )
        body = f"%y = gather %x, %index {{axis={axis}}}"
        inputs = {"x": uniform(1, shape), "index": index}
        case(f"ops/gather/{name}", inputs, body, gather, tolerance=0.0)
        case(f"gradients/gather/{name}", inputs, body, gather, gradients=["x"], tolerance=2e-5)

        def scatter(updates, index):
            flat = (
                updates.reshape(shape[:axis] + [-1] + shape[axis + 1 :])
                if updates.numel()
                else updates.reshape(shape[:axis] + [0] + shape[axis + 1 :])
            )
            return torch.zeros(shape, dtype=torch.float64).index_add(axis, index.reshape(-1), flat)

        updates = uniform(2, shape[:axis] + index_shape + shape[axis + 1 :])
        body = f"%y = scatter_add %updates, %index {{axis={axis}, size={shape[axis]}}}"
        inputs = {"updates": updates, "index": index}
        case(f"ops/scatter_add/{name}", inputs, body, scatter, tolerance=1e-5)
        case(f"gradients/scatter_add/{name}", inputs, body, scatter, gradients=["updates"], tolerance=1e-5)
    outside = i32([0, -1, 2, 3, INT_MIN, INT_MAX])
    body = "%y = gather %x, %index {axis=0}"
    compute = lambda x, index: torch.stack(
        [x[i] if 0 <= i < 3 else torch.zeros_like(x[0]) for i in index.tolist()]
    )
    case(
        "ops/gather/outside",
        {"x": f32([[1, 2], [3, nan], [5, 6]]), "index": outside},
        body,
        compute,
        tolerance=0.0,
    )
    for dtype in ("i32", "u32", "u8", "bool"):
        x = integers(1, [3, 4], 0 if dtype != "i32" else -9, 1 if dtype == "bool" else 9, dtype)
        case(f"ops/gather/{dtype}", {"x": x, "index": outside}, body, compute)
    x = uniform(1, [3, 2])
    case(
        "gradients/gather/outside", {"x": x, "index": outside}, body, compute, gradients=["x"], tolerance=2e-6
    )
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
        compute = lambda seed, step: torch.tensor(
            philox(seed.tolist(), step.item(), stream, count_of(shape)).astype(np.int64)
        ).reshape(shape)
        case(f"ops/random_bits/{tag(shape, stream)}", inputs, body, compute)
