"""Functions of tensors, family by family."""

import math

import torch
from torch.nn import functional as F

from .write import case, given, tensor, write_families

inf, nan = math.inf, math.nan
KINKS = [-inf, -1e30, -100.0, -6.0, -3.0, -1.0, -0.5, -1e-6, 0.0, 1e-6, 0.5, 1.0, 3.0, 6.0, 20.0, 100.0, 1e30, inf]


def functions():
    fam = "functions"
    smooth = tensor(3, 5, seed=1)
    inside = tensor(3, 5, seed=2, low=-0.99, high=0.99)
    for name in ["tan", "asin", "acos", "atan", "sinh", "cosh", "asinh", "atanh", "exp2", "frac", "trunc", "sinc"]:
        x = inside if name in ("asin", "acos", "atanh") else smooth
        # No gradient flows through steps here; PyTorch's is 0.
        flows = name != "trunc"
        case(fam, name, x, getattr(torch, name), flows, tolerance=4e-6)
        case(fam, f"{name}_empty", tensor(0, 3), getattr(torch, name), flows)
    case(fam, "acosh", tensor(3, 5, seed=3, low=1.05, high=9.0), torch.acosh, tolerance=4e-6)
    for name in ["log2", "log10"]:
        case(fam, name, tensor(4, 3, seed=4, low=0.1, high=50.0), getattr(torch, name))
    case(fam, "logit", tensor(7, seed=5, low=0.01, high=0.99), torch.logit, tolerance=4e-6)
    # Wide ranges: values alone, since slopes there are 0 or infinite.
    wide = given([-inf, -1e30, -88.9, -50.0, -1.0, -1e-4, 0.0, 1e-4, 0.4, 0.42, 1.0, 2.4, 2.42, 50.0, 88.9, 1e30, inf, nan])
    for name in ["atan", "sinh", "cosh", "asinh"]:
        case(fam, f"{name}_wide", wide, getattr(torch, name), gradients=False, tolerance=1e-5)
    case(fam, "atan_slopes", given([-1e10, -3.0, 0.0, 0.41421357, 2.4142137, 3.0, 1e10, inf]), torch.atan)
    case(fam, "sinh_slopes", given([-5.0, -1.0, 0.0, 0.999, 1.0, 5.0]), torch.sinh, tolerance=4e-6)
    case(fam, "asinh_slopes", given([-2e6, -1.0, 0.0, 1.0, 2e6, 1e30]), torch.asinh)
    case(fam, "acosh_wide", given([-10.0, 0.5, 1.0, 1.0001, 2e6, 1e30, inf]), torch.acosh, gradients=False)
    case(fam, "edges_asin", given([-1.5, -1.0, 0.0, 1.0, 1.5]), torch.asin, gradients=False)
    case(fam, "edges_acos", given([-1.5, -1.0, 0.0, 1.0, 1.5]), torch.acos, gradients=False)
    case(fam, "edges_atanh", given([-1.5, -1.0, 0.0, 1.0, 1.5]), torch.atanh, gradients=False)
    case(fam, "sinc_zero", given([0.0, 0.05, 1.0]), torch.sinc)
    case(fam, "trunc_ends", given([-inf, -1.5, -0.5, 0.5, 1.5, inf, nan]), torch.trunc, gradients=False)
    y, x = tensor(5, 1, seed=6), tensor(1, 4, seed=7)
    case(fam, "atan2", [y, x], torch.atan2, tolerance=4e-6)
    special = given([-inf, -1.0, 0.0, 1.0, inf])
    case(fam, "atan2_special", [special[:, None].contiguous(), special[None, :].contiguous()], torch.atan2, gradients=False)
    case(fam, "hypot", [y, x], torch.hypot)
    case(fam, "hypot_wide", [given([3e30, 3e-30, 0.0, inf]), given([4e30, 4e-30, 0.0, 1.0])], torch.hypot, gradients=False)
    case(fam, "logaddexp", [y, x], torch.logaddexp)
    case(
        fam,
        "logaddexp_wide",
        [given([1e4, -1e4, -inf, inf, 3.0, inf]), given([1e4, 1e4, -inf, 5.0, 3.0, inf])],
        torch.logaddexp,
        gradients=False,
    )
    case(fam, "xlogy", [y, x.abs() + 0.1], torch.xlogy)
    case(fam, "xlogy_zero", [given([0.0, 0.0, 0.0, 2.0, nan]), given([0.0, 2.0, inf, 0.0, 1.0])], torch.xlogy, gradients=False)
    case(fam, "xlogy_slopes", [given([0.0, 2.0]), given([2.0, 3.0])], torch.xlogy)
    a, b = given([5.0, -5.0, 5.0, -5.0, 6.0, 0.25]), given([3.0, 3.0, -3.0, -3.0, 3.0, 0.5])
    case(fam, "remainder", [a, b], torch.remainder)
    case(fam, "floor_divide", [a, b], torch.floor_divide, gradients=False)
    i, j = given([7, -7, 7, -7, 6, 0], torch.int32), given([3, 3, -3, -3, 3, 5], torch.int32)
    case(fam, "remainder_integers", [i, j], torch.remainder)
    case(fam, "floor_divide_integers", [i, j], torch.floor_divide)
    case(fam, "lerp", [y, x, tensor(1, seed=8)], torch.lerp)
    case(fam, "heaviside", given([-2.0, 0.0, 3.0, nan]), lambda x: torch.heaviside(x, torch.tensor(0.5).double()), gradients=False)
    ends = given([nan, inf, -inf, 1.5])
    case(fam, "nan_to_num", ends, lambda x: torch.nan_to_num(x, 0.5, 7.0, -7.0))
    case(fam, "clamp_min", given([-1.0, 0.5, 2.0]), lambda x: x.clamp(min=0.5))
    case(fam, "clamp_max", given([-1.0, 0.5, 2.0]), lambda x: x.clamp(max=0.5))
    case(fam, "deg2rad", smooth, torch.deg2rad)
    case(fam, "rad2deg", smooth, torch.rad2deg, tolerance=2e-5)
    for name in ["isnan", "isinf", "isfinite"]:
        case(fam, name, ends, getattr(torch, name))
        case(fam, f"{name}_integers", i, getattr(torch, name))
    p, q = given([1.0, 1.0, inf, -inf, nan, inf]), given([1.0 + 1e-6, 1.1, inf, inf, nan, 1.0])
    case(fam, "isclose", [p, q], lambda a, b: torch.isclose(a, b, rtol=1e-5, atol=1e-8))
    case(fam, "allclose", [p, q], lambda a, b: torch.tensor(torch.allclose(a, b)))


