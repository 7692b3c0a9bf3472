//! Random programs, on the interpreter in single precision and on plans carried out literally.

use dropforge_conformance::{
    check_random, check_random_gradients, check_random_mixed, generate, seeds_from_environment,
};
use dropforge_ir::text::parse;
use dropforge_ir::verify::verify;
use dropforge_ir::{DType, Node, Op, Program, Result, UnaryKind, Value, ValueType};
use dropforge_plan::plan;
use dropforge_runtime::reference::ReferenceDevice;
use dropforge_runtime::simulate::SimulatedDevice;
use dropforge_runtime::{Binding, BufferRef, Choices, Device, Loaded, Options};
use std::collections::{HashMap, HashSet};
use std::sync::Arc;

#[test]
fn the_interpreter_in_single_precision() {
    check_random(&ReferenceDevice, seeds_from_environment(0..100));
}

#[test]
fn plans() {
    check_random(&SimulatedDevice, seeds_from_environment(0..300));
}

#[test]
fn mixed_precision() {
    for half in [DType::BF16, DType::F16] {
        let seeds = || seeds_from_environment(0..200);
        let count = check_random_mixed(&SimulatedDevice, half, seeds());
        assert!(count * 5 > seeds().count(), "{count} programs");
    }
}

#[test]
fn gradients() {
    check_random_gradients(seeds_from_environment(0..100));
}

/// What is generated is worth running: every operation occurs, and the text form holds all of it.
#[test]
fn random_programs_cover_the_operations() {
    let mut counts: HashMap<&'static str, usize> = HashMap::new();
    let mut halves: HashMap<DType, HashSet<&'static str>> = HashMap::new();
    let (mut nodes, mut writes) = (0, 0);
    for seed in 0..300 {
        let program = generate(seed).program;
        verify(&program).unwrap();
        let text = program.to_string();
        assert_eq!(parse(&text).unwrap().to_string(), text);
        nodes += program.nodes().len();
        writes += program.states.iter().filter(|state| state.write.is_some()).count();
        for node in program.nodes().iter().filter(|node| !matches!(node.op, Op::Constant(_))) {
            *counts.entry(node.op.name()).or_default() += 1;
            for &arg in &node.args {
                halves.entry(program.dtype(arg)).or_default().insert(node.op.name());
            }
        }
    }
    assert!(nodes > 15_000 && writes > 500, "{nodes} nodes, {writes} writes");
    for dtype in [DType::F16, DType::BF16] {
        let on_halves = halves.get(&dtype).map_or(0, HashSet::len);
        assert!(on_halves > 40, "{on_halves} operations are ever on {dtype}");
    }
    let expected = "input state hyper iota select cast reshape permute broadcast slice pad flip concat \
        exp log tanh erf relu floor not add mul div pow max rem and shr eq lt reduce_sum reduce_max reduce_min reduce_prod \
        argmax logsumexp mean_variance dot convolution convolution_input_gradient convolution_filter_gradient max_pool \
        max_pool_gradient window_sum window_sum_transpose gather scatter_add attention attention_gradient random_bits";
    let missing: Vec<&str> = expected.split_whitespace().filter(|name| !counts.contains_key(name)).collect();
    assert!(missing.is_empty(), "never generated: {missing:?}");
}

/// Takes the sine for the cosine.
struct WrongDevice;

impl Device for WrongDevice {
    fn name(&self) -> String {
        "wrong".into()
    }

    fn allocate(&self, ty: &ValueType) -> Result<BufferRef> {
        ReferenceDevice.allocate(ty)
    }

    fn options(&self) -> Options {
        ReferenceDevice.options()
    }

    fn load(&self, binding: &Binding<'_>, choices: &mut Choices) -> Result<Box<dyn Loaded>> {
        let confuse = |new: &mut Program, node: &Node, args: &[Value]| match node.op {
            Op::Unary { kind: UnaryKind::Sin } => new.push(Op::Unary { kind: UnaryKind::Cos }, args),
            _ => new.copy_node(node, args),
        };
        let wrong = Arc::new(plan(&binding.plan().program.rebuild(|_| true, confuse)?)?);
        ReferenceDevice.load(&Binding::new(&wrong, binding.states())?, choices)
    }
}

#[test]
fn a_wrong_device_is_found_out_with_a_small_program() {
    let panic = std::panic::catch_unwind(|| check_random(&WrongDevice, 0..300)).unwrap_err();
    let report = panic.downcast_ref::<String>().unwrap();
    let (_, small) = report.split_once("smallest program that differs").unwrap();
    let statements = small.lines().filter(|line| line.starts_with("  ")).count();
    assert!(small.contains("= sin %0") && statements == 3, "{report}");
}
