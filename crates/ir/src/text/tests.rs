use super::parse;
use crate::program::{Origin, Program};
use crate::types::{DType, Literal, Real, Shape, ValueType};
use crate::verify::verify;
use crate::{BinaryKind, Body, CompareKind, ConvolutionWindow, Op, PoolWindow, ReduceKind, UnaryKind};

fn float(shape: impl Into<Shape>) -> ValueType {
    ValueType::new(DType::F32, shape)
}

/// A body that adds its slice to what it carries, and stacks constants; with so many loops inside of it.
fn inner(depth: usize) -> Program {
    let mut p = Program::new("inner");
    let carried = p.input("carried", float([4]));
    let slice = p.input("slice \"quoted\"", float([4]));
    let mut sum = p.binary(BinaryKind::Add, carried, slice).unwrap();
    if depth > 0 {
        let rows = p.apply(Op::Broadcast { shape: [3, 4].into(), axes: vec![1] }, &[sum]).unwrap();
        let body = Body::new(inner(depth - 1));
        sum =
            p.push(Op::Scan { body, carries: 1, stacked: 1, trips: 3, reverse: 0 }, &[sum, rows]).unwrap()[0];
    }
    let ty = ValueType::new(DType::Bool, [2, 2]);
    let stacked = p.constant(Literal::from_bytes(ty, &[0, 1, 1, 0]).unwrap());
    p.output("carried", sum);
    p.output("stacked", stacked);
    p
}

#[test]
fn bodies_are_read_to_a_depth_that_no_stack_fears() {
    let text = |depth: usize| inner(depth).to_string();
    assert_eq!(parse(&text(10)).unwrap().to_string(), text(10));
    let error = parse(&text(40)).unwrap_err().to_string();
    assert!(error.contains("scan: cannot read body=["), "{error}");
}

