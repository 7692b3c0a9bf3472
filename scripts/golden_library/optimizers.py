"""Optimizers: 50 steps on a small net in f64, the learning rate halved after 25."""

import torch
from torch.nn import functional as F

from .write import FOLDER, lines_of, tensor


class Lion(torch.optim.Optimizer):
    """Chen et al., arXiv:2302.06675, algorithm 2."""

    def __init__(self, parameters, lr, betas=(0.9, 0.99), weight_decay=0.0):
        super().__init__(parameters, {"lr": lr, "betas": betas, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self):
        for group in self.param_groups:
            beta1, beta2 = group["betas"]
            for p in group["params"]:
                m = self.state[p].setdefault("m", torch.zeros_like(p))
                change = (beta1 * m + (1 - beta1) * p.grad).sign()
                p.sub_(group["lr"] * (change + group["weight_decay"] * p))
                m.mul_(beta2).add_((1 - beta2) * p.grad)


class Lamb(torch.optim.Optimizer):
    """You et al., arXiv:1904.00962, algorithm 2, with the bias corrected."""

    def __init__(self, parameters, lr, betas=(0.9, 0.999), eps=1e-6, weight_decay=0.01):
        super().__init__(parameters, {"lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay, "t": 0})

    @torch.no_grad()
    def step(self):
        for group in self.param_groups:
            beta1, beta2 = group["betas"]
            group["t"] += 1
            for p in group["params"]:
                m = self.state[p].setdefault("m", torch.zeros_like(p))
                v = self.state[p].setdefault("v", torch.zeros_like(p))
                m.mul_(beta1).add_((1 - beta1) * p.grad)
                v.mul_(beta2).add_((1 - beta2) * p.grad**2)
                r = m / (1 - beta1 ** group["t"]) / ((v / (1 - beta2 ** group["t"])).sqrt() + group["eps"])
                r = r + group["weight_decay"] * p
                own, other = p.norm(), r.norm()
                trust = own / other if own > 0 and other > 0 else 1.0
                p.sub_(group["lr"] * trust * r)


class Muon(torch.optim.Optimizer):
    """Jordan et al., 2024, as torch.optim.Muon, which computes the iterations in bf16."""

    def __init__(self, parameters, lr, momentum=0.95, nesterov=True, weight_decay=0.1, steps=5):
        super().__init__(parameters, {"lr": lr})
        self.momentum, self.nesterov, self.weight_decay, self.steps = momentum, nesterov, weight_decay, steps

    @torch.no_grad()
    def step(self):
        for group in self.param_groups:
            for p in group["params"]:
                m = self.state[p].setdefault("m", torch.zeros_like(p))
                m.lerp_(p.grad, 1 - self.momentum)
                x = p.grad.lerp(m, self.momentum) if self.nesterov else m.clone()
                x = x.T if len(p) > p.shape[1] else x
                x = x / x.norm().clamp(min=1e-7)
                for _ in range(self.steps):
                    a = x @ x.T
                    x = 3.4445 * x + (-4.775 * a + 2.0315 * a @ a) @ x
                x = x.T if len(p) > p.shape[1] else x
                p.mul_(1 - group["lr"] * self.weight_decay)
                p.sub_(group["lr"] * max(1, len(p) / p.shape[1]) ** 0.5 * x)


class Lookahead:
    """Zhang et al., arXiv:1907.08610, algorithm 1."""

    def __init__(self, inner, every=5, share=0.5):
        self.inner, self.every, self.share, self.count = inner, every, share, 0
        self.param_groups = inner.param_groups
        self.slow = [p.detach().clone() for group in self.param_groups for p in group["params"]]

    def zero_grad(self):
        self.inner.zero_grad()

    @torch.no_grad()
    def step(self):
        self.inner.step()
        self.count += 1
        if self.count % self.every == 0:
            fast = [p for group in self.param_groups for p in group["params"]]
            for slow, p in zip(self.slow, fast):
                slow.lerp_(p, self.share)
                p.copy_(slow)


optim = torch.optim
OPTIMIZERS = {
    "rmsprop": lambda p: optim.RMSprop(p, lr=0.01),
    "rmsprop_options": lambda p: optim.RMSprop(p, lr=0.005, alpha=0.9, eps=1e-4, weight_decay=0.1, momentum=0.8),
    "rmsprop_centered": lambda p: optim.RMSprop(p, lr=0.005, alpha=0.9, eps=1e-3, centered=True),
    "adagrad": lambda p: optim.Adagrad(p, lr=0.05),
    "adagrad_options": lambda p: optim.Adagrad(
        p, lr=0.05, lr_decay=0.02, weight_decay=0.1, initial_accumulator_value=0.1, eps=1e-4
    ),
    "adadelta": lambda p: optim.Adadelta(p),
    "adadelta_options": lambda p: optim.Adadelta(p, lr=0.5, rho=0.8, eps=1e-4, weight_decay=0.1),
    "nadam": lambda p: optim.NAdam(p, lr=0.01),
    "nadam_options": lambda p: optim.NAdam(p, lr=0.01, betas=(0.8, 0.99), weight_decay=0.1, momentum_decay=0.1),
    "nadam_decoupled": lambda p: optim.NAdam(p, lr=0.01, weight_decay=0.1, decoupled_weight_decay=True),
    "radam": lambda p: optim.RAdam(p, lr=0.01),
    "radam_options": lambda p: optim.RAdam(p, lr=0.01, betas=(0.8, 0.95), eps=1e-4, weight_decay=0.1),
    "radam_decoupled": lambda p: optim.RAdam(p, lr=0.01, weight_decay=0.1, decoupled_weight_decay=True),
    "adamax": lambda p: optim.Adamax(p, lr=0.01),
    "adamax_options": lambda p: optim.Adamax(p, lr=0.01, betas=(0.8, 0.9), eps=1e-4, weight_decay=0.1),
    "lion": lambda p: Lion(p, lr=0.002),
    "lion_options": lambda p: Lion(p, lr=0.002, betas=(0.95, 0.98), weight_decay=0.5),
    "lamb": lambda p: Lamb(p, lr=0.01),
    "lamb_options": lambda p: Lamb(p, lr=0.01, betas=(0.8, 0.9), eps=1e-3, weight_decay=0.0),
    "muon": lambda p: Muon(p, lr=0.01),
    "muon_options": lambda p: Muon(p, lr=0.02, momentum=0.8, nesterov=False, weight_decay=0.0, steps=3),
    "lookahead": lambda p: Lookahead(optim.SGD(p, lr=0.1, momentum=0.9)),
    "lookahead_options": lambda p: Lookahead(optim.Adam(p, lr=0.02), every=3, share=0.8),
    "adafactor": lambda p: optim.Adafactor(p, lr=0.05),
    "adafactor_options": lambda p: optim.Adafactor(p, lr=0.05, beta2_decay=-0.5, eps=(None, 0.1), d=1.2, weight_decay=0.1),
}


def run(make, dtype):
    """The net's weights at the start, after one step and at the end, and the losses."""
    x, y = tensor(6, 3, seed=1).to(dtype), tensor(6, 2, seed=2).to(dtype)
    w1, w2 = tensor(3, 4, seed=3, low=-1.0, high=1.0).to(dtype), tensor(4, 2, seed=4, low=-1.0, high=1.0).to(dtype)
    tensors = {"x": x, "y": y, "start.w1": w1.clone(), "start.w2": w2.clone()}
    optimizer = make([w1.requires_grad_(), w2.requires_grad_()])
    losses = []
    for step in range(50):
        if step == 25:
            for group in optimizer.param_groups:
                group["lr"] /= 2
        optimizer.zero_grad()
        loss = F.mse_loss(torch.tanh(x @ w1) @ w2, y)
        loss.backward()
        losses.append(loss.detach())
        optimizer.step()
        if step == 0:
            tensors |= {"first.w1": w1.detach().clone(), "first.w2": w2.detach().clone()}
    return tensors | {"end.w1": w1.detach(), "end.w2": w2.detach(), "losses": torch.stack(losses)}


def search(make, dtype):
    """The losses of all trials of a line search, and the weights at the last point that was found.

    One call makes all steps: a new one would take the loss where it starts once more.
    """
    x, y = tensor(12, 3, seed=1).to(dtype), tensor(12, 2, seed=2).to(dtype)
    w1, w2 = tensor(3, 4, seed=3, low=-1.0, high=1.0).to(dtype), tensor(4, 2, seed=4, low=-1.0, high=1.0).to(dtype)
    tensors = {"x": x, "y": y, "start.w1": w1.clone(), "start.w2": w2.clone()}
    optimizer = make([w1.requires_grad_(), w2.requires_grad_()])
    losses = []

    def closure():
        optimizer.zero_grad()
        loss = F.mse_loss(torch.tanh(x @ w1) @ w2, y)
        loss.backward()
        losses.append(loss.detach())
        return loss

    optimizer.step(closure)
    return tensors | {"end.w1": w1.detach(), "end.w2": w2.detach(), "losses": torch.stack(losses)}


def lbfgs(**settings):
    settings = {"history_size": 10} | settings
    return lambda p: optim.LBFGS(
        p, max_iter=14, max_eval=1000, tolerance_grad=0, tolerance_change=0, line_search_fn="strong_wolfe", **settings
    )


SEARCHES = {
    "lbfgs": lbfgs(),
    "lbfgs_options": lbfgs(history_size=3, lr=0.2),
    "lbfgs_far": lbfgs(history_size=5, lr=8),
}


def optimizer_case(name, make, run=run, room=1.5):
    exact, single = run(make, torch.float64), run(make, torch.float32)
    # Rounding may lead as far as it leads PyTorch in f32, and half as far again; in a search, whose steps multiply it, four times.
    distance = max(((exact[key] - single[key]).abs() / exact[key].abs().clamp(min=1)).max().item() for key in exact)
    exact["tolerance"] = torch.tensor(max(1e-6, room * distance))
    lines = [line for key, value in exact.items() for line in lines_of(key, value)]
    (FOLDER / "optimizers" / f"{name}.txt").write_text("\n".join(lines) + "\n")


def optimizer_cases():
    for name, make in OPTIMIZERS.items():
        optimizer_case(name, make)
    for name, make in SEARCHES.items():
        optimizer_case(name, make, search, 4.0)
