#!/usr/bin/env python3
"""Writes crates/dropforge/tests/data: what PyTorch says layers, losses, optimizers and tensor functions give.

Run it from anywhere after changing a case:  python3 scripts/golden_training.py
It needs torch; the tests that read the files need neither it nor Python.

A file holds named tensors: a line `name [extents]`, then a line with the elements in row-major order.
"""

from pathlib import Path

import torch
from torch import nn
from torch.nn import functional as F

from golden_library.layers import LAYERS as MORE_LAYERS
from golden_library.losses import loss_cases
from golden_library.models import model_cases
from golden_library.optimizers import optimizer_cases
from golden_library.recurrent import LAYERS as RECURRENT_LAYERS
from golden_library.rules import rule_cases
from golden_library.tensors import tensor_cases

FOLDER = Path(__file__).resolve().parent.parent / "crates/dropforge/tests/data"


def write(name, tensors):
    lines = []
    for key, value in tensors.items():
        value = torch.as_tensor(value).detach()
        lines.append(f"{key} {list(value.shape)}")
        lines.append(" ".join(repr(float(x)) if value.is_floating_point() else str(int(x)) for x in value.flatten()))
    path = FOLDER / f"{name}.txt"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(lines) + "\n")


class Residual(nn.Module):
    """x + body(x), or shortcut(x) + body(x), with the parameter names of Dropforge."""

    def __init__(self, body, shortcut=None):
        super().__init__()
        self.body = body
        self.shortcut = shortcut

    def forward(self, x):
        return self.body(x) + (self.shortcut(x) if self.shortcut else x)


class MeanOverImage(nn.Module):
    def forward(self, x):
        return x.mean((2, 3))


LAYERS = {
    "dense": ([5, 7], nn.Linear(7, 3)),
    "dense_no_bias": ([5, 7], nn.Linear(7, 3, bias=False)),
    "dense_three_axes": ([2, 4, 6], nn.Linear(6, 3)),
    "conv": ([2, 3, 7, 8], nn.Conv2d(3, 4, 3)),
    "conv_same": ([2, 3, 6, 7], nn.Conv2d(3, 4, 5, padding="same")),
    "conv_same_even": ([2, 2, 6, 6], nn.Conv2d(2, 3, 4, padding="same")),
    "conv_stride_padding": ([2, 3, 9, 8], nn.Conv2d(3, 4, (3, 2), stride=(2, 3), padding=(1, 0))),
    "conv_dilation_groups": ([2, 4, 9, 9], nn.Conv2d(4, 6, 3, dilation=2, groups=2, bias=False)),
    "max_pool": ([2, 3, 6, 6], nn.MaxPool2d(2)),
    "max_pool_overlapping": ([2, 3, 7, 7], nn.MaxPool2d(3, stride=2, padding=1)),
    "avg_pool": ([2, 3, 6, 6], nn.AvgPool2d(2)),
    "avg_pool_padded": ([2, 3, 7, 7], nn.AvgPool2d(3, stride=2, padding=1)),
    "global_avg_pool": ([2, 3, 4, 5], MeanOverImage()),
    "flatten": ([2, 3, 4, 5], nn.Flatten()),
    "batch_norm_rows": ([8, 5], nn.BatchNorm1d(5)),
    "batch_norm_images": ([3, 4, 3, 2], nn.BatchNorm2d(4, momentum=0.3, eps=1e-3)),
    "layer_norm": ([4, 3, 6], nn.LayerNorm(6)),
    "relu": ([4, 5], nn.ReLU()),
    "sigmoid": ([4, 5], nn.Sigmoid()),
    "tanh": ([4, 5], nn.Tanh()),
    "gelu": ([4, 5], nn.GELU()),
    "gelu_tanh": ([4, 5], nn.GELU(approximate="tanh")),
    "silu": ([4, 5], nn.SiLU()),
    "leaky_relu": ([4, 5], nn.LeakyReLU(0.1)),
    "elu": ([4, 5], nn.ELU(0.7)),
    "softmax": ([4, 5], nn.Softmax(-1)),
    "log_softmax": ([4, 5], nn.LogSoftmax(1)),
    "residual": ([4, 5], Residual(nn.Linear(5, 5))),
    "residual_shortcut": ([2, 3, 6, 6], Residual(nn.Conv2d(3, 4, 3, stride=2, padding=1), nn.Conv2d(3, 4, 1, stride=2))),
}


def layer_case(name, shape, layer):
    tensors = {"x": torch.randn(shape)}
    with torch.no_grad():
        for key, value in layer.named_parameters():
            value.copy_(torch.randn(value.shape) * 0.5)
    key_of = lambda key: key.removeprefix("body.")
    for key, value in layer.state_dict().items():
        if value.dim() > 0:
            tensors[f"state.{key_of(key)}"] = value.clone()
    layer.eval()
    tensors["y_eval"] = layer(tensors["x"])
    layer.train()
    x = tensors["x"].clone().requires_grad_()
    y = layer(x)
    tensors["weights"] = torch.randn(y.shape)
    loss = (y * tensors["weights"]).sum()
    loss.backward()
    tensors["loss"] = loss
    # Every sample is shifted by the same trained offset, whose gradient is this sum.
    tensors["gradient.offset"] = x.grad.sum(0)
    for key, value in layer.named_parameters():
        tensors[f"gradient.{key_of(key)}"] = value.grad
    for key, value in layer.state_dict().items():
        if key.startswith("running") or key.endswith(("._u", "._v")):
            tensors[f"after.{key_of(key)}"] = value
    write(f"layers/{name}", tensors)