/// A program with every operation, every kind and every element type.
fn everything() -> Program {
    let mut p = Program::new("every operation");
    let x = p.input("x", float([2, 4, 6, 6]));
    let filter = p.state("filter \"quoted\"\n", float([4, 2, 3, 3]));
    let rate = p.hyper("rate");
    let mut x2 = x;
    for &kind in UnaryKind::ALL {
        if kind != UnaryKind::Not {
            x2 = p.unary(kind, x2).unwrap();
        }
    }
    let i = p.apply(Op::Cast { to: DType::I32 }, &[x]).unwrap();
    let u = p.apply(Op::Cast { to: DType::U32 }, &[x]).unwrap();
    let b = p.apply(Op::Cast { to: DType::Bool }, &[x]).unwrap();
    p.apply(Op::Cast { to: DType::U8 }, &[x]).unwrap();
    for to in [DType::F16, DType::BF16] {
        let half = p.apply(Op::Cast { to }, &[x]).unwrap();
        p.binary(BinaryKind::Multiply, half, half).unwrap();
    }
    p.unary(UnaryKind::Not, b).unwrap();
    for &kind in BinaryKind::ALL {
        use BinaryKind::*;
        let arg = match kind {
            And | Or => b,
            Xor => i,
            ShiftLeft | ShiftRight => u,
            _ => x,
        };
        p.binary(kind, arg, arg).unwrap();
    }
    for &kind in CompareKind::ALL {
        p.compare(kind, i, i).unwrap();
    }
    for &kind in ReduceKind::ALL {
        p.reduce(kind, x, &[1, 3]).unwrap();
    }
    p.apply(Op::Select {}, &[b, x, x2]).unwrap();
    p.apply(Op::Reshape { shape: [8, 36].into() }, &[x]).unwrap();
    p.apply(Op::Permute { order: vec![3, 0, 2, 1] }, &[x]).unwrap();
    p.apply(Op::Broadcast { shape: [3].into(), axes: vec![] }, &[rate]).unwrap();
    p.apply(Op::Slice { start: vec![0, 1, 2, 3], stop: vec![1, 1, 4, 6], step: vec![1, 1, 2, 3] }, &[x])
        .unwrap();
    let value = Real(f64::NEG_INFINITY);
    p.apply(Op::Pad { low: vec![0; 4], high: vec![1; 4], interior: vec![2; 4], value }, &[x]).unwrap();
    p.apply(Op::Flip { axes: vec![0, 2] }, &[x]).unwrap();
    p.apply(Op::Concat { axis: 1 }, &[x, x, x2]).unwrap();
    p.apply(Op::ArgMax { axis: 2 }, &[x]).unwrap();
    p.apply(Op::ArgSort { axis: 1, descending: 1 }, &[x]).unwrap();
    p.apply(Op::CumulativeSum { axis: 3, reverse: 1 }, &[x]).unwrap();
    p.apply(Op::LogSumExp { axes: vec![] }, &[x]).unwrap();
    p.push(Op::MeanVariance { axes: vec![0, 2, 3] }, &[x]).unwrap();
    let (lhs_batch, rhs_batch) = (vec![0], vec![0]);
    p.apply(Op::Dot { lhs_batch, rhs_batch, lhs_contract: vec![2], rhs_contract: vec![3] }, &[x, x]).unwrap();
    let window = ConvolutionWindow { stride: [2, 1], low: [1, 0], high: [0, 3], dilation: [1, 2], groups: 2 };
    let y = p.apply(Op::Convolution { window: window.clone() }, &[x, filter]).unwrap();
    let input = [6, 6];
    p.apply(Op::ConvolutionInputGradient { window: window.clone(), input }, &[y, filter]).unwrap();
    let new = p.apply(Op::ConvolutionFilterGradient { window, kernel: [3, 3] }, &[x, y]).unwrap();
    let window = PoolWindow { kernel: [3, 2], stride: [1, 2], low: [1, 0], high: [1, 1] };
    let pooled = p.push(Op::MaxPool { window: window.clone() }, &[x]).unwrap();
    p.apply(Op::MaxPoolGradient { input }, &pooled).unwrap();
    let sum = p.apply(Op::WindowSum { window: window.clone() }, &[x]).unwrap();
    p.apply(Op::WindowSumTranspose { window, input }, &[sum]).unwrap();
    let index = p.apply(Op::Iota { shape: [3, 2].into(), axis: 0 }, &[]).unwrap();
    let picked = p.apply(Op::Gather { axis: 1 }, &[x, index]).unwrap();
    p.apply(Op::ScatterAdd { axis: 1, size: 7 }, &[picked, index]).unwrap();
    let (causal, scale) = (1, Real(0.125));
    let attended = p.push(Op::Attention { causal, scale }, &[x, x, x]).unwrap();
    p.push(Op::AttentionGradient { causal, scale }, &[x, x, x, attended[0], attended[1], x]).unwrap();
    let row = p.apply(Op::Reshape { shape: [72, 4].into() }, &[x]).unwrap();
    let start = p.full(float([4]), 0.5).unwrap();
    let loops = Op::Scan { body: Body::new(inner(2)), carries: 1, stacked: 1, trips: 72, reverse: 1 };
    p.push(loops, &[start, row]).unwrap();
    let seed = p.constant(Literal::from_bytes(ValueType::new(DType::U32, [2]), &[255; 8]).unwrap());
    let step = p.constant(Literal::u32(7));
    p.apply(Op::RandomBits { shape: [5].into(), stream: 3 }, &[seed, step]).unwrap();
    for number in
        [0.1, -0.0, f32::INFINITY, f32::NEG_INFINITY, f32::NAN, -f32::NAN, f32::MIN_POSITIVE / 4.0, 1e30]
    {
        p.constant(Literal::f32(number));
    }
    p.constant(Literal::f32(f32::from_bits(0x7fc0_1234)));
    for bits in [0u16, 0x8001, 0x3555, 0x7bff, 0x7c00, 0xff80, 0x7e00, 0xfe00, 0x7fc0, 0x7c01, 0x7f81] {
        for dtype in [DType::F16, DType::BF16] {
            let ty = ValueType::scalar(dtype);
            p.constant(Literal::from_bytes(ty, &bits.to_le_bytes()).unwrap());
        }
    }
    p.constant(Literal::scalar(DType::Bool, 1.0));
    p.constant(Literal::scalar(DType::U8, 200.0));
    p.constant(Literal::i32(i32::MIN));
    p.constant(Literal::from_bytes(float([0, 3]), &[]).unwrap());
    p.constant(Literal::from_bytes(float([1]), &[0; 4]).unwrap());
    p.constant(Literal::from_bytes(ValueType::new(DType::Bool, [2, 2]), &[0, 1, 1, 0]).unwrap());
    p.write(0, new).unwrap();
    p.output("// not a comment }", new);
    p.output("", rate);
    p
}

#[test]
fn printing_parses_back() {
    let program = everything();
    verify(&program).unwrap();
    let text = program.to_string();
    let parsed = parse(&text).unwrap();
    verify(&parsed).unwrap();
    assert_eq!(parsed.to_string(), text);
    assert_eq!(parsed, program);
}

