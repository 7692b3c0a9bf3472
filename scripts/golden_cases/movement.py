"""Operations that move elements."""

import itertools

import torch
import torch.nn.functional as F

from .write import case, f32, given, integers, tag, uniform


def movement_cases():
    for shape, axis in (([5], 0), ([3, 4], 0), ([3, 4], 1), ([2, 3, 5], 1), ([1, 7], 0), ([0, 3], 1)):
        body = f"%y = iota {{shape={shape}, axis={axis}}}"
        compute = lambda s=shape, a=axis: (
            torch.arange(s[a]).reshape([-1 if i == a else 1 for i in range(len(s))]).expand(s)
        )
        case(f"ops/iota/{tag(shape)}_{axis}", {}, body, compute)

    def both(name, inputs, body, function, of=("x",)):
        case(f"ops/{name}", inputs, body, function, tolerance=0.0)
        case(f"gradients/{name}", inputs, body, function, gradients=list(of), tolerance=1e-6)

    for shape, to in (
        ([6], [2, 3]),
        ([2, 3, 4], [4, 6]),
        ([1, 5, 1], [5]),
        ([1], []),
        ([], [1, 1]),
        ([3, 0], [0, 7]),
    ):
        x = uniform(1, shape)
        both(
            f"movement/reshape_{tag(shape, to)}",
            {"x": x},
            f"%y = reshape %x {{shape={to}}}",
            lambda x: x.reshape(to),
        )
    orders = list(itertools.permutations(range(3))) + [(3, 0, 2, 1), (1, 0), (0, 1), (2, 4, 0, 3, 1)]
    for order in map(list, orders):
        shape = {2: [17, 5], 3: [3, 5, 7], 4: [2, 3, 4, 5], 5: [2, 3, 1, 4, 3]}[len(order)]
        body = f"%y = permute %x {{order={order}}}"
        both(f"movement/permute_{tag(order)}", {"x": uniform(1, shape)}, body, lambda x: x.permute(order))
    case(
        "ops/movement/permute_scalar",
        {"x": f32([2.5], [])},
        "%y = permute %x {order=[]}",
        lambda x: x,
        tolerance=0.0,
    )
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
        both(
            f"movement/broadcast_{tag(shape, to)}",
            {"x": uniform(1, shape)},
            body,
            lambda x: x.reshape(view).expand(to),
        )
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
        both(
            f"movement/slice_{tag(shape, start, stop, step)}",
            {"x": uniform(1, shape)},
            body,
            lambda x: x[index],
        )
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
        case(
            f"ops/movement/pad_{dtype}",
            {"x": x},
            body,
            lambda x: torch.tensor([value, 1, value, 0, value, 1]),
        )
    for shape, axes in (([5], [0]), ([3, 4], [1]), ([2, 3, 4], [0, 2]), ([3, 4], []), ([0, 2], [0])):
        body = f"%y = flip %x {{axes={axes}}}"
        both(f"movement/flip_{tag(shape, axes)}", {"x": uniform(1, shape)}, body, lambda x: x.flip(axes))
    for axis, shapes in (
        (0, [[2], [3]]),
        (1, [[2, 3], [2, 1], [2, 4]]),
        (0, [[2, 3], [0, 3], [1, 3]]),
        (2, [[2, 1, 3], [2, 1, 2]]),
        (0, [[4]]),
    ):
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
