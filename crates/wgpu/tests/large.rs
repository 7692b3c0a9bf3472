//! Shapes that the conformance cases are too small for: rows split over workgroups, every tile of products, split inner
//! axes; against the interpreter.

use dropforge_conformance::compare;
use dropforge_ir::interpret::Numbers;
use dropforge_ir::text::parse;
use dropforge_ir::{Array, Data};
use dropforge_plan::reference::ReferenceDevice;
use dropforge_plan::{Argument, Device};
use dropforge_wgpu::{Choice, WgpuDevice};

/// Runs a program on both devices, with inputs and states that look random.
fn check(text: &str, tolerance: f64) {
    let choice = match std::env::var("DROPFORGE_GPU").as_deref() {
        Ok("best") => Choice::Best,
        _ => Choice::Software,
    };
    let device = match WgpuDevice::new(choice) {
        Ok(device) => device,
        Err(_) if std::env::var("DROPFORGE_NO_GPU").as_deref() == Ok("1") => return,
        Err(error) => panic!("{error} (DROPFORGE_NO_GPU=1 passes without)"),
    };
    let program = parse(text).unwrap();
    let array = |value, seed: usize| {
        let ty = program.ty(value);
        let number = |i: usize| (((i * 7919 + seed * 104_729) * 2_654_435_761) % 2003) as f32 / 1001.0 - 1.0;
        Array::new(ty.shape.clone(), Data::F32((0..ty.shape.elements()).map(number).collect())).unwrap()
    };
    let inputs: Vec<Array> =
        program.inputs.iter().enumerate().map(|(seed, port)| array(port.value, seed)).collect();
    let run = |device: &dyn Device| -> Vec<Array> {
        let states: Vec<_> = program
            .states
            .iter()
            .enumerate()
            .map(|(seed, port)| {
                let state = device.allocate(program.ty(port.value)).unwrap();
                state.write(&array(port.value, seed + 100)).unwrap();
                state
            })
            .collect();
        let mut executable = device.load(&program, &states).unwrap();
        let arguments: Vec<Argument<'_>> = inputs.iter().map(Argument::Host).collect();
        let outputs = executable.run(&arguments, &[]).unwrap();
        outputs.iter().chain(&states).map(|buffer| buffer.read().unwrap()).collect()
    };
    let (expected, got) = (run(&ReferenceDevice), run(&device));
    for (index, (expected, got)) in expected.iter().zip(&got).enumerate() {
        if let Some(message) = compare(&Numbers::from(expected), &Numbers::from(got), tolerance) {
            panic!("result {index} {message}\n{text}");
        }
    }
}

#[test]
fn few_rows_of_many_columns() {
    for (shape, kept, axis) in [("3, 5000", "3", 1), ("4100, 6", "6", 0), ("2100, 70", "70", 0)] {
        check(
            &format!(
                "program p {{
  %x: f32[{shape}] = input \"x\"
  %s = reduce_sum %x {{axes=[{axis}]}}
  %m = reduce_max %x {{axes=[{axis}]}}
  %l = logsumexp %x {{axes=[{axis}]}}
  %a = argmax %x {{axis={axis}}}
  output \"s\" = %s
  output \"m\" = %m
  output \"l\" = %l
  output \"a\" = %a
}}"
            ),
            2e-5,
        );
        let shift = if axis == 1 { 0 } else { 1 };
        check(
            &format!(
                "program p {{
  %x: f32[{shape}] = input \"x\"
  %r: f32[{kept}] = state \"r\"
  %m, %v = mean_variance %x {{axes=[{axis}]}}
  %n = add %r, %m
  %b = broadcast %m {{shape=[{shape}], axes=[{shift}]}}
  %c = broadcast %v {{shape=[{shape}], axes=[{shift}]}}
  %d = broadcast %r {{shape=[{shape}], axes=[{shift}]}}
  %e = sub %x, %b
  %f = mul %e, %c
  %g = add %f, %d
  %t = reduce_sum %g {{axes=[{axis}]}}
  write \"r\" = %n
  output \"v\" = %v
  output \"g\" = %g
  output \"t\" = %t
}}"
            ),
            2e-4,
        );
    }
}