ACTIVATIONS = {
    "elu": lambda x: F.elu(x, 0.7),
    "celu": lambda x: F.celu(x, 0.7),
    "selu": F.selu,
    "hard_tanh": lambda x: F.hardtanh(x, -1.0, 3.0),
    "relu6": F.relu6,
    "hard_sigmoid": F.hardsigmoid,
    "hard_swish": F.hardswish,
    "mish": F.mish,
    "log_sigmoid": F.logsigmoid,
    "softsign": F.softsign,
    "tanh_shrink": F.tanhshrink,
    "soft_shrink": lambda x: F.softshrink(x, 0.5),
    "hard_shrink": lambda x: F.hardshrink(x, 0.5),
    "threshold": lambda x: F.threshold(x, 0.5, -7.0),
}


def activations():
    fam = "activations"
    kinks = given([x for x in KINKS if abs(x) < 1e30])
    for name, function in ACTIVATIONS.items():
        case(fam, name, tensor(4, 5, seed=1, low=-5.0, high=5.0), function)
        case(fam, f"{name}_kinks", kinks, function)
        # At −∞ PyTorch multiplies infinity with 0.
        ends = given([-1e30, 1e30, inf] if name == "hard_swish" else [-inf, -1e30, 1e30, inf])
        case(fam, f"{name}_ends", ends, function, gradients=False)
        case(fam, f"{name}_empty", tensor(2, 0), function)
    case(fam, "prelu", [tensor(3, 4, seed=2), tensor(4, seed=3)], lambda x, w: F.prelu(x, w))
    case(fam, "prelu_kink", [given([[0.0, -1.0, 1.0]]), given([0.25])], lambda x, w: F.prelu(x, w))
    case(fam, "glu_last", tensor(3, 6, seed=4), lambda x: F.glu(x, -1))
    case(fam, "glu_first", tensor(2, 6, seed=5), lambda x: F.glu(x, 0))


