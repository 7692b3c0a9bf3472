"""Sums of products: dot and convolution."""

import torch
import torch.nn.functional as F

from .write import case, count_of, f32, inf, nan, uniform


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
        if name in {
            "plain_3x3",
            "dilated_strided",
            "grouped_dilated_strided",
            "depthwise_strided",
            "uneven_padding",
            "stride_beyond_kernel",
        }:
            case(f"gradients/convolution/{name}", inputs, body, forward, gradients=["x", "w"], tolerance=2e-5)
            case(
                f"gradients/convolution/{name}_input_gradient",
                given_gw,
                by_input,
                input_gradient,
                gradients=["g", "w"],
                tolerance=2e-5,
            )
            case(
                f"gradients/convolution/{name}_filter_gradient",
                given_xg,
                by_filter,
                filter_gradient,
                gradients=["x", "g"],
                tolerance=2e-5,
            )
    x = f32([[[[1, 2, nan], [4, 5, 6], [7, inf, 9]]]])
    w = f32([[[[1, 0], [0, 2]]]])
    body = "%y = convolution %x, %w {window=[stride:[1, 1] low:[1, 0] high:[0, 0] dilation:[1, 1] groups:1]}"
    compute = lambda x, w: convolve(x, w, one, [1, 0], zero, one, 1)
    case("ops/convolution/special", {"x": x, "w": w}, body, compute, tolerance=1e-6)
