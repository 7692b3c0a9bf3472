#!/usr/bin/env python3
"""Writes crates/dropforge/tests/data/kinks.txt: what PyTorch says functions and their gradients are at their kinks and ends.

Run it from anywhere after changing a function here:  python3 scripts/golden_kinks.py
It needs torch; the test that reads the file (crates/dropforge/tests/library/kinks.rs) does not.

A line is:  function dtype | arguments | values | gradients of each argument
where arguments are separated by ` ; ` and gradients are those of the sum of all values.
"""

from pathlib import Path

import torch
import torch.nn.functional as F

OUT = Path(__file__).resolve().parent.parent / "crates/dropforge/tests/data/kinks.txt"

INF, NAN = float("inf"), float("nan")
TYPES = {"f32": torch.float32, "f16": torch.float16, "bf16": torch.bfloat16}
HUGE = {"f32": 3e38, "f16": 65504.0, "bf16": 3e38}
TINY = {"f32": 1e-30, "f16": 1e-4, "bf16": 1e-30}


def points(name):
    """Numbers of one type at which functions bend, end or leave the range."""
    positive = [TINY[name], 0.5, 1.0, 1.5, 2.5, 3.0, 20.0, 21.0, 90.0, 1000.0, HUGE[name], INF]
    return [0.0, -0.0] + positive + [-x for x in positive] + [NAN]


UNARY = {
    "neg": lambda x: -x,
    "exp": torch.exp,
    "expm1": torch.expm1,
    "log": torch.log,
    "log1p": torch.log1p,
    "sqrt": torch.sqrt,
    "rsqrt": torch.rsqrt,
    "reciprocal": torch.reciprocal,
    "abs": torch.abs,
    "sign": torch.sign,
    "sin": torch.sin,
    "cos": torch.cos,
    "tanh": torch.tanh,
    "sigmoid": torch.sigmoid,
    "relu": torch.relu,
    "erf": torch.erf,
    "floor": torch.floor,
    "ceil": torch.ceil,
    "round": torch.round,
    "square": torch.square,
    "gelu": F.gelu,
    "gelu_tanh": lambda x: F.gelu(x, approximate="tanh"),
    "silu": F.silu,
    "softplus": F.softplus,
    "leaky_relu": lambda x: F.leaky_relu(x, 0.01),
    "clamp": lambda x: torch.clamp(x, -1.0, 1.5),
    "powf_0": lambda x: torch.pow(x, 0.0),
    "powf_1": lambda x: torch.pow(x, 1.0),
    "powf_2": lambda x: torch.pow(x, 2.0),
    "powf_3": lambda x: torch.pow(x, 3.0),
    "powf_half": lambda x: torch.pow(x, 0.5),
    "powf_-1": lambda x: torch.pow(x, -1.0),
}

BINARY = {
    "maximum": torch.maximum,
    "minimum": torch.minimum,
    "pow": torch.pow,
    "fmod": torch.fmod,
    "div": torch.div,
    "add": torch.add,
    "sub": torch.sub,
    "mul": torch.mul,
}

ROWS = {
    "softmax": lambda x: torch.softmax(x, -1),
    "log_softmax": lambda x: torch.log_softmax(x, -1),
    "logsumexp": lambda x: torch.logsumexp(x, -1),
    "sum": lambda x: x.sum(),
    "mean": lambda x: x.mean(),
    "max": lambda x: torch.amax(x, -1),
    "min": lambda x: torch.amin(x, -1),
    "var": lambda x: x.var(),
    "std": lambda x: x.std(),
    "cross_entropy": lambda x: F.cross_entropy(x.unsqueeze(0).float(), torch.tensor([0])),
    "mse_to_0": lambda x: F.mse_loss(x.float(), torch.zeros(x.shape)),
}


def rows(name):
    huge, tiny = HUGE[name], TINY[name]
    return [
        [3.0, 3.0, 3.0],
        [0.0, 0.0, 0.0, 0.0],
        [1.0, 2.0, 2.0],
        [tiny, -tiny, 0.0],
        [1000.0, 1000.0, 1000.0, 1000.0],
        [60000.0, 60000.0],
        [-60000.0, -60000.0, -59968.0],
        [huge, huge],
        [-huge, -huge, 0.0],
        [huge, -huge],
        [INF, 1.0, 2.0],
        [-INF, 1.0, 2.0],
        [-INF, -INF],
        [INF, INF],
        [NAN, 1.0, 2.0],
        [1.0],
    ]


def text(numbers):
    def one(number):
        number = float(number)
        return "nan" if number != number else repr(number)

    return ", ".join(one(number) for number in numbers.reshape(-1).tolist())


def case(label, name, function, arguments):
    leaves = [torch.tensor(argument, dtype=TYPES[name], requires_grad=True) for argument in arguments]
    values = function(*leaves)
    values.float().sum().backward()
    gradients = [leaf.grad if leaf.grad is not None else torch.zeros_like(leaf) for leaf in leaves]
    parts = [" ; ".join(text(leaf.detach()) for leaf in leaves), text(values.detach())]
    return " | ".join([f"{label} {name}", *parts, " ; ".join(text(gradient) for gradient in gradients)])


def main():
    lines = ["# Written by scripts/golden_kinks.py."]
    for name in TYPES:
        for label, function in UNARY.items():
            lines.append(case(label, name, function, [points(name)]))
        few = [0.0, -0.0, 1.0, -1.0, 2.0, -2.5, HUGE[name], -HUGE[name], INF, -INF, NAN]
        left = [a for a in few for _ in few]
        right = [b for _ in few for b in few]
        for label, function in BINARY.items():
            lines.append(case(label, name, function, [left, right]))
        for label, function in ROWS.items():
            lines += [case(label, name, function, [row]) for row in rows(name)]
    OUT.parent.mkdir(parents=True, exist_ok=True)
    OUT.write_text("\n".join(lines) + "\n")


main()