def loss_case(name, shape, target, function):
    x = (torch.randn(shape) * 2).requires_grad_()
    loss = function(x, target)
    loss.backward()
    write(f"losses/{name}", {"x": x, "target": target, "loss": loss, "gradient": x.grad})


OPTIMIZERS = {
    "sgd": lambda p: torch.optim.SGD(p, lr=0.1),
    "sgd_momentum": lambda p: torch.optim.SGD(p, lr=0.05, momentum=0.9),
    "sgd_nesterov": lambda p: torch.optim.SGD(p, lr=0.05, momentum=0.9, nesterov=True),
    "sgd_dampening": lambda p: torch.optim.SGD(p, lr=0.1, momentum=0.8, dampening=0.3),
    "sgd_weight_decay": lambda p: torch.optim.SGD(p, lr=0.05, momentum=0.9, weight_decay=0.1),
    "adam": lambda p: torch.optim.Adam(p, lr=0.01),
    "adam_betas": lambda p: torch.optim.Adam(p, lr=0.02, betas=(0.5, 0.9), eps=1e-4),
    "adam_weight_decay": lambda p: torch.optim.Adam(p, lr=0.01, weight_decay=0.1),
    "adam_amsgrad": lambda p: torch.optim.Adam(p, lr=0.01, betas=(0.9, 0.6), amsgrad=True),
    "adamw": lambda p: torch.optim.AdamW(p, lr=0.01),
    "adamw_weight_decay": lambda p: torch.optim.AdamW(p, lr=0.01, weight_decay=0.5),
    "adamw_amsgrad": lambda p: torch.optim.AdamW(p, lr=0.01, betas=(0.9, 0.6), amsgrad=True),
    "sgd_clipped": lambda p: torch.optim.SGD(p, lr=0.05, momentum=0.9),
    "adam_clipped": lambda p: torch.optim.Adam(p, lr=0.01),
}


def optimizer_case(name, make):
    """20 steps on a small net, the learning rate halved after 10; clipped ones limit the norm to 0.1."""
    x, y = torch.randn(6, 3), torch.randn(6, 2)
    w1, w2 = (torch.randn(3, 4) * 0.7).requires_grad_(), (torch.randn(4, 2) * 0.7).requires_grad_()
    tensors = {"x": x, "y": y, "start.w1": w1.clone(), "start.w2": w2.clone()}
    optimizer = make([w1, w2])
    losses, norms = [], []
    for step in range(20):
        if step == 10:
            for group in optimizer.param_groups:
                group["lr"] /= 2
        optimizer.zero_grad()
        loss = F.mse_loss(torch.tanh(x @ w1) @ w2, y)
        loss.backward()
        losses.append(loss.detach())
        if name.endswith("clipped"):
            norms.append(nn.utils.clip_grad_norm_([w1, w2], 0.1))
        optimizer.step()
        if step == 0:
            tensors |= {"first.w1": w1.clone(), "first.w2": w2.clone()}
    tensors |= {"end.w1": w1, "end.w2": w2, "losses": torch.stack(losses)}
    if norms:
        tensors["norms"] = torch.stack(norms)
    write(f"optimizers/{name}", tensors)


torch.manual_seed(0)
for name, (shape, layer) in LAYERS.items():
    layer_case(name, shape, layer)
classes = torch.tensor([0, 4, 2, 2, 1])
loss_case("cross_entropy", [5, 6], classes, F.cross_entropy)
loss_case("cross_entropy_smoothing", [5, 6], classes, lambda x, t: F.cross_entropy(x, t, label_smoothing=0.1))
loss_case("cross_entropy_positions", [2, 4, 3], torch.tensor([[0, 1, 3], [2, 2, 0]]), F.cross_entropy)
loss_case("mse", [5, 3], torch.randn(5, 3), F.mse_loss)
for name, make in OPTIMIZERS.items():
    optimizer_case(name, make)
tensor_cases()
loss_cases()
optimizer_cases()
torch.manual_seed(1)
for name, (shape, layer) in MORE_LAYERS.items():
    layer_case(name, shape, layer)
torch.manual_seed(2)
for name, (shape, layer) in RECURRENT_LAYERS.items():
    layer_case(name, shape, layer)
torch.manual_seed(3)
weights = torch.tensor([0.5, 1.0, 2.0, 0.25, 1.5, 0.0])
ignored = torch.tensor([0, -7, 2, 3, 1])
options = {"weight": weights, "ignore_index": -7}
loss_case("cross_entropy_options", [5, 6], ignored, lambda x, t: F.cross_entropy(x, t, label_smoothing=0.2, **options))
loss_case("cross_entropy_weighted", [5, 6], classes, lambda x, t: F.cross_entropy(x, t, weight=weights, reduction="sum"))
positions = torch.tensor([[0, 3, -7], [2, -7, 0]])
loss_case("cross_entropy_ignored", [2, 4, 3], positions, lambda x, t: F.cross_entropy(x, t, ignore_index=-7))
torch.manual_seed(5)
layer_case("sequence", [4, 5], nn.Sequential(nn.Linear(5, 3), nn.Tanh(), nn.Linear(3, 4)))
layer_case("repeat", [4, 5], nn.Sequential(nn.Linear(5, 5), nn.Linear(5, 5)))
model_cases()
rule_cases()