def creation():
    fam = "creation"
    double = lambda x: x.double()
    case(fam, "full_like", tensor(2, 3), lambda x: torch.full_like(x, 2.5), gradients=False)
    case(fam, "arange_step", [], lambda: double(torch.arange(0.0, 1.0, 0.25)))
    case(fam, "arange_step_back", [], lambda: double(torch.arange(3.0, -1.0, -1.5)))
    case(fam, "logspace", [], lambda: double(torch.logspace(-1, 3, 5, base=2.0)))
    case(fam, "eye_of", [], lambda: torch.diag_embed(torch.ones(3), offset=1)[:3].double())
    x = tensor(4, 5, seed=1)
    batch = tensor(2, 3, 4, seed=2)
    for k in (-7, -2, 0, 1, 9):
        tag = f"minus_{-k}" if k < 0 else str(k)
        case(fam, f"tril_{tag}", x, lambda x: x.tril(k))
        case(fam, f"triu_{tag}", batch, lambda x: x.triu(k))
        case(fam, f"diag_embed_{tag}", tensor(2, 3, seed=3), lambda x: torch.diag_embed(x, k))
        if abs(k) < 4:
            case(fam, f"diagonal_{tag}", x, lambda x: x.diagonal(k))
            case(fam, f"diagonal_axes_{tag}", batch, lambda x: x.diagonal(k, 2, 0))
    case(fam, "tril_infinite", given([[1.0, inf], [2.0, nan]]), lambda x: x.tril(), gradients=False)
    case(fam, "tril_integers", given([[1, 2], [3, 4]], torch.int32), lambda x: x.tril())
    case(fam, "tri", [], lambda: torch.ones(3, 4).tril(-1).double())
    case(fam, "trace", tensor(4, 4, seed=4), torch.trace)
    case(fam, "diag_vector", tensor(3, seed=5), lambda x: torch.diag(x, -1))
    case(fam, "diag_matrix", x, lambda x: torch.diag(x, 1))
    case(fam, "diag_of_nothing", tensor(0), torch.diag)
    case(fam, "meshgrid_0", [tensor(2, seed=6), tensor(3, seed=7)], lambda a, b: torch.meshgrid(a, b, indexing="ij")[0])
    case(fam, "meshgrid_1", [tensor(2, seed=6), tensor(3, seed=7)], lambda a, b: torch.meshgrid(a, b, indexing="ij")[1])


def ordering():
    fam = "ordering"
    x = tensor(3, 7, seed=1)
    cube = tensor(2, 5, 3, seed=2)
    ties = given([[2.0, 1.0, 2.0, nan, 1.0], [0.0, -0.0, inf, -inf, 0.0]])
    integers = given([[3, -1, 3], [7, -9, 0]], torch.int32)
    for name, descending in (("ascending", False), ("descending", True)):
        sort = lambda x, axis: torch.sort(x, dim=axis, descending=descending, stable=True)
        case(fam, f"sort_{name}", x, lambda x: sort(x, -1).values)
        case(fam, f"sort_{name}_middle", cube, lambda x: sort(x, 1).values)
        case(fam, f"argsort_{name}", cube, lambda x: sort(x, 0).indices)
        case(fam, f"argsort_{name}_ties", ties, lambda x: sort(x, 1).indices)
        case(fam, f"sort_{name}_ties", ties, lambda x: sort(x, 1).values, gradients=False)
        case(fam, f"sort_{name}_integers", integers, lambda x: sort(x, 0).values)
        case(fam, f"sort_{name}_bool", given([True, False, True], torch.bool), lambda x: sort(x, 0).values)
        case(fam, f"topk_{name}", x, lambda x: x.topk(3, 1, largest=descending).values)
        case(fam, f"topk_{name}_indices", cube, lambda x: x.topk(2, 1, largest=descending).indices)
        case(fam, f"topk_{name}_none", x, lambda x: x.topk(0, 1, largest=descending).values)
    case(fam, "sort_one", tensor(3, 1), lambda x: x.sort(1).values)
    case(fam, "sort_empty", tensor(3, 0), lambda x: x.sort(1).values)
    case(fam, "kthvalue", cube, lambda x: x.kthvalue(2, 1).values)
    case(fam, "kthvalue_index", cube, lambda x: x.kthvalue(2, 1).indices)
    case(fam, "median", x, lambda x: x.median(1).values)
    case(fam, "median_even", tensor(4, 3, seed=3), lambda x: x.median(0).values)
    case(fam, "median_nan", given([[1.0, nan, 2.0], [3.0, 1.0, 2.0]]), lambda x: x.median(1).values, gradients=False)
    case(fam, "median_integers", integers, lambda x: x.median(1).values)
    for q in (0.0, 0.3, 0.5, 1.0):
        case(fam, f"quantile_{int(q * 10)}", x, lambda x: x.quantile(torch.tensor(q).float().double(), 1))
    case(fam, "quantile_nan", given([[1.0, nan, 2.0], [3.0, 1.0, 2.0]]), lambda x: x.quantile(0.25, 1), gradients=False)
    bounds, values = given([-1.0, 0.0, 0.0, 2.0]), given([[-2.0, -1.0, 0.0], [1.0, 2.0, inf]])
    case(fam, "searchsorted", [bounds, values], lambda b, v: torch.searchsorted(b.detach(), v.detach()))
    case(fam, "searchsorted_right", [bounds, values], lambda b, v: torch.searchsorted(b.detach(), v.detach(), right=True))


