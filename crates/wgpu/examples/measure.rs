//! Speed and correctness of the portable GPU on this machine.
//!
//! `measure [what...]`: `devices`, `check` (conformance and random programs), `product` (matrix products), `kernels`
//! (attention, convolutions, sums by index), `loops` (kernels bound by memory), `printing` (loop kernels with and
//! without quads and subgroups), `models` (training steps), `profile` (time per kernel of the models); all of them if
//! none is named. `DROPFORGE_GPU=software` takes the software renderer.

use dropforge::models;
use dropforge::nn::Scope;
use dropforge::prelude::{Adam, AdamW, Sgd, StepBuilder, cross_entropy};
use dropforge::{Array, DType, Data, Runtime, Tensor, ValueType};
use dropforge_conformance::{check_all, check_random};
use dropforge_ir::text::parse;
use dropforge_ir::{BF16, BinaryKind, F16, Op, Program, ReduceKind, UnaryKind};
use dropforge_runtime::{BufferRef, Device, Executable, load};
use dropforge_wgpu::{Choice, WgpuDevice, adapters};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::{Duration, Instant};

#[path = "support/printing.rs"]
mod printing;

type Outcome<T> = Result<T, Box<dyn std::error::Error>>;

fn main() -> Outcome<()> {
    let asked: Vec<String> = std::env::args().skip(1).collect();
    let wants = |what: &str| asked.is_empty() || asked.iter().any(|one| one == what);
    if wants("devices") {
        adapters().iter().for_each(|adapter| println!("{adapter:?}"));
    }
    let software = std::env::var("DROPFORGE_GPU").as_deref() == Ok("software");
    let choice = if software { Choice::Software } else { Choice::Best };
    let mut found = None;
    let device = Arc::new(WgpuDevice::printing(choice, |printing| *found.insert(printing))?);
    println!("on {}, {found:?}", device.name());
    if wants("check") {
        check(&device);
    }
    if wants("product") {
        products(&device)?;
    }
    if wants("kernels") {
        attention(&device)?;
        convolutions(&device)?;
        sums_by_index(&device)?;
    }
    if wants("loops") {
        loops(&device)?;
    }
    if wants("printing") {
        printing::compare(choice)?;
    }
    if wants("models") {
        train(&device, false);
    }
    if wants("profile") {
        train(&device, true);
    }
    Ok(())
}

fn check(device: &Arc<WgpuDevice>) {
    let start = Instant::now();
    let cases = catch_unwind(AssertUnwindSafe(|| check_all(device.as_ref(), &[])));
    println!("conformance: {} ({:.1?})", if cases.is_ok() { "all right" } else { "FAILED" }, start.elapsed());
    let start = Instant::now();
    let seeds = std::env::var("MEASURE_SEEDS").ok().and_then(|text| text.parse().ok()).unwrap_or(60);
    let random = catch_unwind(AssertUnwindSafe(|| check_random(device.as_ref(), 0..seeds)));
    println!(
        "{seeds} random programs: {} ({:.1?})",
        if random.is_ok() { "all right" } else { "FAILED" },
        start.elapsed()
    );
}

/// Seconds of one run, over at least half a second of runs.
fn time(device: &WgpuDevice, executable: &mut Executable) -> Outcome<f64> {
    for _ in 0..2 {
        executable.run(&[], &[])?;
    }
    device.synchronize()?;
    let mut count = 1u32;
    loop {
        let start = Instant::now();
        for _ in 0..count {
            executable.run(&[], &[])?;
        }
        device.synchronize()?;
        let elapsed = start.elapsed();
        if elapsed > Duration::from_millis(400) {
            return Ok(elapsed.as_secs_f64() / f64::from(count));
        }
        count = (count * 2).max((f64::from(count) * 0.5 / elapsed.as_secs_f64().max(1e-6)) as u32 / 2);
    }
}

fn filled(device: &dyn Device, ty: &ValueType) -> Outcome<BufferRef> {
    let buffer = device.allocate(ty)?;
    let count = ty.shape.elements();
    let numbers = (0..count).map(|i| ((i * 2654435761) % 1000) as f32 / 1000.0 - 0.5);
    let data = match ty.dtype {
        DType::F16 => Data::F16(numbers.map(F16::from_f32).collect()),
        DType::BF16 => Data::BF16(numbers.map(BF16::from_f32).collect()),
        _ => Data::F32(numbers.collect()),
    };
    buffer.write(&Array::new(ty.shape.clone(), data).ok_or("sizes")?)?;
    Ok(buffer)
}

fn loaded(device: &dyn Device, program: &Program) -> Outcome<Executable> {
    let states: Vec<BufferRef> =
        program.states.iter().map(|port| filled(device, program.ty(port.value))).collect::<Outcome<_>>()?;
    Ok(load(device, program, &states)?)
}

