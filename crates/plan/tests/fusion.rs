//! What fuses, and that fused plans compute what their programs say.

mod support;

use dropforge_ir::gradient::append_gradients;
use dropforge_ir::{
    BinaryKind, CompareKind, DType, Op, Program, ReduceKind, UnaryKind, Value, ValueType, text,
};
use dropforge_plan::Plan;
use dropforge_plan::kernel::Instruction;
use dropforge_plan::plan::{Kernel, Work};
use support::check;

fn f32(shape: &[usize]) -> ValueType {
    ValueType::new(DType::F32, shape)
}

fn loops(plan: &Plan) -> usize {
    plan.kernels.iter().filter(|kernel| matches!(kernel.work, Work::Loop { .. })).count()
}

fn softmax_cross_entropy(p: &mut Program, logits: Value, labels: Value) -> Value {
    let shape = p.shape(logits).clone();
    let total = p.apply(Op::LogSumExp { axes: vec![1] }, &[logits]).unwrap();
    let classes = p.apply(Op::Iota { shape: shape.clone(), axis: 1 }, &[]).unwrap();
    let labels = p.expand(labels, &shape, &[1]).unwrap();
    let hit = p.compare(CompareKind::Equal, classes, labels).unwrap();
    let zero = p.splat_like(0.0, logits).unwrap();
    let picked = p.apply(Op::Select {}, &[hit, logits, zero]).unwrap();
    let picked = p.reduce(ReduceKind::Sum, picked, &[1]).unwrap();
    let loss = p.binary(BinaryKind::Subtract, total, picked).unwrap();
    let sum = p.reduce(ReduceKind::Sum, loss, &[0]).unwrap();
    let count = p.splat_like(1.0 / shape[0] as f64, sum).unwrap();
    p.binary(BinaryKind::Multiply, sum, count).unwrap()
}

#[test]
fn a_dense_training_step() {
    let mut p = Program::new("mlp");
    let x = p.input("x", f32(&[6, 5]));
    let labels = p.input("y", ValueType::new(DType::I32, [6]));
    let rate = p.hyper("rate");
    let mut parameters = Vec::new();
    let mut h = x;
    let sizes = [5, 8, 7, 3];
    for layer in 0..3 {
        let w = p.state(format!("{layer}.weight"), f32(&[sizes[layer + 1], sizes[layer]]));
        let b = p.state(format!("{layer}.bias"), f32(&[sizes[layer + 1]]));
        parameters.extend([w, b]);
        let dot =
            Op::Dot { lhs_batch: vec![], rhs_batch: vec![], lhs_contract: vec![1], rhs_contract: vec![1] };
        h = p.apply(dot, &[h, w]).unwrap();
        let shape = p.shape(h).clone();
        let b = p.expand(b, &shape, &[0]).unwrap();
        h = p.binary(BinaryKind::Add, h, b).unwrap();
        if layer < 2 {
            h = p.unary(UnaryKind::Relu, h).unwrap();
        }
    }
    let loss = softmax_cross_entropy(&mut p, h, labels);
    let gradients = append_gradients(&mut p, loss, &parameters).unwrap();
    for (index, (&w, g)) in parameters.iter().zip(gradients).enumerate() {
        let shape = p.shape(w).clone();
        let rate = p.apply(Op::Broadcast { shape, axes: vec![] }, &[rate]).unwrap();
        let change = p.binary(BinaryKind::Multiply, rate, g).unwrap();
        let new = p.binary(BinaryKind::Subtract, w, change).unwrap();
        p.write(index, new).unwrap();
    }
    p.output("loss", loss);
    let plan = check(&p);
    // Behind products: two activations, and the updates of three weights. Apart: the last bias, the loss and its mean,
    // and two masked gradients with the updates of biases.
    let epilogues = plan.kernels.iter().filter(|kernel| kernel.is_epilogue).count();
    assert_eq!(epilogues, 5, "{:#?}", plan.kernels);
    assert!(loops(&plan) - epilogues <= 5, "{} loop kernels: {:#?}", loops(&plan), plan.kernels);
    assert!(plan.arena_bytes as f64 <= 1.5 * plan.lower_bound_bytes as f64 + 1024.0);
}

