"""What users compose: layers, losses, optimizers."""

import numpy as np
import torch
import torch.nn.functional as F

from .write import case, f32, given, i32, philox, uniform


def composed_cases():
    x = uniform(1, [4, 7], -3.0, 3.0)
    softmax = """
        %m = reduce_max %x {axes=[1]}
        %mb = broadcast %m {shape=[4, 7], axes=[0]}
        %d = sub %x, %mb
        %e = exp %d
        %s = reduce_sum %e {axes=[1]}
        %sb = broadcast %s {shape=[4, 7], axes=[0]}
        %y = div %e, %sb
    """
    by_lse = """
        %l = logsumexp %x {axes=[1]}
        %lb = broadcast %l {shape=[4, 7], axes=[0]}
        %d = sub %x, %lb
        %y = exp %d
    """
    case("composed/softmax", {"x": x}, softmax, lambda x: F.softmax(x, 1), gradients=["x"], tolerance=1e-5)
    case(
        "composed/softmax_by_logsumexp",
        {"x": x},
        by_lse,
        lambda x: F.softmax(x, 1),
        gradients=["x"],
        tolerance=1e-5,
    )
    first_axis = """
        %l = logsumexp %x {axes=[0]}
        %lb = broadcast %l {shape=[4, 7], axes=[1]}
        %y = sub %x, %lb
    """
    case(
        "composed/log_softmax_of_columns",
        {"x": x},
        first_axis,
        lambda x: F.log_softmax(x, 0),
        gradients=["x"],
        tolerance=1e-5,
    )
    long = uniform(1, [3, 1000], -3.0, 3.0)
    body = """
        %l = logsumexp %x {axes=[1]}
        %lb = broadcast %l {shape=[3, 1000], axes=[0]}
        %d = sub %x, %lb
        %p = exp %d
        %q = mul %p, %d
        %y = reduce_sum %q {axes=[1]}
    """
    entropy = lambda x: (F.softmax(x, 1) * F.log_softmax(x, 1)).sum(1)
    case("composed/negative_entropy_of_long_rows", {"x": long}, body, entropy, tolerance=2e-5)
    labels = i32([2, 0, 6, 3])
    cross_entropy = """
        %l = logsumexp %x {axes=[1]}
        %classes = iota {shape=[4, 7], axis=1}
        %lab = broadcast %labels {shape=[4, 7], axes=[0]}
        %hit = eq %classes, %lab
        %zero: f32[] = constant 0
        %zeros = broadcast %zero {shape=[4, 7], axes=[]}
        %chosen = select %hit, %x, %zeros
        %logit = reduce_sum %chosen {axes=[1]}
        %each = sub %l, %logit
        %quarter: f32[] = constant 0.25
        %sum = reduce_sum %each {axes=[0]}
        %y = mul %sum, %quarter
    """
    inputs = {"x": x, "labels": labels}
    case(
        "composed/cross_entropy",
        inputs,
        cross_entropy,
        lambda x, labels: F.cross_entropy(x, labels),
        gradients=["x"],
        tolerance=1e-5,
    )
    norm = """
        %mean, %variance = mean_variance %x {axes=[1]}
        %epsilon: f32[] = constant 1e-5
        %eb = broadcast %epsilon {shape=[4], axes=[]}
        %shifted = add %variance, %eb
        %r = rsqrt %shifted
        %rb = broadcast %r {shape=[4, 7], axes=[0]}
        %mb = broadcast %mean {shape=[4, 7], axes=[0]}
        %c = sub %x, %mb
        %n = mul %c, %rb
        %wb = broadcast %w {shape=[4, 7], axes=[1]}
        %bb = broadcast %b {shape=[4, 7], axes=[1]}
        %scaled = mul %n, %wb
        %y = add %scaled, %bb
    """
    inputs = {"x": x, "w": uniform(2, [7], 0.5, 1.5), "b": uniform(3, [7])}
    compute = lambda x, w, b: F.layer_norm(x, [7], w, b, 1e-5)
    case("composed/layer_norm", inputs, norm, compute, gradients=["x", "w", "b"], tolerance=2e-5)
    batch_norm = """
        %mean, %variance = mean_variance %x {axes=[0, 2, 3]}
        %epsilon: f32[] = constant 1e-5
        %eb = broadcast %epsilon {shape=[3], axes=[]}
        %shifted = add %variance, %eb
        %r = rsqrt %shifted
        %a = mul %r, %w
        %ab = broadcast %a {shape=[4, 3, 5, 2], axes=[1]}
        %mb = broadcast %mean {shape=[4, 3, 5, 2], axes=[1]}
        %bb = broadcast %b {shape=[4, 3, 5, 2], axes=[1]}
        %c = sub %x, %mb
        %scaled = mul %c, %ab
        %y = add %scaled, %bb
        %tenth: f32[3] = constant [0.1, 0.1, 0.1]
        %rest: f32[3] = constant [0.9, 0.9, 0.9]
        %unbiased: f32[3] = constant [0.10256410256, 0.10256410256, 0.10256410256]
        %old_mean = mul %running_mean, %rest
        %new_mean = mul %mean, %tenth
        %next_mean = add %old_mean, %new_mean
        %old_variance = mul %running_variance, %rest
        %new_variance = mul %variance, %unbiased
        %next_variance = add %old_variance, %new_variance
        write "running_mean" = %next_mean
        write "running_variance" = %next_variance
    """

    def batch_norm_torch(x, w, b, running_mean, running_variance):
        mean, variance = running_mean.clone(), running_variance.clone()
        y = F.batch_norm(x, mean, variance, w, b, training=True, momentum=0.1, eps=1e-5)
        return {"y": y, "state:running_mean": mean, "state:running_variance": variance}

    inputs = {"x": uniform(1, [4, 3, 5, 2], -2.0, 3.0), "w": uniform(2, [3], 0.5, 1.5), "b": uniform(3, [3])}
    states = {"running_mean": uniform(4, [3]), "running_variance": uniform(5, [3], 0.5, 1.5)}
    case(
        "composed/batch_norm",
        inputs,
        batch_norm,
        batch_norm_torch,
        gradients=["x", "w", "b"],
        states=states,
        tolerance=3e-5,
    )
    gelu = """
        %c: f32[] = constant 0.70710678118
        %cb = broadcast %c {shape=[4, 7], axes=[]}
        %xc = mul %x, %cb
        %e = erf %xc
        %one: f32[] = constant 1
        %ob = broadcast %one {shape=[4, 7], axes=[]}
        %e1 = add %e, %ob
        %half: f32[] = constant 0.5
        %hb = broadcast %half {shape=[4, 7], axes=[]}
        %xh = mul %x, %hb
        %y = mul %xh, %e1
    """
    case("composed/gelu", {"x": x}, gelu, F.gelu, gradients=["x"], tolerance=5e-6)
    silu = "%s = sigmoid %x\n%y = mul %x, %s"
    case("composed/silu", {"x": x}, silu, F.silu, gradients=["x"], tolerance=5e-6)
    dropout = """
        %bits = random_bits %seed, %step {shape=[4, 7], stream=3}
        %eight: u32[] = constant 8
        %eb = broadcast %eight {shape=[4, 7], axes=[]}
        %high = shr %bits, %eb
        %f = cast %high {to=f32}
        %unit: f32[] = constant 5.9604645e-8
        %ub = broadcast %unit {shape=[4, 7], axes=[]}
        %u = mul %f, %ub
        %p: f32[] = constant 0.25
        %pb = broadcast %p {shape=[4, 7], axes=[]}
        %keep = ge %u, %pb
        %scale: f32[] = constant 1.3333334
        %sb = broadcast %scale {shape=[4, 7], axes=[]}
        %xs = mul %x, %sb
        %zero: f32[] = constant 0
        %zb = broadcast %zero {shape=[4, 7], axes=[]}
        %y = select %keep, %xs, %zb
        %one: u32[] = constant 1
        %next = add %step, %one
        write "step" = %next
    """

    def dropout_torch(x, seed, step):
        u = torch.tensor(
            (philox(seed.tolist(), step.item(), 3, 28) >> np.uint64(8)).astype(np.float64) / 2**24
        ).reshape(4, 7)
        return {"y": torch.where(u >= 0.25, x / 0.75, 0.0), "state:step": step + 1}

    inputs = {"x": x, "seed": given("u32", [77, 3])}
    states = {"step": given("u32", [9], [])}
    case("composed/dropout", inputs, dropout, dropout_torch, gradients=["x"], states=states, tolerance=2e-6)
    adamw = """
        %rb = broadcast %rate {shape=[11], axes=[]}
        %b1 = broadcast %beta1 {shape=[11], axes=[]}
        %b2 = broadcast %beta2 {shape=[11], axes=[]}
        %db = broadcast %decay {shape=[11], axes=[]}
        %one_scalar: f32[] = constant 1
        %one = broadcast %one_scalar {shape=[11], axes=[]}
        %t = add %step, %one_scalar
        %c1 = sub %one, %b1
        %c2 = sub %one, %b2
        %m1 = mul %m, %b1
        %g1 = mul %g, %c1
        %m2 = add %m1, %g1
        %v1 = mul %v, %b2
        %gg = mul %g, %g
        %g2 = mul %gg, %c2
        %v2 = add %v1, %g2
        %p1 = pow %beta1, %t
        %p2 = pow %beta2, %t
        %k1 = sub %one_scalar, %p1
        %k2 = sub %one_scalar, %p2
        %k1b = broadcast %k1 {shape=[11], axes=[]}
        %k2b = broadcast %k2 {shape=[11], axes=[]}
        %mh = div %m2, %k1b
        %vh = div %v2, %k2b
        %root = sqrt %vh
        %eps_scalar: f32[] = constant 1e-8
        %eps = broadcast %eps_scalar {shape=[11], axes=[]}
        %bottom = add %root, %eps
        %step_size = div %mh, %bottom
        %update = mul %rb, %step_size
        %rd = mul %rb, %db
        %shrink = sub %one, %rd
        %w1 = mul %w, %shrink
        %w2 = sub %w1, %update
        write "w" = %w2
        write "m" = %m2
        write "v" = %v2
        write "step" = %t
    """

    def adamw_torch(g, w, m, v, step, rate, beta1, beta2, decay):
        parameter = torch.nn.Parameter(w.clone())
        optimizer = torch.optim.AdamW(
            [parameter],
            lr=rate.item(),
            betas=(beta1.item(), beta2.item()),
            weight_decay=decay.item(),
            foreach=False,
        )
        parameter.grad = g.clone()
        optimizer.state[parameter] = {"step": step.clone(), "exp_avg": m.clone(), "exp_avg_sq": v.clone()}
        optimizer.step()
        state = optimizer.state[parameter]
        return {
            "state:w": parameter.detach(),
            "state:m": state["exp_avg"],
            "state:v": state["exp_avg_sq"],
            "state:step": state["step"],
        }

    states = {
        "w": uniform(2, [11]),
        "m": uniform(3, [11], -0.1, 0.1),
        "v": uniform(4, [11], 0.0, 0.01),
        "step": f32([4], []),
    }
    hypers = {"rate": 1e-2, "beta1": 0.9, "beta2": 0.99, "decay": 0.1}
    case(
        "composed/adamw",
        {"g": uniform(1, [11])},
        adamw,
        adamw_torch,
        states=states,
        hypers=hypers,
        tolerance=1e-5,
    )
    network = """
        %c = convolution %x, %kernel {window=[stride:[1, 1] low:[1, 1] high:[1, 1] dilation:[1, 1] groups:1]}
        %kb = broadcast %kernel_bias {shape=[3, 4, 6, 6], axes=[1]}
        %cb = add %c, %kb
        %r = relu %cb
        %pooled, %at = max_pool %r {window=[kernel:[2, 2] stride:[2, 2] low:[0, 0] high:[0, 0]]}
        %flat = reshape %pooled {shape=[3, 36]}
        %z = dot %flat, %weight {lhs_batch=[], rhs_batch=[], lhs_contract=[1], rhs_contract=[1]}
        %bb = broadcast %bias {shape=[3, 5], axes=[1]}
        %y = add %z, %bb
    """

    def network_torch(x, kernel, kernel_bias, weight, bias):
        h = F.max_pool2d(F.relu(F.conv2d(x, kernel, kernel_bias, padding=1)), 2)
        return F.linear(h.flatten(1), weight, bias)

    inputs = {
        "x": uniform(1, [3, 2, 6, 6]),
        "kernel": uniform(2, [4, 2, 3, 3]),
        "kernel_bias": uniform(3, [4]),
        "weight": uniform(4, [5, 36]),
        "bias": uniform(5, [5]),
    }
    case(
        "composed/small_network",
        inputs,
        network,
        network_torch,
        gradients=["x", "kernel", "kernel_bias", "weight", "bias"],
        tolerance=2e-5,
    )
    lstm = """
        %zi = dot %x, %wi {lhs_batch=[], rhs_batch=[], lhs_contract=[1], rhs_contract=[1]}
        %zh = dot %h, %wh {lhs_batch=[], rhs_batch=[], lhs_contract=[1], rhs_contract=[1]}
        %z0 = add %zi, %zh
        %bb = broadcast %b {shape=[2, 12], axes=[1]}
        %z = add %z0, %bb
        %z1 = slice %z {start=[0, 0], stop=[2, 3], step=[1, 1]}
        %z2 = slice %z {start=[0, 3], stop=[2, 6], step=[1, 1]}
        %z3 = slice %z {start=[0, 6], stop=[2, 9], step=[1, 1]}
        %z4 = slice %z {start=[0, 9], stop=[2, 12], step=[1, 1]}
        %i = sigmoid %z1
        %f = sigmoid %z2
        %g = tanh %z3
        %o = sigmoid %z4
        %fc = mul %f, %c
        %ig = mul %i, %g
        %cell = add %fc, %ig
        %tc = tanh %cell
        %y = mul %o, %tc
    """

    def lstm_torch(x, h, c, wi, wh, b):
        y, cell = torch._VF.lstm_cell(x, (h, c), wi, wh, b, torch.zeros_like(b))
        return {"y": y, "cell": cell}

    inputs = {"x": uniform(1, [2, 4]), "h": uniform(2, [2, 3]), "c": uniform(3, [2, 3])}
    inputs |= {"wi": uniform(4, [12, 4]), "wh": uniform(5, [12, 3]), "b": uniform(6, [12])}
    case("composed/lstm_cell", inputs, lstm, lstm_torch, gradients=list(inputs), tolerance=1e-5)