fn products(device: &Arc<WgpuDevice>) -> Outcome<()> {
    let shapes = [
        (4096, 4096, 4096, [false, false]),
        (4096, 4096, 4096, [false, true]),
        (4096, 4096, 4096, [true, false]),
        (1024, 1024, 1024, [false, false]),
        (512, 512, 512, [false, false]),
        (8192, 384, 384, [false, false]),
        (128, 512, 784, [false, false]),
        (512, 784, 128, [true, false]),
        (128, 10, 256, [false, false]),
    ];
    // The types of the factors and of the product.
    let types = [[DType::F32, DType::F32], [DType::F16, DType::F32], [DType::F16, DType::F16]];
    for ((m, n, k, turned), [from, to]) in
        shapes.into_iter().flat_map(|shape| types.map(|types| (shape, types)))
    {
        let mut program = Program::new("product");
        let a = if turned[0] { [k, m] } else { [m, k] };
        let b = if turned[1] { [n, k] } else { [k, n] };
        let a = program.state("a", ValueType::new(from, a));
        let b = program.state("b", ValueType::new(from, b));
        program.state("c", ValueType::new(to, [m, n]));
        let dot = Op::Dot {
            lhs_batch: vec![],
            rhs_batch: vec![],
            lhs_contract: vec![usize::from(!turned[0])],
            rhs_contract: vec![usize::from(turned[1])],
        };
        let mut factors = [a, b];
        if from != to {
            factors = [program.apply(Op::Cast { to }, &[a])?, program.apply(Op::Cast { to }, &[b])?];
        }
        let c = program.apply(dot, &factors)?;
        program.write(2, c)?;
        let seconds = time(device, &mut loaded(device.as_ref(), &program)?)?;
        let flops = 2.0 * m as f64 * n as f64 * k as f64;
        println!(
            "product {m}×{n}×{k} turned {turned:?} of {from} to {to}: {:.1} µs, {:.2} TFLOP/s",
            seconds * 1e6,
            flops / seconds / 1e12
        );
    }
    Ok(())
}

/// Seconds of one run of a program given as text.
fn time_text(device: &Arc<WgpuDevice>, text: &str) -> Outcome<f64> {
    time(device, &mut loaded(device.as_ref(), &parse(text)?)?)
}

fn attention(device: &Arc<WgpuDevice>) -> Outcome<()> {
    for (heads, t, d, causal) in
        [(384usize, 256usize, 64usize, 1), (64, 1024, 32, 0), (32, 1024, 64, 1), (32, 1024, 128, 1)]
    {
        let ty = format!("f32[1, {heads}, {t}, {d}]");
        let mut state = String::from("program p {\n");
        for name in ["q", "k", "v", "g", "o"] {
            state += &format!("  %{name}: {ty} = state \"{name}\"\n");
        }
        let forward = format!(
            "{state}  %y, %l = attention %q, %k, %v {{causal={causal}, scale=0.25}}\n  write \"o\" = %y\n}}"
        );
        let backward = format!(
            "{state}  %l: f32[1, {heads}, {t}] = state \"l\"
  %dq, %dk, %dv = attention_gradient %q, %k, %v, %o, %l, %g {{causal={causal}, scale=0.25}}
  write \"q\" = %dq\n  write \"k\" = %dk\n  write \"v\" = %dv\n}}"
        );
        let product = 2.0 * (heads * t * t * d) as f64 / if causal == 1 { 2.0 } else { 1.0 };
        for (name, text, products) in [("attention", forward, 2.0), ("its gradient", backward, 5.0)] {
            let seconds = time_text(device, &text)?;
            println!(
                "{name}, {heads} heads of {t}×{d}, causal {causal}: {:.1} µs, {:.2} TFLOP/s",
                seconds * 1e6,
                product * products / seconds / 1e12
            );
        }
    }
    Ok(())
}

