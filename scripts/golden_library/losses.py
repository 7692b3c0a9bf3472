"""Losses: of predictions and targets, with the gradient by the prediction."""

import math

import torch
from torch.nn import functional as F

from .write import case, given, tensor, write_families

NAMES = [
    "gaussian_nll",
    "smooth_l1",
    "poisson_nll",
    "huber",
    "mae",
    "bce_with_logits",
    "bce",
    "focal",
    "dice",
    "nll",
    "categorical_cross_entropy",
    "kl_div",
    "ctc",
    "info_nce",
    "hinge_embedding",
    "hinge",
    "soft_margin",
    "margin_ranking",
    "cosine_embedding",
    "triplet",
]

inf = math.inf


def fixed(function):
    """No gradient flows into the target."""
    return lambda x, t: function(x, t.detach())


def add(name, *rest, **options):
    """A case of the loss whose name it starts with, in a file of that name."""
    family = max((loss for loss in NAMES if f"{name}_".startswith(f"{loss}_")), key=len)
    case(family, name, *rest, **options)


def regression():
    x, t = tensor(4, 3, seed=1), tensor(4, 3, seed=2)
    kinks, zeros = given([-3.0, -1.0, -0.5, 0.0, 0.5, 1.0, 3.0, 1e10]), torch.zeros(8).double()
    table = {
        "mae": F.l1_loss,
        "huber": F.huber_loss,
        "huber_delta": lambda x, t: F.huber_loss(x, t, delta=0.5),
        "smooth_l1": F.smooth_l1_loss,
        "smooth_l1_beta": lambda x, t: F.smooth_l1_loss(x, t, beta=0.5),
        "smooth_l1_zero": lambda x, t: F.smooth_l1_loss(x, t, beta=0.0),
    }
    for name, function in table.items():
        add(name, [x, t], fixed(function))
        add(f"{name}_kinks", [kinks, zeros], fixed(function))
    add("mae_sum", [x, t], fixed(lambda x, t: F.l1_loss(x, t, reduction="sum")))
    add("mae_none", [x, t], fixed(lambda x, t: F.l1_loss(x, t, reduction="none")))
    counts = given([[0.0, 1.0, 3.0], [7.0, 2.0, 0.0]])
    add("poisson_nll", [tensor(2, 3, seed=3), counts], fixed(F.poisson_nll_loss))
    add("poisson_nll_full", [tensor(2, 3, seed=3), counts], fixed(lambda x, t: F.poisson_nll_loss(x, t, full=True)))
    rates = tensor(2, 3, seed=4, low=0.1, high=5.0)
    add("poisson_nll_rates", [rates, counts], fixed(lambda x, t: F.poisson_nll_loss(x, t, log_input=False)))
    moments = torch.cat([tensor(3, 2, seed=5), tensor(3, 2, seed=6, low=0.2, high=3.0)], 1)
    gaussian = lambda full: lambda x, t: F.gaussian_nll_loss(x[:, :2], t, x[:, 2:], full=full)
    add("gaussian_nll", [moments, tensor(3, 2, seed=7)], fixed(gaussian(False)))
    add("gaussian_nll_full", [moments, tensor(3, 2, seed=7)], fixed(gaussian(True)))
    small = given([[0.5, 1e-9]])
    add("gaussian_nll_small", [small, given([[0.5]])], fixed(lambda x, t: F.gaussian_nll_loss(x[:, :1], t, x[:, 1:])))


def binary():
    p, t = tensor(4, 3, seed=1, low=0.02, high=0.98), tensor(4, 3, seed=2, low=0.0, high=1.0)
    add("bce", [p, t], fixed(F.binary_cross_entropy))
    add("bce_ends", [given([0.0, 1.0, 0.0, 1.0]), given([0.0, 1.0, 1.0, 0.0])], fixed(F.binary_cross_entropy), gradients=False)
    x = tensor(4, 3, seed=3, low=-5.0, high=5.0)
    add("bce_with_logits", [x, t], fixed(F.binary_cross_entropy_with_logits))
    weight = given([0.5, 1.0, 3.0])
    add("bce_with_logits_weighted", [x, t], fixed(lambda x, t: F.binary_cross_entropy_with_logits(x, t, pos_weight=weight)))
    far, right = given([1e4, -1e4, 1e4, -1e4, 0.0]), given([1.0, 0.0, 0.0, 1.0, 0.5])
    add("bce_with_logits_far", [far, right], fixed(F.binary_cross_entropy_with_logits), tolerance=1e-6)

    def focal(x, t, gamma=2.0, alpha=0.25):
        p = torch.sigmoid(x)
        each = F.binary_cross_entropy_with_logits(x, t, reduction="none")
        each = each * (1 - (p * t + (1 - p) * (1 - t))) ** gamma
        return (each * (alpha * t + (1 - alpha) * (1 - t)) if alpha >= 0 else each).mean()

    hard = (t > 0.5).double()
    add("focal", [x, hard], fixed(focal))
    add("focal_plain", [x, hard], fixed(lambda x, t: focal(x, t, 1.5, -1.0)))

    def dice(x, t):
        p = torch.sigmoid(x)
        return (1 - (2 * (p * t).sum((1, 2)) + 1) / (p.sum((1, 2)) + t.sum((1, 2)) + 1)).mean()

    add("dice", [tensor(2, 3, 4, seed=4), (tensor(2, 3, 4, seed=5) > 0).double()], fixed(dice))