#[test]
fn texts() {
    for source in [
        // Layer norm in one kernel.
        r#"program norm {
            %0: f32[4, 6] = input "x"
            %1: f32[6] = state "w"
            %2: f32[4], %3: f32[4] = mean_variance %0 {axes=[1]}
            %4: f32[] = constant 1e-5
            %5: f32[4] = broadcast %4 {shape=[4], axes=[]}
            %6: f32[4] = add %3, %5
            %7: f32[4] = rsqrt %6
            %8: f32[4, 6] = broadcast %2 {shape=[4, 6], axes=[0]}
            %9: f32[4, 6] = sub %0, %8
            %10: f32[4, 6] = broadcast %7 {shape=[4, 6], axes=[0]}
            %11: f32[4, 6] = mul %9, %10
            %12: f32[4, 6] = broadcast %1 {shape=[4, 6], axes=[1]}
            %13: f32[4, 6] = mul %11, %12
            output "y" = %13
        }"#,
        // Views of all sorts, an output that is an input, states that swap.
        r#"program views {
            %0: f32[2, 3, 4] = input "x"
            %1: f32[4] = state "a"
            %2: f32[4] = state "b"
            %3: f32[4, 3, 2] = permute %0 {order=[2, 1, 0]}
            %4: f32[4, 6] = reshape %3 {shape=[4, 6]}
            %5: f32[4, 6] = exp %4
            %6: f32[4] = reduce_max %5 {axes=[1]}
            %7: f32[2, 2, 2] = slice %0 {start=[0, 0, 1], stop=[2, 3, 4], step=[1, 2, 2]}
            %8: f32[2, 2, 2] = flip %7 {axes=[0, 2]}
            %9: i32[2, 2, 2] = iota {shape=[2, 2, 2], axis=1}
            %10: f32[2, 2, 2] = cast %9 {to=f32}
            %11: f32[2, 2, 2] = add %8, %10
            %12: i32[] = argmax %6 {axis=0}
            %13: f32[5, 2, 2, 2] = broadcast %11 {shape=[5, 2, 2, 2], axes=[1, 2, 3]}
            write "a" = %2
            write "b" = %1
            output "same" = %0
            output "y" = %11
            output "z" = %6
            output "w" = %12
            output "many" = %13
            output "again" = %6
        }"#,
    ] {
        check(&text::parse(source).unwrap());
    }
}

/// The product of two matrices.
fn product(program: &mut Program, a: Value, b: Value) -> Value {
    let op = Op::Dot { lhs_batch: vec![], rhs_batch: vec![], lhs_contract: vec![1], rhs_contract: vec![0] };
    program.apply(op, &[a, b]).unwrap()
}

#[test]
fn loops_that_keep_what_a_product_reads_may_be_its_epilogue() {
    let square = || ValueType::new(DType::F32, [8, 8]);
    let epilogues = |build: &dyn Fn(&mut Program)| -> Vec<bool> {
        let mut program = Program::new("epilogue");
        build(&mut program);
        check(&program).kernels.iter().map(|kernel| kernel.is_epilogue).collect()
    };
    let follows = epilogues(&|program| {
        let (x, w) = (program.input("x", square()), program.input("w", square()));
        let b = program.input("b", square());
        let y = product(program, x, w);
        let sum = program.binary(BinaryKind::Add, y, b).unwrap();
        let y = program.unary(UnaryKind::Relu, sum).unwrap();
        let y = product(program, y, w);
        let y = program.unary(UnaryKind::Tanh, y).unwrap();
        program.output("y", y);
    });
    assert_eq!(follows, [false, true, false, true]);
    let reads_an_argument = epilogues(&|program| {
        let (x, w) = (program.input("x", square()), program.input("w", square()));
        let y = product(program, x, w);
        let y = program.binary(BinaryKind::Add, y, x).unwrap();
        program.output("y", y);
    });
    assert_eq!(reads_an_argument, [false, false]);
    let replaces_an_argument = epilogues(&|program| {
        let (x, w) = (program.input("x", square()), program.state("w", square()));
        let y = product(program, x, w);
        let y = program.unary(UnaryKind::Tanh, y).unwrap();
        program.write(0, y).unwrap();
    });
    assert_eq!(replaces_an_argument, [false, false]);
    let visits_in_another_order = epilogues(&|program| {
        let (x, w) = (program.input("x", square()), program.input("w", square()));
        let y = product(program, x, w);
        let turned = program.apply(Op::Permute { order: vec![1, 0] }, &[y]).unwrap();
        let sum = program.binary(BinaryKind::Add, y, turned).unwrap();
        program.output("y", sum);
    });
    assert!(!visits_in_another_order.contains(&true));
}