fn convolutions(device: &Arc<WgpuDevice>) -> Outcome<()> {
    for (channels, filters, size, kernel, stride) in [
        (64, 64, 32, 3, 1),
        (128, 128, 16, 3, 1),
        (512, 512, 4, 3, 1),
        (64, 128, 32, 3, 2),
        (256, 512, 8, 1, 2),
    ] {
        let (batch, low) = (128usize, kernel / 2);
        let out = size / stride;
        let window = format!(
            "window=[stride:[{stride}, {stride}] low:[{low}, {low}] high:[{low}, {low}] dilation:[1, 1] groups:1]"
        );
        let state = format!(
            "program p {{
  %x: f32[{batch}, {channels}, {size}, {size}] = state \"x\"
  %f: f32[{filters}, {channels}, {kernel}, {kernel}] = state \"f\"
  %g: f32[{batch}, {filters}, {out}, {out}] = state \"g\"\n"
        );
        let flops = 2.0 * (batch * out * out * channels * filters * kernel * kernel) as f64;
        for (name, line) in [
            ("forward", format!("%y = convolution %x, %f {{{window}}}\n  write \"g\" = %y")),
            (
                "gradient of x",
                format!(
                    "%y = convolution_input_gradient %g, %f {{{window}, input=[{size}, {size}]}}\n  write \"x\" = %y"
                ),
            ),
            (
                "gradient of the filter",
                format!(
                    "%y = convolution_filter_gradient %x, %g {{{window}, kernel=[{kernel}, {kernel}]}}\n  write \"f\" = %y"
                ),
            ),
        ] {
            for dtype in ["f32", "f16"] {
                let text = format!("{state}  {line}\n}}").replace("f32", dtype);
                let seconds = time_text(device, &text)?;
                println!(
                    "convolution {channels} to {filters}, {size}×{size}, {kernel}×{kernel} by {stride}, {name}, {dtype}: {:.1} µs, {:.2} TFLOP/s",
                    seconds * 1e6,
                    flops / seconds / 1e12
                );
            }
        }
    }
    Ok(())
}

fn sums_by_index(device: &Arc<WgpuDevice>) -> Outcome<()> {
    for (count, size, inner) in [(16_384, 65, 384), (16_384, 50_257, 384)] {
        let text = format!(
            "program p {{
  %u: f32[{count}, {inner}] = state \"u\"
  %x: f32[{count}] = state \"x\"
  %o: f32[{size}, {inner}] = state \"o\"
  %c: f32[] = constant {}.0
  %f: f32[{count}] = broadcast %c {{shape=[{count}], axes=[]}}
  %y = mul %x, %f
  %z = abs %y
  %i = cast %z {{to=i32}}
  %s = scatter_add %u, %i {{axis=0, size={size}}}
  write \"o\" = %s
}}",
            2 * size - 2
        );
        let seconds = time_text(device, &text)?;
        println!("sum of {count} rows of {inner} into {size}: {:.1} µs", seconds * 1e6);
    }
    Ok(())
}

/// Programs over one array of rows and columns, with the bytes that each has to move.
fn loops(device: &Arc<WgpuDevice>) -> Outcome<()> {
    let run = |name: &str, program: &Program, bytes: f64| -> Outcome<()> {
        let seconds = time(device, &mut loaded(device.as_ref(), program)?)?;
        println!("{name}: {:.1} µs, {:.0} GB/s", seconds * 1e6, bytes / seconds / 1e9);
        Ok(())
    };
    let shapes = [(8192, 8192), (65536, 64), (64, 100_352), (1, 1 << 24), (512, 512)];
    for ((rows, columns), dtype) in
        shapes.into_iter().flat_map(|shape| [DType::F32, DType::F16].map(|dtype| (shape, dtype)))
    {
        let ty = ValueType::new(dtype, [rows, columns]);
        let size = dtype.size() as f64 * (rows * columns) as f64;
        let new = |name: &str| {
            let mut program = Program::new(name);
            let x = program.state("x", ty.clone());
            (program, x)
        };
        let (mut program, x) = new("add");
        let y = program.state("y", ty.clone());
        let sum = program.binary(BinaryKind::Add, x, y)?;
        program.write(0, sum)?;
        run(&format!("add {rows}×{columns} {dtype}"), &program, 3.0 * size)?;
        let (mut program, x) = new("gelu");
        let y = program.unary(UnaryKind::Erf, x)?;
        let y = program.binary(BinaryKind::Multiply, x, y)?;
        program.write(0, y)?;
        run(&format!("x erf x {rows}×{columns} {dtype}"), &program, 2.0 * size)?;
        for (name, axis) in [("row sums", 1), ("column sums", 0)] {
            let (mut program, x) = new("sums");
            let kept = if axis == 1 { rows } else { columns };
            program.state("s", ValueType::new(dtype, [kept]));
            let sum = program.apply(Op::Reduce { kind: ReduceKind::Sum, axes: vec![axis] }, &[x])?;
            program.write(1, sum)?;
            run(&format!("{name} {rows}×{columns} {dtype}"), &program, size)?;
        }
        let (mut program, x) = new("softmax");
        let total = program.apply(Op::LogSumExp { axes: vec![1] }, &[x])?;
        let total = program.expand(total, &[rows, columns].as_slice().into(), &[1])?;
        let y = program.binary(BinaryKind::Subtract, x, total)?;
        let y = program.unary(UnaryKind::Exp, y)?;
        program.write(0, y)?;
        run(&format!("softmax {rows}×{columns} {dtype}"), &program, 2.0 * size)?;
    }
    Ok(())
}

