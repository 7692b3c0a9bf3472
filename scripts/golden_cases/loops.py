"""Loops: scans with carried values, slices and values that are the same in all trips."""

import torch

from .write import case, i32, uniform


def scan(inputs, outputs, carries, stacked, trips, reverse=0):
    """The attributes of a scan: types of the body's inputs by name, its statements, and the names of its outputs."""
    statements = [f'%{name}: {ty} = input "{at}"' for at, (name, ty) in enumerate(inputs.items())]
    statements += [line.strip() for line in outputs[0].strip().splitlines()]
    statements += [f'output "{at}" = %{name}' for at, name in enumerate(outputs[1:])]
    body = "; ".join(statements)
    return f"{{body=[{body}], carries={carries}, stacked={stacked}, trips={trips}, reverse={reverse}}}"


def turned(values, reverse):
    return values.flip(0) if reverse else values


def running(combine):
    """A loop that carries one value and stacks it."""

    def compute(initial, x, reverse):
        value, stack = initial, []
        for slice in turned(x, reverse):
            value = combine(value, slice)
            stack.append(value)
        stacked = torch.stack(stack) if stack else torch.zeros([0, *initial.shape])
        return value, turned(stacked, reverse)

    return compute


def op_cases():
    for reverse in (0, 1):
        way = "reverse" if reverse else "forward"
        for trips in (0, 1, 2, 5, 100):
            step = "%next = mul %c, %half\n%sum = add %next, %x"
            inputs = {"c": "f32[3]", "x": "f32[3]", "half": "f32[3]"}
            attributes = scan(inputs, [step, "sum", "sum"], 1, 1, trips, reverse)
            body = f"%last, %y = scan %c, %x, %h {attributes}"

            def compute(c, x, h):
                last, y = running(lambda c, x: c * h + x)(c, x, reverse)
                return {"y": y, "last": last}

            given = {"c": uniform(1, [3]), "x": uniform(2, [trips, 3]), "h": uniform(3, [3], 0.25, 0.75)}
            case(f"ops/scan/{way}_{trips}", given, body, compute, tolerance=2e-5)
    # Nothing carried; nothing stacked; whole numbers and truth values; two values that change places.
    attributes = scan({"x": "f32[2]", "w": "f32[2, 3]"}, ["%y = dot %x, %w {lhs_batch=[], rhs_batch=[], lhs_contract=[0], rhs_contract=[0]}", "y"], 0, 1, 4)
    case("ops/scan/nothing_carried", {"x": uniform(1, [4, 2]), "w": uniform(2, [2, 3])}, f"%y = scan %x, %w {attributes}", lambda x, w: x @ w)
    attributes = scan({"c": "f32[2]", "w": "f32[2, 2]"}, ["%y = dot %w, %c {lhs_batch=[], rhs_batch=[], lhs_contract=[1], rhs_contract=[0]}", "y"], 1, 0, 6)
    case("ops/scan/nothing_stacked", {"c": uniform(1, [2]), "w": uniform(2, [2, 2])}, f"%y = scan %c, %w {attributes}", lambda c, w: torch.linalg.matrix_power(w, 6) @ c)
    step = "%one: i32[] = constant 1\n%n = add %count, %one\n%odd = eq %x, %count\n%y = xor %flag, %odd"
    attributes = scan({"count": "i32[]", "flag": "bool[]", "x": "i32[]"}, [step, "n", "y", "count", "odd"], 2, 1, 5)
    case(
        "ops/scan/integers",
        {"count": i32(3, []), "x": i32([3, 0, 5, 6, 1])},
        f"%no: bool[] = constant false\n%last, %flag, %y, %odd = scan %count, %no, %x {attributes}",
        lambda count, x: {"last": torch.tensor(8), "flag": torch.tensor(True), "y": torch.arange(3, 8), "odd": x == torch.arange(3, 8)},
    )
    attributes = scan({"a": "f32[2]", "b": "f32[2]"}, ["%y = add %a, %b", "b", "a", "y", "b"], 2, 0, 3)

    def change_places(a, b):
        return {"y": torch.stack([a + b] * 3), "seen": torch.stack([b, a, b]), "first": b, "second": a}

    case("ops/scan/changing_places", {"a": uniform(1, [2]), "b": uniform(2, [2])}, f"%first, %second, %y, %seen = scan %a, %b {attributes}", change_places)