/// What forward and backward pass both need of a chain of cheap steps is computed twice, not stored, also where the
/// chain meets its own argument again, as x·sigmoid(x·(x² + 1)) does.
#[test]
fn chains_of_one_value_are_repeated() {
    let mut p = Program::new("gated");
    let x = p.input("x", f32(&[8, 8]));
    let (first, second) = (p.state("first", f32(&[8, 8])), p.state("second", f32(&[8, 8])));
    let x = product(&mut p, x, first);
    let square = p.binary(BinaryKind::Multiply, x, x).unwrap();
    let one = p.splat_like(1.0, x).unwrap();
    let factor = p.binary(BinaryKind::Add, square, one).unwrap();
    let inner = p.binary(BinaryKind::Multiply, x, factor).unwrap();
    let gate = p.unary(UnaryKind::Sigmoid, inner).unwrap();
    let gated = p.binary(BinaryKind::Multiply, x, gate).unwrap();
    let y = product(&mut p, gated, second);
    let square = p.binary(BinaryKind::Multiply, y, y).unwrap();
    let loss = p.reduce(ReduceKind::Sum, square, &[0, 1]).unwrap();
    let gradients = append_gradients(&mut p, loss, &[first, second]).unwrap();
    p.output("loss", loss);
    p.output("first", gradients[0]);
    p.output("second", gradients[1]);
    let plan = check(&p);
    let stored = |kernel: &Kernel| match &kernel.work {
        Work::Loop { kernel, .. } => {
            let instructions = kernel.stages.iter().flat_map(|stage| &stage.domain);
            instructions.filter(|one| matches!(one, Instruction::Store { .. })).count()
        }
        Work::Call { .. } | Work::Copy { .. } => 0,
    };
    let forward = plan.kernels.iter().find(|kernel| kernel.is_epilogue).unwrap();
    assert_eq!(stored(forward), 1, "the gated product alone: {:#?}", plan.kernels);
}

/// Fused kernels round each result to its half type, as its operation does: the same bits as one by one.
#[test]
fn halves_are_rounded_inside_kernels() {
    for half in ["f16", "bf16"] {
        let source = r#"program halves {
            %x: half[6, 40] = input "x"
            %w: half[6, 40] = state "w"
            %n: i32[6, 40] = iota {shape=[6, 40], axis=1}
            %count: half[6, 40] = cast %n {to=half}
            %a = mul %x, %w
            %b = add %a, %count
            %c = sub %b, %count
            %top = reduce_max %c {axes=[1]}
            %all = broadcast %top {shape=[6, 40], axes=[0]}
            %d = sub %c, %all
            %total = reduce_sum %d {axes=[1]}
            %mean: half[6], %variance: half[6] = mean_variance %d {axes=[1]}
            %sum = add %total, %variance
            %wide: f32[6, 40] = cast %d {to=f32}
            %squares = mul %wide, %wide
            write "w" = %d
            output "c" = %c
            output "sum" = %sum
            output "mean" = %mean
            output "squares" = %squares
        }"#;
        let plan = check(&text::parse(&source.replace("half", half)).unwrap());
        assert_eq!((plan.kernels.len(), loops(&plan)), (1, 1));
    }
}

#[test]
fn products_of_f32_read_the_halves_that_were_cast() {
    let source = r#"program mixed {
        %x: f16[8, 2, 3] = input "x"
        %w: bf16[6, 4] = state "w"
        %f: f16[5, 2, 2, 2] = state "f"
        %i: f16[1, 2, 4, 4] = input "i"
        %wide: f32[8, 2, 3] = cast %x {to=f32}
        %flat: f32[8, 6] = reshape %wide {shape=[8, 6]}
        %turned: f32[6, 8] = permute %flat {order=[1, 0]}
        %other: f32[6, 4] = cast %w {to=f32}
        %y: f32[8, 4] = dot %turned, %other {lhs_batch=[], rhs_batch=[], lhs_contract=[0], rhs_contract=[0]}
        %image: f32[1, 2, 4, 4] = cast %i {to=f32}
        %filter: f32[5, 2, 2, 2] = cast %f {to=f32}
        %mirrored: f32[5, 2, 2, 2] = flip %filter {axes=[2]}
        %z: f32[1, 5, 3, 3] = convolution %image, %mirrored {window=[stride:[1, 1] low:[0, 0] high:[0, 0] dilation:[1, 1] groups:1]}
        %shifted: f32[1, 2, 4, 4] = add %image, %image
        output "y" = %y
        output "z" = %z
        output "shifted" = %shifted
    }"#;
    let plan = check(&text::parse(source).unwrap());
    let read = |name: &str| -> Vec<DType> {
        let mut calls = plan.kernels.iter().filter_map(|kernel| match &kernel.work {
            Work::Call { op, args, .. } if op.name() == name => {
                Some(args.iter().map(|arg| arg.ty.dtype).collect())
            }
            _ => None,
        });
        calls.next().unwrap()
    };
    assert_eq!(read("dot"), [DType::F16, DType::BF16]);
    // A convolution reads its filter row by row, and so the mirrored one is an f32 copy.
    assert_eq!(read("convolution"), [DType::F16, DType::F32]);
    assert_eq!(loops(&plan), 3, "the filter's cast, its copy, and the sum, which reads the halves itself");
}