def classes():
    x = tensor(4, 5, seed=1)
    t = given([0, 4, 2, 2], torch.int64)
    w = given([0.5, 1.0, 2.0, 0.25, 1.5])
    add("nll", [x, t], F.nll_loss)
    add("nll_weighted", [x, t], lambda x, t: F.nll_loss(x, t, weight=w))
    add("nll_ignored", [x, given([0, 2, 2, 4], torch.int64)], lambda x, t: F.nll_loss(x, t, weight=w, ignore_index=2))
    add("nll_none", [x, t], lambda x, t: F.nll_loss(x, t, weight=w, reduction="none"))
    add("nll_positions", [tensor(2, 3, 4, seed=3), given([[0, 1, 2, -100], [2, 2, 0, 1]], torch.int64)], F.nll_loss)
    p = tensor(4, 5, seed=4).softmax(1).float().double()
    add("categorical_cross_entropy", [x, p], fixed(F.cross_entropy))
    add("categorical_cross_entropy_options", [x, p], fixed(lambda x, t: F.cross_entropy(x, t, weight=w, label_smoothing=0.1)))
    add("categorical_cross_entropy_positions", [tensor(2, 3, 4, seed=5), tensor(2, 3, 4, seed=6).softmax(1).float().double()], fixed(F.cross_entropy))
    hard = F.one_hot(t, 5).double()
    add("categorical_cross_entropy_far", [x.detach() * 1e4, hard], fixed(F.cross_entropy))
    logs = tensor(4, 5, seed=7).log_softmax(1).float().double()
    add("kl_div", [logs, p], fixed(F.kl_div))
    add("kl_div_zero", [logs, hard], fixed(F.kl_div))
    add("kl_div_log", [logs, p.log().float().double()], fixed(lambda x, t: F.kl_div(x, t, log_target=True)))

    def info_nce(a, b, temperature, symmetric):
        scores = F.normalize(a, dim=1) @ F.normalize(b, dim=1).T / temperature
        own = torch.arange(len(a))
        loss = F.cross_entropy(scores, own)
        return (loss + F.cross_entropy(scores.T, own)) / 2 if symmetric else loss

    add("info_nce", [x, tensor(4, 5, seed=8)], lambda a, b: info_nce(a, b, 0.1, False), tolerance=4e-6)
    add("info_nce_symmetric", [x, tensor(4, 5, seed=8)], lambda a, b: info_nce(a, b, 0.5, True), tolerance=4e-6)


def ranking():
    x, t = tensor(3, 4, seed=1), (tensor(3, 4, seed=2) > 0).double() * 2 - 1
    add("hinge", [x, t], fixed(lambda x, t: (1 - x * t).clamp(min=0).mean()))
    add("hinge_embedding", [x.abs(), t], fixed(lambda x, t: F.hinge_embedding_loss(x, t, margin=0.7)))
    add("soft_margin", [x, t], fixed(F.soft_margin_loss))
    y = tensor(3, 4, seed=3)
    add("margin_ranking", [x, y, t], lambda a, b, t: F.margin_ranking_loss(a, b, t.detach(), margin=0.3))
    sides = given([1.0, -1.0, 1.0])
    add("cosine_embedding", [x, y, sides], lambda a, b, t: F.cosine_embedding_loss(a, b, t.detach(), margin=-0.5), tolerance=4e-6)
    z = tensor(3, 4, seed=4)
    add("triplet", [x, y, z], F.triplet_margin_loss)
    add("triplet_options", [x, y, z], lambda a, b, c: F.triplet_margin_loss(a, b, c, margin=2.5, p=3.0, swap=True), tolerance=1e-5)


def sequences():
    x, targets = tensor(3, 5, 9, seed=1), given([[1, 1, 3, -1], [2, 4, 1, 2], [4, -1, -1, -1]], torch.int64)

    def ctc(x, t, blank=0, reduction="mean"):
        lengths = (t >= 0).sum(1)
        times = torch.full((len(x),), x.shape[2])
        logs = x.log_softmax(1).permute(2, 0, 1)
        return F.ctc_loss(logs, t.clamp(min=0), times, lengths, blank=blank, reduction=reduction)

    add("ctc", [x, targets], ctc, tolerance=4e-6)
    add("ctc_none", [x * 5, targets], lambda x, t: ctc(x, t, reduction="none"), tolerance=4e-6)
    add("ctc_blank", [x, given([[1, 1, -1], [2, 0, 0], [-1, -1, -1]], torch.int64)], lambda x, t: ctc(x, t, 4, "sum"), tolerance=4e-6)
    add("ctc_one", [tensor(1, 3, 1, seed=2), given([[2]], torch.int64)], ctc)


def loss_cases():
    sequences()
    regression()
    binary()
    classes()
    ranking()
    write_families("losses")