def gradient_cases():
    dot = "dot %{}, %{} {{lhs_batch=[], rhs_batch=[], lhs_contract=[1], rhs_contract=[{}]}}"
    for reverse in (0, 1):
        way = "reverse" if reverse else "forward"
        # A recurrent layer: the gradients of w and b are a product and a sum behind the loop.
        step = f"""
            %product = {dot.format('h', 'w', 1)}
            %wide = broadcast %b {{shape=[2, 3], axes=[1]}}
            %sum = add %product, %x
            %more = add %sum, %wide
            %next = tanh %more
        """
        inputs = {"h": "f32[2, 3]", "x": "f32[2, 3]", "w": "f32[3, 3]", "b": "f32[3]"}
        attributes = scan(inputs, [step, "next", "next"], 1, 1, 4, reverse)

        def recurrent(h, x, w, b):
            last, y = running(lambda h, x: torch.tanh(h @ w.T + x + b))(h, x, reverse)
            return {"y": y, "last": last}

        given = {"h": uniform(1, [2, 3]), "x": uniform(2, [4, 2, 3]), "w": uniform(3, [3, 3]), "b": uniform(4, [3])}
        case(f"gradients/scan/recurrent_{way}", given, f"%last, %y = scan %h, %x, %w, %b {attributes}", recurrent, gradients=["h", "x", "w", "b"], tolerance=2e-5)
        # The gradient of a factor is carried along.
        attributes = scan({"c": "f32[3]", "x": "f32[3]", "w": "f32[3]"}, ["%a = mul %c, %w\n%next = add %a, %x", "next", "c"], 1, 1, 5, reverse)

        def factor(c, x, w):
            values, value = [], c
            for slice in turned(x, reverse):
                values.append(value)
                value = value * w + slice
            return {"y": value, "seen": turned(torch.stack(values), reverse)}

        given = {"c": uniform(1, [3]), "x": uniform(2, [5, 3]), "w": uniform(3, [3])}
        case(f"gradients/scan/factor_{way}", given, f"%y, %seen = scan %c, %x, %w {attributes}", factor, gradients=["c", "x", "w"], tolerance=2e-5)
    # The first trip alone sees the initial value.
    attributes = scan({"c": "f32[2]", "x": "f32[2]"}, ["%y = mul %c, %x", "x", "y"], 1, 1, 3)
    case(
        "gradients/scan/forgotten",
        {"c": uniform(1, [2]), "x": uniform(2, [3, 2])},
        f"%last, %y = scan %c, %x {attributes}",
        lambda c, x: {"y": torch.stack([c * x[0], x[0] * x[1], x[1] * x[2]]), "last": x[2]},
        gradients=["c", "x"],
    )
    # A loop in a loop, with whole numbers beside.
    inner = scan({"v": "f32[2]", "w": "f32[2]"}, ["%a = mul %v, %w\n%b = sin %a", "b"], 1, 0, 2)
    step = f"%one: i32[] = constant 1\n%n = add %count, %one\n%v = add %c, %x\n%next = scan %v, %w {inner}"
    attributes = scan({"c": "f32[2]", "count": "i32[]", "x": "f32[2]", "w": "f32[2]"}, [step, "next", "n", "next"], 2, 1, 3)

    def nested(c, x, w):
        stack = []
        for slice in x:
            c = torch.sin(torch.sin((c + slice) * w) * w)
            stack.append(c)
        return {"y": torch.stack(stack), "last": c}

    case(
        "gradients/scan/nested",
        {"c": uniform(1, [2]), "x": uniform(2, [3, 2]), "w": uniform(3, [2])},
        f"%zero: i32[] = constant 0\n%last, %n, %y = scan %c, %zero, %x, %w {attributes}",
        nested,
        gradients=["c", "x", "w"],
        tolerance=2e-5,
    )


def loop_cases():
    op_cases()
    gradient_cases()
