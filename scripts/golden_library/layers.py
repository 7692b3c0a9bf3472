"""Layers beyond the basic ones, by name: the shape of the input and PyTorch's layer."""

import torch
from torch import nn
from torch.nn import functional as F


class Swiglu(nn.Module):
    """Shazeer, arXiv:2002.05202."""

    def forward(self, x):
        value, gate = x.chunk(2, -1)
        return value * F.silu(gate)


class Apply(nn.Module):
    """A function of the input, and perhaps of layers, which are called as in Dropforge."""

    def __init__(self, function, body=None):
        super().__init__()
        self.function = function
        if body is not None:
            self.body = body

    def forward(self, x):
        return self.function(x) if not hasattr(self, "body") else self.function(self.body, x)


def attention(width, heads, function=None, **options):
    layer = nn.MultiheadAttention(width, heads, batch_first=True, **options)
    return Apply(function or (lambda body, x: body(x, x, x, need_weights=False)[0]), layer)


def hidden(time, keys):
    return torch.tensor([[(i + j) % 3 == 0 for j in range(keys)] for i in range(time)])


def added(time, keys):
    return torch.tensor([[(7 * i + 3 * j) % 5 / 2 - 1 for j in range(keys)] for i in range(time)])


def split_attention(body, x, width, heads, queries=lambda q: q, bias=None, groups=1):
    """Attention with PyTorch's product, for what its layer does not have."""
    part = lambda weight, x, start: F.linear(x, weight, body.in_proj_bias[start : start + len(weight)])
    heads_of = lambda y, count: y.unflatten(2, (count, width // heads)).transpose(1, 2)
    narrow = width // groups
    q, k, v = body.weights()
    q, k, v = part(q, x, 0), part(k, x, width), part(v, x, width + narrow)
    q, k, v = heads_of(q, heads), heads_of(k, heads // groups), heads_of(v, heads // groups)
    y = F.scaled_dot_product_attention(queries(q), queries(k), v, attn_mask=bias, enable_gqa=True)
    return body.out_proj(y.transpose(1, 2).flatten(2))


class Grouped(nn.Module):
    """The parameters of attention whose keys and values have fewer heads."""

    def __init__(self, width, groups):
        super().__init__()
        narrow = width // groups
        self.q_proj_weight = nn.Parameter(torch.empty(width, width))
        self.k_proj_weight = nn.Parameter(torch.empty(narrow, width))
        self.v_proj_weight = nn.Parameter(torch.empty(narrow, width))
        self.in_proj_bias = nn.Parameter(torch.empty(width + 2 * narrow))
        self.out_proj = nn.Linear(width, width)

    def weights(self):
        return self.q_proj_weight, self.k_proj_weight, self.v_proj_weight


class Joined(nn.Module):
    """The parameters of attention in PyTorch's layer."""

    def __init__(self, width):
        super().__init__()
        self.in_proj_weight = nn.Parameter(torch.empty(3 * width, width))
        self.in_proj_bias = nn.Parameter(torch.empty(3 * width))
        self.out_proj = nn.Linear(width, width)

    def weights(self):
        return self.in_proj_weight.chunk(3)


def rotary(x, base=10000.0):
    """Su et al., arXiv:2104.09864, with the halves of LLaMA."""
    time, width = x.shape[-2:]
    rates = base ** (-torch.arange(0, width, 2).double() / width)
    angle = torch.outer(torch.arange(time).double(), rates).float()
    low, high = x.chunk(2, -1)
    return torch.cat([low * angle.cos() - high * angle.sin(), high * angle.cos() + low * angle.sin()], -1)


def alibi(heads, time):
    """Press et al., arXiv:2108.12409, for a power of 2."""
    rates = 2.0 ** (-8 * torch.arange(1, heads + 1) / heads)
    place = torch.arange(time)
    return -(place[:, None] - place[None, :]).abs() * rates[:, None, None]


def sinusoidal(x, base=10000.0):
    time, width = x.shape[-2:]
    angle = torch.outer(torch.arange(time).double(), base ** (-torch.arange(0, width, 2).double() / width))
    waves = torch.stack([angle.sin(), angle.cos()], -1).flatten(1)[:, :width]
    return x + waves.float()


class Positions(nn.Module):
    def __init__(self, context, width):
        super().__init__()
        self.weight = nn.Parameter(torch.empty(context, width))

    def forward(self, x):
        return x + self.weight[: x.shape[1]]


class Table(nn.Module):
    """The same weight twice."""

    def __init__(self):
        super().__init__()
        self.add_module("0", nn.Linear(5, 4, bias=False))

    def forward(self, x):
        layer = self.get_submodule("0")
        return layer(x) @ layer.weight


def transformer(kind, *args, **options):
    return kind(*args, batch_first=True, dropout=0.0, **options)


def decoder(body, x):
    causal = nn.Transformer.generate_square_subsequent_mask(3)
    return body(x[:, :3], x[:, 3:], tgt_mask=causal, memory_mask=hidden(3, 4))


def several(*layers):
    return nn.ModuleList(layers)


weight_norm, spectral_norm = nn.utils.parametrizations.weight_norm, nn.utils.parametrizations.spectral_norm

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
    "conv1d": ([2, 3, 8], nn.Conv1d(3, 4, 3)),
    "conv1d_options": ([2, 4, 11], nn.Conv1d(4, 6, 3, stride=2, padding=2, dilation=2, groups=2, bias=False)),
    "conv1d_same": ([2, 2, 6], nn.Conv1d(2, 3, 4, padding="same")),
    "conv3d": ([2, 3, 4, 5, 6], nn.Conv3d(3, 4, (2, 3, 2))),
    "conv3d_options": ([2, 4, 5, 6, 7], nn.Conv3d(4, 6, 3, stride=(2, 1, 2), padding=(1, 0, 2), dilation=(1, 2, 1), groups=2)),
    "conv_reflect": ([2, 3, 5, 6], nn.Conv2d(3, 4, 3, padding=(1, 2), padding_mode="reflect")),
    "conv_replicate": ([2, 3, 5, 1], nn.Conv2d(3, 4, 3, padding="same", padding_mode="replicate")),
    "conv_circular": ([2, 3, 5, 6], nn.Conv2d(3, 4, 3, stride=2, padding=1, padding_mode="circular")),
    "conv_sides": ([2, 3, 5, 6], Apply(lambda body, x: body(F.pad(x, (0, 2, 1, 0))), nn.Conv2d(3, 4, 3, stride=(1, 4)))),
    "conv_transpose": ([2, 3, 4, 5], nn.ConvTranspose2d(3, 4, 3)),
    "conv_transpose_options": (
        [2, 4, 3, 4],
        nn.ConvTranspose2d(4, 6, (3, 4), stride=(2, 3), padding=(1, 2), output_padding=(1, 2), groups=2, dilation=(2, 1)),
    ),
    "conv_transpose_pixel": ([2, 3, 1, 1], nn.ConvTranspose2d(3, 2, 2, stride=2, bias=False)),
    "conv_transpose1d": ([2, 3, 4], nn.ConvTranspose1d(3, 2, 5, stride=3, padding=1, output_padding=1)),
    "pad": ([2, 3, 4, 5], nn.ZeroPad2d((1, 2, 0, 3))),
    "pad_constant": ([2, 3, 4], nn.ConstantPad1d((2, -1), 1.5)),
    "pad_reflect": ([2, 3, 4, 5], nn.ReflectionPad2d((1, 2, 3, 0))),
    "pad_replicate": ([2, 2, 2, 1, 3], nn.ReplicationPad3d((1, 2, 3, 0, 1, 1))),
    "pad_circular": ([2, 3, 4], nn.CircularPad1d((3, 4))),
    "max_pool1d": ([2, 3, 8], nn.MaxPool1d(3, stride=2, padding=1)),
    "max_pool3d": ([2, 3, 5, 4, 6], nn.MaxPool3d((2, 2, 3), stride=(1, 2, 2), padding=(1, 0, 1))),
    "max_pool_ceil": ([2, 3, 6, 8], nn.MaxPool2d(3, stride=2, ceil_mode=True)),
    "max_pool_gaps": ([2, 3, 7, 8], nn.MaxPool2d(2, stride=3, ceil_mode=True)),
    "avg_pool1d": ([2, 3, 8], nn.AvgPool1d(4, stride=3, padding=2, ceil_mode=True)),
    "avg_pool3d": ([2, 3, 5, 4, 6], nn.AvgPool3d(3, stride=2, padding=1, count_include_pad=False)),
    "avg_pool_ceil": ([2, 3, 6, 8], nn.AvgPool2d(3, stride=2, padding=1, ceil_mode=True)),
    "avg_pool_valid": ([2, 3, 6, 7], nn.AvgPool2d((3, 2), stride=2, padding=1, ceil_mode=True, count_include_pad=False)),
    "lp_pool": ([2, 3, 6, 6], Apply(lambda body, x: body(x.abs() + 0.5), nn.LPPool2d(3, 2))),
    "lp_pool_ceil": ([2, 3, 5, 7], nn.LPPool2d(2, 3, stride=2, ceil_mode=True)),
    "adaptive_avg_pool": ([2, 3, 7, 5], nn.AdaptiveAvgPool2d((3, 2))),
    "adaptive_avg_pool_even": ([2, 3, 6, 4], nn.AdaptiveAvgPool2d(2)),
    "adaptive_avg_pool_larger": ([2, 3, 2, 3], nn.AdaptiveAvgPool2d(5)),
    "adaptive_max_pool": ([2, 3, 7, 5], nn.AdaptiveMaxPool2d((3, 2))),
    "adaptive_max_pool_larger": ([2, 3, 2, 3], nn.AdaptiveMaxPool2d((4, 3))),
    "global_max_pool": ([2, 3, 4, 5], Apply(lambda x: x.amax((2, 3)))),
    "weight_norm": ([4, 5], weight_norm(nn.Linear(5, 3))),
    "weight_norm_conv": ([2, 3, 5, 5], weight_norm(nn.Conv2d(3, 4, 3))),
    "spectral_norm": ([4, 5], spectral_norm(nn.Linear(5, 3))),
    "spectral_norm_conv": ([2, 3, 5, 5], spectral_norm(nn.Conv2d(3, 4, 3), n_power_iterations=2)),
    "bilinear": ([4, 6], Apply(lambda body, x: body(x[:, :3], x[:, 3:]), nn.Bilinear(3, 3, 4))),
    "bilinear_uneven": ([2, 3, 5], Apply(lambda body, x: body(x[..., :1], x[..., 1:]), nn.Bilinear(1, 4, 2, bias=False))),
    "parallel": ([2, 3, 4, 4], Apply(lambda body, x: body[0](x) + body[1](x), several(nn.Conv2d(3, 4, 1), nn.Conv2d(3, 4, 3, padding=1)))),
    "concat": ([2, 3, 4, 4], Apply(lambda body, x: torch.cat([f(x) for f in body], 1), several(nn.Conv2d(3, 4, 1), nn.MaxPool2d(3, 1, 1)))),
    "tied": ([4, 5], Table()),
    "sinusoidal_positions": ([2, 5, 7], Apply(sinusoidal)),
    "learned_positions": ([2, 5, 6], Positions(8, 6)),
    "rotary_positions": ([2, 5, 6], Apply(rotary)),
    "multi_head_attention": ([2, 5, 8], attention(8, 2)),
    "multi_head_attention_plain": ([2, 1, 6], attention(6, 3, bias=False)),
    "multi_head_attention_causal": (
        [2, 5, 8],
        attention(8, 4, lambda body, x: body(x, x, x, attn_mask=torch.ones(5, 5).triu(1).bool())[0]),
    ),
    "multi_head_attention_hidden": ([2, 5, 8], attention(8, 2, lambda body, x: body(x, x, x, attn_mask=hidden(5, 5))[0])),
    "multi_head_attention_added": ([2, 5, 8], attention(8, 2, lambda body, x: body(x, x, x, attn_mask=added(5, 5))[0])),
    "multi_head_attention_cross": ([2, 7, 8], attention(8, 2, lambda body, x: body(x[:, :3], x[:, 3:], x[:, 3:])[0])),
    "multi_head_attention_widths": (
        [2, 7, 8],
        attention(8, 2, lambda body, x: body(x[:, :3], x[:, 3:, :5], x[:, 3:, 2:])[0], kdim=5, vdim=6),
    ),
    "multi_head_attention_grouped": ([2, 5, 8], Apply(lambda body, x: split_attention(body, x, 8, 4, groups=2), Grouped(8, 2))),
    "multi_head_attention_rotary": ([2, 5, 8], Apply(lambda body, x: split_attention(body, x, 8, 2, rotary), Joined(8))),
    "multi_head_attention_alibi": ([2, 5, 8], Apply(lambda body, x: split_attention(body, x, 8, 2, bias=alibi(2, 5)), Joined(8))),
    "transformer_encoder": ([2, 5, 8], transformer(nn.TransformerEncoderLayer, 8, 2, 12)),
    "transformer_encoder_options": (
        [2, 5, 8],
        Apply(
            lambda body, x: body(x, src_mask=torch.ones(5, 5).triu(1).bool()),
            transformer(nn.TransformerEncoderLayer, 8, 4, 12, activation="gelu", norm_first=True, layer_norm_eps=1e-3),
        ),
    ),
    "transformer_decoder": ([2, 7, 8], Apply(decoder, transformer(nn.TransformerDecoderLayer, 8, 2, 12))),
    "transformer_decoder_norm_first": ([2, 7, 8], Apply(decoder, transformer(nn.TransformerDecoderLayer, 8, 2, 12, norm_first=True))),
    "unflatten": ([2, 3, 8], nn.Unflatten(2, (2, 1, 4))),
}