#[test]
fn the_form_is_as_documented() {
    let mut p = Program::new("small");
    let x = p.input("x", float([2, 3]));
    p.current_origin = Origin { path: "fc1".into(), file: "model\n.rs".into(), line: 42 };
    let both = p.push(Op::MeanVariance { axes: vec![0] }, &[x]).unwrap();
    p.output("mean", both[0]);
    let expected = r#"program small {
  %0: f32[2, 3] = input "x"
  %1: f32[3], %2: f32[3] = mean_variance %0 {axes=[0]}  // in fc1 (model\n.rs:42)
  output "mean" = %1
}
"#;
    assert_eq!(p.to_string(), expected);
    let parsed = parse(expected).unwrap();
    assert_eq!(format!("{parsed:#}"), format!("{p:#}"));
    assert!(!format!("{p:#}").contains("//"));
}

#[test]
fn people_may_write_less() {
    let text = r#"
// comments and empty lines
program p { // here too
  %image: f32[2] = input "x"
  %y = relu %image

  output "y" = %y
}
"#;
    let expected =
        "program p {\n  %0: f32[2] = input \"x\"\n  %1: f32[2] = relu %0\n  output \"y\" = %1\n}\n";
    assert_eq!(parse(text).unwrap().to_string(), expected);
}

#[track_caller]
fn check_error(statements: &str, expected: &str) {
    let text = format!("program p {{\n  %x: f32[2, 3] = input \"x\"\n{statements}\n}}");
    assert_eq!(parse(&text).unwrap_err().message(), expected);
}

#[test]
fn errors_name_the_line_and_what_was_expected() {
    check_error("%y = relo %x", "line 3: there is no operation named relo");
    check_error("%y = relu %z", "line 3: %z is not defined above");
    check_error("%x = relu %x", "line 3: %x is defined twice");
    check_error("%y: f32[3] = relu %x", "line 3: %y is f32[2, 3] by the shape rule");
    check_error(
        "%y: f99[3] = relu %x",
        "line 3: expected a type such as f32[2, 3], found `f99[3] = relu %x`",
    );
    check_error("%y: f32 = relu %x", "line 3: expected extents such as [2, 3], found `= relu %x`");
    check_error("%y: f32[a] = relu %x", "line 3: expected extents such as [2, 3], found `[a]`");
    check_error("\n%y = ", "line 4: expected the name of an operation, found the end of the line");
    check_error("%y = relu %x %x", "line 3: expected the end of the line, found `%x`");
    check_error("%y = add %x", "line 3: add: takes 2 arguments, got 1");
    check_error("%y = reduce_sum %x", "line 3: reduce_sum needs the attribute axes");
    check_error(
        "%y = reduce_sum %x {axes=[0}",
        "line 3: expected the value of an attribute, closed by `,` or `}`, found `[0}`",
    );
    check_error("%y = reduce_sum %x {axes=0}", "line 3: reduce_sum: cannot read axes=0");
    check_error("%y = reduce_sum %x {axes=[5]}", "line 3: reduce_sum: there is no axis 5 in [2, 3]");
    check_error("%y = relu %x {size=3}", "line 3: relu has no attribute size");
    check_error("%y, %z = relu %x", "line 3: the operation has 1 results, 2 are named");
    check_error("%y: f32[2] = constant [1.0]", "line 3: f32[2] has 2 elements, found 1");
    check_error("%y: f16[] = constant nan:0x7c00", "line 3: expected an element of f16, found `nan:0x7c00`");
    check_error("%y: i32[] = constant 1.5", "line 3: expected an element of i32, found `1.5`");
    check_error("%y = constant 1.5", "line 3: expected a type, as in %0: f32[2] = constant …");
    check_error("%y: f32[2] = input \"x\"", "line 3: two ports of this sort are named \"x\"");
    check_error("%y: f32[2] = input x", "line 3: expected the name of the input in quotes, found `x`");
    check_error("write \"w\" = %x", "line 3: there is no state named \"w\"");
    check_error("hello", "line 3: expected a value such as %0, `write`, `output` or `}`, found `hello`");
    check_error("}", "line 4: expected the end of the text, found `}`");
    check_error(
        "%y: f32[99999999999, 99999999999] = input \"y\"",
        "line 3: a shape of [99999999999, 99999999999] is too large",
    );
    check_error(
        "%y = reshape %x {shape=[99999999999, 99999999999]}",
        "line 3: reshape: [2, 3] has 6 elements, [99999999999, 99999999999] has 18446744073709551615",
    );
    assert_eq!(parse("").unwrap_err().to_string(), "parse: expected `program`, found an empty text");
    assert_eq!(
        parse("program p {").unwrap_err().message(),
        "line 1: expected `}`, found the end of the text"
    );
    assert_eq!(
        parse("programm p {").unwrap_err().message(),
        "line 1: expected `program`, found `programm p {`"
    );
}
