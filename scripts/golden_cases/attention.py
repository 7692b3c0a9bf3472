"""Attention and its gradient."""

import torch
import torch.nn.functional as F

from .write import case, f32, inf, uniform


def attend(q, k, v, causal, scale):
    t, s = q.shape[2], k.shape[2]
    scores = scale * (q @ k.transpose(2, 3))
    if causal:
        visible = torch.ones(t, s, dtype=torch.bool).tril(s - t)
        scores = scores.masked_fill(~visible, -inf)
    if t > s and causal:
        # Queries that see nothing give zeros; PyTorch would give NaN.
        blind = t - s
        rest = attend(q[:, :, blind:], k, v, True, scale)
        pad = torch.zeros_like(q[:, :, :blind])
        lse = torch.full(list(q.shape[:2]) + [blind], -inf, dtype=torch.float64)
        return {"y": torch.cat([pad, rest["y"]], 2), "lse": torch.cat([lse, rest["lse"]], 2)}
    expected = F.scaled_dot_product_attention(
        q, k, v, attn_mask=torch.zeros_like(scores).masked_fill(scores == -inf, -inf), scale=scale
    )
    return {"y": expected, "lse": torch.logsumexp(scores, 3)}


def attention_cases():
    table = [
        ("square", [2, 3, 5, 4], 5, 0, 0.5),
        ("causal", [2, 2, 6, 4], 6, 1, 0.5),
        ("more_keys", [1, 2, 4, 8], 7, 0, 0.35),
        ("causal_more_keys", [1, 2, 4, 3], 7, 1, 0.6),
        ("causal_fewer_keys", [1, 1, 5, 3], 3, 1, 0.6),
        ("one_query", [2, 2, 1, 5], 9, 0, 0.4),
        ("one_key", [1, 2, 3, 2], 1, 0, 1.0),
        ("wide_head", [1, 1, 3, 40], 4, 0, 0.15),
        ("long", [1, 1, 33, 4], 70, 1, 0.5),
    ]
    for name, shape, keys, causal, scale in table:
        other = [shape[0], shape[1], keys, shape[3]]
        inputs = {"q": uniform(1, shape), "k": uniform(2, other), "v": uniform(3, other)}
        attributes = f"{{causal={causal}, scale={scale}}}"
        body = f"%y, %lse = attention %q, %k, %v {attributes}"
        compute = lambda q, k, v: attend(q, k, v, causal, scale)
        case(f"ops/attention/{name}", inputs, body, compute, tolerance=5e-6)
        if name != "long":
            case(
                f"gradients/attention/{name}",
                inputs,
                body,
                compute,
                gradients=["q", "k", "v"],
                tolerance=1e-5,
            )

        def gradient(q, k, v, o, lse, g):
            q, k, v = (x.clone().requires_grad_(True) for x in (q, k, v))
            dq, dk, dv = torch.autograd.grad(compute(q, k, v)["y"], (q, k, v), g)
            return {"dq": dq, "dk": dk, "dv": dv}

        made = compute(*(inputs[key].torch() for key in "qkv"))
        rest = {"o": f32(made["y"].numpy()), "lse": f32(made["lse"].numpy()), "g": uniform(4, shape)}
        body = f"%dq, %dk, %dv = attention_gradient %q, %k, %v, %o, %lse, %g {attributes}"
        case(f"ops/attention_gradient/{name}", {**inputs, **rest}, body, gradient, tolerance=1e-5)
    big = {
        "q": uniform(1, [1, 1, 3, 4], -30.0, 30.0),
        "k": uniform(2, [1, 1, 5, 4], -30.0, 30.0),
        "v": uniform(3, [1, 1, 5, 4]),
    }
    body = "%y, %lse = attention %q, %k, %v {causal=0, scale=1.0}"
    case("ops/attention/large_scores", big, body, lambda q, k, v: attend(q, k, v, False, 1.0), tolerance=2e-4)
