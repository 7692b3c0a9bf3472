"""Layers beyond the basic ones, by name: the shape of the input and PyTorch's layer."""

from torch import nn
from torch.nn import functional as F


class Swiglu(nn.Module):
    """Shazeer, arXiv:2002.05202."""

    def forward(self, x):
        value, gate = x.chunk(2, -1)
        return value * F.silu(gate)


LAYERS = {
    "relu6": ([4, 5], nn.ReLU6()),
    "celu": ([4, 5], nn.CELU(0.7)),
    "selu": ([4, 5], nn.SELU()),
    "hard_tanh": ([4, 5], nn.Hardtanh(-0.5, 0.8)),
    "hard_sigmoid": ([4, 5], nn.Hardsigmoid()),
    "hard_swish": ([4, 5], nn.Hardswish()),
    "mish": ([4, 5], nn.Mish()),
    "log_sigmoid": ([4, 5], nn.LogSigmoid()),
    "softplus": ([4, 5], nn.Softplus()),
    "softsign": ([4, 5], nn.Softsign()),
    "tanh_shrink": ([4, 5], nn.Tanhshrink()),
    "soft_shrink": ([4, 5], nn.Softshrink(0.3)),
    "hard_shrink": ([4, 5], nn.Hardshrink(0.3)),
    "threshold": ([4, 5], nn.Threshold(0.2, -1.5)),
    "glu": ([4, 6], nn.GLU()),
    "glu_channels": ([2, 4, 3], nn.GLU(1)),
    "swiglu": ([4, 6], Swiglu()),
    "prelu": ([4, 5], nn.PReLU()),
    "prelu_channels": ([2, 3, 4, 4], nn.PReLU(3)),
    "group_norm": ([3, 6, 4, 2], nn.GroupNorm(3, 6)),
    "group_norm_rows": ([5, 8], nn.GroupNorm(2, 8, eps=1e-3)),
    "group_norm_plain": ([2, 4, 3], nn.GroupNorm(1, 4, affine=False)),
    "instance_norm": ([2, 3, 4, 5], nn.InstanceNorm2d(3)),
    "instance_norm_affine": ([2, 3, 7], nn.InstanceNorm1d(3, affine=True, eps=1e-3)),
    "rms_norm": ([3, 4, 6], nn.RMSNorm(6, eps=1e-5)),
    "rms_norm_plain": ([5, 1], nn.RMSNorm(1, eps=1e-3, elementwise_affine=False)),
    "pixel_shuffle": ([2, 8, 3, 2], nn.PixelShuffle(2)),
    "pixel_unshuffle": ([2, 2, 6, 3], nn.PixelUnshuffle(3)),
    "upsample_nearest": ([2, 3, 2, 3], nn.Upsample(scale_factor=3, mode="nearest")),
    "upsample_bilinear": ([2, 3, 4, 3], nn.Upsample(scale_factor=2, mode="bilinear")),
    "upsample_bilinear_corners": ([2, 3, 1, 4], nn.Upsample(scale_factor=3, mode="bilinear", align_corners=True)),
}