#[test]
fn products_of_every_tile() {
    for (m, n, k) in [
        (260, 260, 40),
        (130, 70, 33),
        (20, 300, 17),
        (300, 20, 64),
        (5, 600, 20),
        (600, 5, 20),
        (1, 1, 3000),
        (33, 47, 1000),
        (64, 1, 70),
    ] {
        check(
            &format!(
                "program p {{
  %a: f32[{m}, {k}] = input \"a\"
  %b: f32[{k}, {n}] = input \"b\"
  %c: f32[{n}, {k}] = input \"c\"
  %d: f32[{k}, {m}] = input \"d\"
  %x = dot %a, %b {{lhs_batch=[], rhs_batch=[], lhs_contract=[1], rhs_contract=[0]}}
  %y = dot %d, %c {{lhs_batch=[], rhs_batch=[], lhs_contract=[0], rhs_contract=[1]}}
  output \"x\" = %x
  output \"y\" = %y
}}"
            ),
            2e-4,
        );
    }
}

/// More channels than the direct form takes, and sums too long for it.
#[test]
fn convolutions_over_tiles() {
    for (channels, filters, size, stride, dilation, groups) in [
        (6, 40, 9, 1, 1, 1),
        (40, 36, 7, 2, 1, 1),
        (72, 80, 6, 1, 2, 2),
        (40, 8, 8, 2, 1, 1),
        // Turned filters, and slices within one tap.
        (48, 48, 23, 1, 1, 1),
        (48, 48, 23, 2, 1, 1),
        (96, 96, 24, 2, 2, 2),
        (36, 40, 23, 3, 1, 1),
    ] {
        let per_group = channels / groups;
        let out = (size + 4 - 2 * dilation - 1) / stride + 1;
        let window = format!(
            "window=[stride:[{stride}, {stride}] low:[2, 2] high:[2, 2] dilation:[{dilation}, {dilation}] groups:{groups}]"
        );
        check(
            &format!(
                "program p {{
  %x: f32[2, {channels}, {size}, {size}] = input \"x\"
  %f: f32[{filters}, {per_group}, 3, 3] = input \"f\"
  %g: f32[2, {filters}, {out}, {out}] = input \"g\"
  %y = convolution %x, %f {{{window}}}
  %dx = convolution_input_gradient %g, %f {{{window}, input=[{size}, {size}]}}
  %df = convolution_filter_gradient %x, %g {{{window}, kernel=[3, 3]}}
  output \"y\" = %y
  output \"dx\" = %dx
  output \"df\" = %df
}}"
            ),
            1e-4,
        );
    }
}

/// More queries, keys and numbers than one tile.
#[test]
fn attention_over_tiles() {
    for (t, s, d, causal) in
        [(70, 130, 70, 0), (70, 130, 33, 1), (130, 70, 64, 1), (66, 65, 20, 1), (64, 128, 130, 0)]
    {
        check(
            &format!(
                "program p {{
  %q: f32[1, 2, {t}, {d}] = input \"q\"
  %k: f32[1, 2, {s}, {d}] = input \"k\"
  %v: f32[1, 2, {s}, {d}] = input \"v\"
  %g: f32[1, 2, {t}, {d}] = input \"g\"
  %o, %l = attention %q, %k, %v {{causal={causal}, scale=0.25}}
  %dq, %dk, %dv = attention_gradient %q, %k, %v, %o, %l, %g {{causal={causal}, scale=0.25}}
  output \"o\" = %o
  output \"l\" = %l
  output \"dq\" = %dq
  output \"dk\" = %dk
  output \"dv\" = %dv
}}"
            ),
            1e-4,
        );
    }
}

/// More indices than each element looks through, more positions than a digit has values.
#[test]
fn sums_by_index() {
    for (count, size, inner, factor) in
        [(3000, 65, 40, 40.0), (1500, 700, 70, 400.0), (600, 70_000, 1, 36_000.0)]
    {
        check(
            &format!(
                "program p {{
  %u: f32[2, {count}, {inner}] = input \"u\"
  %x: f32[{count}] = input \"x\"
  %c: f32[] = constant {factor:?}
  %f: f32[{count}] = broadcast %c {{shape=[{count}], axes=[]}}
  %y = mul %x, %f
  %z = abs %y
  %i = cast %z {{to=i32}}
  %s = scatter_add %u, %i {{axis=1, size={size}}}
  output \"s\" = %s
}}"
            ),
            2e-5,
        );
    }
}
