//! What the interpreter promises beyond the values of operations, which the conformance cases check.

use dropforge_ir::gradient::append_gradients;
use dropforge_ir::interpret::{Numbers, Rounding, apply, run, run_arrays, values};
use dropforge_ir::text::parse;
use dropforge_ir::{Array, DType, Data, Op, UnaryKind, ValueType};

fn floats(elements: &[f64]) -> Numbers {
    Numbers::new(ValueType::new(DType::F32, [elements.len()]), elements.to_vec()).unwrap()
}

const STEP: &str = r#"
program step {
  %x: f32[2] = input "x"
  %w: f32[2] = state "w"
  %c: u32[] = state "count"
  %r = hyper "rate"
  %rb = broadcast %r {shape=[2], axes=[]}
  %d = mul %x, %rb
  %n = sub %w, %d
  write "w" = %n
  output "change" = %d
}
"#;

#[test]
fn single_rounds_every_result_and_double_none() {
    let program =
        parse("program p {\n%x: f32[1] = input \"x\"\n%y = add %x, %x\noutput \"y\" = %y\n}").unwrap();
    let result = |rounding| run(&program, &[floats(&[0.1])], &[], &[], rounding).unwrap().outputs[0].clone();
    assert_eq!(result(Rounding::Double), floats(&[0.2]));
    assert_eq!(result(Rounding::Single), floats(&[f64::from(0.2f32)]));
    let third =
        apply(&Op::Unary { kind: UnaryKind::Reciprocal }, &[&floats(&[3.0])], Rounding::Single).unwrap();
    assert_eq!(third[0].elements(), [f64::from(1.0f32 / 3.0)]);
}

#[test]
fn states_that_are_not_written_keep_their_values() {
    let program = parse(STEP).unwrap();
    let x = Array::new([2], Data::F32(vec![1.0, 2.0])).unwrap();
    let w = Array::new([2], Data::F32(vec![0.0, 1.0])).unwrap();
    let count = Array::new([0; 0], Data::U32(vec![u32::MAX])).unwrap();
    let (outputs, states) = run_arrays(&program, &[x], &[w, count.clone()], &[0.5]).unwrap();
    assert_eq!(outputs[0].as_f32().unwrap(), [0.5, 1.0]);
    assert_eq!(states[0].as_f32().unwrap(), [-0.5, 0.0]);
    assert_eq!(states[1], count);
}

#[test]
fn what_does_not_fit_is_an_error_that_names_the_port() {
    let program = parse(STEP).unwrap();
    let two = floats(&[1.0, 2.0]);
    let count = Numbers::new(ValueType::scalar(DType::U32), vec![3.0]).unwrap();
    let states = [two.clone(), count];
    let one = std::slice::from_ref(&two);
    let check = |inputs: &[Numbers], states: &[Numbers], hypers: &[f64], expected: &str| {
        let error = run(&program, inputs, states, hypers, Rounding::Single).unwrap_err();
        assert_eq!(error.to_string(), expected);
    };
    check(&[], &states, &[0.5], "step: takes 1 inputs, got 0");
    check(&[floats(&[1.0])], &states, &[0.5], "step: input x is f32[2], got f32[1]");
    check(one, &states[..1], &[0.5], "step: takes 2 states, got 1");
    check(one, &[two.clone(), two.clone()], &[0.5], "step: state count is u32[], got f32[2]");
    check(one, &states, &[], "step: takes 1 hyperparameters, got 0");
    let all = values(&program, one, &states, &[0.5], Rounding::Double).unwrap();
    assert_eq!(all.len(), program.value_count());
}

#[test]
fn numbers_are_values_of_their_type() {
    let of = |dtype, x: f64| Numbers::new(ValueType::scalar(dtype), vec![x]);
    assert!(of(DType::U8, 255.0).is_some() && of(DType::U8, 256.0).is_none() && of(DType::U8, 0.5).is_none());
    assert!(of(DType::U32, -1.0).is_none() && of(DType::I32, f64::NAN).is_none());
    assert!(of(DType::F32, f64::NAN).is_some());
    assert!(Numbers::new(ValueType::new(DType::F32, [2]), vec![1.0]).is_none());
}

