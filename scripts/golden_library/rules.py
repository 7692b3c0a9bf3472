"""Schedules, initialisers and callbacks: the factors, the statistics and the decisions that PyTorch has."""

import math

import torch
from torch.optim import lr_scheduler

from .write import FOLDER, lines_of

EPOCHS = 24


def write(name, values):
    lines = [line for key, value in values.items() for line in lines_of(key, value)]
    path = FOLDER / f"{name}.txt"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(lines) + "\n")


def noam(step):
    """Vaswani et al., arXiv:1706.03762, with a warm-up of 4 steps, in parts of the largest rate."""
    return math.sqrt(4) * min(max(step, 1) ** -0.5, max(step, 1) * 4**-1.5)


SCHEDULES = {
    "chained": lambda o: lr_scheduler.ChainedScheduler(
        [lr_scheduler.ExponentialLR(o, 0.9), lr_scheduler.StepLR(o, 5, 0.5)]
    ),
    "constant": lambda o: lr_scheduler.ConstantLR(o, factor=1.0),
    "cosine": lambda o: lr_scheduler.CosineAnnealingLR(o, EPOCHS - 1, eta_min=0.1),
    "cosine_restarts": lambda o: lr_scheduler.CosineAnnealingWarmRestarts(o, 3, T_mult=2, eta_min=0.05),
    "exponential": lambda o: lr_scheduler.ExponentialLR(o, 0.8),
    "inverse_root": lambda o: lr_scheduler.LambdaLR(o, noam),
    "linear": lambda o: lr_scheduler.LinearLR(o, start_factor=1.0, end_factor=0.2, total_iters=10),
    "milestones": lambda o: lr_scheduler.MultiStepLR(o, [2, 3, 11], gamma=0.3),
    "one_cycle": lambda o: lr_scheduler.OneCycleLR(o, 1.0, total_steps=EPOCHS, pct_start=0.25, div_factor=8, final_div_factor=50),
    "polynomial": lambda o: lr_scheduler.PolynomialLR(o, total_iters=15, power=1.5),
    "steps": lambda o: lr_scheduler.StepLR(o, 4, gamma=0.6),
    "triangles": lambda o: lr_scheduler.CyclicLR(o, 0.2, 1.0, step_size_up=3, step_size_down=5, cycle_momentum=False),
}


def schedule_cases():
    for name, make in SCHEDULES.items():
        optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0)
        scheduler, factors = make(optimizer), []
        for _ in range(EPOCHS):
            factors.append(optimizer.param_groups[0]["lr"])
            optimizer.step()
            scheduler.step()
        write(f"schedules/{name}", {"factors": torch.tensor(factors, dtype=torch.float64)})


SHAPE = [256, 64, 3, 3]
FAN_IN = 64 * 9
DRAWN = {
    "kaiming_normal": lambda w: torch.nn.init.kaiming_normal_(w, nonlinearity="relu"),
    "kaiming_uniform": lambda w: torch.nn.init.kaiming_uniform_(w, nonlinearity="relu"),
    "lecun_normal": lambda w: torch.nn.init.normal_(w, 0.0, FAN_IN**-0.5),
    "lecun_uniform": lambda w: torch.nn.init.uniform_(w, -math.sqrt(3 / FAN_IN), math.sqrt(3 / FAN_IN)),
    "normal": lambda w: torch.nn.init.normal_(w, 0.5, 0.2),
    "truncated_normal": lambda w: torch.nn.init.trunc_normal_(w, 0.1, 0.5, -0.6, 1.0),
    "uniform": lambda w: torch.nn.init.uniform_(w, -0.25, 0.75),
    "xavier_normal": torch.nn.init.xavier_normal_,
    "xavier_uniform": torch.nn.init.xavier_uniform_,
}


def initialiser_cases():
    """Of what is drawn the moments, and the ends of what has some; of the others what holds of every draw."""
    torch.manual_seed(4)
    for name, draw in DRAWN.items():
        w = draw(torch.empty(SHAPE, dtype=torch.float64))
        values = {"mean": w.mean(), "deviation": w.std()}
        if "uniform" in name or "truncated" in name:
            values |= {"ends": torch.stack([w.min(), w.max()])}
        write(f"initialisers/{name}", values)
    write("initialisers/constant", {"elements": torch.nn.init.constant_(torch.empty(3, 2), 0.7)})
    write("initialisers/identity", {"elements": torch.nn.init.eye_(torch.empty(4, 6))})
    write("initialisers/identity_filters", {"elements": torch.nn.init.dirac_(torch.empty(4, 3, 3, 5))})
    write("initialisers/values", {"elements": torch.tensor([[0.5, -1.0], [2.0, 0.25]])})
    w = torch.nn.init.orthogonal_(torch.empty(12, 20, dtype=torch.float64), gain=1.5)
    write("initialisers/orthogonal", {"products": w @ w.T})
    w = torch.nn.init.sparse_(torch.empty(50, 400, dtype=torch.float64), 0.3, std=0.2)
    write("initialisers/sparse", {"zeros": (w == 0).sum(0).int(), "deviation": w[w != 0].std()})


LOSSES = [1.0, 0.8, 0.9, 0.85, 0.7, 0.75, 0.71, 0.72, 0.69, 0.8, 0.9, 0.7, 0.75, 0.8, 0.85, 0.9]


def callback_cases():
    losses = torch.tensor(LOSSES, dtype=torch.float64)
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=0.1)
    plateau = lr_scheduler.ReduceLROnPlateau(optimizer, factor=0.5, patience=1, threshold=0.0, min_lr=0.02)
    rates = []
    for loss in LOSSES:
        plateau.step(loss)
        rates.append(optimizer.param_groups[0]["lr"])
    write("callbacks/reduce_on_plateau", {"losses": losses, "rates": torch.tensor(rates, dtype=torch.float64)})
    # Keras' EarlyStopping with patience=4 and min_delta=0.02, and ModelCheckpoint with save_best_only.
    best, waited, stopped, kept = math.inf, 0, 0, []
    for epoch, loss in enumerate(LOSSES, 1):
        best, waited = (loss, 0) if loss < best - 0.02 else (best, waited + 1)
        if waited >= 4 and not stopped:
            stopped = epoch
        if loss < min(LOSSES[: epoch - 1], default=math.inf):
            kept.append(epoch)
    write("callbacks/early_stopping", {"losses": losses, "stopped": torch.tensor([stopped], dtype=torch.int32)})
    write("callbacks/keep_best", {"losses": losses, "kept": torch.tensor(kept, dtype=torch.int32)})


def rule_cases():
    schedule_cases()
    initialiser_cases()
    callback_cases()


if __name__ == "__main__":
    rule_cases()