def gather():
    fam = "gather"
    x = tensor(3, 4, 2, seed=1)
    index = given([[[3, 0], [1, 1]], [[0, 2], [3, 3]]], torch.int64)
    case(fam, "gather", [x, index], lambda x, i: x.gather(1, i))
    case(fam, "gather_first", [tensor(4, 3, seed=2), given([[3, 0, 1]], torch.int64)], lambda x, i: x.gather(0, i))
    case(fam, "gather_integers", [given([[5, 6], [7, 8]], torch.int32), given([[1, 1], [0, 1]], torch.int64)], lambda x, i: x.gather(1, i))
    case(fam, "gather_empty", [tensor(2, 3), torch.zeros(2, 0, dtype=torch.int64)], lambda x, i: x.gather(1, i))
    source = tensor(2, 2, 2, seed=3)
    case(fam, "scatter_add", [x, index, source], lambda x, i, s: x.scatter_add(1, i, s))
    case(fam, "scatter_add_first", [tensor(5, 2, seed=4), given([[4, 4], [4, 0], [1, 1]], torch.int64), tensor(3, 2, seed=5)], lambda x, i, s: x.scatter_add(0, i, s))
    distinct = given([[2, 0], [1, 3]], torch.int64)
    case(fam, "scatter", [tensor(2, 4, seed=6), distinct, tensor(2, 2, seed=7)], lambda x, i, s: x.scatter(1, i, s))
    case(
        fam,
        "scatter_mean",
        [tensor(2, 4, seed=6), given([[2, 2, 0], [1, 1, 1]], torch.int64), tensor(2, 3, seed=7)],
        lambda x, i, s: x.scatter_reduce(1, i, s, "mean", include_self=False),
    )
    case(fam, "index_add", [tensor(3, 4, seed=8), given([1, 3, 1], torch.int64), tensor(3, 3, seed=9)], lambda x, i, s: x.index_add(1, i, s))
    case(fam, "take", [x, given([[0, 5], [23, 5]], torch.int64)], lambda x, i: x.take(i))
    case(fam, "bincount", given([0, 3, 3, 1, 0, 3], torch.int64), lambda x: x.bincount(minlength=6))
    case(fam, "histc", tensor(50, seed=10), lambda x: torch.histc(x.detach(), 7, -1.5, 2.0).to(torch.int64))
    case(fam, "histc_ends", given([0.0, 1.0, 0.5, -0.1, 1.1, 0.99, nan]), lambda x: torch.tensor([1, 3]))


