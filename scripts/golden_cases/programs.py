"""Ports and shapes of whole programs."""

import torch

from .write import case, uniform


def program_cases():
    """Ports: what is read, written and given back, in every combination that memory planning could get wrong."""
    a, b = uniform(1, [5]), uniform(2, [5])
    both = {"a": a, "b": b}
    case(
        "programs/swap_states",
        {},
        'write "a" = %b\nwrite "b" = %a',
        lambda a, b: {"state:a": b, "state:b": a},
        states=both,
        tolerance=0.0,
    )
    body = '%n = neg %a\nwrite "a" = %n'
    case(
        "programs/old_value_of_a_written_state",
        {},
        body,
        lambda a: {"a": a, "n": -a, "state:a": -a},
        states={"a": a},
        tolerance=0.0,
    )
    body = '%s = add %a, %b\nwrite "a" = %s\nwrite "b" = %s'
    case(
        "programs/one_value_in_two_states",
        {},
        body,
        lambda a, b: {"s": a + b, "state:a": a + b, "state:b": a + b},
        states=both,
        tolerance=2e-7,
    )
    body = 'write "a" = %x'
    case(
        "programs/input_into_state",
        {"x": b},
        body,
        lambda x, a: {"state:a": x, "a": a},
        states={"a": a},
        tolerance=0.0,
    )
    body = '%c: f32[5] = constant [1, 2, 3, 4, 5]\nwrite "a" = %c'
    compute = lambda a: {"state:a": torch.arange(1.0, 6.0), "c": torch.arange(1.0, 6.0)}
    case("programs/constant_into_state", {}, body, compute, states={"a": a}, tolerance=0.0)
    body = 'write "a" = %a'
    case(
        "programs/state_into_itself",
        {},
        body,
        lambda a: {"state:a": a, "a": a},
        states={"a": a},
        tolerance=0.0,
    )
    case(
        "programs/unwritten_state",
        {"x": a},
        "%y = add %x, %b",
        lambda x, b: {"y": x + b, "state:b": b},
        states={"b": b},
        tolerance=2e-7,
    )
    case("programs/input_as_output", {"x": a}, "", lambda x: {"x": x}, tolerance=0.0)
    case("programs/hyper_as_output", {}, "", lambda h: {"h": h}, hypers={"h": 0.3}, tolerance=0.0)
    body = "%c: f32[] = constant 2.5\n%d: i32[3] = constant [1, -2, 3]\n%e: bool[2] = constant [true, false]"
    compute = lambda: {
        "c": torch.tensor(2.5),
        "d": torch.tensor([1, -2, 3]),
        "e": torch.tensor([True, False]),
    }
    case("programs/constants_as_outputs", {}, body, compute, tolerance=0.0)
    body = '%y = neg %x\noutput "once" = %y\noutput "twice" = %y'
    case(
        "programs/one_value_in_two_outputs",
        {"x": a},
        body,
        lambda x: {"once": -x, "twice": -x},
        tolerance=0.0,
    )
    case("programs/no_output", {"x": a}, "%unused = neg %x", lambda x: {})
    body = "%p = permute %x {order=[1, 0]}\n%r = reshape %x {shape=[6]}\n%b = broadcast %x {shape=[2, 2, 3], axes=[0, 2]}"
    compute = lambda x: {"p": x.T, "r": x.reshape(6), "b": x[:, None].expand(2, 2, 3)}
    case("programs/views_as_outputs", {"x": uniform(1, [2, 3])}, body, compute, tolerance=0.0)
    body = '%p = permute %w {order=[1, 0]}\nwrite "w" = %p'
    case(
        "programs/transposed_state",
        {},
        body,
        lambda w: {"state:w": w.T, "w": w},
        states={"w": uniform(1, [4, 4])},
        tolerance=0.0,
    )
    body = """
        %p = permute %w {order=[1, 0]}
        %s = add %w, %p
        %f = flip %s {axes=[0]}
        write "w" = %f
    """
    case(
        "programs/state_read_in_another_order",
        {},
        body,
        lambda w: {"state:w": (w + w.T).flip(0)},
        states={"w": uniform(1, [5, 5])},
        tolerance=2e-7,
    )
    body = """
        %e = exp %x
        %s = reduce_sum %e {axes=[1]}
        %sb = broadcast %s {shape=[6, 9], axes=[0]}
        %y = div %e, %sb
        %m = reduce_max %e {axes=[0]}
    """
    compute = lambda x: {"e": x.exp(), "y": x.softmax(1), "m": x.exp().amax(0)}
    case("programs/value_used_by_two_reductions", {"x": uniform(1, [6, 9])}, body, compute, tolerance=3e-6)
    body = """
        %t = permute %x {order=[1, 0]}
        %d = sub %x, %t
        %q = mul %d, %d
        %r = reduce_sum %q {axes=[0]}
        %c = reduce_sum %q {axes=[1]}
        %y = sub %r, %c
    """
    compute = lambda x: {
        "r": ((x - x.T) ** 2).sum(0),
        "c": ((x - x.T) ** 2).sum(1),
        "y": torch.zeros(6, dtype=torch.float64),
    }
    case("programs/two_index_maps", {"x": uniform(1, [6, 6])}, body, compute, tolerance=4e-6)
    body = "\n".join(
        ["%v0 = exp %x"]
        + [f"%v{i + 1} = {'tanh' if i % 2 else 'sin'} %v{i}" for i in range(40)]
        + ["%y = add %v40, %v0"]
    )

    def chain(x):
        y = x.exp()
        for i in range(40):
            y = y.tanh() if i % 2 else y.sin()
        return y + x.exp()

    case("programs/long_chain", {"x": uniform(1, [700])}, body, chain, tolerance=1e-5)
    body = "\n".join(
        [f"%v{i} = exp %x{i}" for i in range(20)]
        + ["%s0 = add %v0, %v1"]
        + [f"%s{i} = add %s{i - 1}, %v{i + 1}" for i in range(1, 19)]
        + ["%y = neg %s18"]
    )
    inputs = {f"x{i}": uniform(i + 1, [6]) for i in range(20)}
    case("programs/many_inputs", inputs, body, lambda *x: -sum(v.exp() for v in x), tolerance=5e-6)