/// Every operation rounds to the type of its result; what it sums on the way is not rounded.
#[test]
fn half_types_round_each_result_once() {
    let program = parse(
        r#"program halves {
            %x: f16[3] = input "x"
            %w: bf16[2] = input "w"
            %sum: f16[] = reduce_sum %x {axes=[0]}
            %dot: f16[] = dot %x, %x {lhs_batch=[], rhs_batch=[], lhs_contract=[0], rhs_contract=[0]}
            %square: f16[3] = mul %x, %x
            %late: f16[] = reduce_sum %square {axes=[0]}
            %wide: f32[3] = cast %x {to=f32}
            %mixed: f32[] = dot %wide, %wide {lhs_batch=[], rhs_batch=[], lhs_contract=[0], rhs_contract=[0]}
            %twice: bf16[2] = add %w, %w
            output "sum" = %sum
            output "dot" = %dot
            output "late" = %late
            output "mixed" = %mixed
            output "twice" = %twice
        }"#,
    )
    .unwrap();
    let numbers = |dtype, x: &[f64]| Numbers::new(ValueType::new(dtype, [x.len()]), x.to_vec()).unwrap();
    // 2049 is no f16: inputs are rounded as well.
    let inputs = [numbers(DType::F16, &[2049.0, 1.0, -2047.0]), numbers(DType::BF16, &[3e38, 257.0])];
    let results = |rounding| -> Vec<Vec<f64>> {
        let outcome = run(&program, &inputs, &[], &[], rounding).unwrap();
        outcome.outputs.into_iter().map(Numbers::into_elements).collect()
    };
    let exact = 2048.0 * 2048.0 + 1.0 + 2047.0 * 2047.0;
    let expected = [
        vec![2.0],
        vec![f64::INFINITY],
        vec![f64::INFINITY],
        vec![f64::from(exact as f32)],
        vec![f64::INFINITY, 512.0],
    ];
    assert_eq!(results(Rounding::Single), expected);
    assert_eq!(results(Rounding::Double)[4], [6e38, 514.0]);
}

#[test]
fn gradients_have_the_types_of_their_values() {
    let mut program = parse(
        r#"program mixed {
            %x: f16[2] = input "x"
            %w: f32[2] = input "w"
            %narrow: f16[2] = cast %w {to=f16}
            %y: f16[2] = mul %x, %narrow
            %wide: f32[2] = cast %y {to=f32}
            %loss: f32[] = reduce_max %wide {axes=[0]}
            output "loss" = %loss
        }"#,
    )
    .unwrap();
    let (x, w, loss) = (program.inputs[0].value, program.inputs[1].value, program.outputs[0].value);
    let gradients = append_gradients(&mut program, loss, &[x, w]).unwrap();
    let dtypes: Vec<DType> = gradients.iter().map(|&gradient| program.dtype(gradient)).collect();
    assert_eq!(dtypes, [DType::F16, DType::F32]);
    let mut half_loss =
        parse("program p {\n%x: bf16[2] = input \"x\"\n%y = reduce_sum %x {axes=[0]}\noutput \"y\" = %y\n}")
            .unwrap();
    let (x, loss) = (half_loss.inputs[0].value, half_loss.outputs[0].value);
    let gradient = append_gradients(&mut half_loss, loss, &[x]).unwrap()[0];
    assert_eq!(half_loss.dtype(gradient), DType::BF16);
}

#[test]
fn operations_check_their_arguments() {
    let half = Numbers::new(ValueType::new(DType::F16, [1]), vec![1.0]).unwrap();
    let dot = Op::Dot { lhs_batch: vec![], rhs_batch: vec![], lhs_contract: vec![0], rhs_contract: vec![0] };
    let error = apply(&dot, &[&half, &floats(&[1.0])], Rounding::Single).unwrap_err();
    assert_eq!(error.to_string(), "dot: types differ, f16 and f32; cast one");
    let error = apply(&Op::Select {}, &[&floats(&[1.0])], Rounding::Single).unwrap_err();
    assert_eq!(error.to_string(), "select: takes 3 arguments, got 1");
    assert!(apply(&Op::Input(0), &[], Rounding::Single).is_err());
}