def index():
    fam = "index"
    x = tensor(4, 5, 6, seed=1)
    case(fam, "at", x, lambda x: x[1])
    case(fam, "at_last", x, lambda x: x[-1, -2])
    case(fam, "ranges", x, lambda x: x[1:3, :-1, 2:])
    case(fam, "beyond", x, lambda x: x[2:99, -99:2])
    case(fam, "crossed", x, lambda x: x[3:1])
    case(fam, "steps", x, lambda x: x[::2, 1::3])
    case(fam, "back", x, lambda x: x.flip(1)[:, ::2])
    case(fam, "back_range", x, lambda x: x.flip(2)[:, :, 1:4])
    case(fam, "new_axis", x, lambda x: x[:, None, 2, ..., None])
    case(fam, "ellipsis", x, lambda x: x[..., -1])
    case(fam, "inclusive", x, lambda x: x[1:3, :4])


def joining():
    fam = "joining"
    x = tensor(2, 7, 3, seed=1)
    case(fam, "split_last_part", x, lambda x: x.split(3, 1)[2])
    case(fam, "split_sizes", x, lambda x: x.split([1, 2, 4], 1)[1])
    case(fam, "chunk", x, lambda x: x.chunk(3, 1)[2])
    case(fam, "unbind", x, lambda x: x.unbind(1)[5])
    case(fam, "repeat", x, lambda x: x.repeat(2, 1, 3))
    case(fam, "repeat_more", tensor(3, seed=2), lambda x: x.repeat(2, 2))
    case(fam, "repeat_none", tensor(3, seed=2), lambda x: x.repeat(0))
    case(fam, "repeat_interleave", x, lambda x: x.repeat_interleave(2, 1))
    case(fam, "roll", x, lambda x: x.roll((1, -2), (0, 1)))
    case(fam, "roll_far", x, lambda x: x.roll(23, 1))
    case(fam, "roll_empty", tensor(0, 3), lambda x: x.roll(1, 0))
    for k in (1, 2, 3, -1):
        case(fam, f"rot90_{k % 4}{'_back' if k < 0 else ''}", x, lambda x: x.rot90(k, (0, 1)))
    case(fam, "movedim", x, lambda x: x.movedim(0, -1))
    case(fam, "movedim_front", x, lambda x: x.movedim(2, 0))
    case(fam, "unflatten", tensor(2, 12, seed=3), lambda x: x.unflatten(1, (3, -1)))
    case(fam, "unfold", x, lambda x: x.unfold(1, 3, 2))
    case(fam, "unfold_last", x, lambda x: x.unfold(2, 2, 1))
    case(fam, "unfold_whole", x, lambda x: x.unfold(0, 2, 5))
    pad = lambda x, widths, mode: F.pad(x[None], widths, mode=mode)[0]
    image = tensor(2, 4, 5, seed=4)
    case(fam, "pad_reflect", image, lambda x: pad(x, (4, 2, 1, 3), "reflect"))
    case(fam, "pad_replicate", image, lambda x: pad(x, (3, 7, 0, 2), "replicate"))
    case(fam, "pad_circular", image, lambda x: pad(x, (5, 2, 1, 4), "circular"))
    case(fam, "pad_constant", image, lambda x: F.pad(x, (1, 2, 0, 3), value=1.5))
    case(fam, "pad_cropping", image, lambda x: F.pad(x, (-1, 2, 1, -2), value=1.5))


EINSUMS = {
    "product": ("ij,jk->ik", [(3, 4), (4, 5)]),
    "batched": ("bij,bjk->bik", [(2, 3, 4), (2, 4, 5)]),
    "implicit": ("ji,ik", [(3, 4), (4, 5)]),
    "transposed": ("ij->ji", [(3, 4)]),
    "sum": ("ij->", [(3, 4)]),
    "column": ("ij->j", [(3, 4)]),
    "diagonal": ("ii->i", [(4, 4)]),
    "trace": ("ii", [(4, 4)]),
    "outer": ("i,j->ij", [(3,), (4,)]),
    "elementwise": ("ij,ij->ij", [(3, 4), (3, 4)]),
    "ellipsis": ("...ij,...jk->...ik", [(2, 1, 3, 4), (5, 4, 2)]),
    "ellipsis_implicit": ("...i,...i", [(2, 3, 4), (3, 4)]),
    "ellipsis_sum": ("...i->...", [(2, 3, 4)]),
    "three": ("ij,jk,kl->il", [(2, 3), (3, 4), (4, 5)]),
    "attention": ("bhqd,bhkd->bhqk", [(2, 3, 4, 5), (2, 3, 6, 5)]),
    "bilinear": ("bi,oij,bj->bo", [(2, 3), (4, 3, 5), (2, 5)]),
    "lonely": ("ij,k->i", [(2, 3), (4,)]),
    "repeated": ("iij,jk->ik", [(3, 3, 2), (2, 4)]),
    "single": ("ij,ij->i", [(3, 1), (3, 4)]),
    "scalar": (",ij->ij", [(), (2, 3)]),
    "empty": ("ij,jk->ik", [(2, 0), (0, 3)]),
}