/// Steps of the workloads of `shared/bench/torch_bench.py`.
fn train(device: &Arc<WgpuDevice>, profile: bool) {
    let only = std::env::var("MEASURE_ONLY").unwrap_or_default();
    let wanted = |name: &str| only.is_empty() || only.split(',').any(|one| one == name);
    let report = |name: &str, result: Outcome<()>| {
        if let Err(error) = result {
            println!("{name}: {error}");
        }
    };
    let sgd = || Sgd::new(0.01);
    let image = |batch: usize, channels: usize, size: usize| [batch, channels, size, size];
    macro_rules! one {
        ($name:literal, $net:expr, $input:expr, $classes:expr, $optimizer:expr) => {
            if wanted($name) {
                let builder = StepBuilder::new($net, cross_entropy(), $optimizer);
                report($name, steps(device, $name, builder, &$input, $classes, profile));
            }
        };
    }
    one!("tinycnn", models::tinycnn(2), image(32, 3, 32), 2, sgd());
    one!("tinycnn-adam", models::tinycnn(2), image(32, 3, 32), 2, Adam::new(1e-3));
    one!("mlp", models::mlp(10), [128, 784], 10, Adam::new(1e-3));
    one!("lenet", models::lenet(10), image(128, 1, 28), 10, sgd().momentum(0.9));
    one!("catsdogs", models::catsdogs(2), image(32, 3, 64), 2, Adam::new(1e-3));
    one!("resnet18", models::resnet18(10), image(128, 3, 32), 10, sgd().momentum(0.9));
    if wanted("gpt-char") {
        let options = models::GptOptions { vocabulary: 65, context: 256, width: 384, heads: 6, layers: 6 };
        let net =
            move |scope: &Scope, x: &Tensor| scope.layer("gpt", &models::gpt(options), x).permute(&[0, 2, 1]);
        let builder = StepBuilder::new(net, cross_entropy(), AdamW::new(3e-4));
        report("gpt-char", steps(device, "gpt-char", builder, &[64, 256], 65, profile));
    }
}

fn steps(
    device: &Arc<WgpuDevice>,
    name: &str,
    builder: StepBuilder,
    input: &[usize],
    classes: i32,
    profile: bool,
) -> Outcome<()> {
    let runtime = Runtime::new(Arc::clone(device) as Arc<dyn Device>);
    let count: usize = input.iter().product();
    let is_text = name.starts_with("gpt");
    let (inputs, target_shape) = if is_text {
        (Data::I32((0..count).map(|i| ((i * 40503) % 65) as i32).collect()), input.to_vec())
    } else {
        let data = (0..count).map(|i| ((i * 2654435761) % 2003) as f32 / 1000.0 - 1.0).collect();
        (Data::F32(data), vec![input[0]])
    };
    let targets: usize = target_shape.iter().product();
    let targets = Data::I32((0..targets).map(|i| ((i * 7919) as i32) % classes).collect());
    let inputs = Array::new(input.to_vec(), inputs).ok_or("sizes")?;
    let targets = Array::new(target_shape, targets).ok_or("sizes")?;
    let start = Instant::now();
    let mut step = builder.runtime(&runtime).compile(&inputs.ty(), &targets.ty())?;
    let batch = dropforge::step::Batch::from((inputs, targets));
    let first = step.run(&batch)?.loss()?;
    let loaded = start.elapsed();
    for _ in 0..20 {
        step.run(&batch)?;
    }
    device.synchronize()?;
    if profile {
        step.start_profile();
        for _ in 0..10 {
            step.run(&batch)?;
        }
        step.profile().iter().chain(&step.explain()).for_each(|(_, text)| println!("{text}"));
        return Ok(());
    }
    let seconds = std::env::var("MEASURE_SECONDS").ok().and_then(|text| text.parse().ok()).unwrap_or(1.5);
    let start = Instant::now();
    let (mut runs, mut encoding, mut last) = (0u32, Duration::ZERO, first);
    let mut waiting = None;
    while start.elapsed().as_secs_f64() < seconds {
        for _ in 0..10 {
            let before = Instant::now();
            let outcome = step.run(&batch)?;
            encoding += before.elapsed();
            runs += 1;
            if runs % 10 == 0
                && let Some(outcome) = waiting.replace(outcome)
            {
                last = outcome.loss()?;
            }
        }
    }
    device.synchronize()?;
    let each = start.elapsed().as_secs_f64() / f64::from(runs);
    println!(
        "{name}: {:.1} steps/s, {:.1} µs a step, {:.1} µs on the host; loss {first:.4} -> {last:.4}; first step {loaded:.2?}",
        1.0 / each,
        each * 1e6,
        encoding.as_secs_f64() * 1e6 / f64::from(runs)
    );
    Ok(())
}