def products():
    fam = "products"
    for name, (equation, shapes) in EINSUMS.items():
        tensors = [tensor(*shape, seed=20 + i) for i, shape in enumerate(shapes)]
        case(fam, f"einsum_{name}", tensors, lambda *x: torch.einsum(equation, *x), tolerance=4e-6)
    a, b = tensor(5, seed=1), tensor(5, seed=2)
    case(fam, "dot", [a, b], torch.dot)
    case(fam, "outer", [a, tensor(3, seed=3)], torch.outer)
    case(fam, "inner", [tensor(2, 5, seed=4), tensor(3, 5, seed=5)], torch.inner)
    case(fam, "tensordot", [tensor(2, 3, 4, seed=6), tensor(4, 5, 3, seed=7)], lambda a, b: torch.tensordot(a, b, ([1, 2], [2, 0])))
    case(fam, "kron", [tensor(2, 3, seed=8), tensor(3, 2, seed=9)], torch.kron)
    case(fam, "kron_ranks", [tensor(2, seed=10), tensor(3, 2, seed=11)], torch.kron)
    case(fam, "cross", [tensor(4, 3, seed=12), tensor(4, 3, seed=13)], lambda a, b: torch.linalg.cross(a, b))


def statistics():
    fam = "statistics"
    x = tensor(3, 4, 5, seed=1)
    case(fam, "var_keep", x, lambda x: x.var(1, keepdim=True))
    case(fam, "std_keep", x, lambda x: x.std((0, 2), keepdim=True))
    case(fam, "var_biased", x, lambda x: x.var((1, 2), correction=0))
    case(fam, "var_one", tensor(3, 1), lambda x: x.var(1, correction=0))
    case(fam, "var_no_freedom", tensor(3, 1), lambda x: x.var(1, correction=1), gradients=False)
    case(fam, "std_biased", x, lambda x: x.std(0, correction=0))
    case(fam, "std_equal", given([[2.0, 2.0, 2.0]]), lambda x: x.std(1, correction=0))
    case(fam, "logsumexp_keep", x, lambda x: x.logsumexp((0, 1), keepdim=True))
    case(fam, "argmax_keep", x, lambda x: x.argmax(1, keepdim=True))
    case(fam, "argmin_keep", x, lambda x: x.argmin(-1, keepdim=True))
    case(fam, "all_keep", x > 0, lambda x: x.all(1, keepdim=True))
    case(fam, "any_keep", x > 1, lambda x: x.any(2, keepdim=True))
    case(fam, "prod", x, lambda x: x.prod(1), tolerance=4e-6)
    case(fam, "prod_zeros", given([[2.0, 0.0, 3.0], [0.0, 0.0, 1.0], [2.0, 4.0, 0.5]]), lambda x: x.prod(1))
    vector = lambda p, **options: lambda x: torch.linalg.vector_norm(x, p, **options)
    for name, p in {"two": 2, "one": 1, "max": inf, "min": -inf, "zero": 0, "three": 3, "half": 0.5}.items():
        case(fam, f"norm_{name}", x, vector(p, dim=1), p != 0, tolerance=1e-5)
        case(fam, f"norm_{name}_all", x, vector(p), p != 0, tolerance=1e-5)
    case(fam, "norm_of_zeros", torch.zeros(2, 3).double(), vector(2, dim=1))
    case(fam, "norm_keep", x, vector(2, dim=(0, 2), keepdim=True))
    case(fam, "norm_three_of_zeros", given([[0.0, 0.0], [0.0, 2.0]]), vector(3, dim=1))
    case(fam, "normalize", x, lambda x: F.normalize(x, dim=1))
    case(fam, "normalize_zeros", torch.zeros(2, 3).double(), lambda x: F.normalize(x, dim=1), gradients=False)
    holes = given([[1.0, nan, 2.0], [nan, nan, nan]])
    case(fam, "nansum", holes, lambda x: x.nansum(1))
    case(fam, "nanmean", holes, lambda x: x.nanmean(1), gradients=False)
    case(fam, "nanmean_slopes", given([[1.0, nan, 2.0]]), lambda x: x.nanmean(1))
    case(fam, "count_nonzero", given([[0.0, 1.0, nan], [0.0, 0.0, 2.0]]), lambda x: x.detach().count_nonzero(1))
    case(fam, "equal", [x, x.clone()], lambda a, b: torch.tensor(torch.equal(a, b)))
    for name, axis in (("first", 0), ("middle", 1), ("last", -1)):
        case(fam, f"cumsum_{name}", x, lambda x: x.cumsum(axis))
        case(fam, f"cumprod_{name}", x, lambda x: x.cumprod(axis), tolerance=1e-5)
        case(fam, f"cummax_{name}", x, lambda x: x.cummax(axis).values)
        case(fam, f"cummin_{name}", x, lambda x: x.cummin(axis).values)
        case(fam, f"logcumsumexp_{name}", x, lambda x: x.logcumsumexp(axis), tolerance=4e-6)
    case(fam, "cumsum_integers", given([[1, 2, 3], [2**31 - 1, 1, 1]], torch.int32), lambda x: x.cumsum(1, dtype=torch.int32))
    case(fam, "cumsum_bool", given([True, False, True], torch.bool), lambda x: x.cumsum(0))
    case(fam, "cumsum_infinite", given([1.0, inf, 2.0, nan, 1.0]), lambda x: x.cumsum(0), gradients=False)
    case(fam, "cumsum_long", tensor(2500, seed=2), lambda x: x.cumsum(0), tolerance=1e-4)
    case(fam, "cumsum_empty", tensor(2, 0), lambda x: x.cumsum(1))
    case(fam, "cumprod_zeros", given([2.0, 0.0, 3.0, 0.0, 5.0]), lambda x: x.cumprod(0))
    case(fam, "cummax_nan", given([1.0, nan, 2.0]), lambda x: x.cummax(0).values, gradients=False)
    case(fam, "logcumsumexp_wide", given([-1e4, 1e4, 0.0, -inf]), lambda x: x.logcumsumexp(0), gradients=False)
    case(fam, "diff", x, lambda x: x.diff(dim=1))
    case(fam, "diff_twice", x, lambda x: x.diff(n=2, dim=2))
    case(fam, "diff_too_often", tensor(2), lambda x: x.diff(n=3))
    case(fam, "trapezoid", x, lambda x: torch.trapezoid(x, dx=0.5, dim=1))
    case(fam, "trapezoid_one", tensor(3, 1), lambda x: torch.trapezoid(x, dim=1))
    rows = tensor(3, 8, seed=3)
    case(fam, "cov", rows, torch.cov, tolerance=4e-6)
    case(fam, "corrcoef", rows, torch.corrcoef, tolerance=4e-6)
    a, b = tensor(4, 5, seed=4), tensor(4, 5, seed=5)
    case(fam, "cosine_similarity", [a, b], lambda a, b: F.cosine_similarity(a, b, dim=1))
    case(fam, "cosine_similarity_broadcast", [a, b[:1].clone()], lambda a, b: F.cosine_similarity(a, b, dim=1))
    case(fam, "pairwise_distance", [a, b], F.pairwise_distance)
    case(fam, "cdist", [a, b[:3].clone()], torch.cdist)
    case(fam, "cdist_one", [tensor(2, 3, 4, seed=6), tensor(2, 5, 4, seed=7)], lambda a, b: torch.cdist(a, b, p=1.0))


def tensor_cases():
    functions()
    activations()
    creation()
    ordering()
    gather()
    index()
    joining()
    products()
    statistics()
    write_families("tensors")
